"""A panel of the attention explorer: one network and one attribute."""

from __future__ import annotations

import html
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import ipywidgets as w
import numpy as np
import pandas as pd

from agman_lib.explain.explainer import Explainer, OpenPhoto
from agman_lib.explain.figures import bars_of
from agman_lib.explain.maps import MAPS
from agman_lib.explain.overlays import overlay
from agman_lib.explain.widgets.controls import (
    ROWS,
    SIDE,
    Chooser,
    about_photo,
    attribute_options,
    show_found,
)
from agman_lib.explain.widgets.picture_row import picture_row
from agman_lib.explain.widgets.pictures import THUMBNAIL, jpeg, png
from agman_lib.search.gallery import Gallery

WORKING = "Grad-CAM: working …"
LOOKING = "The network is looking …"
AXIS = 20  # pixels beside the channel bars
SCALE = (
    f"<div style='width: {AXIS - 4}px; height: 64px; line-height: 1; text-align: right; "
    "display: flex; flex-direction: column; justify-content: space-between'>"
    "<small>1</small><small>0</small></div>"
)
AXES = (
    f"<div style='display: flex; justify-content: space-between; margin: 0 8px 0 {AXIS}px; "
    "line-height: 1'><small>channel 1</small><small>{last}</small></div>"
)


