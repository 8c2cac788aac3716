from .report import SECTIONS as SECTIONS
from .report import Report as Report
from .report import run_benchmark as run_benchmark
from .timing import Row as Row
from .timing import Setting as Setting
from .timing import side_by_side as side_by_side
