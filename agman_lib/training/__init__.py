"""Training: the options, the losses, the loop, and the run folder that it leaves.

`config` holds every option and the presets, `batches` draws what a step sees, `losses` says what
is minimised, `loop` trains, `checkpoint` lets a killed run go on, and `run` opens what was trained
and scores it. It may import `evaluation`, `networks`, `data` and `base`.

Start with `loop`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
