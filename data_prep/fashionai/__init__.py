"""FashionAI attributes: `prepare` makes a prepared folder of the download and ASEN's split files.

`convert` decides, `files` reads the download, `report` accounts for every row.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
