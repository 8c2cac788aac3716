"""The head of a plain classifier: what one would try before any metric learning."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from agman_lib.networks.attention import Attended, Features


class ValueSoftmax(nn.Module):
    """A softmax over the values of each attribute; the probabilities are the embedding.

    ``z = Linear(mean_HW F)`` has an entry for every value of every attribute. Under an attribute
    the embedding is ``softmax(z over its values)``, with 0 for the values of others, divided by its
    length: two photos are near when the classifier sees the same value in both. A value that was
    not there in training has no entry.

    Args:
        in_channels: width of F.
        n_values: how many values each attribute has; their sum is D.
    """

    owner: Tensor
    first: Tensor

    def __init__(self, in_channels: int, n_values: Sequence[int]) -> None:
        super().__init__()
        self.out_features = sum(n_values)
        self.values = nn.Linear(in_channels, self.out_features)
        sizes = torch.tensor(n_values)
        owner = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        self.register_buffer("owner", owner, persistent=False)  # the attribute of each entry
        self.register_buffer("first", sizes.cumsum(0) - sizes, persistent=False)

    def features(self, f: Tensor) -> Features:
        """F (B, C, h, w) -> z (B, D)."""
        return (self.values(f.mean(dim=(2, 3))),)

    def log_probabilities(self, features: Features, attributes: Tensor) -> Tensor:
        """Of every value (B, Q, D) under attributes (B, Q); -inf for the values of others."""
        others = self.owner != attributes[:, :, None]
        return features[0][:, None].masked_fill(others, float("-inf")).log_softmax(dim=2)

    def forward(self, features: Features, attributes: Tensor) -> Attended:
        """Embeddings (B, Q, D) for attributes (B, Q), or (1, Q) for every image alike."""
        p = self.log_probabilities(features, attributes).exp()
        return Attended(functional.normalize(p, dim=2), None, None, None, None)

    def loss(self, features: Features, attributes: Tensor, values: Tensor) -> Tensor:
        """Cross-entropy of the values (B,), each a number within its attribute (B,); a scalar."""
        z = self.log_probabilities(features, attributes[:, None])[:, 0]
        return functional.nll_loss(z, self.first[attributes] + values)
