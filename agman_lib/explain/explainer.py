"""One photo after another, under one attribute after another.

::

    explainer = Explainer(gallery)
    photo = explainer.open(0)                       # a row, a file, an image id, bytes, a PIL image
    seen = explainer.explain(photo, "neckline")     # runs the head alone
    seen.maps["attention"], seen.channel, seen.embedding
    explainer.grad_cam(photo, "neckline", 7)
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels, fit_image
from agman_lib.explain.cam import SamePhotoError, grad_cam
from agman_lib.explain.maps import Explanation, explain, map_names
from agman_lib.networks.attention import Features
from agman_lib.search.files import SEVERAL
from agman_lib.search.gallery import Gallery, Query


@dataclass(frozen=True, eq=False)
class OpenPhoto:
    """A photo that has been through the trunk. Made by `Explainer.open`."""

    row: int | None  # its row in the gallery
    file: Path | None  # where it lies, if it was not given as bytes or a PIL image
    picture: np.ndarray  # uint8 (H, W, 3): what the network sees
    features: Features  # of the trunk, each (1, …)
    embeddings: np.ndarray  # (A, D)

    @property
    def query(self) -> int | np.ndarray:
        """How the gallery is asked about it without the network."""
        return self.embeddings if self.row is None else self.row


class Explainer:
    """A gallery's network, asked about one photo after another and one attribute after another.

    A photo goes through the trunk when it is opened; every attribute then costs the head alone.

    Args:
        gallery: the network, and what is retrieved.
        dataset: a prepared folder: photos that are its files have its true regions and values.
        keep: so many photos of the gallery stay open.
    """

    def __init__(
        self, gallery: Gallery, dataset: PreparedDataset | None = None, keep: int = 16
    ) -> None:
        self.gallery, self.model = gallery, gallery.model.eval()
        size, fit = gallery.about["image_size"], gallery.about["fit"]
        self._pixels = None if dataset is None else Pixels(dataset, size, fit)
        self._of_file: dict[Path, int] = {}
        if dataset is not None:
            root = dataset.image_root.resolve()
            self._of_file = {root / path: n for n, path in enumerate(dataset.images["path"])}
        self._root = gallery.root.resolve()
        self._open_row = lru_cache(keep)(lambda row: self._through_trunk(row, row))

    def open(self, query: Query) -> OpenPhoto:
        """A photo, through the trunk. Raises AgmanError where it cannot be decoded or found."""
        row = self.gallery.row(query)
        return self._through_trunk(query, None) if row is None else self._open_row(row)

    def _through_trunk(self, query: Query, row: int | None) -> OpenPhoto:
        picture = self.picture(query)
        with torch.no_grad():
            features = self.model.trunk(self._input(picture))
            embeddings = self.model.head_all(features)[0].float().cpu().numpy()
        return OpenPhoto(row, self._file(query, row), picture, features, embeddings)

    def _file(self, query: Query, row: int | None) -> Path | None:
        if row is not None:
            return self._root / self.gallery.items["path"].iloc[row]
        return Path(query).resolve() if isinstance(query, str | Path) else None

    def in_dataset(self, image: str) -> bool:
        """Whether an image of the gallery is a file of the data set."""
        return self._file(image, self.gallery.row_of(image)) in self._of_file

    def picture(self, query: Query) -> np.ndarray:
        """A photo as the network sees it, uint8 (H, W, 3), without the network."""
        about = self.gallery.about
        pixels = fit_image(self.gallery.photo(query), about["image_size"], about["fit"])
        return pixels.transpose(1, 2, 0)

    def _input(self, picture: np.ndarray) -> Tensor:
        """uint8 (H, W, 3) -> (1, 3, H, W) on the network's device."""
        pixels = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
        return self.model.normalize(pixels[None].to(next(self.model.parameters()).device))

    @property
    def map_names(self) -> list[str]:
        """As the function `map_names`."""
        return map_names(self.model)

    @property
    def offset(self) -> float:
        """Where the cells of this network's maps look, as `overlays.upsample` takes it."""
        return self.model.backbone.offset

    def explain(self, photo: OpenPhoto, attribute: str) -> Explanation:
        """What the head does with the photo under an attribute."""
        return explain(self.model, photo.features, self.gallery.attribute_index(attribute))

    def grad_cam(self, photo: OpenPhoto, attribute: str, other: Query) -> np.ndarray:
        """Grad-CAM (h, w) of the photo's similarity to another one under an attribute.

        Args:
            other: as `Gallery.embedding` takes it: a row, a photo, an image id, or embeddings.

        Raises:
            SamePhotoError: both are the same to the network.
            AgmanError: as `Gallery.embedding`.
        """
        images, index = self._input(photo.picture), self.gallery.attribute_index(attribute)
        others = torch.from_numpy(self.gallery.embedding(other, attribute)[None]).to(images.device)
        return grad_cam(self.model, images, torch.tensor([index], device=images.device), others)[0]

    def search(self, photo: OpenPhoto, attribute: str, k: int = 5) -> pd.DataFrame:
        """As `Gallery.search`; the photo goes through no network again."""
        return self.gallery.search(photo.query, attribute, k)

    def nearest_cam(
        self, photo: OpenPhoto, attribute: str, found: pd.DataFrame
    ) -> np.ndarray | None:
        """Grad-CAM (h, w) to the nearest photo of a search's result that is another one to the
        network; None where there is no such.
        """
        for image in found["image"]:
            with suppress(SamePhotoError):
                return self.grad_cam(photo, attribute, self.gallery.row_of(image))
        return None

    def value(self, photo: OpenPhoto, attribute: str) -> str:
        """The known name of the photo's value, several joined by " | "; or an empty text."""
        if photo.row is not None:
            return str(self.gallery.items[attribute].iloc[photo.row])
        if self._pixels is None or photo.file not in self._of_file:
            return ""
        dataset = self._pixels.dataset
        labels = dataset.labels[dataset.labels["attribute"].eq(attribute)]
        image = dataset.images["image"].iloc[self._of_file[photo.file]]
        return SEVERAL.join(labels.loc[labels["image"].eq(image), "value"])

    def right(self, photo: OpenPhoto, attribute: str, value: str) -> bool | None:
        """Whether a value's name is one of the photo's; None where one of the two is not known."""
        own = self.value(photo, attribute)
        return bool(set(own.split(SEVERAL)) & set(value.split(SEVERAL))) if own and value else None

    def boxes(self, photo: OpenPhoto, attribute: str) -> np.ndarray:
        """True regions (R, 4) in the picture's pixels, x0, y0, x1, y1; R is 0 where unknown."""
        if self._pixels is None or photo.file not in self._of_file:
            return np.zeros((0, 4))
        dataset = self._pixels.dataset
        if attribute not in dataset.attribute_names:
            return np.zeros((0, 4))
        image = self._of_file[photo.file]
        return self._pixels.boxes(image, dataset.attribute_index(attribute))
