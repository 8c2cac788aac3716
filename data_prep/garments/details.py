"""Necklines, lapels and closures: what is painted on a bodice already there.

`top` is the height (v) of the shoulders' upper edge at the neck, `neck` the neck's half width.
"""

from __future__ import annotations

import numpy as np

from data_prep.garments.canvas import (
    BODY,
    INK,
    INSIDE,
    MIRROR,
    NOTHING,
    SEAM,
    TRIM,
    Canvas,
    Material,
    Points,
    curve,
    points,
    symmetric,
)


def _neck_edge(value: str, neck: float, top: float, shoulder: float) -> Points:
    """The neckline from its left end to its right end."""
    w = neck + 0.04
    if value == "round":
        return curve((-w, top + 0.02), (-w, top + 0.3), (w, top + 0.3), (w, top + 0.02))
    if value == "v":
        return points((-w, top + 0.02), (0, top + 0.52), (w, top + 0.02))
    if value == "square":
        w += 0.05
        return points((-w, top + 0.05), (-w, top + 0.3), (w, top + 0.3), (w, top + 0.05))
    w = shoulder - 0.07  # boat
    return curve((-w, top + 0.1), (0, top + 0.18), (w, top + 0.1))


def draw_neckline(canvas: Canvas, value: str, neck: float, top: float, shoulder: float) -> None:
    """Band, opening or collar of a top or dress. `shoulder` bounds the boat neck."""
    if value == "turtle":
        rise = points((0, top - 0.2), (neck - 0.01, top - 0.2), (neck + 0.03, top + 0.08))
        collar = np.concatenate([rise, curve((neck, top + 0.09), (0, top + 0.14), (0, top + 0.14))])
        canvas.fill(symmetric(collar), TRIM, SEAM)
        canvas.stroke(points((-neck, top - 0.06), (neck, top - 0.06)), SEAM)
        return
    edge = _neck_edge(value, neck, top, shoulder)
    canvas.stroke(edge, 0.15)
    canvas.stroke(edge, 0.11, TRIM)
    _draw_opening(canvas, edge, neck, top)


def _draw_opening(canvas: Canvas, edge: Points, neck: float, top: float) -> None:
    """What is seen above the front's edge: the dummy, or the back's inner side."""
    opening = np.concatenate([edge, points((neck, top - 0.02), (-neck, top - 0.02))])
    if canvas.look.worn:
        canvas.fill(opening, BODY)
        return
    canvas.fill(opening, INSIDE)
    canvas.fill(curve((-neck, top - 0.03), (0, top + 0.12), (neck, top - 0.03)), NOTHING)


def draw_lapel(canvas: Canvas, value: str, neck: float, top: float) -> None:
    """Opening and lapels of a coat."""
    if value == "collarless":
        edge = curve((-neck, top), (-neck, top + 0.24), (neck, top + 0.24), (neck, top))
        _draw_opening(canvas, edge, neck, top)
        canvas.stroke(edge, SEAM)
        return
    low = top + 0.74
    edge = points((-neck, top), (0, low), (neck, top))
    _draw_opening(canvas, edge, neck, top)
    begin = (neck + 0.03, top - 0.03)
    if value == "shawl":
        outer = curve(begin, (0.44, top + 0.28), (0.26, top + 0.5), (0, low))
    elif value == "notched":
        collar = points(begin, (0.32, top + 0.16), (0.2, top + 0.25))
        front = curve((0.38, top + 0.29), (0.24, top + 0.55), (0, low))
        outer = np.concatenate([collar, front])
    else:  # peak: the front's corner points up
        collar = points(begin, (0.27, top + 0.14), (0.22, top + 0.24))
        front = curve((0.44, top + 0.06), (0.3, top + 0.5), (0, low))
        outer = np.concatenate([collar, front])
    lapel = np.concatenate([points((0, low), (neck - 0.03, top - 0.05)), outer])
    canvas.fill(lapel * MIRROR, TRIM, SEAM)
    canvas.fill(lapel, TRIM, SEAM)


def draw_closure(canvas: Canvas, value: str, begin: float, end: float, opens: bool) -> None:
    """The front's fastening from v = begin to end; the neckline or lapel is drawn over it.

    A garment that opens all the way shows where its fronts meet even when nothing fastens it.
    """

    def line(u: float, width: float, material: Material = INK) -> None:
        canvas.stroke(points((u, begin), (u, end)), width, material)

    def buttons(u: float) -> None:
        for v in np.arange(end - 0.13, begin + 0.2, -0.23):
            canvas.dot(u, v, 0.08, TRIM)  # a rim, so that they show on every pattern
            canvas.dot(u, v, 0.055)

    if value == "none" and opens:
        line(0, SEAM)
    elif value == "buttons":
        line(0, 0.23)
        line(0, 0.18, TRIM)
        buttons(0)
    elif value == "double_breasted":
        line(0.29, SEAM)
        buttons(-0.17)
        buttons(0.17)
    elif value == "zip":
        line(0, 0.15)
        line(0, 0.05, TRIM)
        low = end - 0.6  # of the pull tab
        tab = points((-0.06, low - 0.2), (0.06, low - 0.2), (0.09, low), (-0.09, low))
        canvas.fill(tab, INK)
