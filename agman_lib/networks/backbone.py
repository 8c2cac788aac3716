"""The extractor: a ResNet, enriched with low-level features, and its same-attribute class branch.

Letters follow the paper's steps as the published code computes them (``backbonenet.*``):
``F2``, ``F3`` are the outputs of torchvision's ``layer2``, ``layer3``; ``L`` is the low-level
projection; ``X = F3 + L``; the extractor's output is ``F = concat(F3, X)``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from agman_lib.base.errors import AgmanError, unknown

STRIDE = 16
"""Pixels of the input from one position of ``F`` to the next, in height and in width."""
OFFSETS = {"resnet18": 0.0, "resnet34": 0.0, "resnet50": 0.0}
"""Where a backbone's positions look: position i is centred at the pixel of index 16 i + offset.

The centre of the pixels that it depends on, away from the border; towards the border the padding
pushes it inwards. A padded ResNet: 0, not 7.5 (the middle of 16 pixels), because each of its layers
with stride 2 is centred at index 2 i of what it reads.
"""
BACKBONES = tuple(OFFSETS)


def init_conv(conv: nn.Conv2d) -> nn.Conv2d:
    """Start a new convolution at N(0, sqrt(2 / (k*k*out_channels))), as the published code does."""
    k, out = conv.kernel_size[0], conv.out_channels
    nn.init.normal_(conv.weight, 0.0, math.sqrt(2.0 / (k * k * out)))
    return conv


class MultiLevelBackbone(nn.Module):
    """ResNet stages with two of AG-MAN's three answers to the feature gap.

    Args:
        name: resnet18, resnet34 or resnet50.
        n_attributes: A, the classes of the same-attribute classification.
        multi_level: add the low-level projection (paper: multi-level backbone).
        class_branch: add layer4 and the linear layer that classifies which attribute an image is
            labelled for (paper: same-attribute classification).

    A part that is off has no parameters. ``out_channels`` is the width of F, ``c3`` layer3's,
    ``offset`` the backbone's of `OFFSETS`.
    """

    def __init__(
        self,
        name: str = "resnet50",
        n_attributes: int = 1,
        multi_level: bool = True,
        class_branch: bool = True,
    ) -> None:
        super().__init__()
        import torchvision

        if name not in BACKBONES:
            raise unknown("backbone", name, BACKBONES)
        resnet = torchvision.models.get_model(name, weights=None)
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.layer1, self.layer2, self.layer3 = resnet.layer1, resnet.layer2, resnet.layer3
        c4 = resnet.fc.in_features
        self.c3, c2 = c4 // 2, c4 // 4
        self.offset = OFFSETS[name]
        self.out_channels = 2 * self.c3 if multi_level else self.c3
        self.low_level = None
        if multi_level:
            self.low_level_pool = nn.MaxPool2d(3, stride=2, padding=1)
            self.low_level = init_conv(nn.Conv2d(c2, self.c3, 1))
        self.attribute_classifier = None
        if class_branch:
            self.layer4 = resnet.layer4
            self.attribute_classifier = nn.Linear(c4, n_attributes)

    def stages(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``F`` (B, out_channels, H/16, W/16) and ``X`` (B, C3, H/16, W/16) of (B, 3, H, W)."""
        if images.ndim != 4 or images.shape[1] != 3 or any(s % 32 for s in images.shape[2:]):
            raise AgmanError(
                f"images must be (B, 3, H, W) with H and W multiples of 32, "
                f"not {tuple(images.shape)}"
            )
        f2 = self.layer2(self.layer1(self.stem(images)))
        f3 = self.layer3(f2)
        if self.low_level is None:
            return f3, f3
        x = f3 + self.low_level(self.low_level_pool(f2))
        return torch.cat([f3, x], dim=1), x

    def forward(self, images: Tensor) -> Tensor:
        """``F`` alone: what retrieval needs; layer4 is not computed."""
        return self.stages(images)[0]

    def classify(self, x: Tensor) -> Tensor:
        """Attribute logits (B, A) from ``X``: which attribute an image is labelled for.

        layer4 is pooled globally, which is the published AvgPool7 at 224 pixels.
        """
        if self.attribute_classifier is None:
            raise AgmanError("this network was built without the class branch")
        return self.attribute_classifier(self.layer4(x).mean(dim=(2, 3)))

    def load_resnet(self, state: dict[str, Tensor], where: str) -> None:
        """Copy the weights of a torchvision ResNet (``conv1.weight``, ``layer1.…``, ``fc.…``).

        The 1000-class ``fc`` is left out, and layer4 where there is no class branch. Batch norm's
        counters ``num_batches_tracked`` may be missing, as in files older than PyTorch 0.4.1; no
        result depends on them.

        Raises:
            AgmanError: a weight is missing or has another shape (another ResNet).
        """
        stem = {"conv1": "stem.0", "bn1": "stem.1"}
        own = self.state_dict()
        wanted = {k: v for k, v in own.items() if not k.startswith(("low_level", "attribute_"))}
        found = {}
        for key, value in state.items():
            first, _, rest = key.partition(".")
            found[f"{stem.get(first, first)}.{rest}"] = value
        for key, value in wanted.items():
            if key.endswith("num_batches_tracked"):
                found.setdefault(key, value)
            if key not in found or found[key].shape != value.shape:
                raise AgmanError(
                    f"{where}: these are not the weights of this backbone ({key} is missing or has "
                    "another shape); give the file of the same ResNet, or change --backbone"
                )
        self.load_state_dict(own | {k: found[k] for k in wanted})


def imagenet_weights(name: str) -> dict[str, Tensor]:
    """torchvision's ``IMAGENET1K_V1`` weights, downloaded once (the published starting point).

    Raises:
        AgmanError: they are not in the cache and there is no network.
    """
    import torchvision

    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise AgmanError(
            f"ImageNet weights of {name} could not be downloaded from {weights.url} ({error}); "
            f"connect to the network once, or save that file yourself and pass its path as "
            f"--weights, or train from scratch with --weights none"
        ) from None
