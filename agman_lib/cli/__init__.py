"""The command line: ``agman …``. Nothing imports this sub-package.

A file for each group of commands; `main` finds the command and turns errors into one line.

Start with `commands`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
