"""Pictures that are clicked themselves; this file alone needs anywidget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from agman_lib.explain.widgets.pictures import THUMBNAIL, captioned

HERE = Path(__file__).parent


class ClickablePictures(anywidget.AnyWidget):
    """Pictures with captions, each of which is a button for the mouse and the keyboard.

    To Python the same as `picture_buttons.PictureButtons`. Tab and the arrow keys go from picture
    to picture; Enter and Space choose one.

    Args:
        name: what a picture is called, with its number, to those who do not see it.
        chosen: called with the id of the image that was clicked.
        label: what the whole row is called.
        line: in one line that scrolls, rather than in as many lines as are needed.
    """

    _esm = (HERE / "clickable_pictures.js").read_text(encoding="utf-8")
    _css = (HERE / "clickable_pictures.css").read_text(encoding="utf-8")
    cells = t.List(t.Dict()).tag(sync=True)
    selected = t.Unicode(None, allow_none=True).tag(sync=True)
    side = t.Int(THUMBNAIL).tag(sync=True)
    label = t.Unicode().tag(sync=True)
    line = t.Bool(False).tag(sync=True)

    def __init__(
        self, name: str, chosen: Callable[[str], None], *, label: str, line: bool = False
    ) -> None:
        super().__init__(label=label, line=line)
        self.name, self.chosen = name, chosen
        self.on_msg(self._clicked)

    def _clicked(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        try:
            self.chosen(content["chosen"])
        finally:
            self.send({"done": True})

    @property
    def images(self) -> list[str]:
        """The ids that are shown."""
        return [cell["id"] for cell in self.cells]

    @property
    def captions(self) -> list[str]:
        """The captions that are shown."""
        return [cell["caption"] for cell in self.cells]

    @property
    def shown(self) -> list[bytes]:
        """The pictures that are shown, as JPEG or PNG bytes."""
        return [cell["picture"] for cell in self.cells]

    def show(
        self,
        images: Sequence[str],
        pictures: Sequence[bytes],
        captions: Sequence[str],
        right: Sequence[bool | None] | None = None,
    ) -> None:
        """Show these pictures and no others; `right` puts a tick or a cross before a caption."""
        right = right or [None] * len(images)
        self.cells = [
            {"id": image, "picture": picture, "right": good, **captioned(self.name, n, text, good)}
            for n, (image, picture, text, good) in enumerate(
                zip(images, pictures, captions, right, strict=True)
            )
        ]

    def select(self, image: str | None) -> None:
        """Mark one picture as the chosen one; "" for none of them."""
        self.selected = image

    def choose(self, n: int) -> None:
        """What a click on the n-th picture does."""
        self.chosen(self.images[n])
