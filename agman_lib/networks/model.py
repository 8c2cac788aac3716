"""The networks behind one interface.

Every network answers the same calls (``A`` attributes, ``D`` embedding size)::

    model(images, attributes)            (B, 3, H, W), (B,) -> unit embeddings (B, D)
    model.embed_all(images)              (B, A, D): one trunk pass serves all attributes
    model.attention_maps(images, attributes)      (B, h, w), sums to one over positions
    model.attribute_logits(images)       (B, A), networks with a class branch
    model.forward_train(images, attributes)       (embedding, logits or None), one trunk pass
    model.normalize(pixels)              uint8 (B, 3, H, W) -> images, as the weights want them
    model.trunk(images) -> features;  model.head(features, attributes) -> embeddings
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from agman_lib.base.errors import AgmanError, unknown
from agman_lib.networks.attention import Attended, AttributeGuidedAttention, Features
from agman_lib.networks.backbones import build_backbone
from agman_lib.networks.csn_and_asen import ASENAttention, MaskHead
from agman_lib.networks.value_softmax import ProxyAttention, ValueSoftmax


@dataclass(frozen=True)
class Parts:
    """AG-MAN's parts, each of which can be switched off; all off is ASENet_V2.

    ``fine_level`` and ``coarse_level`` are no parts of AG-MAN: F2 beside F3, without the pooling,
    and F4.
    """

    class_branch: bool = True
    multi_level: bool = True
    masks: bool = True
    spatial_gate: bool = True
    swish: bool = True
    projected_values: bool = True
    scalars: bool = True
    fine_level: bool = False
    coarse_level: bool = False


NO_PARTS = Parts(**{f.name: False for f in fields(Parts)})
NETWORKS = {
    "triplet": "no attention: one embedding whatever the attribute",
    "csn": "CSN: a learned mask for each attribute",
    "asen": "ASEN: spatial and channel attention",
    "asen_v2": "ASENet_V2: AG-MAN with every part off",
    "agman": "AG-MAN",
}
CLASSIFIERS = {
    "softmax": "a softmax over the values of each attribute",
    "proxies": "AG-MAN's attention on F3 and F2, with a proxy for each value",
}
"""What is trained to classify values, behind the same interface."""
OWN_PARTS = {
    "agman": Parts(),
    "proxies": Parts(class_branch=False, multi_level=False, masks=False, fine_level=True),
}
"""The parts of each network that has some; asen_v2 can be given some."""


class RetrievalModel(nn.Module):
    """A backbone and a head: AG-MAN and every network it is compared with.

    Args:
        name: one of `NETWORKS` or `CLASSIFIERS`.
        n_attributes: A.
        backbone: one of `BACKBONES` (published: resnet50).
        parts: which of AG-MAN's parts are on (agman, asen_v2 and proxies only).
        n_values: how many values each attribute has; `CLASSIFIERS` alone need them.

    The head is the module ``attribute_head``; ``embedding_size`` is D.
    """

    def __init__(
        self,
        name: str,
        n_attributes: int,
        backbone: str = "resnet50",
        parts: Parts | None = None,
        n_values: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if name not in NETWORKS | CLASSIFIERS:
            raise unknown("network", name, NETWORKS | CLASSIFIERS)
        if parts is None:
            parts = OWN_PARTS.get(name, NO_PARTS)
        elif parts != NO_PARTS and name not in (*OWN_PARTS, "asen_v2"):
            raise AgmanError(f"network {name!r} has none of AG-MAN's parts; use agman or asen_v2")
        self.name, self.n_attributes, self.parts = name, n_attributes, parts
        self.backbone_name = backbone
        self.backbone = build_backbone(
            backbone,
            n_attributes,
            parts.multi_level,
            parts.class_branch,
            parts.fine_level,
            parts.coarse_level,
        )
        channels = self.backbone.out_channels
        self.attribute_head: (
            AttributeGuidedAttention | ASENAttention | MaskHead | ValueSoftmax | ProxyAttention
        )
        values = [int(n) for n in n_values or ()] if name in CLASSIFIERS else []
        if name in CLASSIFIERS and len(values) != n_attributes:
            raise AgmanError(f"network {name!r} needs n_values, one number an attribute")
        self.n_values = values or None
        if name in ("triplet", "csn"):
            self.attribute_head = MaskHead(channels, n_attributes, masks=name == "csn")
        elif name == "asen":
            self.attribute_head = ASENAttention(channels, n_attributes)
        elif name == "softmax":
            self.attribute_head = ValueSoftmax(channels, values)
        else:
            attention = AttributeGuidedAttention(
                channels,
                n_attributes,
                projected_values=parts.projected_values,
                swish=parts.swish,
                spatial_gate=parts.spatial_gate,
                masks=parts.masks,
                scalars=parts.scalars,
            )
            proxies = name == "proxies"
            self.attribute_head = ProxyAttention(attention, values) if proxies else attention
        self.embedding_size = self.attribute_head.out_features

    @property
    def description(self) -> dict[str, Any]:
        """What `from_description` needs to build this network again."""
        return {
            "name": self.name,
            "n_attributes": self.n_attributes,
            "backbone": self.backbone_name,
            "parts": asdict(self.parts),
        } | ({"n_values": self.n_values} if self.n_values else {})

    def normalize(self, pixels: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> the float32 images that every other call here takes."""
        return self.backbone.normalize(pixels)

    def trunk(self, images: Tensor) -> Features:
        """Everything that does not depend on the attribute; the last stages are not computed."""
        return self.attribute_head.features(self.backbone(images))

    def attend(self, features: Features, attributes: Tensor) -> Attended:
        """All that the head computes for attributes (B, Q), or (1, Q) for every image alike."""
        # Only on the CPU, where looking costs nothing: a GPU would have to be waited for. What
        # goes to a GPU has been checked where it was made, in the data set or by `check_fits`.
        on_cpu = attributes.device.type == "cpu" and attributes.numel() > 0
        if on_cpu and not 0 <= int(attributes.min()) <= int(attributes.max()) < self.n_attributes:
            raise AgmanError(
                f"attribute indices must be 0 to {self.n_attributes - 1}, "
                f"not {int(attributes.min())} to {int(attributes.max())}"
            )
        return self.attribute_head(features, attributes)

    def head(self, features: Features, attributes: Tensor) -> Tensor:
        """Unit embeddings (B, D) of the trunk's features for one attribute an image (B,)."""
        return self.attend(features, attributes[:, None]).embedding[:, 0]

    def head_all(self, features: Features) -> Tensor:
        """Unit embeddings (B, A, D) of the trunk's features for all attributes."""
        everything = torch.arange(self.n_attributes, device=features[0].device)[None]
        return self.attend(features, everything).embedding

    def forward(self, images: Tensor, attributes: Tensor) -> Tensor:
        """Unit embeddings (B, D) of images (B, 3, H, W) under attributes (B,)."""
        return self.head(self.trunk(images), attributes)

    def embed_all(self, images: Tensor) -> Tensor:
        """Unit embeddings (B, A, D) of images (B, 3, H, W) under every attribute."""
        return self.head_all(self.trunk(images))

    def attention_maps(self, images: Tensor, attributes: Tensor) -> Tensor:
        """S (B, h, w) under attributes (B,): spatial attention, sums to one over positions.

        Raises:
            AgmanError: the network has no spatial attention (triplet, csn).
        """
        spatial = self.attend(self.trunk(images), attributes[:, None]).spatial
        if spatial is None:
            raise AgmanError(f"network {self.name!r} has no spatial attention")
        return spatial[:, 0]

    def attribute_logits(self, images: Tensor) -> Tensor:
        """Logits (B, A) of the same-attribute classification.

        Raises:
            AgmanError: the network has no class branch.
        """
        return self.backbone.classify(self.backbone.stages(images)[1])

    def features_train(self, images: Tensor) -> tuple[Features, Tensor | None]:
        """As `trunk`, and attribute logits (B, A), or None without a class branch."""
        f, x = self.backbone.stages(images)
        logits = self.backbone.classify(x) if self.parts.class_branch else None
        return self.attribute_head.features(f), logits

    def forward_train(self, images: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings (B, D) and attribute logits (B, A), or None without a class branch."""
        features, logits = self.features_train(images)
        return self.head(features, attributes), logits


def without_class_branch(model: RetrievalModel) -> RetrievalModel:
    """A copy that retrieves with the same embeddings, without what only training needs.

    The class branch (the last stages and its linear layer) is most of a backbone's weights.
    """
    parts = replace(model.parts, class_branch=False)
    small = RetrievalModel(
        model.name, model.n_attributes, model.backbone_name, parts, model.n_values
    )
    small.load_state_dict({k: model.state_dict()[k] for k in small.state_dict()})
    return small.train(model.training)


def from_description(description: dict[str, Any]) -> RetrievalModel:
    """Build the network that ``description`` describes, with the random weights of seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return RetrievalModel(**description | {"parts": Parts(**description["parts"])})
