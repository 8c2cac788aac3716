"""Grad-CAM for the similarity of two photos.

It asks another question than attention, and of any network: which places of the feature map push
the similarity up.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from agman_lib.base.errors import AgmanError
from agman_lib.networks.model import RetrievalModel

SAME = 1 - 1e-6
"""From this cosine on two photos are the same to a network: the gradient is rounding error."""


class SamePhotoError(AgmanError):
    """Grad-CAM was asked of two photos that are the same to the network."""


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
        images: (B, 3, H, W), as the network's `normalize` gives them.
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
