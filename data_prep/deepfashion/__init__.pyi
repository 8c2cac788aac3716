from .convert import prepare as prepare
from .report import summary as summary
