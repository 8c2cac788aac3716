"""Another camera: the same pictures with other colours, tones and sharpness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter


def another_camera(folder: str | Path, seed: int) -> None:
    """Change all pictures below a folder as one camera would change them, in place.

    The seed decides a colour cast (each channel times 0.8 to 1.2), a tone curve (the power 0.75 to
    1.35) and a blur (up to 0.8 pixels at a size of 96), which are the same for every picture.

    Args:
        folder: with PNG files, at any depth.
        seed: of the camera.
    """
    rng = np.random.default_rng((seed, 3))
    gain, power, blur = rng.uniform(0.8, 1.2, 3), rng.uniform(0.75, 1.35), rng.uniform(0, 0.8)
    tones = np.linspace(0, 1, 256)[None] ** power * gain[:, None]  # (3, 256)
    table = (255 * tones.clip(0, 1)).round().astype(np.uint8)
    for file in sorted(Path(folder).rglob("*.png")):
        picture = Image.open(file).convert("RGB")
        radius = blur * min(picture.size) / 96
        picture = picture.point(table.ravel().tolist()).filter(ImageFilter.GaussianBlur(radius))
        picture.save(file, compress_level=1)
