"""A query, an attribute, and the photos that are nearest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

import ipywidgets as w
from matplotlib.figure import Figure

from agman_lib.explain.explainer import Explainer, OpenPhoto
from agman_lib.explain.figures import explanation_row
from agman_lib.explain.overlays import explanation_grid
from agman_lib.explain.widgets.controls import (
    CLOSE,
    PHOTO,
    ROWS,
    Chooser,
    about_photo,
    attribute_options,
    check_gallery,
    check_k,
    choice,
    images_to_show,
    show_found,
)
from agman_lib.explain.widgets.picture_row import picture_row
from agman_lib.explain.widgets.pictures import png, thumbnail
from agman_lib.search.gallery import Gallery, Query


class RetrievalExplorer(w.VBox):
    """A query, an attribute, and the nearest photos with score and tick or cross.

    A click on a photo that is found makes it the query.

    Args:
        gallery: what is searched.
        images: ids to choose the query from; by default all of the gallery.
        k: how many are found at first; at most 24.
        buttons: put buttons beneath the pictures in any case, not only where anywidget is missing.

    Raises:
        AgmanError: an unknown image, or none; something of another type.
    """

    MOST = 24

    def __init__(
        self,
        gallery: Gallery,
        images: Sequence[str] | None = None,
        k: int = 8,
        buttons: bool = False,
    ) -> None:
        check_gallery(gallery)
        check_k(k, self.MOST)
        images = images_to_show(gallery, images)
        self.explainer, self.gallery = Explainer(gallery), gallery
        self.thumbnails = lru_cache(512)(partial(thumbnail, self.explainer))
        self.attribute = choice(attribute_options(gallery), "attribute")
        self.k = w.IntSlider(value=k, min=1, max=self.MOST, description="how many")
        self.query = w.Image(format="png", width=PHOTO, height=PHOTO)
        self.about = w.HTML()
        self.back = w.Button(description="query before", disabled=True)
        self.back.on_click(lambda _: self._back())
        self.before: list[OpenPhoto] = []
        self.photo = self.explainer.open(gallery.row_of(images[0]))
        self.chooser = Chooser(gallery, images, self.thumbnails, self.look_at, buttons)
        self.strip = picture_row(
            "query", self.chooser.pick, label="nearest photos", buttons=buttons
        )
        for control in (self.attribute, self.k):
            control.observe(lambda _: self.refresh(), "value")
        query = w.VBox([self.query, self.about, self.back])
        query.layout.width, query.layout.flex = f"{PHOTO + 8}px", "none"
        self.strip.layout.flex, self.strip.layout.min_width = "1 1 0", f"{PHOTO + 8}px"
        shown = w.Box([query, self.strip], layout=ROWS)
        super().__init__([self.chooser, self.attribute, self.k, shown])
        self.add_class(CLOSE)
        self.refresh()

    def look_at(self, source: Query) -> None:
        """Make another photo the query, as `Explainer.open` takes it and raises."""
        self.query.value = png(self.explainer.picture(source))  # at once; then the network
        photo = self.explainer.open(source)
        self.before, self.photo = [*self.before[-19:], self.photo], photo
        self.refresh()

    def _back(self) -> None:
        self.photo = self.before.pop()
        self.refresh()

    def refresh(self) -> None:
        """Search and show again."""
        photo, attribute = self.photo, self.attribute.value
        self.back.disabled = not self.before
        self.query.value = png(photo.picture)
        self.chooser.select(photo.row)
        self.about.value = "<b>Query</b><br>" + about_photo(self.explainer, photo, attribute)
        self.found = self.explainer.search(photo, attribute, self.k.value)
        show_found(self.strip, self.explainer, photo, attribute, self.found, self.thumbnails)

    def figure(self) -> Figure:
        """The query and what is found, as a matplotlib figure."""
        row = explanation_row(
            self.explainer, self.photo, self.attribute.value, (), k=self.k.value, channels=False
        )
        return explanation_grid([row], f"The {self.k.value} nearest")