class Explorer(Protocol):
    """What a panel asks of the explorer that it is a part of."""

    gallery: Gallery
    k: int
    buttons: bool
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
    """One network and one attribute: the photo with a map, the channels, and what is found.

    The row of small maps shows the same photo under every attribute; a click on one opens it.
    """

    def __init__(self, explorer: Explorer, network: str, attribute: str) -> None:
        self.explorer = explorer
        self.network = w.Dropdown(
            options=list(explorer.explainers), value=network, description="network"
        )
        if len(explorer.explainers) == 1:
            self.network.layout.display = "none"
        self.attribute = w.Dropdown(
            options=attribute_options(explorer.gallery), value=attribute, description="attribute"
        )
        self.maps = picture_row(
            "", self.show_attribute, label="attributes", buttons=explorer.buttons
        )
        self.maps_title = w.HTML()
        self.picture = w.Image(format="png", width=SIDE, height=SIDE)
        self.about, self.status = w.HTML(), w.HTML()
        self.channels = w.Image(format="png", width=SIDE - AXIS, height=64)
        self.channels_title, self.channels_axis = w.HTML(), w.HTML()
        self.strip = picture_row(
            "look at",
            explorer.chooser.pick,
            label="nearest photos",
            line=True,
            buttons=explorer.buttons,
        )
        self.cam_key: tuple[Any, ...] | None = None  # the Grad-CAM map that is wanted
        self.network.observe(lambda _: self.refresh(), "value")
        self.attribute.observe(lambda _: self.refresh_attribute(), "value")
        self.bars = w.VBox([
            self.channels_title,
            w.HBox([w.HTML(SCALE), self.channels]),
            self.channels_axis,
        ])  # fmt: skip
        looks = w.VBox([self.picture, self.about, self.status, self.bars])
        found = w.VBox([
            self.maps_title, self.maps, w.HTML("<b>Nearest under this attribute</b>"), self.strip,
        ])  # fmt: skip
        looks.layout.width = f"{SIDE + 8}px"
        found.layout.flex, found.layout.min_width = "1 1 0", f"{SIDE + 8}px"
        super().__init__([self.network, w.Box([looks, found], layout=ROWS)])
        self.layout.min_width = f"{SIDE + 12}px"

    @property
    def explainer(self) -> Explainer:
        """Of the panel's network."""
        return self.explorer.explainers[self.network.value]

    @property
    def photo(self) -> OpenPhoto:
        """The photo that is looked at, through the panel's network."""
        return self.explorer.photo(self.network.value)

    def show_attribute(self, attribute: str) -> None:
        """Show another attribute."""
        self.attribute.value = attribute

    def in_one_line(self, line: bool) -> None:
        """Put the small maps in one line, which scrolls, or in as many as they need."""
        self.maps.line = line

    def show_plain(self, picture: np.ndarray) -> None:
        """Show a photo that has not been through the network yet."""
        with self.explorer.lock:
            self.cam_key = None  # a Grad-CAM map of the photo before comes too late
            self.status.value = LOOKING
            self.picture.value = png(overlay(picture, None, 0, scale=self.explorer.scale(picture)))

    def refresh(self) -> None:
        """Show everything again: another photo or network."""
        self.refresh_attribute()
        self.draw_maps()

    def refresh_attribute(self) -> None:
        """Show everything again but the small maps: another attribute."""
        explainer, photo, attribute = self.explainer, self.photo, self.attribute.value
        self.maps.select(attribute)
        with self.explorer.lock:
            self.seen = explainer.explain(photo, attribute)
            self.found = explainer.search(photo, attribute, self.explorer.k)
            self.boxes = explainer.boxes(photo, attribute)
            self.draw()
        self.about.value = about_photo(explainer, photo, attribute)
        bars = bars_of(self.seen)
        self.bars.layout.display = None if bars is not None else "none"
        if bars is not None:
            self.channels_title.value = self._say_channels()
            shown = self.seen.mask if self.seen.channel is None else self.seen.channel
            assert shown is not None  # since there are bars
            self.channels_axis.value = AXES.format(last=len(shown))
            self.channels.value = png(bars)
        show_found(self.strip, explainer, photo, attribute, self.found, self.explorer.thumbnails)

    def _say_channels(self) -> str:
        return ", ".join(
            text
            for text, values in (
                ("<span style='color: #4c72b0'>■</span> channel attention", self.seen.channel),
                ("<span style='color: #dd8452'>■</span> mask", self.seen.mask),
            )
            if values is not None
        )

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

    def draw_maps(self) -> None:
        """Show the small maps again: another photo, network or map, or the true regions."""
        explorer, explainer, photo = self.explorer, self.explainer, self.photo
        name, picture = explorer.map.value, self.photo.picture
        scale = -(-THUMBNAIL // len(picture))
        names = explorer.gallery.attribute_names
        pictures = []
        for attribute in names:
            heat = self._small(attribute)
            boxes = explainer.boxes(photo, attribute) if explorer.regions.value else ()
            pictures.append(
                jpeg(overlay(picture, heat, explainer.offset, boxes=boxes, scale=scale))
            )
        self.maps.show(names, pictures, names)
        if name == "grad_cam":
            said = "<b>Grad-CAM</b> for every attribute that has been opened"
        elif name in explainer.map_names:
            said = f"<b>{MAPS[name]} for every attribute</b>"
        else:
            said = "<b>Every attribute</b>"
        self.maps_title.value = f"{said}: click one to open it"

    def _small(self, attribute: str) -> np.ndarray | None:
        """The map of an attribute, where it can be had at once."""
        name = self.explorer.map.value
        if name != "grad_cam":
            return self.explainer.explain(self.photo, attribute).maps.get(name)
        found = self.explainer.search(self.photo, attribute, self.explorer.k)
        kept = self.explorer.cams.get(self._cam_key(attribute, found) or ())
        return kept if isinstance(kept, np.ndarray) else None

    def _cam_key(self, attribute: str, found: pd.DataFrame) -> tuple[Any, ...] | None:
        """Which Grad-CAM map is wanted for an attribute; None where nothing is found."""
        rank = min(self.explorer.against.value, len(found))
        if not rank:
            return None
        return (
            self.network.value,
            self.explorer.source_number if self.photo.row is None else self.photo.row,
            attribute,
            self.explainer.gallery.row_of(found["image"].iloc[rank - 1]),
        )

    def heat(self) -> tuple[np.ndarray | None, str]:
        """The map that is asked for, or None, and what is to be said about it."""
        name, self.cam_key = self.explorer.map.value, None
        if name != "grad_cam":
            if name in self.seen.maps:
                heat = self.seen.maps[name]
                return heat, f"{MAPS[name]}: from {heat.min():.3f} to {heat.max():.3f}"
            return None, f"This network has no {MAPS[name]}; Grad-CAM works for every network."
        self.cam_key = self._cam_key(self.attribute.value, self.found)
        if self.cam_key is None:
            return None, "Grad-CAM compares two photos, and the gallery has no other."
        kept = self.explorer.cams.get(self.cam_key)
        if kept is None:
            self.explorer.request(self)
            return None, WORKING
        if isinstance(kept, str):
            return None, html.escape(kept)
        other = self.explorer.gallery.items["image"].iloc[self.cam_key[-1]]
        return kept, f"Grad-CAM of the similarity to {html.escape(other)}"
