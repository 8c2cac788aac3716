"""`build_model`: a network by its name, with the weights that it starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agman_lib.networks.imagenet import imagenet_weights
from agman_lib.networks.model import Parts, RetrievalModel
from agman_lib.networks.weights import load_weights_into


def build_model(
    name: str,
    n_attributes: int,
    backbone: str = "resnet50",
    weights: str | None = None,
    parts: Parts | None = None,
    attributes: Sequence[str] | None = None,
    say: Callable[[str], None] | None = None,
    n_values: Sequence[int] | None = None,
) -> RetrievalModel:
    """A network by name.

    Args:
        name: triplet, csn, asen, asen_v2 or agman; or softmax or proxies, classifiers.
        n_attributes: A.
        backbone: one of `BACKBONES`.
        weights: None or "none" (random), "imagenet" (`imagenet_weights` in the backbone),
            or the path of a file with the weights of the backbone or of the whole network.
        parts: switches that replace the network's own (an ablation).
        attributes: their names in index order: what a weights file of ours knows of an attribute
            is then copied by name. Without them it is copied by number.
        say: told, in a sentence, what of a weights file could not be matched.
        n_values: how many values each attribute has; the classifiers alone need them.

    Raises:
        AgmanError: an unknown name, weights that do not fit, no network for ImageNet weights.
    """
    model = RetrievalModel(name, n_attributes, backbone, parts, n_values)
    if weights == "imagenet":
        model.backbone.load_pretrained(imagenet_weights(backbone), "ImageNet weights")
    elif weights not in (None, "none"):
        note = load_weights_into(model, weights, attributes)
        if note and say is not None:
            say(note)
    return model
