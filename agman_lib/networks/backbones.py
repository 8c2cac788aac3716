"""The classifiers that a network can start from, each as a `MultiLevelBackbone`.

One more takes a class of about twenty lines here, an entry in `BACKBONES`, and its ImageNet weights
in `networks.imagenet`. `tests/networks/test_offset.py` measures the offset it states.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from agman_lib.base.errors import AgmanError, unknown
from agman_lib.networks.multi_level_backbone import MultiLevelBackbone


class ResNet(MultiLevelBackbone):
    """torchvision's ResNet-18, 34 and 50: the published backbone."""

    to_stride_8, to_stride_16, rest = ("stem", "layer1", "layer2"), ("layer3",), ("layer4",)
    to_stride_32 = rest
    offset = 0.0  # not 7.5, the middle of 16 pixels: each layer with stride 2 is centred at 2 i

    def _make_stages(self, name: str, with_rest: bool) -> tuple[int, int, int, int]:
        import torchvision  # takes as long to import as PyTorch

        resnet = torchvision.models.get_model(name, weights=None)
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.layer1, self.layer2, self.layer3 = resnet.layer1, resnet.layer2, resnet.layer3
        if with_rest:
            self.layer4 = resnet.layer4
        c4 = resnet.fc.in_features
        return c4 // 4, c4 // 2, c4, c4

    def _translated(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return _renamed(state, {"conv1": "stem.0", "bn1": "stem.1"})


class EfficientNetLite0(MultiLevelBackbone):
    """timm's ``tf_efficientnet_lite0``, whose ImageNet weights come with a small package.

    Without the dropout and the stochastic depth of its training for ImageNet. Batch norm's momentum
    is PyTorch's 0.1: with the 0.01 of that training its statistics would stay ImageNet's for
    hundreds of steps.
    """

    to_stride_8 = ("stem", "stage1", "stage2", "stage3")
    to_stride_16, rest = ("stage4", "stage5"), ("stage6", "stage7", "conv_head")
    to_stride_32 = ("stage6", "stage7")
    mean = deviation = (0.5, 0.5, 0.5)
    # TensorFlow pads at the right and below, so that a layer with stride 2 is centred at 2 i + 1,
    # and F at 16 i + 15. But ImageNet's weights lean to the left and up. This is measured with
    # them; a network that is trained from random weights begins at 15.
    offset = 10.7

    def _make_stages(self, name: str, with_rest: bool) -> tuple[int, int, int, int]:
        try:
            import timm
        except ImportError:
            raise AgmanError(f"backbone {name!r} needs timm: pip install timm") from None
        whole: Any = timm.create_model("tf_efficientnet_lite0", drop_rate=0.0, drop_path_rate=0.0)
        self.stem = nn.Sequential(whole.conv_stem, whole.bn1)
        for number, blocks in enumerate(whole.blocks, start=1):
            if number <= 5 or with_rest:
                self.add_module(f"stage{number}", blocks)
        if with_rest:
            self.conv_head = nn.Sequential(whole.conv_head, whole.bn2)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1
        return 40, 112, 320, 1280

    def _make_pool(self) -> nn.Module:
        return _MaxPoolSame()

    def _translated(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """By their order: the file's tensors have other names, in the order of the layers."""
        own = [k for k in self.state_dict() if not k.startswith(("low_level", "attribute_"))]
        return dict(zip(own, state.values(), strict=False))


class _MaxPoolSame(nn.Module):
    """Max-pooling over 3 x 3 with stride 2, padded as TensorFlow's "same" does for even sizes."""

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (0, 1, 0, 1), value=float("-inf"))
        return functional.max_pool2d(padded, 3, stride=2)


class ConvNeXt(MultiLevelBackbone):
    """torchvision's ConvNeXt-T, without the stochastic depth of its training for ImageNet."""

    to_stride_8, to_stride_16, rest = ("stem", "stage1", "stage2"), ("stage3",), ("stage4",)
    to_stride_32 = rest
    offset = 7.5  # non-overlapping patches: the middle of 16 pixels

    def _make_stages(self, name: str, with_rest: bool) -> tuple[int, int, int, int]:
        import torchvision

        f = torchvision.models.get_model(name, weights=None, stochastic_depth_prob=0.0).features
        self.stem, self.stage1 = f[0], f[1]
        self.stage2, self.stage3 = nn.Sequential(f[2], f[3]), nn.Sequential(f[4], f[5])
        if with_rest:
            self.stage4 = nn.Sequential(f[6], f[7])
        return 192, 384, 768, 768

    def _make_pool(self) -> nn.Module:
        return nn.MaxPool2d(2)

    def _translated(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        names = {"0": "stem", "1": "stage1"}
        names |= {str(n): f"stage{n // 2 + 1}.{n % 2}" for n in range(2, 8)}
        features = {k.removeprefix("features."): v for k, v in state.items()}
        return _renamed(features, names)


BACKBONES: dict[str, type[MultiLevelBackbone]] = {
    "resnet18": ResNet,
    "resnet34": ResNet,
    "resnet50": ResNet,
    "efficientnet_lite0": EfficientNetLite0,
    "convnext_tiny": ConvNeXt,
}


def build_backbone(
    name: str,
    n_attributes: int = 1,
    multi_level: bool = True,
    class_branch: bool = True,
    fine_level: bool = False,
    coarse_level: bool = False,
) -> MultiLevelBackbone:
    """A backbone by its name in `BACKBONES`, with random weights; arguments as the class's.

    Raises:
        AgmanError: no such backbone; the class branch and the coarse level together.
    """
    if name not in BACKBONES:
        raise unknown("backbone", name, BACKBONES)
    parts = multi_level, class_branch, fine_level, coarse_level
    return BACKBONES[name](name, n_attributes, *parts)


def _renamed(state: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """The state with the first part of each name replaced."""
    parted = ((*key.partition("."), value) for key, value in state.items())
    return {f"{names.get(first, first)}.{rest}": value for first, _, rest, value in parted}
