"""How well a network retrieves: embeddings, rankings, scores, and how sure they are.

From the bottom: `levels` and `embedding` turn photos into vectors, `ranking` turns rankings into
numbers, `protocol` knows what is a query and what is relevant, `statistics` gives intervals, and
`report` scores a network on a split. It may import `networks`, `data` and `base`.

Start with `ranking`, then `protocol`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
