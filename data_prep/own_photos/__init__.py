"""Your own photos: `prepare` makes a prepared folder of a table, or of folders within folders.

`convert` decides, `source` reads the table or the folders, `split` draws train, valid and test.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
