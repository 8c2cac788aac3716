"""Draw one garment: curves in garment units -> coverage of four materials -> pixels.

Garment units: u to the right, v down, the garment roughly within -1..1. The pose (an affine map)
is applied to the curves' points, never to pixels, so outlines stay sharp at every size.

Each pixel is a mixture of background and four materials. PIL paints the materials at four times
the size into the four channels of one image, each polygon over the earlier ones, and the mean of
each 4x4 block is the mixture. ("CMYK" is PIL's only mode of four channels that it leaves alone;
it would weigh "RGBA" by its last channel.)
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from data_prep.garments.canvas import Canvas
from data_prep.garments.look import Clutter, Look
from data_prep.garments.shapes import ZOOMS, draw_garment

Floats = npt.NDArray[np.float32]


def paint(kind: str, values: Mapping[str, str], look: Look, size: int) -> npt.NDArray[np.uint8]:
    """The picture, (size, size, 3) uint8 RGB. `values` names a value of each attribute owned."""
    canvas = Canvas(look, size, ZOOMS[kind])
    draw_garment(canvas, kind, values)
    body, cloth, trim, ink = canvas.coverage()
    x, y = _pixel_grid(size)
    u, v = canvas.garment_coordinates(x, y)

    shade = _folds(look, u, v) * _relief(look, cloth + trim + ink)
    second = _PATTERNS[values["pattern"]](look, u, v)
    # Layers of one colour each, then the background: (size, size, 3).
    image = (cloth * (1 - second) * shade)[..., None] * _rgb(look.cloth)
    image += (cloth * second * shade)[..., None] * _rgb(look.second)
    image += (trim * shade)[..., None] * _rgb(look.trim)
    image += ink[..., None] * _rgb(look.ink)
    if look.worn:
        image += (body * _relief(look, body))[..., None] * _rgb(look.body)
    image += (1 - body - cloth - trim - ink)[..., None] * _background(look, size)

    image = _with_shapes(image, look.front)

    across = np.cos(look.light_angle) * (x - 0.5) + np.sin(look.light_angle) * (y - 0.5)
    light = look.exposure * (1 + look.light_strength * across)
    image *= light[..., None].astype(np.float32)
    image += _noise(look, size)[..., None]
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _rgb(colour: tuple[float, float, float]) -> Floats:
    return np.array(colour, np.float32)


@lru_cache(maxsize=8)
def _pixel_grid(size: int) -> tuple[Floats, Floats]:
    """x and y of the pixels' centres in frame widths, each (size, size)."""
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    return x.astype(np.float32), y.astype(np.float32)


def _folds(look: Look, u: Floats, v: Floats) -> Floats:
    """Brightness of soft vertical folds, near 1, (size, size)."""
    first, second = look.fold_phases
    along = look.fold_frequency * (u + look.fold_lean * v) + first
    folds = 0.6 * np.sin(along + 0.9 * np.sin(2.1 * v + second))
    folds += 0.4 * np.sin(2.3 * look.fold_frequency * u - 1.7 * v + second)
    return 1 + np.float32(look.fold_strength) * folds


def _relief(look: Look, coverage: Floats) -> Floats:
    """Brightness of a padded shape lit from one side: darker rims, one side more than the other."""
    size = coverage.shape[0]
    mask = Image.fromarray((coverage * 255).astype(np.uint8))
    blurred = np.asarray(mask.filter(ImageFilter.BoxBlur(0.02 * size)), np.float32) / 255
    slope_y, slope_x = np.gradient(blurred)
    lit = np.cos(look.light_angle) * slope_x + np.sin(look.light_angle) * slope_y
    strength = np.float32(0.02 * size * (0.5 + 2 * look.light_strength))
    return 0.8 + 0.2 * blurred - strength * lit.astype(np.float32)


def _noise(look: Look, size: int) -> Floats:
    rng = np.random.default_rng(look.noise_seed)
    return np.float32(look.noise_strength) * rng.standard_normal((size, size), dtype=np.float32)


def _stripes(phase: Floats) -> Floats:
    """0..1 with soft edges, one dark and one bright half in each period of 1."""
    return np.clip(0.5 + 2.5 * np.sin(2 * np.pi * phase), 0, 1)


def _plain(look: Look, u: Floats, v: Floats) -> Floats:
    return np.zeros_like(u)


def _horizontal(look: Look, u: Floats, v: Floats) -> Floats:
    return _stripes(v / look.pattern_period + look.pattern_phases[1])


def _vertical(look: Look, u: Floats, v: Floats) -> Floats:
    return _stripes(u / look.pattern_period + look.pattern_phases[0])


def _dots(look: Look, u: Floats, v: Floats) -> Floats:
    across = u / look.pattern_period + look.pattern_phases[0]
    down = v / look.pattern_period + look.pattern_phases[1]
    across = across + 0.5 * (np.floor(down) % 2)  # each row moved by half a period
    radius = np.hypot(across - np.floor(across) - 0.5, down - np.floor(down) - 0.5)
    return np.clip((0.33 - radius) * 8 + 0.5, 0, 1)


def _checks(look: Look, u: Floats, v: Floats) -> Floats:
    return 0.5 * (_horizontal(look, u, v) + _vertical(look, u, v))


_PATTERNS = {
    "plain": _plain,
    "horizontal_stripes": _horizontal,
    "vertical_stripes": _vertical,
    "dots": _dots,
    "checks": _checks,
}


@lru_cache(maxsize=8)
def _background(look: Look, size: int) -> Floats:
    """Gradient and clutter, (size, size, 3). Kept, because a counterfactual asks for it again."""
    x, y = _pixel_grid(size)
    along = np.cos(look.backdrop_angle) * (x - 0.5) + np.sin(look.backdrop_angle) * (y - 0.5)
    first, last = _rgb(look.backdrop[0]), _rgb(look.backdrop[1])
    gradient: Floats = first + (along[..., None] + 0.5).astype(np.float32) * (last - first)
    return _with_shapes(gradient, look.clutter)


def _with_shapes(image: Floats, shapes: tuple[Clutter, ...]) -> Floats:
    """An image (size, size, 3) with shapes painted over it, each over the earlier ones."""
    if not shapes:
        return image
    size = len(image)
    large = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    large = large.resize((2 * size, 2 * size), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(large)
    for shape in shapes:
        colour = tuple(int(255 * channel) for channel in shape.colour)
        draw.polygon(_clutter_outline(shape, 2 * size), fill=colour)
    return np.asarray(large.reduce(2), np.float32) / np.float32(255)


def _clutter_outline(clutter: Clutter, size: int) -> list[float]:
    """x0, y0, x1, y1, … in pixels."""
    if clutter.shape == "ellipse":
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        points = np.stack([np.cos(turn), np.sin(turn)], axis=1) * clutter.radii
    else:
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        long = (2.0, 0.15 * clutter.radii[1]) if clutter.shape == "stripe" else clutter.radii
        points = corners * long
    cos, sin = np.cos(clutter.angle), np.sin(clutter.angle)
    points = points @ np.array([(cos, sin), (-sin, cos)]) + clutter.centre
    flat: list[float] = (points * size).ravel().tolist()
    return flat
