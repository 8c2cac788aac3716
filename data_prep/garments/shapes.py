"""The garments' outlines: curves in garment units, painted part by part on a `Canvas`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_prep.garments.canvas import (
    BODY,
    CLOTH,
    MIRROR,
    SEAM,
    STEPS,
    TRIM,
    Canvas,
    Points,
    curve,
    points,
    symmetric,
)
from data_prep.garments.details import draw_closure, draw_lapel, draw_neckline
from data_prep.garments.look import Look


@dataclass(frozen=True)
class Bodice:
    """Measures of what hangs from the shoulders, in garment units (half widths, and v)."""

    top: float
    neck: float
    shoulder: float
    chest: float
    waist: float
    waist_at: float
    hem: float
    hem_at: float
    flare: float  # added to the hem's half width for a flare of 1
    arm: float
    cuff: float


BODICES = {
    "top": Bodice(-0.76, 0.18, 0.46, 0.43, 0.4, 0.2, 0.4, 0.74, 0.14, 1.12, 0.085),
    "dress": Bodice(-0.95, 0.16, 0.39, 0.36, 0.27, -0.3, 0.36, 0.98, 0.34, 1.0, 0.075),
    "coat": Bodice(-0.9, 0.18, 0.48, 0.45, 0.41, 0.0, 0.46, 0.93, 0.18, 1.12, 0.11),
}
ZOOMS = {"top": 1.12, "dress": 1.0, "coat": 1.04, "skirt": 1.08, "trousers": 1.04}
SLEEVES = {"sleeveless": 0.0, "short": 0.27, "elbow": 0.48, "three_quarter": 0.73, "long": 1.0}
HEMS = {
    "dress": {"mini": 0.08, "knee": 0.38, "midi": 0.68, "floor": 0.98},
    "skirt": {"mini": -0.18, "knee": 0.18, "midi": 0.54, "floor": 0.9},
    "trousers": {"shorts": 0.0, "knee": 0.32, "cropped": 0.62, "full": 0.94},
}


def draw_garment(canvas: Canvas, kind: str, values: Mapping[str, str]) -> None:
    """Paint the body, if the garment is worn, and the garment."""
    if kind == "skirt":
        _draw_skirt(canvas, values)
    elif kind == "trousers":
        _draw_trousers(canvas, values)
    else:
        _draw_bodice(canvas, kind, values)


def _draw_bodice(canvas: Canvas, kind: str, values: Mapping[str, str]) -> None:
    look, cut = canvas.look, BODICES[kind]
    wide = look.body_width
    shoulder = (cut.shoulder * wide, cut.top + 0.12)
    armpit = (cut.chest * wide, cut.top + 0.5 * (0.8 if kind == "dress" else 1.0))
    arms = [_arm(cut, look, shoulder, armpit, side) for side in (0, 1)]
    if look.worn:
        _draw_legs(canvas, cut.waist_at + 0.25, 0.95 * cut.waist * wide - 0.1)
        for upper, lower in arms:
            thin = np.concatenate([0.8 * upper + 0.2 * lower, (0.2 * upper + 0.8 * lower)[::-1]])
            canvas.fill(thin, BODY)
        _draw_neck(canvas, cut)
    reach = SLEEVES[values["sleeve_length"]]
    for upper, lower in arms if reach else []:
        _draw_sleeve(canvas, upper, lower, reach)

    waist, hem = cut.waist * wide, cut.hem * wide + cut.flare * look.flare
    hem_at = HEMS["dress"][values["skirt_length"]] if kind == "dress" else cut.hem_at
    side = _side(waist, cut.waist_at, hem, cut.hem_at, hem_at)
    half = np.concatenate(
        [
            points((0, cut.top), (cut.neck, cut.top)),
            curve(shoulder, (shoulder[0] - 0.08, shoulder[1] + 0.2), armpit),
            curve(armpit, (waist, cut.waist_at - 0.2), (waist, cut.waist_at)),
            side,
            curve(side[-1], (side[-1, 0] / 2, hem_at + 0.03), (0, hem_at + 0.03)),
        ]
    )
    canvas.fill(symmetric(half), CLOTH, SEAM)
    if kind == "dress":
        canvas.stroke(points((-waist, cut.waist_at), (waist, cut.waist_at)), SEAM)
    if "closure" in values:
        draw_closure(canvas, values["closure"], cut.top, cut.hem_at + 0.02, kind == "coat")
    if "lapel" in values:
        draw_lapel(canvas, values["lapel"], cut.neck, cut.top)
    else:
        draw_neckline(canvas, values["neckline"], cut.neck, cut.top, shoulder[0])


def _side(waist: float, waist_at: float, hem: float, full: float, hem_at: float) -> Points:
    """The right side from the waist down: one curve to the full length, cut off at the hem."""
    line = curve((waist, waist_at), (0.35 * waist + 0.65 * hem, waist_at + 0.3), (hem, full))
    return _cut_off(line, hem_at)


def _cut_off(line: Points, at: float) -> Points:
    """The part of a line that goes down to v = at."""
    end = float(np.interp(at, line[:, 1], line[:, 0]))
    return np.concatenate([line[line[:, 1] < at - 1e-6], points((end, at))])


def _arm(
    cut: Bodice, look: Look, shoulder: tuple[float, float], armpit: tuple[float, float], side: int
) -> tuple[Points, Points]:
    """Upper and lower edge of a whole sleeve, from the armhole to the wrist, (14, 2) each."""
    angle = look.arm_angles[side]
    along = np.array([np.sin(angle), np.cos(angle)])
    across = np.array([np.cos(angle), -np.sin(angle)])
    begin, under = np.array(shoulder), np.array(armpit)
    wrist = begin - 0.12 * across + cut.arm * along
    elbow = begin + 0.5 * cut.arm * along + look.elbow_bend * across
    upper = curve(
        begin,
        begin + 0.1 * along + (0.09, 0.0),
        elbow + 0.08 * across,
        wrist + cut.cuff * across,
    )
    lower = curve(
        under,
        under + 0.1 * along,
        elbow - 0.16 * across,
        wrist - cut.cuff * across,
    )
    flip = MIRROR if side else np.ones(2)
    return upper * flip, lower * flip


def _draw_sleeve(canvas: Canvas, upper: Points, lower: Points, reach: float) -> None:
    at = np.linspace(0, reach, STEPS) * (STEPS - 1)
    steps = np.arange(STEPS)

    def shorten(edge: Points) -> Points:
        return np.stack([np.interp(at, steps, edge[:, i]) for i in (0, 1)], axis=1)

    upper, lower = shorten(upper), shorten(lower)
    canvas.fill(np.concatenate([upper, lower[::-1]]), CLOTH, SEAM)
    canvas.stroke(np.stack([upper[-1], lower[-1]]), 2 * SEAM)


def _draw_neck(canvas: Canvas, cut: Bodice) -> None:
    """Neck, chin and shoulders of the dummy."""
    half = np.concatenate(
        [
            points((0, cut.top - 0.5), (0.13, cut.top - 0.42)),
            curve((0.11, cut.top - 0.2), (0.11, cut.top), (cut.shoulder * 0.9, cut.top + 0.14)),
            points((0, cut.top + 0.5)),
        ]
    )
    canvas.fill(symmetric(half), BODY)


def _draw_legs(canvas: Canvas, top: float, hip: float, spread: float = 0.0) -> None:
    """The dummy's legs from v = top down; `spread` is how far apart they go, sideways a v."""
    half = np.concatenate(
        [
            points((0.03, top), (hip + 0.1, top)),
            curve((hip + 0.12, top), (hip + 0.07, 0.5), (0.19, 1.4)),
            points((0.07, 1.4), (0.03, top)),
        ]
    )
    half[:, 0] += spread * (half[:, 1] - top)
    canvas.fill(half, BODY)
    canvas.fill(half * MIRROR, BODY)


