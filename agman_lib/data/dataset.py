"""The prepared folder: the one format that every data set becomes, and its validation.

::

    <name>/
      dataset.json   name, title, source, licence, protocol, image_root,
                     attributes: [{name, values: [...]}, ...],
                     published_splits: those taken from published split files (may be left out)
      images.csv     image (a unique id), path, split, role       role: train | query | candidate
      labels.csv     image, attribute, value, evaluated           long form; evaluated 0 or 1
      triplets.csv   anchor, negative, positive, attribute, split     (protocol "triplets")
      regions.csv    image, attribute, x0, y0, x1, y1      pixels of the stored file, half-open
      images/        the files, or image_root elsewhere

Names, not numbers, are stored; numbers (indices) are given by the order in ``dataset.json`` and by
the row in ``images.csv``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError, unknown
from agman_lib.base.folders import whole_folder
from agman_lib.data.schema import (
    COLUMNS,
    SPLITS,
    check_files,
    check_images,
    check_labels,
    check_regions,
    check_triplets,
    read_about,
)


@dataclass(frozen=True)
class Attribute:
    """An attribute ("sleeve_length") and its values ("short", …) in index order."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Labels:
    """Labels as indices, one row each: ``image``, ``attribute``, ``value``, all int64 (L,)."""

    image: np.ndarray
    attribute: np.ndarray
    value: np.ndarray

    def __len__(self) -> int:
        return len(self.image)

    def where(self, keep: np.ndarray) -> Labels:
        """The rows that a boolean mask (L,) or an index array picks."""
        return Labels(self.image[keep], self.attribute[keep], self.value[keep])


@dataclass(frozen=True)
class PreparedDataset:
    """A validated prepared folder. Made by `PreparedDataset.load`."""

    folder: Path
    name: str
    title: str
    source: str
    licence: str
    protocol: str
    image_root: Path
    attributes: tuple[Attribute, ...]
    images: pd.DataFrame
    labels: pd.DataFrame
    regions: pd.DataFrame | None
    triplets: pd.DataFrame | None
    published_splits: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: str | Path) -> PreparedDataset:
        """Read and check a prepared folder.

        Raises:
            AgmanError: names the file and the line of the first fault, and says how to fix it.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise AgmanError(
                f"{folder}: no such folder; make a prepared data set with `agman prepare`"
            )
        about = read_about(folder)
        attributes = tuple(Attribute(a["name"], tuple(a["values"])) for a in about["attributes"])
        images = check_images(folder, about["protocol"])
        root = folder / about["image_root"]
        check_files(folder, root, images)
        known = {a.name: a.values for a in attributes}
        return cls(
            folder=folder,
            image_root=root,
            attributes=attributes,
            images=images,
            labels=check_labels(folder, images, known),
            regions=check_regions(folder, images, known),
            triplets=check_triplets(folder, images, known, about["protocol"]),
            published_splits=tuple(about.get("published_splits", ())),
            **{key: about[key] for key in ("name", "title", "source", "licence", "protocol")},
        )

    @property
    def attribute_names(self) -> list[str]:
        """Names in index order."""
        return [a.name for a in self.attributes]

    @property
    def n_attributes(self) -> int:
        """A."""
        return len(self.attributes)

    def attribute_index(self, name: str) -> int:
        """Index of an attribute. Raises AgmanError for an unknown one."""
        if name not in self.attribute_names:
            raise unknown("attribute", name, self.attribute_names, str(self.folder))
        return self.attribute_names.index(name)

    def image_index(self, image: str) -> int:
        """Row of an image id. Raises AgmanError for an unknown one."""
        if image not in self._image_rows.index:
            raise unknown("image", image, self.images["image"], str(self.folder / "images.csv"))
        return int(self._image_rows[image])

    @cached_property
    def paths(self) -> list[Path]:
        """Where each image's file is, in the order of ``images``."""
        return [self.image_root / p for p in self.images["path"]]

    @cached_property
    def fingerprint(self) -> str:
        """A digest of what results depend on, 16 hexadecimal digits.

        Of the name, source, protocol and attributes in ``dataset.json`` and of the files
        ``images.csv``, ``labels.csv`` and ``triplets.csv``, byte for byte. Not of the photos
        themselves, of where they lie, or of ``regions.csv``.
        """
        digest = hashlib.sha256()
        attributes = [(a.name, a.values) for a in self.attributes]
        about = [self.name, self.source, self.protocol, attributes]
        digest.update(json.dumps(about).encode())
        for name in ("images.csv", "labels.csv", "triplets.csv"):
            file = self.folder / name
            digest.update(hashlib.sha256(file.read_bytes()).digest() if file.exists() else b"-")
        return digest.hexdigest()[:16]

    @cached_property
    def _image_rows(self) -> pd.Series:
        return pd.Series(np.arange(len(self.images)), index=self.images["image"])

    @cached_property
    def _all_labels(self) -> tuple[Labels, np.ndarray]:
        attribute = self.labels["attribute"].map({a.name: i for i, a in enumerate(self.attributes)})
        codes = {(a.name, v): i for a in self.attributes for i, v in enumerate(a.values)}
        pairs = zip(self.labels["attribute"], self.labels["value"], strict=True)
        value = np.fromiter((codes[p] for p in pairs), np.int64, len(self.labels))
        image = self._image_rows.reindex(self.labels["image"]).to_numpy(np.int64)
        evaluated = self.labels["evaluated"].to_numpy(bool)
        return Labels(image, attribute.to_numpy(np.int64), value), evaluated

    def split_labels(self, split: str, role: str | None = None, evaluated: bool = False) -> Labels:
        """The labels of a split as indices.

        Args:
            split: train, valid or test.
            role: only images with this role; None for all.
            evaluated: only the labels that the protocol scores.

        Raises:
            AgmanError: the split is unknown, or nothing is left of it.
        """
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        rows = self.images["split"].eq(split).to_numpy()
        if role is not None:
            rows = rows & self.images["role"].eq(role).to_numpy()
        labels, is_evaluated = self._all_labels
        keep = rows[labels.image]
        if evaluated:
            keep = keep & is_evaluated
        if not keep.any():
            kind = ("evaluated " if evaluated else "") + (f"{role} " if role else "")
            raise AgmanError(
                f"{self.folder}: split {split!r} has no {kind}labels; "
                "check the columns split, role (images.csv) and evaluated (labels.csv)"
            )
        return labels.where(keep)

    def boxes(self, image: int, attribute: int) -> np.ndarray:
        """True regions (R, 4) as x0, y0, x1, y1 in pixels of the stored file; R may be 0."""
        if self.regions is None:
            return np.zeros((0, 4), np.int64)
        rows = self.regions["image"].eq(self.images["image"].iloc[image])
        rows &= self.regions["attribute"].eq(self.attributes[attribute].name)
        return self.regions.loc[rows, ["x0", "y0", "x1", "y1"]].to_numpy(np.int64)


