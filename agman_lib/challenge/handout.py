"""A challenge: a test split whose labels the instructor keeps.

::

    OUT/
      handout/            for everybody
        challenge.json    format, id, title, attributes (names), pairs (how many), rules
        pairs.csv         pair, image, attribute: embed each image under its attribute
        photos/           the images, in random order under numbers
      key/                for the instructor alone
        challenge.json    the same file
        places.csv        pair, image (the prepared folder's), attribute
        data/             the test split of the prepared folder, with its labels

A pair says neither whether it is a query or a candidate nor which value its image has.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from agman_lib.base.folders import whole_folder, write_json
from agman_lib.data.dataset import PreparedDataset
from agman_lib.evaluation.protocol import pairs_to_embed

FORMAT = "agman-challenge-1"
SPLIT = "test"


@dataclass(frozen=True)
class Rules:
    """What a submission may use.

    Attributes:
        images_seen: training images of one training, an image counting each time that it is seen.
        parameters: of the network that retrieves, without what only training needs.
        dimensions: of an embedding.
        seeds: trainings to hand in.
    """

    images_seen: int = 7680
    parameters: int = 5_000_000
    dimensions: int = 512
    seeds: int = 3


@dataclass(frozen=True)
class Challenge:
    """A challenge as its ``challenge.json`` describes it; of a key, with the labels."""

    folder: Path
    id: str
    title: str
    attributes: tuple[str, ...]
    pairs: int
    rules: Rules

    @classmethod
    def load(cls, folder: str | Path) -> Challenge:
        """Open a handout or a key. Raises AgmanError when the folder is neither."""
        folder = Path(folder)
        file = folder / "challenge.json"
        if not file.is_file():
            raise AgmanError(
                f"{folder}: neither a challenge's handout nor its key (no challenge.json); "
                "`agman challenge` makes both"
            )
        about = json.loads(file.read_text(encoding="utf-8"))
        if about.get("format") != FORMAT:
            raise AgmanError(f"{file}: of format {about.get('format')!r}, and {FORMAT!r} is read")
        return cls(
            folder,
            about["id"],
            about["title"],
            tuple(about["attributes"]),
            about["pairs"],
            Rules(**about["rules"]),
        )

    @cached_property
    def dataset(self) -> PreparedDataset:
        """The prepared folder, with its labels. Raises AgmanError for a handout."""
        if not (self.folder / "places.csv").is_file():
            raise AgmanError(f"{self.folder}: a handout, which has no labels; name the key")
        return PreparedDataset.load(self.folder / "data")

    @cached_property
    def rows(self) -> np.ndarray:
        """For each pair that the protocol embeds, in its order, the number of its pair (L,)."""
        places = pd.read_csv(self.folder / "places.csv", dtype=str, keep_default_na=False)
        number = {
            (image, attribute): pair
            for pair, image, attribute in zip(
                places["pair"].astype(int), places["image"], places["attribute"], strict=True
            )
        }
        names, images = self.dataset.attribute_names, self.dataset.images["image"].to_numpy()
        wanted = zip(*pairs_to_embed(self.dataset, SPLIT), strict=True)
        return np.array([number[images[i], names[a]] for i, a in wanted])


def make_challenge(
    out: str | Path, dataset: PreparedDataset, rules: Rules | None = None
) -> Challenge:
    """Hide the test split of a prepared folder: write a handout and a key.

    The test split is copied into the key, tables and photos. The order of pairs and photos is
    drawn from the operating system's source of randomness, so nobody can repeat it.

    Args:
        out: folder to make.
        dataset: a prepared folder with the retrieval protocol.

    Returns:
        The key.

    Raises:
        AgmanError: ``out`` exists, or the data set consists of triplets.
    """
    if dataset.protocol != "retrieval":
        raise AgmanError(f"{dataset.folder}: of triplets, and a challenge needs queries")
    rng = np.random.default_rng(secrets.randbits(128))
    image, attribute = np.unique(np.stack(pairs_to_embed(dataset, SPLIT)), axis=1)
    order = rng.permutation(len(image))
    image, attribute = image[order], attribute[order]
    shown = rng.permutation(np.unique(image))
    paths = dataset.images["path"].to_numpy()
    name = {i: f"{k:06d}{Path(paths[i]).suffix.lower()}" for k, i in enumerate(shown)}
    names = np.array(dataset.attribute_names)[attribute]
    pairs = pd.DataFrame({"pair": range(len(image)), "image": [name[i] for i in image]})
    places = pairs.assign(image=dataset.images["image"].to_numpy()[image], attribute=names)
    pairs["attribute"] = names
    with whole_folder(Path(out)) as folder:
        handout, key = folder / "handout", folder / "key"
        (handout / "photos").mkdir(parents=True)
        for i in shown:
            shutil.copyfile(dataset.image_root / paths[i], handout / "photos" / name[i])
        pairs.to_csv(handout / "pairs.csv", index=False, lineterminator="\n")
        _copy_test_split(dataset, key / "data")
        places.to_csv(key / "places.csv", index=False, lineterminator="\n")
        about = {
            "format": FORMAT,
            "id": hashlib.sha256((handout / "pairs.csv").read_bytes()).hexdigest()[:16],
            "title": dataset.title,
            "attributes": dataset.attribute_names,
            "pairs": len(pairs),
            "rules": asdict(rules or Rules()),
        }
        for half in (handout, key):
            write_json(half / "challenge.json", about)
    return Challenge.load(Path(out) / "key")


def _copy_test_split(dataset: PreparedDataset, to: Path) -> None:
    """The test split as a prepared folder of its own, with its photos in ``images``."""
    to.mkdir(parents=True)
    test = dataset.images[dataset.images["split"] == SPLIT]
    for file in ("images.csv", "labels.csv"):
        table = pd.read_csv(dataset.folder / file, dtype=str, keep_default_na=False)
        table = table[table["image"].isin(test["image"])]
        table.to_csv(to / file, index=False, lineterminator="\n")
    about: dict[str, Any] = json.loads((dataset.folder / "dataset.json").read_text("utf-8"))
    write_json(to / "dataset.json", about | {"image_root": "images"})
    for path in test["path"]:
        (to / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dataset.image_root / path, to / "images" / path)


def read_handout(folder: str | Path) -> pd.DataFrame:
    """The pairs of a handout: ``pair``, ``path`` of the photo, ``attribute`` (its name).

    Raises:
        AgmanError: not a handout.
    """
    folder = Path(folder)
    Challenge.load(folder)
    if not (folder / "pairs.csv").is_file():
        raise AgmanError(f"{folder}: a key; the handout beside it has the pairs")
    pairs = pd.read_csv(folder / "pairs.csv", dtype={"image": str})
    return pairs.assign(path=[folder / "photos" / i for i in pairs["image"]])[
        ["pair", "path", "attribute"]
    ]
