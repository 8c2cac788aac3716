from .convert import kept_values as kept_values
from .convert import prepare as prepare
from .report import summary as summary
