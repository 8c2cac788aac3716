"""AG-MAN: attribute-guided multi-level attention network for fine-grained fashion retrieval.

Importing the package loads nothing heavy; import the module that you need, for example
``from agman_lib.models import build_model``.
"""

from agman_lib.errors import AgmanError

__version__ = "0.1.0"
__all__ = ["AgmanError", "__version__"]
