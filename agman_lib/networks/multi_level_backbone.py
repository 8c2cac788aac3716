"""The extractor: an image classifier, enriched with low-level features, and its class branch.

Letters follow the paper's steps as the published code computes them (``backbonenet.*``):
``F2``, ``F3`` are the classifier's maps at strides 8 and 16 (a ResNet's ``layer2``, ``layer3``);
``L`` is the low-level projection; ``X = F3 + L``; the extractor's output is ``F = concat(F3, X)``.

What a particular classifier adds to this, `networks.backbones` says.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from agman_lib.base.errors import AgmanError
from agman_lib.data.pixels import IMAGENET_MEAN, IMAGENET_STD, normalize

STRIDE = 16
"""Pixels of the input from one position of ``F`` to the next, in height and in width."""


def init_conv(conv: nn.Conv2d) -> nn.Conv2d:
    """Start a new convolution at N(0, sqrt(2 / (k*k*out_channels))), as the published code does."""
    k, out = conv.kernel_size[0], conv.out_channels
    nn.init.normal_(conv.weight, 0.0, math.sqrt(2.0 / (k * k * out)))
    return conv


class MultiLevelBackbone(nn.Module):
    """The stages of an image classifier with two of AG-MAN's three answers to the feature gap.

    A subclass is one family of classifiers. It makes the stages as modules (`_make_stages`), names
    them in the order in which they run, and says how its weights want their input and where its
    positions look. `build_backbone` makes one by name.

    Args:
        name: as in `BACKBONES`.
        n_attributes: A, the classes of the same-attribute classification.
        multi_level: add the low-level projection (paper: multi-level backbone).
        class_branch: add the last stages and the linear layer that classifies which attribute an
            image is labelled for (paper: same-attribute classification).
        fine_level: put F2 itself beside the rest of F, the four positions of F2 that lie in one of
            F3 as channels (not in the paper).
        coarse_level: put F4, the map of the last stages, beside the rest of F, each position
            repeated for the four of F3 that lie in it (not in the paper). The last stages are then
            part of the trunk, so it excludes the class branch, which trains them for its own end.

    A part that is off has no parameters. ``out_channels`` is the width of F, ``c3`` that of F3.
    """

    to_stride_8: tuple[str, ...]
    """The stages, by name, that lead from images to F2; then those to F3, and the rest."""
    to_stride_16: tuple[str, ...]
    rest: tuple[str, ...]
    to_stride_32: tuple[str, ...]
    """The first of the rest: those that lead to F4."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Of red, green and blue, 0 to 1, in the input that the weights were trained with."""
    deviation: tuple[float, float, float] = IMAGENET_STD
    offset: float
    """Where positions look: position i is centred at the pixel of index 16 i + offset.

    The centre of the pixels that it depends on, away from the border; towards the border the
    padding pushes it inwards.
    """

    def __init__(
        self,
        name: str,
        n_attributes: int = 1,
        multi_level: bool = True,
        class_branch: bool = True,
        fine_level: bool = False,
        coarse_level: bool = False,
    ) -> None:
        super().__init__()
        if class_branch and coarse_level:
            raise AgmanError(
                "the class branch and the coarse level both use the last stages: switch one off"
            )
        self.c2, self.c3, self.c4, last = self._make_stages(name, class_branch or coarse_level)
        if coarse_level:
            for stage in set(self.rest) - set(self.to_stride_32):
                delattr(self, stage)
        self.fine_level, self.coarse_level = fine_level, coarse_level
        self.out_channels = self.c3 * (1 + multi_level)
        self.out_channels += 4 * self.c2 * fine_level + self.c4 * coarse_level
        self.low_level = None
        self.low_level_pool = self._make_pool()
        if multi_level:
            self.low_level = init_conv(nn.Conv2d(self.c2, self.c3, 1))
        self.attribute_classifier = None
        if class_branch:
            self.attribute_classifier = nn.Linear(last, n_attributes)

    def _make_stages(self, name: str, with_rest: bool) -> tuple[int, int, int, int]:
        """Make the modules that the stages name; return the channels of F2, F3, F4, the rest."""
        raise NotImplementedError

    def _make_pool(self) -> nn.Module:
        """The max-pooling from stride 8 to 16, centred as the classifier's own layers are."""
        return nn.MaxPool2d(3, stride=2, padding=1)

    def _translated(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A pre-trained classifier's weights under the names of our stages."""
        raise NotImplementedError

    def normalize(self, pixels: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> the float32 input that these weights were trained with.

        Packed levels (`pack`) are let through, as float32.
        """
        if pixels.ndim == 2:
            return pixels.float()
        return normalize(pixels, self.mean, self.deviation)

    def run(self, stages: tuple[str, ...], x: Tensor) -> Tensor:
        """A map after some of the stages, one after the other."""
        for stage in stages:
            x = getattr(self, stage)(x)
        return x

    def stages(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``F`` (B, out_channels, H/16, W/16) and ``X`` (B, C3, H/16, W/16) of (B, 3, H, W)."""
        return self.combine(*self.levels(images))

    @property
    def trunk_stages(self) -> tuple[str, ...]:
        """The stages that retrieval runs, by name: what a frozen trunk freezes."""
        coarse = self.to_stride_32 if self.coarse_level else ()
        return (*self.to_stride_8, *self.to_stride_16, *coarse)

    def levels(self, images: Tensor) -> tuple[Tensor, ...]:
        """``F2`` (B, C2, H/8, W/8) and ``F3`` (B, C3, H/16, W/16) of images (B, 3, H, W).

        With the coarse level ``F4`` (B, C4, H/32, W/32), too. What `pack` made of them may stand in
        for images.
        """
        if images.ndim == 2:
            return self.unpack(images)
        if images.ndim != 4 or images.shape[1] != 3 or any(s % 32 for s in images.shape[2:]):
            raise AgmanError(
                f"images must be (B, 3, H, W) with H and W multiples of 32, "
                f"not {tuple(images.shape)}"
            )
        f2 = self.run(self.to_stride_8, images)
        f3 = self.run(self.to_stride_16, f2)
        return (f2, f3, self.run(self.to_stride_32, f3)) if self.coarse_level else (f2, f3)

    def level_shapes(self, size: int) -> list[tuple[int, int, int]]:
        """Channels, height and width of each of the `levels` of square images, size in pixels."""
        widths = (self.c2, self.c3, self.c4) if self.coarse_level else (self.c2, self.c3)
        return [(c, size // s, size // s) for c, s in zip(widths, (8, 16, 32), strict=False)]

    def packed_size(self, size: int) -> int:
        """n, the numbers in a row that `pack` makes of a square image, size in pixels."""
        return sum(math.prod(shape) for shape in self.level_shapes(size))

    def pack(self, *levels: Tensor) -> Tensor:
        """The `levels` of square images as rows (B, n), to be kept."""
        return torch.cat([level.flatten(1) for level in levels], dim=1)

    def unpack(self, packed: Tensor) -> tuple[Tensor, ...]:
        """The levels that `pack` has packed."""
        shapes = self.level_shapes(32 * math.isqrt(packed.shape[1] // self.packed_size(32)))
        parts = packed.split([math.prod(shape) for shape in shapes], dim=1)
        return tuple(part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True))

    def freeze(self) -> None:
        """Let no training change the stages that lead to the levels."""
        for stage in self.trunk_stages:
            getattr(self, stage).requires_grad_(False)

    def digest(self, stages: tuple[str, ...]) -> str:
        """Sixteen letters that stand for the weights of some stages, statistics included."""
        found = hashlib.sha256(type(self).__name__.encode())
        for stage in stages:
            for name, value in getattr(self, stage).state_dict().items():
                found.update(f"{stage}.{name}".encode() + value.cpu().numpy().tobytes())
        return found.hexdigest()[:16]

    def combine(self, f2: Tensor, f3: Tensor, f4: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``F`` and ``X``, as `stages` gives them, of the `levels`."""
        f, x = [f3], f3
        if self.low_level is not None:
            x = f3 + self.low_level(self.low_level_pool(f2))
            f.append(x)
        if self.fine_level:
            f.append(functional.pixel_unshuffle(f2, 2))
        if f4 is not None:
            f.append(f4.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
        return torch.cat(f, dim=1) if len(f) > 1 else f3, x

    def forward(self, images: Tensor) -> Tensor:
        """``F`` alone: what retrieval needs; the rest of the classifier is not computed."""
        return self.stages(images)[0]

    def classify(self, x: Tensor) -> Tensor:
        """Attribute logits (B, A) from ``X``: which attribute an image is labelled for.

        The last map is pooled globally, which is the published AvgPool7 at 224 pixels.
        """
        if self.attribute_classifier is None:
            raise AgmanError("this network was built without the class branch")
        return self.attribute_classifier(self.run(self.rest, x).mean(dim=(2, 3)))

    def load_pretrained(self, state: dict[str, Tensor], where: str) -> None:
        """Copy the weights of a whole classifier of this kind, as its publisher names them.

        Its 1000-class layer is left out, and the last stages where there is no class branch. Batch
        norm's counters ``num_batches_tracked`` may be missing, as in files older than PyTorch
        0.4.1; no result depends on them.

        Raises:
            AgmanError: a weight is missing or has another shape (another classifier).
        """
        own = self.state_dict()
        wanted = {k: v for k, v in own.items() if not k.startswith(("low_level", "attribute_"))}
        found = self._translated(state)
        for key, value in wanted.items():
            if key.endswith("num_batches_tracked"):
                found.setdefault(key, value)
            if key not in found or found[key].shape != value.shape:
                raise AgmanError(
                    f"{where}: these are not the weights of this backbone ({key} is missing or has "
                    "another shape); give the file of the same one, or change --backbone"
                )
        self.load_state_dict(own | {k: found[k] for k in wanted})
