"""The networks: AG-MAN and those that it is compared with, behind one interface.

A network is a backbone (`multi_level_backbone`, of one of the classifiers in `backbones`) and a
head (`attention` for AG-MAN and ASENet_V2, `csn_and_asen` for the others), put together in `model`.
`build` makes one by its name; `weights` saves and loads it; `imagenet` and
`published_weights` read the files of others. It may import `base`, and of `data` how pixels are
normalised.

Start with `model`, then `attention`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
