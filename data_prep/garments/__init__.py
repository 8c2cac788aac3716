"""The built-in garments: drawn, seeded, labelled as FashionAI is, their true regions known.

`dataset` draws a whole prepared folder; `picture` one garment, and tells where its attributes are;
`look` draws what is random about a picture; `shapes`, `details` and `canvas` hold the curves;
`drawing` makes pixels of them.

Start with `dataset`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
