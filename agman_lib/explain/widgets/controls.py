"""The parts that the explorers are put together from."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ipywidgets as w
import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from agman_lib.explain.explainer import Explainer, OpenPhoto
from agman_lib.explain.widgets.picture_row import PictureRow, picture_row
from agman_lib.search.gallery import Gallery, Query

SIDE, PHOTO = 272, 176  # pixels on screen: a photo with a map, and one without
PAGE = 8  # thumbnails at once
ROWS = {"flex_flow": "row wrap"}  # side by side as far as there is room
CLOSE = "agman-close"  # class of a box in which text stands close together
STYLE = (
    f"<style>.{CLOSE} .widget-html-content {{ line-height: 1.5 }} "
    f".{CLOSE} .widget-toggle-buttons {{ flex-direction: row; align-items: baseline }}</style>"
)


def uploaded(value: Any) -> tuple[str, bytes] | None:
    """Name and content of a FileUpload's last file; None when it holds none.

    Args:
        value: the widget's ``value``: a dict by name in ipywidgets 7, a tuple of files in 8.
    """
    if not value:
        return None
    if isinstance(value, Mapping):
        name, file = list(value.items())[-1]
        return str(name), bytes(file["content"])
    return str(value[-1]["name"]), bytes(value[-1]["content"])


def words(name: str) -> str:
    """A name for the screen."""
    return html.escape(name.replace("_", " "))


# --------------------------------------------------------------------------- parts


class Chooser(w.VBox):
    """Thumbnails of a gallery, page by page, and an upload of one's own photo.

    Args:
        images: ids of the gallery's images to choose from.
        thumbnail: gives an image's JPEG bytes.
        chosen: called with an image's row in the gallery, or with an uploaded picture.
        buttons: as `picture_row` takes it.
    """

    def __init__(
        self,
        gallery: Gallery,
        images: Sequence[str],
        thumbnail: Callable[[str], bytes],
        chosen: Callable[[Query], None],
        buttons: bool = False,
    ) -> None:
        self.gallery, self.images, self.thumbnail, self.chosen = gallery, images, thumbnail, chosen
        self.strip = picture_row(
            "photo", self.pick, label="photos to look at", line=True, buttons=buttons
        )
        self.back = w.Button(description="earlier photos", disabled=True)
        self.forth = w.Button(description="more photos", disabled=len(images) <= PAGE)
        self.upload = w.FileUpload(accept="image/*", multiple=False, description="your own photo")
        self.message = w.HTML()
        self.start = 0
        self.back.on_click(lambda _: self._turn(-PAGE))
        self.forth.on_click(lambda _: self._turn(PAGE))
        self.upload.observe(self._uploaded, "value")
        self._turn(0)
        for button in (self.back, self.forth, self.upload):
            button.layout.width = "auto"
        buttons = w.Box([self.back, self.forth, self.upload], layout=ROWS)
        style = w.HTML(STYLE, layout={"display": "none"})
        super().__init__([self.strip, buttons, self.message, style])

    def _turn(self, by: int) -> None:
        self.start += by
        page = self.images[self.start : self.start + PAGE]
        self.strip.show(page, [self.thumbnail(image) for image in page], page)
        self.back.disabled = self.start == 0
        self.forth.disabled = self.start + PAGE >= len(self.images)

    def pick(self, image: str) -> None:
        """Choose an image by a click: what is wrong with it is said under the thumbnails."""
        self.message.value = ""
        try:
            self.chosen(self.gallery.row_of(image))
        except AgmanError as error:
            self.say_unusable(str(error))

    def select(self, row: int | None) -> None:
        """Mark the image of a row of the gallery as the chosen one; None for none of them."""
        self.strip.select("" if row is None else self.gallery.items["image"].iloc[row])

    def say_unusable(self, why: str) -> None:
        """Say under the thumbnails why a photo is not shown."""
        self.message.value = f"<b>This photo cannot be used.</b> {html.escape(why)}"

    def _uploaded(self, change: dict[str, Any]) -> None:
        file = uploaded(change["new"])
        if file is None:
            return
        try:
            picture = self.gallery.photo(file[1])
        except AgmanError as error:
            self.say_unusable(str(error).replace("image bytes", file[0], 1))
        else:
            self.chosen(picture)
            self.message.value = f"Your photo {html.escape(file[0])} (it stays in this notebook)."
        if isinstance(self.upload.value, tuple):
            self.upload.value = ()  # so that the same file can be given again


def images_to_show(gallery: Gallery, images: Sequence[str] | None) -> list[str]:
    """Ids to choose from, all of the gallery by default. Raises AgmanError for unknown or none."""
    if images is None:
        return list(gallery.items["image"])
    alone = isinstance(images, str) or not isinstance(images, Iterable)
    found: list[Any] = [None] if alone else list(images)
    if not all(isinstance(image, str) for image in found):
        raise wrong_type("images", "a list of image ids, such as gallery.items['image']", images)
    if not found:
        raise AgmanError("images is empty: name at least one image of the gallery")
    for image in found:
        gallery.row_of(image)
    return found


def wrong_type(what: str, needed: str, got: object) -> AgmanError:
    """An error for an argument of a type that is of no use, to be raised."""
    inside = f" of {type(next(iter(got))).__name__}" if got and isinstance(got, list) else ""
    return AgmanError(f"{what} must be {needed}; not {type(got).__name__}{inside}")


def by_network(galleries: Any) -> dict[str, Gallery]:
    """A gallery, or several by their networks' names, as the latter.

    Raises:
        AgmanError: they are none, or of different attributes or photos.
    """
    if not isinstance(galleries, Mapping):
        check_gallery(galleries)
        return {galleries.model.name: galleries}
    for gallery in galleries.values():
        check_gallery(gallery)
    if not galleries:
        raise AgmanError("no gallery is given; give at least one")
    if len({tuple(g.attribute_names) for g in galleries.values()}) > 1:
        raise AgmanError("the galleries have different attributes; give galleries of one set")
    if len({tuple(g.items["image"]) for g in galleries.values()}) > 1:
        raise AgmanError("the galleries have different photos; build them from the same ones")
    return dict(galleries)


def check_gallery(gallery: Any) -> None:
    """Raise AgmanError unless it is a gallery."""
    if not isinstance(gallery, Gallery):
        needed = "a Gallery, from Gallery.load(folder) or Gallery.build(model, about, photos)"
        raise wrong_type("gallery", needed, gallery)


def check_dataset(dataset: Any) -> None:
    """Raise AgmanError unless it is a prepared data set or None."""
    if not isinstance(dataset, PreparedDataset | None):
        raise wrong_type("dataset", "a PreparedDataset, from PreparedDataset.load(folder)", dataset)


def check_k(k: Any, most: int | None = None) -> None:
    """Raise AgmanError unless so many photos can be shown."""
    whole = isinstance(k, int | np.integer) and not isinstance(k, bool)
    if not whole or not 1 <= k <= (most or k):
        span = f"1 to {most}" if most else "at least 1"
        raise AgmanError(f"k must be a whole number, {span}, not {k!r}")


def choice(options: Any, description: str) -> w.ToggleButtons:
    """Buttons of which one is pressed, as wide as their text."""
    return w.ToggleButtons(
        options=options,
        description=description,
        style={"button_width": "initial", "description_width": "initial"},
        layout={"width": "auto"},
    )


def attribute_options(gallery: Gallery) -> list[tuple[str, str]]:
    """The attributes as they are shown, and their names."""
    return [(name.replace("_", " "), name) for name in gallery.attribute_names]


def show_found(
    strip: PictureRow, explainer: Explainer, photo: OpenPhoto, attribute: str, found: pd.DataFrame,
    thumbnails: Callable[[str], bytes],
) -> None:  # fmt: skip
    """A search's result in a row: score, tick or cross where it is known, and the value."""
    images = list(found["image"])
    captions = [
        f"{score:.2f} {value or 'no label'}"
        for score, value in zip(found["score"], found["value"], strict=True)
    ]
    right = [explainer.right(photo, attribute, value) for value in found["value"]]
    strip.show(images, [thumbnails(image) for image in images], captions, right)


def about_photo(explainer: Explainer, photo: OpenPhoto, attribute: str) -> str:
    """What is known of a photo's value: its label, or what its neighbours have."""
    value = explainer.value(photo, attribute)
    if value:
        return f"{words(attribute)}: <b>{words(value)}</b> (label)"
    try:
        vote = explainer.gallery.guess(photo.query, attribute).iloc[0]
    except AgmanError:  # no image of the gallery has a known value
        return f"{words(attribute)}: not known"
    share = f"{vote['share']:.0%} of its neighbours' votes, no certainty"
    return f"{words(attribute)}: no label; <b>{words(vote['value'])}</b>? ({share})"
