"""Progress bars that work in a terminal and in a notebook, and keep quiet in a log file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any


def bar(items: Iterable[Any], title: str | None, **more: Any) -> Any:
    """tqdm over items; without a title, or when nobody watches, the items without a bar."""
    from tqdm import tqdm  # plain text: no widgets are needed in a notebook either

    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    quiet = title is None or not watched
    return tqdm(items, desc=title, disable=quiet, leave=False, dynamic_ncols=True, **more)
