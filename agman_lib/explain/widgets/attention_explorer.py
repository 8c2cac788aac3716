"""Point at a garment, switch the attribute, see where the network looks and what it finds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

import ipywidgets as w
import numpy as np
from matplotlib.figure import Figure

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from agman_lib.explain.explainer import Explainer, OpenPhoto
from agman_lib.explain.figures import explanation_row
from agman_lib.explain.maps import MAPS
from agman_lib.explain.overlays import OPACITY, explanation_grid
from agman_lib.explain.widgets.attribute_panel import Panel
from agman_lib.explain.widgets.controls import (
    CLOSE,
    PHOTO,
    ROWS,
    SIDE,
    Chooser,
    by_network,
    check_dataset,
    check_k,
    choice,
    images_to_show,
)
from agman_lib.explain.widgets.pictures import png, thumbnail
from agman_lib.search.gallery import Gallery, Query

KEPT = 64  # Grad-CAM maps


class AttentionExplorer(w.VBox):
    """Point at a garment, switch the attribute, and see where the network looks and what it finds.

    Args:
        galleries: a gallery, whose network is the one explained; or several of the same photos
            and attributes, by their networks' names.
        dataset: the prepared folder that they were built from, for the true regions.
        images: ids to choose from; by default all of the gallery.
        k: how many photos are found.
        buttons: put buttons beneath the pictures in any case, not only where anywidget is missing.

    A click on a picture chooses it: a photo to look at, an attribute by its small map, a photo that
    is found. A photo is shown at once, and its maps when it has been through the network. It goes
    through the trunk once; switching the attribute runs the head alone. Grad-CAM is
    computed in the background.

    Raises:
        AgmanError: the galleries have different attributes or photos; the data set has none of the
            photos; an unknown image, or none; something of another type.
    """

    def __init__(
        self,
        galleries: Gallery | Mapping[str, Gallery],
        dataset: PreparedDataset | None = None,
        images: Sequence[str] | None = None,
        k: int = 5,
        buttons: bool = False,
    ) -> None:
        galleries = by_network(galleries)
        check_dataset(dataset)
        check_k(k)
        self.explainers = {name: Explainer(g, dataset) for name, g in galleries.items()}
        self.gallery, self.k, self.buttons = next(iter(galleries.values())), k, buttons
        first = next(iter(self.explainers.values()))
        self.thumbnails = lru_cache(512)(partial(thumbnail, first))
        self.lock = threading.RLock()
        self.cams: OrderedDict[tuple[Any, ...], np.ndarray | str] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, "grad-cam")
        images = images_to_show(self.gallery, images)
        if dataset is not None and not any(first.in_dataset(image) for image in images):
            raise AgmanError(
                f"{dataset.folder}: none of the gallery's photos is a file of this data set, so it "
                "knows no true regions of them; give the one that the gallery was built from"
            )

        every = dict.fromkeys(m for e in self.explainers.values() for m in e.map_names)
        self.map = choice([(MAPS[name], name) for name in every], "map")
        self.opacity = w.FloatSlider(
            value=OPACITY, min=0, max=1, step=0.05, description="opacity of the map",
            style={"description_width": "initial"},
        )  # fmt: skip
        self.regions = w.Checkbox(
            value=dataset is not None, description="true region", indent=False
        )
        self.compare = w.Checkbox(value=False, description="two side by side", indent=False)
        self.regions.disabled = dataset is None
        for box in (self.regions, self.compare):
            box.layout.width = "auto"
        self.against = w.Dropdown(
            options=[(f"nearest {n + 1}", n + 1) for n in range(k)],
            description="Grad-CAM compares with",
            style={"description_width": "initial"},
        )
        self.chooser = Chooser(self.gallery, images, self.thumbnails, self.look_at, buttons)
        self.chooser.layout.flex, self.chooser.layout.min_width = "1 1 0", f"{SIDE + 8}px"
        self.plain = w.Image(format="png", width=PHOTO, height=PHOTO)
        plain = w.VBox([self.plain], layout={"width": f"{SIDE + 8}px"})
        attributes, networks = self.gallery.attribute_names, list(self.explainers)
        self.source_number = 0
        self._source: Query = self.gallery.row_of(images[0])
        self._photos: dict[str, OpenPhoto] = {}
        self.panels = [
            Panel(self, networks[0], attributes[0]),
            Panel(self, networks[-1], attributes[0 if len(networks) > 1 else -1]),
        ]
        self.compare.observe(lambda _: self._arrange(), "value")
        for control in (self.map, self.opacity, self.regions, self.against):
            control.observe(lambda _: self._draw(), "value")
        for control in (self.map, self.regions, self.against):
            control.observe(lambda _: self._draw_maps(), "value")
        controls = w.Box(
            [self.map, self.opacity, self.regions, self.compare, self.against], layout=ROWS
        )
        super().__init__([w.Box([plain, self.chooser], layout=ROWS), controls, w.Box(layout=ROWS)])
        self.add_class(CLOSE)
        self._show_against()
        self.look_at(self._source)
        self._arrange()

    @property
    def shown(self) -> list[Panel]:
        """The panels on screen."""
        return self.panels if self.compare.value else self.panels[:1]

    def look_at(self, source: Query) -> None:
        """Look at another photo: a row of the gallery, an image id, or a picture.

        Raises:
            AgmanError: no such image, or its file cannot be read; the explorer stays as it was.
        """
        picture = next(iter(self.explainers.values())).picture(source)
        with self.lock:
            self.source_number += 1
            self._source, self._photos = source, {}
            for panel in self.panels:
                panel.show_plain(picture)
        self.plain.value = png(picture)
        self.chooser.select(self.gallery.row(source))
        for panel in self.shown:
            panel.refresh()

    def photo(self, network: str) -> OpenPhoto:
        """The photo that is looked at, through a network's trunk; once for each photo."""
        if network not in self._photos:
            self._photos[network] = self.explainers[network].open(self._source)
        return self._photos[network]

    def scale(self, picture: np.ndarray) -> int:
        """So many pixels of the screen for one of the picture."""
        return max(1, round(SIDE / len(picture)))

    def figure(self) -> Figure:
        """What is on screen as a matplotlib figure: the photo, the map, channels, what is found.

        It waits for Grad-CAM.
        """
        rows = []
        for panel in self.shown:
            maps, cam = [self.map.value], None
            if self.map.value == "grad_cam":
                self.wait()
                cam, _ = panel.heat()
                maps = [] if cam is None else maps
            rows.append(
                explanation_row(
                    panel.explainer,
                    panel.photo,
                    panel.attribute.value,
                    maps,
                    k=self.k,
                    opacity=self.opacity.value,
                    regions=self.regions.value,
                    cam=cam,
                    scale=self.scale(panel.photo.picture),
                )
            )
        title = MAPS[self.map.value]
        if len(self.explainers) > 1:
            title += ": " + ", ".join(p.network.value for p in self.shown)
        return explanation_grid(rows, title)

    def _arrange(self) -> None:
        if self.compare.value:
            self.panels[1].refresh()
        for panel in self.shown:
            panel.layout.width = "calc(50% - 4px)" if self.compare.value else "100%"
            panel.in_one_line(self.compare.value)
        self.children[2].children = self.shown

    def _draw(self) -> None:
        self._show_against()
        for panel in self.shown:
            panel.draw()

    def _draw_maps(self) -> None:
        for panel in self.shown:
            panel.draw_maps()

    def _show_against(self) -> None:
        self.against.layout.display = None if self.map.value == "grad_cam" else "none"

    # ------------------------------------------------------------------- Grad-CAM, behind the rest

    def request(self, panel: Panel) -> None:
        """Compute the Grad-CAM map that a panel wants, in the background; then it is drawn."""
        explainer, photo, attribute = panel.explainer, panel.photo, panel.attribute.value
        key = panel.cam_key
        assert key is not None

        def work() -> None:
            if not any(p.cam_key == key for p in self.shown) or key in self.cams:
                return  # no longer wanted
            made: np.ndarray | str
            try:
                made = explainer.grad_cam(photo, attribute, key[-1])
            except Exception as error:  # shown where the map would be; nobody sees a thread's error
                made = f"Grad-CAM failed: {error}"
            with self.lock:
                self.cams[key] = made
                while len(self.cams) > KEPT:
                    self.cams.popitem(last=False)
                for waiting in self.shown:
                    if waiting.cam_key == key:
                        waiting.draw()
                        waiting.draw_maps()

        self._pool.submit(work)

    def wait(self) -> None:
        """Until the Grad-CAM maps that were asked for are there."""
        self._pool.submit(lambda: None).result()

    def close(self) -> None:
        """Take it off the screen and end its thread."""
        if hasattr(self, "_pool"):  # ipywidgets closes what was not made to the end, too
            self._pool.shutdown(wait=False, cancel_futures=True)
        super().close()
