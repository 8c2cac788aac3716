"""The networks: AG-MAN and those that it is compared with, behind one interface.

A network is a backbone (`backbone`) and a head (`attention` for AG-MAN and ASENet_V2, `heads` for
the others), put together in `model`. `build` makes one by its name; `weights` saves and loads it;
`published_weights` reads the authors' files. It may import `base`.

Start with `model`, then `attention`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