# --------------------------------------------------------------------------- writing


@contextmanager
def staging(out: str | Path) -> Iterator[Path]:
    """A temporary folder beside ``out`` that becomes ``out`` when the block ends well.

    What was written is validated before it takes its name; when anything fails, nothing is left.

    Raises:
        AgmanError: ``out`` exists and is not an empty folder.
    """
    with whole_folder(Path(out), PreparedDataset.load) as partial:
        yield partial


def write_prepared(
    folder: str | Path,
    *,
    name: str,
    title: str,
    source: str,
    licence: str,
    attributes: list[Attribute] | tuple[Attribute, ...],
    images: pd.DataFrame,
    labels: pd.DataFrame,
    regions: pd.DataFrame | None = None,
    triplets: pd.DataFrame | None = None,
    protocol: str = "retrieval",
    image_root: str = "images",
    published_splits: Iterable[str] = (),
) -> None:
    """Write the tables of a prepared folder (columns as in `COLUMNS`); images are not touched."""
    folder = Path(folder)
    about = {
        "name": name,
        "title": title,
        "source": source,
        "licence": licence,
        "protocol": protocol,
        "image_root": image_root,
        "published_splits": list(published_splits),
        "attributes": [{"name": a.name, "values": list(a.values)} for a in attributes],
    }
    text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
    (folder / "dataset.json").write_text(text, encoding="utf-8")
    tables = {
        "images.csv": images,
        "labels.csv": labels,
        "regions.csv": regions,
        "triplets.csv": triplets,
    }
    for file, table in tables.items():
        if table is not None:
            table[COLUMNS[file]].to_csv(folder / file, index=False, lineterminator="\n")
