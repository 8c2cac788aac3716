"""A panel of the attention explorer: one network and one attribute."""

from __future__ import annotations

import html
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import ipywidgets as w
import numpy as np

from agman_lib.explain.explainer import Explainer, OpenPhoto
from agman_lib.explain.figures import bars_of
from agman_lib.explain.maps import MAPS
from agman_lib.explain.overlays import overlay
from agman_lib.explain.widgets.controls import (
    ROWS,
    SIDE,
    Chooser,
    Strip,
    about_photo,
    attribute_options,
    choice,
    png,
    show_found,
)
from agman_lib.search.gallery import Gallery

WORKING = "Grad-CAM: working …"


class Explorer(Protocol):
    """What a panel asks of the explorer that it is a part of."""

    gallery: Gallery
    k: int
    explainers: dict[str, Explainer]
    chooser: Chooser
    thumbnails: Callable[[str], bytes]
    lock: AbstractContextManager[Any]
    map: w.Dropdown
    opacity: w.FloatSlider
    regions: w.Checkbox
    against: w.Dropdown
    source_number: int
    cams: dict[tuple[Any, ...], np.ndarray | str]

    def photo(self, network: str) -> OpenPhoto:
        """The photo that is looked at, through a network's trunk."""

    def scale(self, picture: np.ndarray) -> int:
        """So many pixels of the screen for one of the picture."""

    def request(self, panel: Panel) -> None:
        """Compute the Grad-CAM map that a panel wants, in the background; then draw it."""


class Panel(w.VBox):
    """One network and one attribute: the picture with a map, the channels, and what is found."""

    def __init__(self, explorer: Explorer, network: str, attribute: str) -> None:
        self.explorer = explorer
        self.network = w.Dropdown(
            options=list(explorer.explainers), value=network, description="network"
        )
        if len(explorer.explainers) == 1:
            self.network.layout.display = "none"
        self.attribute = choice(attribute_options(explorer.gallery), "attribute")
        self.attribute.value = attribute
        self.picture = w.Image(format="png", width=SIDE, height=SIDE)
        self.about, self.status = w.HTML(), w.HTML()
        self.channels = w.Image(format="png", width=SIDE, height=64)
        self.channels_title = w.HTML()
        self.strip = Strip(explorer.k, "look at", explorer.chooser.pick)
        self.cam_key: tuple[Any, ...] | None = None  # the Grad-CAM map that is wanted
        for control in (self.network, self.attribute):
            control.observe(lambda _: self.refresh(), "value")
        looks = w.VBox([self.picture, self.status, self.about])
        found = w.VBox([
            self.channels_title,
            self.channels,
            w.HTML("<b>Nearest under this attribute</b>"),
            self.strip,
        ])  # fmt: skip
        looks.layout.width = f"{SIDE + 8}px"
        found.layout.flex, found.layout.min_width = "1 1 0", f"{SIDE + 8}px"
        super().__init__([self.network, self.attribute, w.Box([looks, found], layout=ROWS)])
        self.layout.min_width = f"{SIDE + 12}px"

    @property
    def explainer(self) -> Explainer:
        """Of the panel's network."""
        return self.explorer.explainers[self.network.value]

    @property
    def photo(self) -> OpenPhoto:
        """The photo that is looked at, through the panel's network."""
        return self.explorer.photo(self.network.value)

    def refresh(self) -> None:
        """Show everything again: another photo, attribute or network."""
        explainer, photo, attribute = self.explainer, self.photo, self.attribute.value
        self.seen = explainer.explain(photo, attribute)
        self.found = explainer.search(photo, attribute, self.explorer.k)
        self.boxes = explainer.boxes(photo, attribute)
        self.about.value = about_photo(explainer, photo, attribute)
        bars = bars_of(self.seen)
        self.channels.layout.display = None if bars is not None else "none"
        self.channels_title.value = self._say_channels()
        if bars is not None:
            self.channels.value = png(bars)
        show_found(self.strip, explainer, photo, attribute, self.found, self.explorer.thumbnails)
        self.draw()

    def _say_channels(self) -> str:
        has = [
            text
            for text, values in (
                ("<span style='color: #4c72b0'>■</span> channel attention", self.seen.channel),
                ("<span style='color: #dd8452'>■</span> mask", self.seen.mask),
            )
            if values is not None
        ]
        size = len(self.seen.embedding)
        return f"{size} channels, 0 to 1: {', '.join(has)}" if has else "No channel attention."

    def draw(self) -> None:
        """Show the picture again: another map, opacity, or the true region."""
        with self.explorer.lock:
            heat, self.status.value = self.heat()
            self.picture.value = png(self.overlaid(heat))

    def overlaid(self, heat: np.ndarray | None) -> np.ndarray:
        """The picture on screen, uint8."""
        explorer, picture = self.explorer, self.photo.picture
        return overlay(
            picture,
            heat,
            self.explainer.offset,
            explorer.opacity.value,
            self.boxes if explorer.regions.value else (),
            explorer.scale(picture),
        )

    def heat(self) -> tuple[np.ndarray | None, str]:
        """The map that is asked for, or None, and what is to be said about it."""
        name, self.cam_key = self.explorer.map.value, None
        if name != "grad_cam":
            if name in self.seen.maps:
                heat = self.seen.maps[name]
                return heat, f"{MAPS[name]}: from {heat.min():.3f} to {heat.max():.3f}"
            return None, f"This network has no {MAPS[name]}; Grad-CAM works for every network."
        others = self.found["image"].tolist()
        rank = min(self.explorer.against.value, len(others))
        if not rank:
            return None, "Grad-CAM compares two photos, and the gallery has no other."
        other = others[rank - 1]
        self.cam_key = (
            self.network.value,
            self.explorer.source_number if self.photo.row is None else self.photo.row,
            self.attribute.value,
            self.explainer.gallery.row_of(other),
        )
        kept = self.explorer.cams.get(self.cam_key)
        if kept is None:
            self.explorer.request(self)
            return None, WORKING
        if isinstance(kept, str):
            return None, html.escape(kept)
        return kept, f"Grad-CAM of the similarity to {html.escape(other)}"
