"""Interactive explorers for notebooks, a thin shell over `agman_lib.explain` and a gallery.

Nothing imports this room: what it shows can be had without widgets. `explorers` holds what a
notebook calls, `panel` one network under one attribute, `parts` the controls.

Start with `explorers`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
