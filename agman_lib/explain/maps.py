"""Attention as data: the maps of a network, and what else its head computes for an attribute.

Attention is what the network weighs places with. It does not prove that the network decides by
what is there; how often it marks the right place is measured in
`agman_lib.explain.localisation_scores`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from agman_lib.networks.attention import Features
from agman_lib.networks.model import RetrievalModel

Maps = TypeVar("Maps", np.ndarray, Tensor)
MAPS = {
    "attention": "spatial attention S",
    "gate": "spatial gate",
    "product": "S × gate",
    "grad_cam": "Grad-CAM",
}
"""The maps by name, and what they are called on screen."""


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
    head = getattr(model.attribute_head, "attention", model.attribute_head)
    if not hasattr(head, "project"):
        return ["grad_cam"]
    gate = getattr(head, "gate_conv", None) is not None
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
