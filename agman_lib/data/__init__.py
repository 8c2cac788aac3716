"""Prepared data: the folder that every data set becomes, and what is drawn from it.

A prepared folder is read and checked here (`dataset`, `schema`), its photos are decoded (`images`)
and become pixels of one size (`pixels`), and training triplets are drawn (`triplets`). How a raw
download becomes such a folder is told in `data_prep`. It may import `base`.

Start with `dataset`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
