"""A canvas that takes curves in garment units and paints materials with them, posed.

Garment units: u to the right, v down, the garment roughly within -1..1.
"""

from __future__ import annotations

from math import comb

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from data_prep.garments.look import Look

Points = npt.NDArray[np.float64]
"""(N, 2) points (u, v) in garment units: u to the right, v down."""

Material = tuple[int, int, int, int]
NOTHING: Material = (0, 0, 0, 0)
BODY: Material = (255, 0, 0, 0)
CLOTH: Material = (0, 255, 0, 0)
TRIM: Material = (0, 0, 255, 0)
INK: Material = (0, 0, 0, 255)
INSIDE: Material = (0, 130, 0, 125)  # the back's inner side, half cloth and half ink

SUPERSAMPLING = 4
SEAM = 0.025  # width of a seam in garment units
STEPS = 14  # points on a curve
MIRROR = np.array([-1.0, 1.0])  # the left side from the right one


class Canvas:
    """Paints materials under a look's pose, at `SUPERSAMPLING` times the size."""

    def __init__(self, look: Look, size: int, zoom: float = 1.0) -> None:
        self.look, self.size = look, size
        self.scale = look.scale * zoom
        cos, sin = np.cos(look.rotation), np.sin(look.rotation)
        flip = -1.0 if look.mirrored else 1.0
        # frame = turn @ garment + origin, in frame widths
        self.turn = self.scale * np.array([(flip * cos, -sin), (flip * sin, cos)])
        self.origin = np.array([0.5, 0.5]) + look.shift
        self.pixels = size * SUPERSAMPLING
        self.image = Image.new("CMYK", (self.pixels, self.pixels), NOTHING)
        self.draw = ImageDraw.Draw(self.image)

    def coverage(self) -> npt.NDArray[np.float32]:
        """How much of each pixel is body, cloth, trim and ink: (4, size, size) in 0..1."""
        mean = np.asarray(self.image.reduce(SUPERSAMPLING), np.float32) / 255
        return np.ascontiguousarray(mean.transpose(2, 0, 1))

    def garment_coordinates(
        self, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """u and v of points (x, y) given in frame widths."""
        back = np.linalg.inv(self.turn).astype(np.float32)
        x, y = x - np.float32(self.origin[0]), y - np.float32(self.origin[1])
        return back[0, 0] * x + back[0, 1] * y, back[1, 0] * x + back[1, 1] * y

    def _place(self, points: Points) -> list[float]:
        placed: list[float] = ((points @ self.turn.T + self.origin) * self.pixels).ravel().tolist()
        return placed

    def fill(self, points: Points, material: Material, outline: float = 0.0) -> None:
        """A closed shape, with an inked outline of that width where it is not 0."""
        placed = self._place(points)
        self.draw.polygon(placed, fill=material)
        if outline:
            self._stroke(placed + placed[:4], outline, INK)

    def stroke(self, points: Points, width: float, material: Material = INK) -> None:
        """An open line of that width."""
        self._stroke(self._place(points), width, material)

    def _stroke(self, placed: list[float], width: float, material: Material) -> None:
        pixels = max(1, round(width * self.scale * self.pixels))
        self.draw.line(placed, fill=material, width=pixels, joint="curve")

    def dot(self, u: float, v: float, radius: float, material: Material = INK) -> None:
        """A disc around (u, v)."""
        x, y = self._place(np.array([(u, v)]))
        r = radius * self.scale * self.pixels
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=material)


def _bernstein(degree: int, steps: int) -> Points:
    t = np.linspace(0, 1, steps)[:, None]
    k = np.arange(degree + 1)
    return np.array([comb(degree, i) for i in k]) * t**k * (1 - t) ** (degree - k)


_BERNSTEIN = {degree: _bernstein(degree, STEPS) for degree in (2, 3)}


def curve(*control: npt.ArrayLike) -> Points:
    """Quadratic or cubic Bézier curve of three or four control points, as (14, 2) points."""
    return _BERNSTEIN[len(control) - 1] @ np.array(control, np.float64)


def points(*corners: tuple[float, float]) -> Points:
    """Corners (u, v) as an array (N, 2)."""
    return np.array(corners)


def symmetric(half: Points) -> Points:
    """A closed shape from its right half, which is listed from the top to the bottom."""
    return np.concatenate([half, half[::-1] * MIRROR])
