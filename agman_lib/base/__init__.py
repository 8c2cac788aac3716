"""What every other sub-package builds on, and what knows nothing of fashion.

Errors that name a fix, files that are written whole or not at all, folders that appear at once,
progress bars, cores and devices. It imports no other sub-package.

Start with `errors` and `folders`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
