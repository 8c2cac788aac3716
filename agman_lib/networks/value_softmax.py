"""Heads that are trained as classifiers of each attribute's values, with no metric learning.

`ValueSoftmax` is what one would try first: a linear layer on the pooled features. `ProxyAttention`
is AG-MAN's attention with such a loss in place of the triplets: each value has a proxy, a direction
that the embeddings of its images are drawn to (as in Movshovitz-Attias et al. 2017 and, with the
cosine softmax, Zhai and Wu 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from agman_lib.networks.attention import Attended, AttributeGuidedAttention, Features

TEMPERATURE = 0.1
"""Of the softmax over the cosines with the proxies."""
PLACE = 0.5
"""How long the vector is that `ProxyAttention` adds to the probabilities, whose length is 1."""


class ValueClassifier(nn.Module):
    """What the two heads share: a softmax over the values of the attribute that is asked for.

    Args:
        n_values: how many values each attribute has; their sum is V.
    """

    owner: Tensor
    first: Tensor

    def __init__(self, n_values: Sequence[int]) -> None:
        super().__init__()
        sizes = torch.tensor(n_values)
        owner = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        self.register_buffer("owner", owner, persistent=False)  # the attribute of each entry
        self.register_buffer("first", sizes.cumsum(0) - sizes, persistent=False)

    def scores(self, features: Features, attributes: Tensor) -> Tensor:
        """Of every value (B, Q or 1, V) for attributes (B, Q), whatever attribute it is of."""
        raise NotImplementedError

    def log_probabilities(self, scores: Tensor, attributes: Tensor) -> Tensor:
        """Of every value (B, Q, V) under attributes (B, Q); -inf for the values of others."""
        others = self.owner != attributes[:, :, None]
        return scores.masked_fill(others, float("-inf")).log_softmax(dim=2)

    def loss(self, features: Features, attributes: Tensor, values: Tensor) -> Tensor:
        """Cross-entropy of the values (B,), each a number within its attribute (B,); a scalar."""
        asked = attributes[:, None]
        z = self.log_probabilities(self.scores(features, asked), asked)[:, 0]
        return functional.nll_loss(z, self.first[attributes] + values)


class ValueSoftmax(ValueClassifier):
    """A softmax over the values of each attribute; the probabilities are the embedding.

    ``z = Linear(mean_HW F)`` has an entry for every value of every attribute. Under an attribute
    the embedding is ``softmax(z over its values)``, with 0 for the values of others, divided by its
    length: two photos are near when the classifier sees the same value in both. A value that was
    not there in training has no entry.

    Args:
        in_channels: width of F.
        n_values: how many values each attribute has; their sum is D.
    """

    def __init__(self, in_channels: int, n_values: Sequence[int]) -> None:
        super().__init__(n_values)
        self.out_features = sum(n_values)
        self.values = nn.Linear(in_channels, self.out_features)

    def features(self, f: Tensor) -> Features:
        """F (B, C, h, w) -> z (B, D)."""
        return (self.values(f.mean(dim=(2, 3))),)

    def scores(self, features: Features, attributes: Tensor) -> Tensor:
        """z (B, 1, D), the same for all attributes."""
        return features[0][:, None]

    def forward(self, features: Features, attributes: Tensor) -> Attended:
        """Embeddings (B, Q, D) for attributes (B, Q), or (1, Q) for every image alike."""
        p = self.log_probabilities(self.scores(features, attributes), attributes).exp()
        return Attended(functional.normalize(p, dim=2), None, None, None, None)


class ProxyAttention(ValueClassifier):
    """AG-MAN's attention, trained with a proxy for each value in place of the triplets.

    With e the unit embedding that the attention gives under an attribute, and ``w_v`` the unit
    proxy of a value v: ``p = softmax over the attribute's values of e . w_v / TEMPERATURE``. The
    embedding is ``[p / ||p|| ; PLACE e]``, divided by its length: of two photos p says whether they
    have the same value, and e how near they are where p cannot tell, as with a value that was not
    there in training.

    Args:
        attention: what gives e.
        n_values: how many values each attribute has; D is their sum plus the width of e.
    """

    def __init__(self, attention: AttributeGuidedAttention, n_values: Sequence[int]) -> None:
        super().__init__(n_values)
        self.attention = attention
        self.proxies = nn.Parameter(torch.randn(sum(n_values), attention.out_features))
        self.out_features = sum(n_values) + attention.out_features

    def features(self, f: Tensor) -> Features:
        """As the attention's own."""
        return self.attention.features(f)

    def scores(self, features: Features, attributes: Tensor) -> Tensor:
        """Cosines with every proxy (B, Q, V), divided by the temperature."""
        return self._compare(self.attention(features, attributes).embedding)

    def _compare(self, embedding: Tensor) -> Tensor:
        return embedding @ functional.normalize(self.proxies, dim=1).T / TEMPERATURE

    def forward(self, features: Features, attributes: Tensor) -> Attended:
        """Everything for attributes (B, Q), or (1, Q) for every image alike."""
        attended = self.attention(features, attributes)
        e = attended.embedding
        p = self.log_probabilities(self._compare(e), attributes).exp()
        both = torch.cat([functional.normalize(p, dim=2), PLACE * e], dim=2)
        return attended._replace(embedding=functional.normalize(both, dim=2))
