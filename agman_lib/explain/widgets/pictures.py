"""How pictures go to the browser: as PNG and JPEG bytes, with a caption."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from agman_lib.base.errors import AgmanError
from agman_lib.explain.explainer import Explainer
from agman_lib.explain.overlays import mark

THUMBNAIL = 120  # pixels on screen


def png(picture: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, 3), as PNG bytes; nothing is lost."""
    return _encoded(picture, format="PNG", compress_level=1)


def jpeg(picture: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, 3), as JPEG bytes."""
    return _encoded(picture, format="JPEG", quality=88)


def _encoded(picture: np.ndarray, **how: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, **how)
    return out.getvalue()


def thumbnail(explainer: Explainer, image: str) -> bytes:
    """A small picture of one of the gallery's images, by its id, as JPEG bytes."""
    try:
        picture = Image.fromarray(explainer.picture(explainer.gallery.row_of(image)))
    except AgmanError:  # moved or damaged since the gallery was made
        picture = Image.new("RGB", (THUMBNAIL, THUMBNAIL), "lightgrey")
        ImageDraw.Draw(picture).text((8, 40), "cannot be read", "black")
    picture.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))
    return jpeg(np.asarray(picture))


def captioned(name: str, n: int, text: str, right: bool | None) -> dict[str, str]:
    """The n-th picture's caption, and its label for those who do not see it."""
    text = text.replace("_", " ")
    said = "" if right is None else ", right" if right else ", wrong"
    label = f"{name} {n + 1}: {text}{said}" if name else text
    return {"caption": mark(right) + text, "label": label}
