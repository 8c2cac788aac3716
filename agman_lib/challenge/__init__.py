"""An open task with a secret test set: its handout, what is handed in, and the leaderboard.

`handout` hides a test split behind numbers, `submission` reads what is handed in and refuses what
breaks the rules, `leaderboard` scores it. It may import `evaluation` and what is below it.

Start with `handout`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
