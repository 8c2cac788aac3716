"""Where a network looks: attention maps, Grad-CAM, and how often they mark the right place.

`maps` and `cam` compute them, `explainer` asks for one photo after another, `localisation_scores`
measures them against true regions, `look_again` cuts out what they mark, `probes` asks what can be
read from a level of the backbone, `overlays`, `plots` and `figures` draw, and `widgets` is the
interactive shell. It may import every sub-package but `cli`, `course` and `comparison`.

Start with `maps`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
