"""Writing a matplotlib figure."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from agman_lib.base.folders import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_picture(figure: Figure, path: Path, dpi: int = 100) -> None:
    """Write a figure as PNG, whole or not at all."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dpi)
    write_whole(path, picture.getvalue())
