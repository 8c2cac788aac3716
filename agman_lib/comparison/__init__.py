"""Networks, or AG-MAN's parts one by one, compared over several seeds at equal budget.

`study` trains and scores every entry, `result` makes tables of the scores, `chart` draws them, and
`published_scores` holds what the papers report. It may import `training` and what is below it.

Start with `study`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
