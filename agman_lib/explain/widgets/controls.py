"""The parts that the explorers are put together from, and how pictures go to the browser."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ipywidgets as w
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from agman_lib.explain.explainer import Explainer, OpenPhoto
from agman_lib.explain.overlays import mark
from agman_lib.search.gallery import Gallery, Query

SIDE, THUMBNAIL = 272, 96  # pixels on screen
PAGE = 8  # thumbnails at once
ROWS = {"flex_flow": "row wrap"}  # side by side as far as there is room


def png(picture: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, 3), as PNG bytes; nothing is lost."""
    return _encoded(picture, format="PNG", compress_level=1)


def jpeg(picture: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, 3), as JPEG bytes."""
    return _encoded(picture, format="JPEG", quality=88)


def _encoded(picture: np.ndarray, **how: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, **how)
    return out.getvalue()


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


class Strip(w.Box):
    """Thumbnails, each with a caption and a button.

    Args:
        size: how many at most.
        name: what the buttons are called, with their number: "photo" gives "photo 1".
        chosen: called with the id of the image whose button was clicked.
    """

    def __init__(self, size: int, name: str, chosen: Callable[[str], None]) -> None:
        self.images = [""] * size
        self.pictures = [
            w.Image(format="jpeg", width=THUMBNAIL, height=THUMBNAIL) for _ in range(size)
        ]
        self.captions = [w.HTML() for _ in range(size)]
        self.buttons = [w.Button(description=f"{name} {n + 1}") for n in range(size)]
        cells = []
        for n, button in enumerate(self.buttons):
            button.layout.width = f"{THUMBNAIL}px"
            button.on_click(lambda _, n=n: chosen(self.images[n]))
            cells.append(w.VBox([self.pictures[n], self.captions[n], button]))
            cells[-1].layout.width = f"{THUMBNAIL + 8}px"
        super().__init__(cells, layout=ROWS)

    def show(
        self, images: Sequence[str], pictures: Sequence[bytes], captions: Sequence[str]
    ) -> None:
        """Fill the first cells, and hide the others. Captions are plain text."""
        for n, cell in enumerate(self.children):
            cell.layout.display = None if n < len(images) else "none"
        self.images = list(images)
        for n, image in enumerate(images):
            self.pictures[n].value = pictures[n]
            self.captions[n].value = f"<small>{words(captions[n])}</small>"
            self.buttons[n].tooltip = f"{image}: {captions[n]}"


class Chooser(w.VBox):
    """Thumbnails of a gallery, page by page, and an upload of one's own photo.

    Args:
        images: ids of the gallery's images to choose from.
        thumbnail: gives an image's JPEG bytes.
        chosen: called with an image's row in the gallery, or with an uploaded picture.
    """

    def __init__(
        self,
        gallery: Gallery,
        images: Sequence[str],
        thumbnail: Callable[[str], bytes],
        chosen: Callable[[Query], None],
    ) -> None:
        self.gallery, self.images, self.thumbnail, self.chosen = gallery, images, thumbnail, chosen
        self.strip = Strip(PAGE, "photo", self.pick)
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
        super().__init__([self.strip, buttons, self.message])

    def _turn(self, by: int) -> None:
        self.start += by
        page = self.images[self.start : self.start + PAGE]
        self.strip.show(page, [self.thumbnail(image) for image in page], page)
        self.back.disabled = self.start == 0
        self.forth.disabled = self.start + PAGE >= len(self.images)

    def pick(self, image: str) -> None:
        """Choose an image by a button: what is wrong with it is said under the thumbnails."""
        self.message.value = ""
        try:
            self.chosen(self.gallery.row_of(image))
        except AgmanError as error:
            self.say_unusable(str(error))

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


def thumbnail(explainer: Explainer, image: str) -> bytes:
    """A small picture of one of the gallery's images, by its id, as JPEG bytes."""
    try:
        picture = Image.fromarray(explainer.picture(explainer.gallery.row_of(image)))
    except AgmanError:  # moved or damaged since the gallery was made
        picture = Image.new("RGB", (THUMBNAIL, THUMBNAIL), "lightgrey")
        ImageDraw.Draw(picture).text((8, 40), "cannot be read", "black")
    picture.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))
    return jpeg(np.asarray(picture))


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
        options=options, description=description, style={"button_width": "initial"}
    )


def attribute_options(gallery: Gallery) -> list[tuple[str, str]]:
    """The attributes as they are shown, and their names."""
    return [(name.replace("_", " "), name) for name in gallery.attribute_names]


def show_found(
    strip: Strip, explainer: Explainer, photo: OpenPhoto, attribute: str, found: pd.DataFrame,
    thumbnails: Callable[[str], bytes],
) -> None:  # fmt: skip
    """A search's result in a strip: score, tick or cross where it is known, and the value."""
    images = list(found["image"])
    captions = [
        f"{mark(explainer.right(photo, attribute, value))}{score:.2f} {value or 'no label'}"
        for score, value in zip(found["score"], found["value"], strict=True)
    ]
    strip.show(images, [thumbnails(image) for image in images], captions)


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
