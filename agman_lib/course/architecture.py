"""AG-MAN as a drawing: the whole network, or with the part at hand lit."""

from __future__ import annotations

import itertools
from typing import Literal, get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from agman_lib.base.errors import check_choice

Part = Literal["multi-level backbone", "class branch", "attention"]
RESNET, NEW, ATTRIBUTE, OUT = "#dfe7f2", "#fde3c8", "#d9ecd6", "#f3d9e6"
LEGEND = {
    RESNET: "ResNet",
    NEW: "added to the ResNet",
    ATTRIBUTE: "depends on the attribute",
    OUT: "result",
}
BACKBONE, BRANCH, ATTENTION = get_args(Part)
FAINT = 0.25
TITLE, BOX, SMALL = 10, 7.6, 7.2  # points; a notebook draws the figure a fifth narrower


def architecture(
    lit: Part | None = None, channels: tuple[int, int] = (512, 1024), size: int = 224
) -> Figure:
    """AG-MAN as the published code computes it.

    Args:
        lit: the part that is drawn in full, the others faintly; None for all.
        channels: of F2 and F3: (512, 1024) for ResNet-50, (128, 256) for ResNet-18.
        size: pixels of the photo.

    Raises:
        AgmanError: no such part.
    """
    if lit is not None:
        check_choice("part", lit, Part)
    figure = Figure(figsize=(10.5, 6.2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 105), ylim=(0, 62))
    axes.axis("off")
    drawing = _Drawing(axes, lit)
    _backbone(drawing, channels, size)
    _attention(drawing, size)
    for x, (colour, text) in zip((1, 23, 46, 74), LEGEND.items(), strict=True):
        axes.add_patch(FancyBboxPatch((x, 0.6), 1.6, 1.2, "round,pad=0.1", fc=colour, ec="#555"))
        axes.text(x + 2.6, 1.2, text, fontsize=SMALL, va="center")
    return figure


class _Drawing:
    """Boxes and arrows, each belonging to parts; faint where none of these is lit."""

    def __init__(self, axes: Axes, lit: str | None) -> None:
        self.axes, self.lit = axes, lit

    def _alpha(self, parts: str) -> float:
        return 1.0 if self.lit is None or self.lit in parts else FAINT

    def title(self, x: float, y: float, text: str, parts: str) -> None:
        self.axes.text(x, y, text, weight="bold", fontsize=TITLE, alpha=self._alpha(parts))

    def note(self, x: float, y: float, text: str, parts: str) -> None:
        self.axes.text(x, y, text, fontsize=SMALL, va="center", alpha=self._alpha(parts))

    def box(
        self, x: float, y: float, w: float, h: float, text: str, colour: str, parts: str
    ) -> None:
        alpha, style = self._alpha(parts), "round,pad=0.2,rounding_size=0.8"
        self.axes.add_patch(FancyBboxPatch((x, y), w, h, style, fc=colour, ec="#555", alpha=alpha))
        middle = (x + w / 2, y + h / 2)
        self.axes.text(*middle, text, ha="center", va="center", fontsize=BOX, alpha=alpha)

    def arrow(self, *points: tuple[float, float], parts: str, label: str = "") -> None:
        alpha, axes = self._alpha(parts), self.axes
        for (x0, y0), (x1, y1) in itertools.pairwise(points[:-1]):
            axes.plot([x0, x1], [y0, y1], color="#333", lw=1.1, alpha=alpha)
        look = {"arrowstyle": "-|>", "color": "#333", "alpha": alpha}
        axes.annotate("", points[-1], points[-2], arrowprops=look)
        (x0, y0), (x1, y1) = points[-2:]
        if x0 == x1:
            at, align = (x0 + 0.8, (y0 + y1) / 2), ("left", "center")
        else:
            at, align = ((x0 + x1) / 2, y0 + 0.7), ("center", "bottom")
        axes.text(*at, label, ha=align[0], va=align[1], fontsize=SMALL, alpha=alpha)


