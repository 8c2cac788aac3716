"""What the notebooks of the course share; nothing here is needed by the rest of the library.

`shared` has the sizes, the working folder, data and results that come with the package, and how a
figure is shown. `answers` compares what a student fills in with what is right, `checks` has one
module of such comparisons for each notebook, `sliders` moves a figure, and `architecture` draws the
network with the part at hand lit.

Start with `shared`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
