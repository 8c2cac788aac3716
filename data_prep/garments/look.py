"""Everything about a drawn garment that is not an attribute: colours, pose, light, folds, noise.

A `Look` is drawn without knowing the kind or the values, always with the same number of random
numbers in the same order. Two pictures with one look therefore differ by their values only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Colour = tuple[float, float, float]
"""Red, green, blue in 0..1."""

CLUTTER_SHAPES = ("ellipse", "rectangle", "stripe")
_MOST_CLUTTER, _MOST_IN_FRONT = 5, 3
_TRIES = 24


@dataclass(frozen=True)
class Clutter:
    """A shape behind the garment: centre and radii in frame widths, angle in radians."""

    shape: str
    centre: tuple[float, float]
    radii: tuple[float, float]
    angle: float
    colour: Colour


@dataclass(frozen=True)
class Look:
    """Every nuisance of a picture. Angles in radians, lengths in frame widths unless said."""

    cloth: Colour
    second: Colour  # the pattern's other colour
    trim: Colour  # lapels, bands and collars
    ink: Colour  # seams, buttons and outlines: dark on light cloth, light on dark cloth
    body: Colour  # the dummy that wears the garment
    worn: bool  # on a dummy, or laid flat on the background
    backdrop: tuple[Colour, Colour]
    backdrop_angle: float
    clutter: tuple[Clutter, ...]
    rotation: float
    scale: float  # frame widths of one garment unit (a garment is about two units high)
    shift: tuple[float, float]
    mirrored: bool
    arm_angles: tuple[float, float]  # from the vertical
    elbow_bend: float  # garment units
    body_width: float  # factor
    flare: float  # 0 straight .. 1 wide
    fold_phases: tuple[float, float]
    fold_frequency: float  # radians a garment unit
    fold_lean: float
    fold_strength: float
    pattern_period: float  # garment units
    pattern_phases: tuple[float, float]
    noise_seed: int
    noise_strength: float
    light_angle: float
    light_strength: float
    exposure: float
    front: tuple[Clutter, ...] = ()  # shapes before the garment


def draw_look(rng: np.random.Generator) -> Look:
    """A random look. It takes the same random numbers from `rng` whatever they turn out to be."""

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    cloth = _colour(rng, [])
    ink = _ink(cloth)
    second = _colour(rng, [(cloth, 0.35), (ink, 0.3)])
    backdrop = (_colour(rng, [(cloth, 0.4)], 0.55), _colour(rng, [(cloth, 0.4)], 0.55))
    mix = between(0.0, 1.0)  # 0: a plain background, 1: a full gradient
    first, last = (np.asarray(colour) for colour in backdrop)
    body = _body_colour(rng, [(cloth, 0.35), (backdrop[0], 0.2)])
    clutter = [_clutter(rng, cloth, second) for _ in range(_MOST_CLUTTER)]
    n_clutter = int(rng.integers(0, _MOST_CLUTTER + 1))
    return Look(
        cloth=cloth,
        second=second,
        trim=_trim(cloth),
        ink=ink,
        body=body,
        worn=bool(rng.random() < 0.5),
        backdrop=(backdrop[0], _as_colour(first + mix * (last - first))),
        backdrop_angle=between(0, 2 * np.pi),
        clutter=tuple(clutter[:n_clutter]),
        rotation=float(np.radians(between(-12, 12))),
        scale=between(0.39, 0.49),
        shift=(between(-0.05, 0.05), between(-0.04, 0.04)),
        mirrored=bool(rng.random() < 0.5),
        arm_angles=(float(np.radians(between(13, 32))), float(np.radians(between(13, 32)))),
        elbow_bend=between(-0.05, 0.14),
        body_width=between(0.88, 1.12),
        flare=between(0.0, 1.0),
        fold_phases=(between(0, 2 * np.pi), between(0, 2 * np.pi)),
        fold_frequency=between(6, 13),
        fold_lean=between(-0.4, 0.4),
        fold_strength=between(0.02, 0.13),
        pattern_period=between(0.19, 0.3),
        pattern_phases=(between(0, 1), between(0, 1)),
        noise_seed=int(rng.integers(2**31)),
        noise_strength=between(0.004, 0.02),
        light_angle=between(0, 2 * np.pi),
        light_strength=between(0.05, 0.3),
        exposure=between(0.8, 1.15),
    )


def harder(look: Look, rng: np.random.Generator) -> Look:
    """The look of a harder picture.

    The garment is smaller, so that its values differ by fewer pixels; it is turned and shifted
    further, folded and lit more strongly, in a noisier picture, and one to three shapes hide parts
    of it. What is drawn depends on the values as little as before.
    """

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    front = [_clutter(rng, look.cloth, look.second) for _ in range(_MOST_IN_FRONT)]
    small = [
        replace(shape, radii=(between(0.04, 0.13), between(0.03, 0.09)), centre=(x, y))
        for shape, (x, y) in zip(
            front, rng.uniform(0.2, 0.8, (_MOST_IN_FRONT, 2)).tolist(), strict=True
        )
    ]
    return replace(
        look,
        rotation=float(np.radians(between(-35, 35))),
        scale=between(0.24, 0.4),
        shift=(between(-0.14, 0.14), between(-0.12, 0.12)),
        arm_angles=(float(np.radians(between(8, 48))), float(np.radians(between(8, 48)))),
        fold_strength=between(0.05, 0.22),
        noise_strength=between(0.01, 0.06),
        light_strength=between(0.1, 0.6),
        exposure=between(0.55, 1.3),
        front=tuple(small[: int(rng.integers(1, _MOST_IN_FRONT + 1))]),
    )


def luminance(colour: Colour) -> float:
    """Perceived brightness, 0..1 (Rec. 601 weights)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _as_colour(values: npt.ArrayLike) -> Colour:
    red, green, blue = (float(value) for value in np.asarray(values))
    return red, green, blue