def _backbone(d: _Drawing, channels: tuple[int, int], size: int) -> None:
    c2, c3 = channels
    f2, f3 = f"F2 {c2}×{size // 8}×{size // 8}", f"F3 {c3}×{size // 16}×{size // 16}"
    trunk, branch = f"{BACKBONE}, {BRANCH}", BRANCH
    d.title(1, 59.5, "Multi-level backbone", trunk)
    d.box(1, 49, 8, 6, f"photo\n3×{size}×{size}", "white", trunk)
    d.box(12, 49, 12, 6, "stem, layer1,\nlayer2", RESNET, trunk)
    d.box(40, 49, 8, 6, "layer3", RESNET, trunk)
    d.box(63, 49, 4, 6, "+", NEW, trunk)
    d.box(73, 49, 8, 6, "layer4", RESNET, branch)
    d.box(88, 49, 16, 6, "Linear → A logits:\nwhich attribute?", NEW, branch)
    d.box(36, 40, 18, 5, "max-pool, Conv 1×1: L", NEW, trunk)
    d.box(60, 31, 16, 5, "concat(F3, X) = F", NEW, f"{BACKBONE}, {ATTENTION}")
    d.arrow((9.3, 52), (11.7, 52), parts=trunk)
    d.arrow((24.3, 52), (39.7, 52), label=f2, parts=trunk)
    d.arrow((48.3, 52), (62.7, 52), label=f3, parts=trunk)
    d.arrow((67.3, 52), (72.7, 52), label="X", parts=trunk)
    d.arrow((81.3, 52), (87.7, 52), label="pool", parts=branch)
    d.arrow((30, 52), (30, 42.5), (35.7, 42.5), parts=trunk)
    d.arrow((54.3, 42.5), (65, 42.5), (65, 48.7), parts=trunk)
    d.arrow((56, 52), (56, 33.5), (59.7, 33.5), parts=BACKBONE)
    d.arrow((70, 52), (70, 36.4), parts=BACKBONE)
    d.note(82, 46, "same-attribute classification\n(training only)", branch)


def _attention(d: _Drawing, size: int) -> None:
    side = f"{size // 16}×{size // 16}"
    d.title(1, 31, "Attribute-guided attention", ATTENTION)
    d.box(1, 17, 14, 6, f"1  Conv 1×1: x\n512×{side}", NEW, ATTENTION)
    d.box(20, 17, 13, 6, "2  spatial\nattention S", ATTRIBUTE, ATTENTION)
    d.box(38, 17, 12, 6, "3  spatial\ngate", NEW, ATTENTION)
    d.box(55, 17, 11, 6, "4  sum over\npositions: v", "white", ATTENTION)
    d.box(71, 17, 12, 6, "5  channel\nattention m", ATTRIBUTE, ATTENTION)
    d.box(88, 17, 16, 6, "6, 7  mask, L2 norm:\nembedding, 512", OUT, ATTENTION)
    d.box(30, 4, 33, 5, "attribute c → e = Embedding(c), 512", ATTRIBUTE, ATTENTION)
    d.arrow((68, 30.7), (68, 28.5), (38, 28.5), (8, 28.5), (8, 23.4), parts=ATTENTION)
    for x0, x1 in ((15.3, 19.7), (33.3, 37.7), (50.3, 54.7), (66.3, 70.7), (83.3, 87.7)):
        d.arrow((x0, 20), (x1, 20), parts=ATTENTION)
    d.arrow((30, 6.5), (26.5, 6.5), (26.5, 16.7), label="g(W₁e)", parts=ATTENTION)
    d.arrow((63.3, 6.5), (77, 6.5), (77, 16.7), label="g(W₂e)", parts=ATTENTION)
    d.arrow((63.3, 5), (95.5, 5), (95.5, 16.7), label="M$_c$", parts=ATTENTION)
