"""AG-MAN: attribute-guided multi-level attention network for fine-grained fashion retrieval.

The library has a sub-package for each concern. Imports run one way only::

    base  <-  data  <-  networks  <-  evaluation  <-  training  <-  comparison
                                                 <-  search  <-  explain  <-  explain.widgets
                                     evaluation  <-  challenge
                                     training, search  <-  benchmark

`challenge` is an open task with a secret test set, `benchmark` measures what things cost, `course`
holds what the notebooks share, and `cli` is the command line. Public names come from the
sub-packages, for example ``from agman_lib.networks import build_model``. Importing a package loads
nothing heavy; only using a name does.
"""

from agman_lib.base.errors import AgmanError

__version__ = "0.1.0"
__all__ = ["AgmanError", "__version__"]
