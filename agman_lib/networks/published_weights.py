"""The published checkpoints: their names for the weights, and the network that they are of."""

from __future__ import annotations

import re

from torch import Tensor

from agman_lib.base.errors import AgmanError
from agman_lib.networks.model import RetrievalModel
from agman_lib.networks.weights import load_exactly

# Published name -> ours, the first that fits: the official AG-MAN code, and Maryeon/asen.
_RESNET = [
    (r"(?:backbonenet|embeddingnet)\.conv1_1\.", "backbone.low_level."),
    (r"(?:backbonenet|embeddingnet)\.fc_embed\.", "backbone.attribute_classifier."),
    (r"(?:backbonenet|embeddingnet)\.conv1\.", "backbone.stem.0."),
    (r"(?:backbonenet|embeddingnet)\.bn1\.", "backbone.stem.1."),
    (r"(?:backbonenet|embeddingnet)\.", "backbone."),
]
_AGA = [
    (r"attr_embedding\.", "attribute_head.attribute_embedding."),
    (r"attr_transform1\.", "attribute_head.spatial_transform."),
    (r"attr_transform2\.", "attribute_head.channel_transform."),
    (r"img_bn1\.", "attribute_head.norm."),
    (r"sa\.conv1\.", "attribute_head.gate_conv."),
    (r"conv1\.", "attribute_head.project."),
    (r"fc1\.", "attribute_head.channel_fc1."),
    (r"fc2\.", "attribute_head.channel_fc2."),
    (r"masks\.", "attribute_head.masks."),
    (r"(w|w1|w2)$", r"attribute_head.\1"),
]
_ASEN = [
    (r"mask_fc1\.", "attribute_head.spatial_attribute."),
    (r"mask_fc2\.", "attribute_head.channel_attribute."),
    (r"conv1\.", "attribute_head.project."),
    (r"conv2\.", "attribute_head.spatial_score."),
    (r"fc1\.", "attribute_head.channel_fc1."),
    (r"fc2\.", "attribute_head.channel_fc2."),
    (r"feature_fc\.", "attribute_head.embed."),
]
_CSN = [(r"embed_fc\.", "attribute_head.embed."), (r"masks\.", "attribute_head.masks.")]
# Network -> a name that it alone has (looked for in this order), its names, where A is read off.
_PUBLISHED = {
    "agman": ("backbonenet.conv1_1.weight", _AGA, ("attr_embedding.weight", 0)),
    "asen_v2": ("img_bn1.weight", _AGA, ("attr_embedding.weight", 0)),
    "asen": ("mask_fc1.weight", _ASEN, ("mask_fc1.weight", 1)),
    "csn": ("masks.weight", _CSN, ("masks.weight", 0)),
}


def from_official(state: dict[str, Tensor], where: str = "checkpoint") -> RetrievalModel:
    """The network of a published checkpoint, recognised by its names, weights loaded.

    Args:
        state: the published state dict (AG-MAN, ASENet_V2, ASEN or CSN); a training checkpoint's
            wrapper ``embeddingnet.`` is stripped when every key has it.

    Raises:
        AgmanError: the names are no known network's, or weights are missing.
    """
    wrapper = "embeddingnet."
    if state and all(k.startswith(wrapper) for k in state):
        state = {k[len(wrapper) :]: v for k, v in state.items()}
    shape = {k: tuple(v.shape) for k, v in state.items()}
    for name, (sign, names, (key, axis)) in _PUBLISHED.items():  # noqa: B007
        if sign in shape and key in shape:
            break
    else:
        raise AgmanError(
            f"{where}: its names are not those of a published AG-MAN, ASENet_V2, ASEN or CSN"
        )
    model = RetrievalModel(name, shape[key][axis], _resnet_of(shape))
    renamed = {}
    for old, value in state.items():
        new = next((re.sub("^" + p, o, old) for p, o in _RESNET + names if re.match(p, old)), old)
        renamed[new] = value
    unused = ("backbone.fc.",) + (() if model.parts.class_branch else ("backbone.layer4.",))
    load_exactly(model, {k: v for k, v in renamed.items() if not k.startswith(unused)}, where)
    return model.eval()


def _resnet_of(shape: dict[str, tuple[int, ...]]) -> str:
    layer3 = [k.split("layer3.")[1] for k in shape if ".layer3." in k]
    if any(".conv3." in k for k in layer3):
        return "resnet50"
    return "resnet18" if len({k.split(".")[0] for k in layer3}) == 2 else "resnet34"
