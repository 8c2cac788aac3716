"""Attribute-guided attention (AGA), stage by stage, for one attribute or for all at once.

The letters are the published code's: ``e = Embedding(c)`` (512), ``g(z) = z * sigmoid(z)``,

1. ``x = Conv1x1(w * F)``
2. spatial attention: ``S = softmax_HW(sum_c g(W1 e)_c * tanh(BN(x))_c / sqrt(512))``
3. spatial gate: ``sigmoid(Conv7x7([mean_c; max_c]))`` of ``x * w1 * S``
4. pooling: ``v = sum_HW gate * w1 * S * x``
5. channel attention: ``m = sigmoid(FC2(ReLU(FC1[v ; g(W2 e)])))``; ``v <- v * w2 * m``
6. masks: ``v <- v * ReLU(M_c)``
7. ``embedding = v / ||v||``

**An identity used here.** ``BN``, ``tanh`` and ``x`` do not depend on the attribute and ``w1 * S``
is one scalar ``s`` a position, so the scores of all attributes are one matrix product, and
``mean_c(s x) = s mean_c(x)``, ``max_c(s x) = s max_c(x)`` for ``s >= 0`` and ``s min_c(x)`` for
``s < 0``. The weighted feature map (B, 512, h, w) is never formed, and Q attributes of one image
cost Q x HW scalars: step 2 is cross-attention with attribute queries.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from agman_lib.networks.multi_level_backbone import init_conv

Features = tuple[Tensor, ...]
"""What a network keeps of an image that does not depend on the attribute; each (B, …)."""


class Attended(NamedTuple):
    """Everything that a head computes for Q attributes of each image; None where it has no such."""

    embedding: Tensor  # (B, Q, D), unit length
    spatial: Tensor | None  # (B, Q, h, w), S: sums to one over positions
    gate: Tensor | None  # (B, Q, h, w) in (0, 1)
    channel: Tensor | None  # (B, Q, D) in (0, 1)
    mask: Tensor | None  # (B or 1, Q, D), not negative


class AttributeGuidedAttention(nn.Module):
    """The improved attribute-guided attention; its switches lead down to ASENet_V2's.

    Args:
        in_channels: width of F.
        n_attributes: A.
        projected_values: pool the 512-channel projection x (AG-MAN) or F itself (ASENet_V2).
        swish: ``g(z) = z sigmoid(z)`` on both attribute transforms (AG-MAN), or tanh for the
            spatial and ReLU for the channel one (ASENet_V2).
        spatial_gate: step 3.
        masks: step 6, CSN's masks, trained.
        scalars: the learned scalars w, w1, w2.
        hidden: width of x, e and the transforms; 512 in the published code.

    ``out_features`` is D: ``hidden`` with projected values, else ``in_channels``.
    """

    w: Tensor | float
    w1: Tensor | float
    w2: Tensor | float

    def __init__(
        self,
        in_channels: int,
        n_attributes: int,
        *,
        projected_values: bool = True,
        swish: bool = True,
        spatial_gate: bool = True,
        masks: bool = True,
        scalars: bool = True,
        hidden: int = 512,
    ) -> None:
        super().__init__()
        self.projected_values, self.swish, self.hidden = projected_values, swish, hidden
        self.out_features = hidden if projected_values else in_channels
        self.attribute_embedding = nn.Embedding(n_attributes, hidden)
        self.spatial_transform = nn.Linear(hidden, hidden)
        self.project = init_conv(nn.Conv2d(in_channels, hidden, 1))
        self.norm = nn.BatchNorm2d(hidden)
        self.gate_conv = None
        if spatial_gate:
            self.gate_conv = init_conv(nn.Conv2d(2, 1, 7, padding=3, bias=False))
        self.channel_transform = nn.Linear(hidden, hidden)
        self.channel_fc1 = nn.Linear(self.out_features + hidden, 512)
        self.channel_fc2 = nn.Linear(512, self.out_features)
        self.masks = None
        if masks:
            self.masks = nn.Embedding(n_attributes, self.out_features)
            with torch.no_grad():
                self.masks.weight.copy_(block_masks(n_attributes, self.out_features))
        self.w, self.w1, self.w2 = (
            nn.Parameter(torch.ones(1)) if scalars else 1.0 for _ in range(3)
        )

    def features(self, f: Tensor) -> Features:
        """Step 1 and the attribute-free part of step 2.

        F (B, C, h, w) -> keys (B, 512, h, w) and values (B, 512, h, w), or F as values.
        """
        x = self.project(self.w * f)
        return torch.tanh(self.norm(x)), x if self.projected_values else f

    def forward(self, features: Features, attributes: Tensor) -> Attended:
        """Steps 2 to 7 for Q attributes of each image.

        Args:
            features: from `features`.
            attributes: (B, Q) indices, or (1, Q) for the same ones on every image.
        """
        keys, values = features
        e = self.attribute_embedding(attributes)
        s = self.spatial_attention(keys, e)
        gate = None if self.gate_conv is None else self.spatial_gate(values, self.w1 * s)
        weight = self.w1 * s if gate is None else gate * self.w1 * s
        v = torch.einsum("bqhw,bchw->bqc", weight, values)
        m = self.channel_attention(v, e)
        v = v * self.w2 * m
        mask = None
        if self.masks is not None:
            mask = functional.relu(self.masks(attributes))
            v = v * mask
        # The published norm has no epsilon (NaN where a mask is 0 everywhere); here that is 0.
        return Attended(functional.normalize(v, dim=2), s, gate, m, mask)

    def spatial_attention(self, keys: Tensor, e: Tensor) -> Tensor:
        """Step 2: S (B, Q, h, w) from keys (B, K, h, w) and attribute embeddings (B|1, Q, K)."""
        z = self.spatial_transform(e)
        query = functional.silu(z) if self.swish else torch.tanh(z)
        query = query.expand(len(keys), -1, -1)
        scores = torch.bmm(query, keys.flatten(2)) / self.hidden**0.5
        return scores.softmax(dim=2).unflatten(2, keys.shape[2:])

    def spatial_gate(self, x: Tensor, s: Tensor) -> Tensor:
        """Step 3: the gate (B, Q, h, w) of ``x * s``, x (B, C, h, w), s (B, Q, h, w) any sign."""
        assert self.gate_conv is not None
        low, high, mean = x.amin(1, True), x.amax(1, True), x.mean(1, True)
        pooled = torch.stack([s * mean, torch.where(s >= 0, s * high, s * low)], dim=2)
        return torch.sigmoid(self.gate_conv(pooled.flatten(0, 1))).view_as(s)

    def channel_attention(self, v: Tensor, e: Tensor) -> Tensor:
        """Step 5: m (B, Q, D) in (0, 1) from pooled v (B, Q, D) and embeddings (B|1, Q, 512)."""
        z = self.channel_transform(e)
        z = functional.silu(z) if self.swish else functional.relu(z)
        both = torch.cat([v, z.expand(*v.shape[:2], -1)], dim=2)
        return torch.sigmoid(self.channel_fc2(functional.relu(self.channel_fc1(both))))


def block_masks(n_attributes: int, size: int) -> Tensor:
    """How the masks start (A, size): 0.1, with ones in the block ``c*n … (c+1)*n``, n = size//A."""
    masks = torch.full((n_attributes, size), 0.1)
    n = size // n_attributes
    for c in range(n_attributes):
        masks[c, c * n : (c + 1) * n] = 1.0
    return masks
