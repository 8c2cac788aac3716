"""The heads of the networks that AG-MAN is compared with, behind the same interface.

A head has ``features(F) -> tuple`` (what does not depend on the attribute), ``forward(features,
attributes) -> Attended`` for Q attributes of each image, and ``out_features`` (D). ASENet_V2's is
`attention.AttributeGuidedAttention` with every switch off.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from agman_lib.networks.attention import Attended, Features
from agman_lib.networks.multi_level_backbone import init_conv


class MaskHead(nn.Module):
    """The triplet network's head, and with masks CSN's.

    ``x = Linear(mean_HW F)``; CSN: ``x <- x * ReLU(M_c)``, ``M ~ N(0.9, 0.7)``; ``x / ||x||``.

    Args:
        in_channels: width of F; also D.
        n_attributes: A.
        masks: CSN's masks; without them the embedding is the same for every attribute.
    """

    def __init__(self, in_channels: int, n_attributes: int, masks: bool) -> None:
        super().__init__()
        self.out_features = in_channels
        self.embed = nn.Linear(in_channels, in_channels)
        self.masks = None
        if masks:
            self.masks = nn.Embedding(n_attributes, in_channels)
            nn.init.normal_(self.masks.weight, 0.9, 0.7)

    def features(self, f: Tensor) -> Features:
        """F (B, C, h, w) -> x (B, D)."""
        return (self.embed(f.mean(dim=(2, 3))),)

    def forward(self, features: Features, attributes: Tensor) -> Attended:
        """Embeddings (B, Q, D) for attributes (B, Q), or (1, Q) for every image alike."""
        x = features[0][:, None].expand(-1, attributes.shape[1], -1)
        mask = None
        if self.masks is not None:
            mask = functional.relu(self.masks(attributes))
            x = x * mask
        return Attended(functional.normalize(x, dim=2), None, None, None, mask)


class ASENAttention(nn.Module):
    """ASEN's attribute-specific spatial and channel attention.

    With ``k = tanh(Conv1x1(F))`` (512) and one-hot attributes c:
    ``S = softmax_HW(tanh(Conv1x1_{512->1}(tanh(Linear(c)) * k)))``, ``v = sum_HW S * F``,
    ``m = sigmoid(FC2(ReLU(FC1[v ; ReLU(Linear(c))])))``, ``Linear(v * m) / ||.||``.

    The 512 -> 1 convolution of a product with the attribute is one matrix product for all
    attributes, as in `attention.AttributeGuidedAttention`.

    Args:
        in_channels: width of F; also D.
        n_attributes: A.
    """

    def __init__(self, in_channels: int, n_attributes: int) -> None:
        super().__init__()
        self.out_features = in_channels
        self.project = init_conv(nn.Conv2d(in_channels, 512, 1))
        self.spatial_attribute = nn.Linear(n_attributes, 512, bias=False)
        self.spatial_score = init_conv(nn.Conv2d(512, 1, 1))
        self.channel_attribute = nn.Linear(n_attributes, in_channels, bias=False)
        self.channel_fc1 = nn.Linear(2 * in_channels, 512)
        self.channel_fc2 = nn.Linear(512, in_channels)
        self.embed = nn.Linear(in_channels, in_channels)

    def features(self, f: Tensor) -> Features:
        """F (B, C, h, w) -> keys (B, 512, h, w) and F."""
        return torch.tanh(self.project(f)), f

    def forward(self, features: Features, attributes: Tensor) -> Attended:
        """Everything for attributes (B, Q), or (1, Q) for every image alike."""
        keys, f = features
        query = torch.tanh(self.spatial_attribute.weight.T[attributes])
        query = query * self.spatial_score.weight.flatten()
        query = query.expand(len(keys), -1, -1)
        bias = self.spatial_score.bias
        scores = torch.tanh(torch.bmm(query, keys.flatten(2)) + (0 if bias is None else bias))
        s = scores.softmax(dim=2).unflatten(2, keys.shape[2:])
        v = torch.einsum("bqhw,bchw->bqc", s, f)
        c = functional.relu(self.channel_attribute.weight.T[attributes])
        both = torch.cat([v, c.expand(*v.shape[:2], -1)], dim=2)
        m = torch.sigmoid(self.channel_fc2(functional.relu(self.channel_fc1(both))))
        embedding = functional.normalize(self.embed(v * m), dim=2)
        return Attended(embedding, s, None, m, None)