def _from_hsv(hsv: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, 3) hue, saturation, value -> (N, 3) red, green, blue."""
    hue, saturation, value = hsv[:, :1], hsv[:, 1:2], hsv[:, 2:]
    ramp = np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return value * (1 + saturation * (ramp - 1))


def _first_far_enough(tries: npt.NDArray[np.float64], apart: list[tuple[Colour, float]]) -> Colour:
    """The first of (N, 3) `tries` at least so far from each colour; else the best of them."""
    if not apart:
        return _as_colour(tries[0])
    others = np.array([colour for colour, _ in apart])  # (M, 3)
    wanted = np.array([distance for _, distance in apart])  # (M,)
    distances = np.linalg.norm(tries[:, None] - others[None], axis=2)  # (N, M)
    slack = (distances / wanted).min(axis=1)
    return _as_colour(tries[int(np.argmax(np.minimum(slack, 1)))])


def _colour(
    rng: np.random.Generator, apart: list[tuple[Colour, float]], most_vivid: float = 0.85
) -> Colour:
    low, high = (0.0, 0.0, 0.12), (1.0, most_vivid, 0.97)
    return _first_far_enough(_from_hsv(rng.uniform(low, high, (_TRIES, 3))), apart)


def _body_colour(rng: np.random.Generator, apart: list[tuple[Colour, float]]) -> Colour:
    """The dummy is wood, plaster or plastic: warm and not very saturated."""
    low, high = (0.03, 0.05, 0.2), (0.11, 0.5, 0.97)
    return _first_far_enough(_from_hsv(rng.uniform(low, high, (_TRIES, 3))), apart)


def _ink(cloth: Colour) -> Colour:
    dark = luminance(cloth) > 0.42
    base = np.asarray(cloth)
    return _as_colour(base * 0.25 if dark else base + 0.62 * (1 - base))


def _trim(cloth: Colour) -> Colour:
    """A tone that differs from the cloth, and from the ink even more."""
    base, brightness = np.asarray(cloth), luminance(cloth)
    if brightness > 0.72:
        return _as_colour(base * 0.74)
    if brightness > 0.42:
        return _as_colour(base + 0.45 * (1 - base))
    return _as_colour(base * 0.5) if brightness > 0.25 else _as_colour(base + 0.22 * (1 - base))


def _clutter(rng: np.random.Generator, cloth: Colour, second: Colour) -> Clutter:
    """One shape; every other one has the pattern's colour, so that its presence tells nothing."""
    colour = _colour(rng, [(cloth, 0.4)], 0.7)
    echo = bool(rng.random() < 0.5)
    radii = rng.uniform((0.05, 0.03), (0.3, 0.2))
    x, y = rng.uniform(0, 1, 2)
    return Clutter(
        shape=CLUTTER_SHAPES[int(rng.integers(len(CLUTTER_SHAPES)))],
        centre=(float(x), float(y)),
        radii=(float(radii[0]), float(radii[1])),
        angle=float(rng.uniform(0, np.pi)),
        colour=second if echo else colour,
    )
