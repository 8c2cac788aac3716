"""Where a network looks: attention as data, and Grad-CAM for the similarity of two photos.

::

    explainer = Explainer(gallery)
    photo = explainer.open(0)                       # a row, a file, an image id, bytes, a PIL image
    seen = explainer.explain(photo, "neckline")     # runs the head alone
    seen.maps["attention"], seen.channel, seen.embedding
    explainer.grad_cam(photo, "neckline", 7)

Attention is what the network weighs places with. Grad-CAM asks another question, of any network:
which places of the feature map push the similarity up. Neither proves that the network decides by
what is there; how often they mark the right place is measured in
`agman_lib.explain.localisation_scores`.
"""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels, fit_image, normalize
from agman_lib.networks.attention import Features
from agman_lib.networks.model import RetrievalModel
from agman_lib.search.files import SEVERAL
from agman_lib.search.gallery import Gallery, Query

Maps = TypeVar("Maps", np.ndarray, Tensor)
MAPS = {
    "attention": "spatial attention S",
    "gate": "spatial gate",
    "product": "S × gate",
    "grad_cam": "Grad-CAM",
}
"""The maps by name, and what they are called on screen."""
SAME = 1 - 1e-6
"""From this cosine on two photos are the same to a network: the gradient is rounding error."""


class SamePhotoError(AgmanError):
    """Grad-CAM was asked of two photos that are the same to the network."""


# --------------------------------------------------------------------------- attention as data


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a head computes for one photo and one attribute; float32, None where it has no such."""

    embedding: np.ndarray  # (D,), unit length
    attention: np.ndarray | None  # (h, w), S: sums to one
    gate: np.ndarray | None  # (h, w) in (0, 1)
    channel: np.ndarray | None  # (D,) in (0, 1)
    mask: np.ndarray | None  # (D,), not negative

    @property
    def maps(self) -> dict[str, np.ndarray]:
        """The maps (h, w) that this network has, by the names of `MAPS`."""
        return spatial_maps(self.attention, self.gate)


def spatial_maps(attention: Maps | None, gate: Maps | None) -> dict[str, Maps]:
    """S, the gate, and their product (up to a constant what the values are weighed with)."""
    maps = {}
    if attention is not None:
        maps["attention"] = attention
    if attention is not None and gate is not None:
        maps |= {"gate": gate, "product": attention * gate}
    return maps


def map_names(model: RetrievalModel) -> list[str]:
    """The maps of a network, by the names of `MAPS`; Grad-CAM every network has."""
    if not hasattr(model.attention, "project"):
        return ["grad_cam"]
    gate = getattr(model.attention, "gate_conv", None) is not None
    return ["attention", *(["gate", "product"] if gate else []), "grad_cam"]


@torch.no_grad()
def explain(model: RetrievalModel, features: Features, attribute: int) -> Explanation:
    """The head's work on the trunk's features of one photo (each (1, …)) for one attribute."""
    device = features[0].device
    attended = model.attend(features, torch.tensor([[attribute]], device=device))
    return Explanation(
        _array(attended.embedding), *(t if t is None else _array(t) for t in attended[1:])
    )


def _array(tensor: Tensor) -> np.ndarray:
    """The one photo's, for the one attribute, of a tensor (1, 1, …)."""
    return tensor[0, 0].float().cpu().numpy()


# --------------------------------------------------------------------------- Grad-CAM


def grad_cam(
    model: RetrievalModel, images: Tensor, attributes: Tensor, others: Tensor
) -> np.ndarray:
    """Grad-CAM (B, h, w) of a similarity: the cosine of each image and another, under an attribute.

    With F the extractor's output and s the cosine, ``ReLU(sum_k mean_HW(ds/dF_k) F_k)``, scaled to
    0 … 1 for each image as the grad-cam library does (its least value becomes 0, its largest 1); 0
    everywhere where no place pushes the similarity up.

    The library works on a twin of the network which shares its weights, so that neither hooks nor
    gradients are ever left on the network itself, and other threads may use it meanwhile.

    Args:
        images: (B, 3, H, W), as `pixels.normalize` gives them.
        attributes: (B,).
        others: (B, D), unit embeddings of the images that they are compared with; taken as fixed.

    Raises:
        SamePhotoError: an image is compared with itself, or with one that is the same to the
            network (`SAME`): a cosine of 1 has no gradient.
    """
    from pytorch_grad_cam import GradCAM

    class OnFeatureMap(GradCAM):
        """The library's, its result left at the size of F."""

        def get_target_width_height(self, input_tensor: Tensor) -> None:
            return None

    twin = _twin(model)
    with torch.enable_grad(), OnFeatureMap(_Embed(twin, attributes), [twin.backbone]) as cam:
        maps = cam(images.clone().requires_grad_(), [_Dot(other) for other in others.detach()])
        cosine = (cam.outputs.detach() * others).sum(1)
    if (cosine >= SAME).any():
        raise SamePhotoError(
            "Grad-CAM of a photo's similarity to itself, or to one that the network cannot tell "
            "from it, says nothing (a cosine of 1 has no gradient); compare it with another photo"
        )
    return maps


def _twin(model: RetrievalModel) -> RetrievalModel:
    """The network again in evaluation mode, with the same tensors, whose weights want no gradient.

    Its modules are its own, and so are the hooks on them.
    """
    shared: dict[int, object] = {id(b): b for b in model.buffers()}
    for p in model.parameters():
        shared[id(p)] = nn.Parameter(p.detach(), requires_grad=False)
    return copy.deepcopy(model, shared).eval()


class _Embed(nn.Module):
    """Images -> embeddings under given attributes, which is what the library calls a model."""

    def __init__(self, model: RetrievalModel, attributes: Tensor) -> None:
        super().__init__()
        self.model, self.attributes = model, attributes

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images, self.attributes)


class _Dot:
    """Of two unit embeddings: their cosine, which is what the library calls a target."""

    def __init__(self, other: Tensor) -> None:
        self.other = other

    def __call__(self, embedding: Tensor) -> Tensor:
        return embedding @ self.other


# --------------------------------------------------------------------------- photo after photo


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
        return normalize(pixels[None].to(next(self.model.parameters()).device))

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
