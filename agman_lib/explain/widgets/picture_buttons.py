"""Pictures with buttons beneath, for places without anywidget."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import ipywidgets as w

from agman_lib.explain.widgets.pictures import THUMBNAIL, captioned


class PictureButtons(w.Box):
    """Pictures, each with a caption and a button beneath, of core ipywidgets alone.

    The arguments are those of `picture_row.picture_row`.
    """

    def __init__(self, name: str, chosen: Callable[[str], None], *, line: bool = False) -> None:
        super().__init__()
        self.name, self.chosen = name, chosen
        self.cells: list[w.VBox] = []
        self.pictures: list[w.Image] = []
        self.texts: list[w.HTML] = []
        self.buttons: list[w.Button] = []
        self.images: list[str] = []
        self.captions: list[str] = []
        self._selected: str | None = None
        self.line = line

    @property
    def line(self) -> bool:
        """Whether they stand in one line that scrolls."""
        return self._line

    @line.setter
    def line(self, line: bool) -> None:
        self._line = line
        self.layout.flex_flow = "row nowrap" if line else "row wrap"
        self.layout.overflow = "auto" if line else None

    def _add(self) -> None:
        n, side = len(self.buttons), f"{THUMBNAIL}px"
        self.pictures.append(w.Image(format="jpeg", width=THUMBNAIL, height=THUMBNAIL))
        self.texts.append(w.HTML())
        self.buttons.append(w.Button(description=f"{self.name} {n + 1}"))
        self.buttons[n].layout.width = side
        self.buttons[n].on_click(lambda _: self.choose(n))
        cell = w.VBox([self.pictures[n], self.texts[n], self.buttons[n]])
        cell.layout.width, cell.layout.flex = f"{THUMBNAIL + 8}px", "none"
        self.cells.append(cell)
        self.children = self.cells

    @property
    def shown(self) -> list[bytes]:
        """The pictures that are shown, as JPEG or PNG bytes."""
        return [picture.value for picture in self.pictures[: len(self.images)]]

    def show(
        self,
        images: Sequence[str],
        pictures: Sequence[bytes],
        captions: Sequence[str],
        right: Sequence[bool | None] | None = None,
    ) -> None:
        """Show these pictures and no others; `right` puts a tick or a cross before a caption."""
        right = right or [None] * len(images)
        while len(self.buttons) < len(images):
            self._add()
        for n, cell in enumerate(self.cells):
            cell.layout.display = None if n < len(images) else "none"
        self.images, self.captions = list(images), []
        for n, (picture, text) in enumerate(zip(pictures, captions, strict=True)):
            both = captioned(self.name, n, text, right[n])
            self.captions.append(both["caption"])
            self.pictures[n].value = picture
            self.buttons[n].tooltip = both["label"]
            if self.name:
                self.texts[n].value = f"<small>{html.escape(both['caption'])}</small>"
            else:
                self.buttons[n].description = both["caption"]
        self.select(self._selected)

    def select(self, image: str | None) -> None:
        """Mark one picture as the chosen one; "" for none of them."""
        self._selected = image
        for n, shown in enumerate(self.images):
            self.buttons[n].button_style = "info" if shown == image else ""

    def choose(self, n: int) -> None:
        """What a click on the n-th picture does."""
        self.chosen(self.images[n])
