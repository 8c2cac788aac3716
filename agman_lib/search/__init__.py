"""Searching your own photos: a gallery holds the embeddings of every photo under every attribute.

`gallery` builds, saves, loads and searches one; `files` reads its photos and its folder. It may
import `evaluation`, `networks`, `data` and `base`.

Start with `gallery`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
