"""Hidden tests of assignment 2. Each takes a student's function and fails with what is off.

A message says what is wrong and on what kind of input, never what the right answer is. What is
expected is computed in another way than in the solution: by hooks on the layers, by loops, and by
drawing. Nothing depends on another question.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from grading_common import limited, near, number
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50


def _same(got: Any, expected: Tensor, where: str) -> None:
    if got is None or got is ...:
        raise AssertionError(f"{where}: it is missing")
    assert isinstance(got, Tensor), f"{where}: it is no tensor but {type(got).__name__}"
    assert got.shape == expected.shape, (
        f"{where}: the shape is {tuple(got.shape)}, and {tuple(expected.shape)} is needed"
    )
    off = (got - expected).abs().max().item()
    assert off <= 1e-4 * (1 + expected.abs().max().item()), f"{where}: off by up to {off:.3g}"


# ------------------------------------------------------------------ 1: the multi-level features


def _network(name: str = "resnet18") -> tuple[nn.Module, nn.Conv2d]:
    torch.manual_seed(0)
    resnet = {"resnet18": resnet18, "resnet50": resnet50}[name](weights=None).eval()
    c2, c3 = (128, 256) if name == "resnet18" else (512, 1024)
    return resnet, nn.Conv2d(c2, c3, 1)


def _images(height: int, width: int, n: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randn(n, 3, height, width, generator=generator)


def _expected(resnet: nn.Module, low: nn.Module, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """F3, L and X, with the maps of layers 2 and 3 caught on the way through the whole ResNet."""
    caught: dict[str, Tensor] = {}
    hooks = [
        getattr(resnet, name).register_forward_hook(
            lambda _, __, out, name=name: caught.__setitem__(name, out)
        )
        for name in ("layer2", "layer3")
    ]
    resnet(images)
    for hook in hooks:
        hook.remove()
    f2, f3 = caught["layer2"], caught["layer3"]
    windows = nn.functional.pad(f2, (1, 1, 1, 1), value=-math.inf).unfold(2, 3, 2).unfold(3, 3, 2)
    pooled = windows.flatten(-2).amax(-1)
    level = torch.einsum("oc,bchw->bohw", low.weight[:, :, 0, 0], pooled)
    level = level + low.bias[None, :, None, None]
    return f3, level, f3 + level


def _multi_level(features: Callable, name: str, height: int, width: int) -> tuple[Any, Any, tuple]:
    resnet, low = _network(name)
    images = _images(height, width)
    where = f"{name}, images of {height} x {width}"
    with limited(where), torch.no_grad():
        got = features(resnet, low, images)
        expected = _expected(resnet, low, images)
    assert isinstance(got, tuple | list), f"{where}: X and F are asked for"
    assert len(got) == 2, f"{where}: X and F are asked for"
    return got[0], got[1], expected


def x_is_right(features: Callable) -> None:
    """X of square images."""
    x, _, (_, _, expected) = _multi_level(features, "resnet18", 64, 64)
    _same(x, expected, "X of square images")


def f_is_right(features: Callable) -> None:
    """F of square images: both halves, in their order."""
    _, f, (f3, _, x) = _multi_level(features, "resnet18", 64, 64)
    expected = torch.cat([f3, x], dim=1)
    assert isinstance(f, Tensor), "F is no tensor"
    assert f.shape == expected.shape, (
        f"F has the shape {tuple(f.shape)}, {tuple(expected.shape)} is needed"
    )
    half = f3.shape[1]
    for part, of in (("first", slice(half)), ("second", slice(half, None))):
        _same(f[:, of], expected[:, of], f"the {part} half of F's channels")


def any_size(features: Callable) -> None:
    """Images that are not square, of two sizes."""
    for height, width in ((64, 96), (160, 32)):
        x, _, (_, _, expected) = _multi_level(features, "resnet18", height, width)
        _same(x, expected, f"X of images of {height} x {width}")


def another_resnet(features: Callable) -> None:
    """A ResNet-50, which has other channels."""
    x, _, (_, _, expected) = _multi_level(features, "resnet50", 64, 64)
    _same(x, expected, "X of a ResNet-50")


def features_can_be_trained(features: Callable) -> None:
    """Gradients reach the new convolution, and the ResNet through both ways."""
    resnet, low = _network()
    with limited("training"):
        x, f = features(resnet, low, _images(64, 64))
    (x.square().sum() + f.square().sum()).backward()
    for name, weight in (
        ("the new convolution", low.weight),
        ("layer3", resnet.layer3[0].conv1.weight),
        ("layer2", resnet.layer2[0].conv1.weight),
    ):
        assert weight.grad is not None, f"no gradient reaches {name}"
        assert weight.grad.abs().sum() > 0, f"the gradient of {name} is 0"
    x, _ = features(resnet, low, _images(64, 64))
    (through_low,) = torch.autograd.grad(x.sum(), resnet.layer2[1].conv2.weight, allow_unused=True)
    assert through_low is not None, "no gradient reaches layer2 from X"


# ------------------------------------------------------------------ 2: the class branch


def _branch_parts(seed: int = 0) -> tuple[nn.Module, nn.Linear, Tensor, Tensor]:
    resnet, _ = _network()
    torch.manual_seed(seed + 1)
    head = nn.Linear(512, 5)
    return resnet, head, torch.randn(3, 256, 4, 6), torch.randn(3, 256, 4, 6)


def _branch_by_hand(resnet: nn.Module, head: nn.Linear, x: Tensor) -> Tensor:
    maps = resnet.layer4(x)
    pooled = maps.flatten(2).sum(2) / (maps.shape[2] * maps.shape[3])
    return pooled @ head.weight.T + head.bias


def branch_reads_x(branch: Callable) -> None:
    """The logits are those of X."""
    resnet, head, f3, x = _branch_parts()
    with limited("the branch"), torch.no_grad():
        got = branch(resnet, head, f3, x)
        _same(got, _branch_by_hand(resnet, head, x), "the logits")


def branch_has_a_row_for_each_image(branch: Callable) -> None:
    """A batch of one image, and another size."""
    resnet, head, _, _ = _branch_parts()
    f3, x = torch.randn(1, 256, 2, 2), torch.randn(1, 256, 2, 2)
    with limited("the branch on one image"), torch.no_grad():
        got = branch(resnet, head, f3, x)
        _same(got, _branch_by_hand(resnet, head, x), "the logits of a batch of one image")


def branch_trains_the_backbone(branch: Callable) -> None:
    """Its gradient reaches X, the last stage and the head."""
    resnet, head, f3, x = _branch_parts()
    x.requires_grad_()
    with limited("training the branch"):
        got = branch(resnet, head, f3, x)
    assert isinstance(got, Tensor), "the logits are no tensor"
    assert got.requires_grad, "the logits have no gradient"
    got.square().sum().backward()
    for name, grad in (
        ("X", x.grad),
        ("layer4", resnet.layer4[0].conv1.weight.grad),
        ("the linear layer", head.weight.grad),
    ):
        assert grad is not None, f"no gradient reaches {name}"
        assert grad.abs().sum() > 0, f"the gradient of {name} is 0"


# ------------------------------------------------------------------ 3: targets and loss


def _labels(seed: int, n: int = 12, a: int = 4) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((n, a)) < 0.35, rng.integers(0, 5, (n, a)), -1)
    labels[0], labels[1, 0] = -1, 0
    labels[2] = [3, -1, 0, 2][:a]
    return torch.tensor(rng.normal(size=(n, a)) * 2, dtype=torch.float32), torch.tensor(labels)


def _loop_loss(logits: Tensor, labels: Tensor) -> float:
    total = 0.0
    for row, of_image in zip(logits.tolist(), labels.tolist(), strict=True):
        for z, label in zip(row, of_image, strict=True):
            signed = -z if label >= 0 else z
            total += max(signed, 0) + math.log1p(math.exp(-abs(signed)))
    return total / logits.numel()


def loss_of_ordinary_logits(loss: Callable) -> None:
    """Compared with a loop."""
    for seed in range(3):
        logits, labels = _labels(seed)
        with limited("the loss"):
            got = loss(logits.clone(), labels.clone())
        near(got, _loop_loss(logits, labels), "ordinary logits")


def loss_does_not_look_at_values(loss: Callable) -> None:
    """Labels with other values of the same attributes give the same loss."""
    logits, labels = _labels(5)
    other = torch.where(labels >= 0, (labels + 1) % 5, labels)
    with limited("labels with other values"):
        one = number(loss(logits, labels), "the loss")
        two = number(loss(logits, other), "labels with other values")
    off = abs(one - two)
    assert off < 1e-6, (
        f"labels of the same attributes with other values: the loss changes by {off:.3g}"
    )


def loss_of_extreme_logits(loss: Callable) -> None:
    """Large logits, right and wrong: no infinity, no NaN."""
    for size in (30.0, 300.0):
        logits, labels = _labels(6)
        logits = torch.sign(logits) * size
        with limited("large logits"):
            got = loss(logits, labels)
        near(got, _loop_loss(logits, labels), f"logits of ± {size:g}")


def loss_is_a_mean_and_has_a_gradient(loss: Callable) -> None:
    """Twice the same batch has the same loss; the gradient is that of the mean."""
    logits, labels = _labels(7)
    with limited("a batch twice"):
        one = number(loss(logits, labels), "the loss")
        two = loss(torch.cat([logits, logits]), torch.cat([labels, labels]))
    near(two, one, "the same batch twice")
    logits.requires_grad_()
    got = loss(logits, labels)
    assert isinstance(got, Tensor), "the loss is no tensor"
    assert got.requires_grad, "the loss has no gradient"
    (gradient,) = torch.autograd.grad(got, logits)
    expected = (torch.sigmoid(logits.detach()) - (labels >= 0).float()) / logits.numel()
    _same(gradient, expected, "the gradient")


# ------------------------------------------------------------------ 4: how low the loss can get


def _asked(seed: int, n: int = 400, a: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Labels of images whose kinds have attributes of their own; kinds are unequally frequent."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, n, p=[0.7, 0.2, 0.1])
    likely = rng.random((3, a))
    likely[0, 0], likely[1, 1] = 0, 1  # a kind that never, and one that always has an attribute
    labelled = rng.random((n, a)) < likely[kind]
    return np.where(labelled, rng.integers(0, 4, (n, a)), -1), kind


def _lowest(labels: np.ndarray, group: np.ndarray) -> float:
    """The mean loss of the best constant answers, found by trying many."""
    tried = np.concatenate([np.linspace(0, 1, 4001)[1:-1], [1e-12, 1 - 1e-12]])
    total = 0.0
    for g in np.unique(group):
        target = labels[group == g] >= 0
        for column in target.T:
            yes = column.sum()
            total += (-(yes * np.log(tried) + (len(column) - yes) * np.log1p(-tried))).min()
    return total / labels.size


def floor_knowing_nothing(floor: Callable) -> None:
    """All images in one group."""
    for seed in range(2):
        labels, _ = _asked(seed)
        group = np.zeros(len(labels), int)
        with limited("the floor, one group"):
            got = floor(labels.copy(), group)
        near(got, _lowest(labels, group), "all images in one group", 1e-3)


def floor_knowing_the_kind(floor: Callable) -> None:
    """Groups of unequal sizes; none has an attribute always or never."""
    rng = np.random.default_rng(3)
    kind = rng.choice([4, 7, 9], 500, p=[0.7, 0.2, 0.1])
    likely = np.array([[0.2, 0.6], [0.5, 0.1], [0.9, 0.3]])[np.searchsorted([4, 7, 9], kind)]
    labels = np.where(rng.random((500, 2)) < likely, 1, -1)
    with limited("the floor, three groups"):
        got = floor(labels.copy(), kind.copy())
    near(got, _lowest(labels, kind), "three groups of unequal sizes", 1e-3)


def floor_where_the_answer_is_certain(floor: Callable) -> None:
    """An attribute that a group always or never has costs nothing."""
    labels, kind = _asked(4)
    with limited("groups that always or never have an attribute"), np.errstate(all="ignore"):
        got = floor(labels.copy(), kind.copy())
        near(got, _lowest(labels, kind), "groups that always or never have an attribute", 1e-3)
        got = floor(np.array([[0, -1], [2, -1]]), np.array([0, 0]))
        near(got, 0.0, "each attribute always or never there")


def floor_is_reached(floor: Callable) -> None:
    """A branch that answers with the frequencies has this loss, and no other answer a lower one."""
    labels, kind = _asked(5, 300, 3)
    target = (labels >= 0).astype(float)
    shares = np.stack([target[kind == k].mean(0) for k in range(3)])[kind].clip(1e-9, 1 - 1e-9)
    reached = -(target * np.log(shares) + (1 - target) * np.log1p(-shares)).mean()
    with limited("the loss of the frequencies"), np.errstate(all="ignore"):
        near(
            floor(labels.copy(), kind.copy()), reached, "compared with answers of frequencies", 1e-3
        )


# ------------------------------------------------------------------ 5: a sampler that leaks


def _batches(seed: int, leak: float, m: int = 60, b: int = 12, a: int = 4) -> np.ndarray:
    """Attributes of M batches; the first slots tend to attribute 0 where there is a leak."""
    rng = np.random.default_rng(seed)
    batches = rng.integers(0, a, (m, b))
    batches[:, : b // 3] = np.where(rng.random((m, b // 3)) < leak, 0, batches[:, : b // 3])
    return batches


def _p(test: Callable, batches: np.ndarray, seed: int, where: str) -> float:
    with limited(where):
        p = number(test(batches.copy(), np.random.default_rng(seed)), where)
    assert 0 <= p <= 1, f"{where}: {p:.3g} is no p-value"
    return p


def leak_is_found(test: Callable) -> None:
    """Slots that tell the attribute, much or a little."""
    for seed, leak in ((0, 0.9), (1, 0.35), (2, 0.35)):
        p = _p(test, _batches(seed, leak), seed, "a sampler that leaks")
        assert p < 0.02, f"a sampler whose first slots prefer one attribute: the p-value is {p:.2f}"


def fair_sampler_is_not_accused(test: Callable) -> None:
    """Fair samplers have p-values all over the unit interval, with few batches as well."""
    for m in (8, 60):
        p = np.array([_p(test, _batches(100 + s, 0, m), s, "a fair sampler") for s in range(30)])
        accused = int((p < 0.05).sum())
        assert accused <= 6, (
            f"{accused} of 30 fair samplers with {m} batches have a p-value below 0.05"
        )
        assert 0.3 < p.mean() < 0.7, (
            f"the p-values of fair samplers with {m} batches have the mean {p.mean():.2f}"
        )


def composition_is_no_leak(test: Callable) -> None:
    """Batches of very different attributes, and slots in a random order: no slot tells anything."""
    rng = np.random.default_rng(9)
    likely = rng.dirichlet([0.15] * 4, 40)
    p = []
    for seed in range(12):
        of_batch = np.random.default_rng(seed)
        batches = np.stack([of_batch.choice(4, 12, p=row) for row in likely])
        p.append(_p(test, batches, seed, "batches of different attributes"))
    low, mean = int((np.array(p) < 0.05).sum()), float(np.mean(p))
    assert low <= 3, f"{low} of 12 fair samplers whose batches differ have a p-value below 0.05"
    assert 0.2 < mean < 0.8, (
        f"the p-values of fair samplers whose batches differ have the mean {mean:.2f}"
    )