def _draw_skirt(canvas: Canvas, values: Mapping[str, str]) -> None:
    look, top = canvas.look, -0.86
    waist = 0.34 * look.body_width
    if look.worn:
        _draw_legs(canvas, -0.6, 0.22)
        _draw_waist(canvas, waist, top)
    hem_at = HEMS["skirt"][values["skirt_length"]]
    side = _side(waist, top, waist + 0.12 + 0.42 * look.flare, HEMS["skirt"]["floor"], hem_at)
    hem = curve(side[-1], (side[-1, 0] / 2, hem_at + 0.05), (0, hem_at + 0.05))
    canvas.fill(symmetric(np.concatenate([points((0, top)), side, hem])), CLOTH, SEAM)
    _draw_waistband(canvas, waist, top)


def _draw_trousers(canvas: Canvas, values: Mapping[str, str]) -> None:
    look, top, crotch = canvas.look, -0.9, -0.16
    waist, hip = 0.34 * look.body_width, 0.42 * look.body_width
    full = HEMS["trousers"]["full"]
    spread = 0.1 * look.arm_angles[0]
    outer = hip + spread + 0.12 * (look.flare - 0.5)
    inner = 0.08 + 2 * spread - 0.06 * look.flare
    if look.worn:
        _draw_legs(canvas, -0.3, hip - 0.18, inner - 0.02)
        _draw_waist(canvas, waist, top)
    hem_at = HEMS["trousers"][values["trouser_length"]]
    outside = np.concatenate(
        [curve((waist, top), (hip, top + 0.25), (hip, crotch - 0.1)), points((outer, full))]
    )
    outside = _cut_off(outside, hem_at)
    inside = _cut_off(points((0, crotch), (inner, full)), hem_at)
    leg = np.concatenate([points((0, top)), outside, inside[::-1]])
    for flip in (np.ones(2), MIRROR):
        canvas.fill(leg * flip, CLOTH, SEAM)
        canvas.stroke(np.stack([outside[-1], inside[-1]]) * flip, 2 * SEAM)
    canvas.stroke(curve((0.1, top), (0.1, top + 0.35), (0, top + 0.42)), SEAM)
    _draw_waistband(canvas, waist, top)


def _draw_waistband(canvas: Canvas, waist: float, top: float) -> None:
    band = points((0, top - 0.02), (waist, top - 0.02), (waist + 0.02, top + 0.12), (0, top + 0.13))
    canvas.fill(symmetric(band), TRIM, SEAM)


def _draw_waist(canvas: Canvas, waist: float, top: float) -> None:
    half = np.concatenate(
        [
            points((0, -1.6), (waist * 1.1, -1.6)),
            curve((waist, -1.2), (waist * 0.85, top), (waist, top + 0.4)),
            points((0, top + 0.6)),
        ]
    )
    canvas.fill(symmetric(half), BODY)
