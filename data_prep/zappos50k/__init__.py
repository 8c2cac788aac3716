"""UT-Zappos50K: `prepare` makes a prepared folder, with ASEN's triplets or new ones.

`convert` leads, `lists` reads the triplets and the table of properties, `photos` finds the images,
`triplets` draws, `report` accounts for every row.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
