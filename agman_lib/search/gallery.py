"""A searchable gallery: the embeddings of every image under every attribute, saved and loaded.

::

    gallery = Gallery.build(*load_model("agman.safetensors"), "photos")
    gallery.search("new.jpg", "sleeve_length", k=5)
    gallery.save("gallery")

A saved gallery is a folder::

    gallery.json        what it is; image_root, the folder with the photos (they are needed to show
                        them, not to search; edit it when they have moved); left_out, photos that
                        could not be used
    items.csv           image (a unique id), path below image_root, and a column for each attribute:
                        the value's name (several joined by " | "), empty where it is not known;
                        names may be edited, lines and their order stay
    embeddings.npy      float32 or float16 (A, N, D), in the order of the attributes and of
                        items.csv; it is mapped into memory, not read
    model.safetensors   the network, so that a new photo can be searched
    approximate/        for approximate search, where it was asked for
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from agman_lib.base.errors import AgmanError, check_choice, unknown
from agman_lib.data.pixels import fit_image
from agman_lib.networks.model import RetrievalModel
from agman_lib.search.approximate import InvertedLists
from agman_lib.search.embed_photos import embed_photo, embed_photos
from agman_lib.search.figure import ranking_figure
from agman_lib.search.files import (
    SEVERAL,
    Photo,
    Photos,
    Precision,
    decode_photo,
    read_gallery,
    write_gallery,
)
from agman_lib.search.ranking import nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Query = int | np.integer | Photo | np.ndarray
"""A row of the gallery; a photo: a path, a file's bytes, a PIL image; an image id; or a photo's
embeddings (A, D), as `Gallery.embedding` gives them (they have no picture). A text that names a
file means that file, and else the image of this id; so code that holds ids asks with rows, which
`Gallery.row_of` gives. A file that is one of the gallery's own photos means its row."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """Images that can be searched by attribute. Made by `Gallery.build` or `Gallery.load`.

    A network compares pictures of the kind that it was trained on; of others it says nothing
    useful. It embeds every image under every attribute, whether the garment has that attribute or
    not.
    """

    model: RetrievalModel
    about: dict[str, Any]
    """What the network was trained to see: attributes (name, values), image_size, fit."""
    items: pd.DataFrame
    """N rows: image, path, and a column for each attribute with the names of known values."""
    embeddings: np.ndarray
    """Unit embeddings (N, A, D), float32 or float16.

    `build` and `load` give a view of an array (A, N, D), so that a search reads the embeddings of
    its attribute one after the other; in another order it takes several times as long. Those of a
    loaded gallery are mapped from their file: what is used is read, nothing can be written, and
    whether the values are numbers is found out where they are searched.
    """
    root: Path
    """The folder that the paths of the items lie in."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Photos that are not in the gallery, and why."""
    lists: InvertedLists | None = None
    """For approximate search, of a gallery that was saved with them."""

    @classmethod
    def build(
        cls,
        model: RetrievalModel,
        about: dict[str, Any],
        photos: Photos,
        *,
        batch_size: int = 64,
        precision: Precision = "float32",
        progress: bool = False,
    ) -> Gallery:
        """Embed photos under every attribute; each goes through the trunk once.

        Args:
            model, about: as `networks.load_model` returns them. The network is put in evaluation
                mode, and used on the device that it is on.
            photos: a prepared data set, whose value names are kept for the attributes that the
                network knows by the same name; or a folder, searched with its subfolders (hidden
                files and links to folders are passed over); or a list of files.
            batch_size: images at once. Memory: one batch, and 4 x A x D bytes an image.
            precision: "float16" halves memory and file; each score changes by less than 0.001, so
                that images whose scores are nearer than that may change places. A search computes
                in float32 all the same, and takes longer.
            progress: show a progress bar.

        Raises:
            AgmanError: ``about`` does not fit the network, no photo can be used, or another
                precision. Single photos that cannot be decoded are left out and named in
                ``left_out``.
        """
        check_choice("precision", precision, Precision)
        made = embed_photos(model, about, photos, batch_size, precision, progress)
        return cls(model, about, *made)

    def save(
        self,
        folder: str | Path,
        *,
        precision: Precision | None = None,
        approximate: bool = False,
    ) -> None:
        """Write the gallery's folder, whole or not at all; the class branch is not kept.

        Args:
            precision: of the embeddings in the file, as in `build`; by default what they have.
            approximate: also write what approximate search needs (minutes for 10^6 images and one
                attribute). A loaded gallery may be saved to another folder so.

        Raises:
            AgmanError: the folder exists and is not empty; embeddings hold values that are not
                numbers; another precision; for approximate search, faiss is not installed or the
                gallery has fewer than 10,000 images.
        """
        if precision is None:
            precision = "float16" if self.embeddings.dtype == np.float16 else "float32"
        check_choice("precision", precision, Precision)
        write_gallery(
            Path(folder), self.model, self.about, self.items, self.embeddings, self.root,
            self.left_out, precision, approximate,
        )  # fmt: skip

    @classmethod
    def load(cls, folder: str | Path) -> Gallery:
        """Open a saved gallery, its network on the CPU and its embeddings where they are.

        The embeddings are mapped into memory, so that a gallery which is larger than it opens, too;
        a search reads those of its attribute. Do not change the file while the gallery is open.

        Raises:
            AgmanError: names the file and the fix, when it is no gallery or a damaged one. Values
                of the embeddings that are not numbers are an error of the search that meets them.
        """
        return cls(**read_gallery(Path(folder)))

    def __len__(self) -> int:
        return len(self.items)

    @property
    def attribute_names(self) -> list[str]:
        """Names in index order."""
        return [a["name"] for a in self.about["attributes"]]

    def attribute_index(self, name: str) -> int:
        """Index of an attribute. Raises AgmanError for an unknown one."""
        if name not in self.attribute_names:
            raise unknown("attribute", name, self.attribute_names)
        return self.attribute_names.index(name)

    def row_of(self, image: str) -> int:
        """The row of an image id, whatever files there are. Raises AgmanError for an unknown id."""
        found = np.flatnonzero(self.items["image"].to_numpy() == image)
        if not len(found):
            raise unknown("image", image, self.items["image"])
        return int(found[0])

    def row(self, query: Query) -> int | None:
        """The row that a query means; None for a photo that is none of the gallery's.

        Raises:
            AgmanError: no such row; or a text that is neither a file nor an image id.
        """
        if isinstance(query, int | np.integer):
            if not 0 <= query < len(self):
                raise AgmanError(f"row {query}: the gallery has the rows 0 to {len(self) - 1}")
            return int(query)
        if isinstance(query, str | Path) and os.path.isfile(query):
            return self._row_of_file(Path(query))
        if isinstance(query, str):
            try:
                return self.row_of(query)
            except AgmanError as error:
                raise AgmanError(f"{error} (nor is there a file of this name)") from None
        return None

    def _row_of_file(self, file: Path) -> int | None:
        """The row whose photo a file is, links followed; None where it is none of them."""
        real = file.resolve()
        names = {file.name, real.name}  # to follow the links of every photo would take long
        for row, path in enumerate(self.items["path"]):
            if path.rpartition("/")[2] in names and (self.root / path).resolve() == real:
                return row
        return None

    def photo(self, query: Query) -> Image.Image:
        """The picture of a query, upright, RGB. Raises AgmanError where it cannot be decoded."""
        if (row := self.row(query)) is not None:
            query = self.root / self.items["path"].iloc[row]
        if isinstance(query, np.ndarray):
            raise AgmanError("embeddings have no picture; give the photo")
        return decode_photo(query)  # type: ignore[arg-type]  # numbers were rows

    def embedding(self, query: Query, attribute: str | None = None) -> np.ndarray:
        """The unit embedding (D,) of a query under an attribute, or (A, D) under all; float32.

        Raises:
            AgmanError: unknown attribute, image or row; a photo that cannot be decoded.
        """
        if (row := self.row(query)) is not None:
            every = self.embeddings[row].astype(np.float32)
        elif isinstance(query, np.ndarray):
            every = query
        else:
            pixels = fit_image(self.photo(query), self.about["image_size"], self.about["fit"])
            every = embed_photo(self.model, pixels)
        return every if attribute is None else every[self.attribute_index(attribute)]

    def search(
        self, query: Query, attribute: str, k: int = 5, approximate: bool = False
    ) -> pd.DataFrame:
        """The k images that are nearest to a query in an attribute.

        Args:
            query: a row, a photo or an image id, as `Query` says. An image of the gallery is left
                out of what is found, also when it is named by its file; a photo as bytes or as a
                PIL image is not looked for in the gallery, and finds its own copy first.
            approximate: look among the images that compressed lists name as candidates, not among
                all; for galleries that take too long to search, saved with such lists. Scores are
                exact, but a few of the nearest images can be missed
                (docs/command_line.md#large-galleries).

        Returns:
            Columns rank (from 1), image, path, score (cosine, -1 to 1) and value (its name where it
            is known, else empty), best first; of equal scores the earlier row.

        Raises:
            AgmanError: as `embedding`; k is below 1; embeddings that hold values which are not
                numbers; approximate, where the gallery has no lists or faiss is not installed.
        """
        return self._nearest(query, attribute, k, np.ones(len(self), bool), approximate)

    def guess(
        self, query: Query, attribute: str, k: int = 9, approximate: bool = False
    ) -> pd.DataFrame:
        """The name of a query's value, by a vote of the k nearest images whose value is known.

        A vote, not a classifier: the share says how far the neighbours agree and is no probability
        of being right. A value that no item has cannot come out, frequent values are favoured, and
        a garment without the attribute (trousers have no neckline) gets an answer all the same.
        Measure it on photos whose values you know before you rely on it.

        Args:
            query, approximate: as in `search`.

        Returns:
            Columns value, votes and share (of all votes, sums to one), most votes first, then the
            nearer. An image with several values splits its vote among them.

        Raises:
            AgmanError: as `search`, or no (other) item has a known value of the attribute.
        """
        self.attribute_index(attribute)
        known = np.array(self.items[attribute] != "")
        table = self._nearest(query, attribute, k, known, approximate)
        if table.empty:
            raise AgmanError(
                f"no (other) item of the gallery has a known value of {attribute}; write names "
                "into that column of its items.csv, or build it from a prepared folder with labels"
            )
        votes: dict[str, float] = {}
        for value in table["value"]:
            names = value.split(SEVERAL)
            for name in names:
                votes[name] = votes.get(name, 0.0) + 1 / len(names)
        ranked = sorted(votes.items(), key=lambda item: -item[1])
        counted = pd.DataFrame(ranked, columns=["value", "votes"])
        return counted.assign(share=counted["votes"] / counted["votes"].sum())

    def _nearest(
        self, query: Query, attribute: str, k: int, keep: np.ndarray, approximate: bool
    ) -> pd.DataFrame:
        """The table of `search` over the rows where ``keep`` (N,)."""
        index, row = self.attribute_index(attribute), self.row(query)
        if k < 1:
            raise AgmanError(f"k must be at least 1, not {k}")
        asked = self.embedding(query if row is None else row, attribute)
        if row is not None:
            keep[row] = False
        rows = self._candidates(index, asked, k) if approximate else None
        best, score = nearest(self.embeddings, index, asked, k, keep, rows)
        found = self.items.iloc[best]
        return pd.DataFrame(
            {
                "rank": np.arange(1, len(best) + 1),
                "image": found["image"].to_numpy(),
                "path": found["path"].to_numpy(),
                "score": score.astype(float),
                "value": found[attribute].to_numpy(),
            }
        )

    def _candidates(self, index: int, asked: np.ndarray, k: int) -> np.ndarray:
        """Rows to rank, of an approximate search."""
        if self.lists is None:
            raise AgmanError(
                "this gallery has no lists for approximate search; make them with `agman index … "
                "--approximate`, or Gallery.load(folder).save(another, approximate=True); or "
                "search exactly"
            )
        return self.lists.candidates(index, asked, k)

    def figure(
        self,
        query: Query,
        attributes: str | Sequence[str] | None = None,
        k: int = 5,
        approximate: bool = False,
    ) -> Figure:
        """A row for each attribute: the query, and the k nearest with their score and value.

        Args:
            query, approximate: as in `search`.

        Raises:
            AgmanError: as `search`; a photo to be shown is not where it was.
        """
        names = [attributes] if isinstance(attributes, str) else attributes or self.attribute_names
        rows = []
        for name in names:
            table = self.search(query, name, k, approximate)
            texts = [f"{r.score:.2f} {r.value}".replace("_", " ") for r in table.itertuples()]
            shown: list[Query] = [query, *map(self.row_of, table["image"])]
            rows.append((name, [self.photo(each) for each in shown], ["query", *texts]))
        return ranking_figure(rows, k)
