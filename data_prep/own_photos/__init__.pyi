from .convert import prepare as prepare
from .convert import summary as summary
