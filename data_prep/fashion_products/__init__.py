"""Fashion Product Images (Small): `prepare` makes a prepared folder of Kaggle's files.

`convert` decides, `downloads` reads the zip, the folder or the parquet files, `report` accounts for
every row and value.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
