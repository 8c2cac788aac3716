"""A row of pictures to choose from, clickable themselves or with buttons beneath."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agman_lib.explain.widgets.picture_buttons import PictureButtons


class PictureRow(Protocol):
    """What `PictureButtons` and `ClickablePictures` have in common."""

    line: bool
    layout: Any

    @property
    def images(self) -> list[str]:
        """The ids that are shown."""

    @property
    def captions(self) -> list[str]:
        """The captions that are shown."""

    @property
    def shown(self) -> list[bytes]:
        """The pictures that are shown, as JPEG or PNG bytes."""

    def show(
        self,
        images: Sequence[str],
        pictures: Sequence[bytes],
        captions: Sequence[str],
        right: Sequence[bool | None] | None = None,
    ) -> None:
        """Show these pictures and no others; `right` puts a tick or a cross before a caption."""

    def select(self, image: str | None) -> None:
        """Mark one picture as the chosen one; "" for none of them."""

    def choose(self, n: int) -> None:
        """What a click on the n-th picture does."""


def picture_row(
    name: str,
    chosen: Callable[[str], None],
    *,
    label: str,
    line: bool = False,
    buttons: bool = False,
) -> PictureRow:
    """Pictures to choose from: clickable ones, or with buttons beneath where anywidget is missing.

    Args:
        name: what a picture is called, with its number: "photo" gives "photo 1". With an empty
            name it is called by its caption.
        chosen: called with the id of the image that was clicked.
        label: what the whole row is called.
        line: in one line that scrolls, rather than in as many lines as are needed.
        buttons: with buttons beneath in any case.
    """
    if not buttons:
        try:
            from agman_lib.explain.widgets.clickable_pictures import ClickablePictures
        except ImportError:
            pass
        else:
            return ClickablePictures(name, chosen, label=label, line=line)
    return PictureButtons(name, chosen, line=line)
