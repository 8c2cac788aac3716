"""DeepFashion, Category and Attribute Prediction: `prepare` makes a prepared folder of it.

`convert` leads, `files` reads the download, `rules` decides what an image counts as, `report`
accounts for every row.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
