"""What the library costs, measured beside what people would write or use in its place.

Every number is a ratio of two times that were taken side by side (`timing`), so that it can be
compared between machines, and measured on one that is busy. `networks`, `losses`, `photos`,
`rankings` and `searches` hold the measurements, `straightforward` what they are measured beside,
and `report` the table. It may import `search`, `training` and what is below them.

Start with `report`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
