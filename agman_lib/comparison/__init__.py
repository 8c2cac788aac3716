"""Networks, or AG-MAN's parts one by one, compared over several seeds at equal budget.

`arms` says what is compared, `study` trains and scores it, `untrained` has the baselines that train
no network, `result` makes tables of the scores, `factors` the effects of a factorial, `chart` draws
them, and `published_scores` holds what the papers report. It may import `training` and what is
below it.

Start with `study`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
