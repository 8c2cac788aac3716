"""Hidden tests of assignment 3. Each takes a student's function and fails with what is off.

A message says what is wrong and on what kind of input, never what the right answer is. What is
expected is computed in another way than in the solution: by loops over images, attributes and
positions, and with the weighted features that the student must not form. Nothing depends on
another question.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from grading_common import limited, near, number
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

C, A = 16, 3


def _same(got: Any, expected: Tensor, where: str) -> None:
    if got is None or got is ...:
        raise AssertionError(f"{where}: it returns nothing")
    assert isinstance(got, Tensor), f"{where}: it is no tensor but {type(got).__name__}"
    assert got.shape == expected.shape, (
        f"{where}: the shape is {tuple(got.shape)}, and {tuple(expected.shape)} is needed"
    )
    assert torch.isfinite(got).all(), f"{where}: the result has NaN or infinity"
    off = (got - expected).abs().max().item()
    assert off <= 1e-4 * (1 + expected.abs().max().item()), f"{where}: off by up to {off:.3g}"


class _Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that is made meanwhile."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, Tensor) and not any(s == 0 for s in one.stride()):
                self.numbers = max(self.numbers, one.numel())
        return made


def _g(z: float) -> float:
    small = math.exp(-abs(z))
    return z * (1 if z >= 0 else small) / (1 + small)


# ------------------------------------------------------------------ 1: spatial attention


def _spatial_parts(h: int, w: int, seed: int = 0) -> tuple:
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(C)
    norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(norm.weight, 0.5, 2), nn.init.normal_(norm.bias)
    transform = nn.Linear(C, C)
    nn.init.normal_(transform.weight, 0, 0.8)
    return torch.randn(2, C, h, w) * 2 + 1, torch.randn(A, C), transform, norm


def _spatial(x: Tensor, e: Tensor, transform: nn.Linear, norm: nn.BatchNorm2d, t: float,
             valid: Tensor) -> Tensor:  # fmt: skip
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    out = torch.zeros(len(x), len(e), *x.shape[2:])
    for b, a in itertools.product(range(len(x)), range(len(e))):
        z = transform.weight @ e[a] + transform.bias
        query = torch.tensor([_g(float(v)) for v in z])
        scores = {}
        for i, j in itertools.product(range(x.shape[2]), range(x.shape[3])):
            if valid[b, i, j]:
                key = torch.tanh((x[b, :, i, j] - norm.running_mean) * scale + norm.bias)
                scores[i, j] = float((query * key).sum()) / (t * math.sqrt(C))
        largest = max(scores.values())
        total = sum(math.exp(s - largest) for s in scores.values())
        for place, s in scores.items():
            out[b, a][place] = math.exp(s - largest) / total
    return out


def _spatial_is(f: Callable, h: int, w: int, t: float, padded: bool, where: str) -> None:
    x, e, transform, norm = _spatial_parts(h, w)
    valid = torch.ones(2, h, w, dtype=torch.bool)
    if padded:
        valid[0, :, -1], valid[1, -1] = False, False
    before = norm.running_mean.clone()
    with limited(where), torch.no_grad():
        got = f(x.clone(), e.clone(), transform, norm.eval(), t, valid.clone())
        _same(got, _spatial(x, e, transform, norm, t, valid), where)
    assert torch.equal(before, norm.running_mean), f"{where}: the running statistics have changed"


def attention_of_a_square_map(f: Callable) -> None:
    """Temperature 1, nothing padded."""
    _spatial_is(f, 4, 4, 1.0, False, "a square map, temperature 1")


def attention_of_any_map(f: Callable) -> None:
    """A map that is not square."""
    _spatial_is(f, 3, 6, 1.0, False, "a map of 3 x 6")


def attention_with_a_temperature(f: Callable) -> None:
    """Low and high temperatures."""
    for t in (0.2, 5.0):
        _spatial_is(f, 4, 4, t, False, f"temperature {t:g}")


def attention_beside_padding(f: Callable) -> None:
    """Padded positions get no weight, and the others sum to one."""
    _spatial_is(f, 4, 5, 1.0, True, "some positions are padding")


def attention_of_large_scores(f: Callable) -> None:
    """Scores in the hundreds: no overflow."""
    x, e, transform, norm = _spatial_parts(4, 4)
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    with limited("large scores"), torch.no_grad():
        got = f(x, e * 300, transform, norm.eval(), 1.0, valid)
        _same(got, _spatial(x, e * 300, transform, norm, 1.0, valid), "scores in the hundreds")


def attention_uses_the_running_statistics(f: Callable) -> None:
    """A batch of one image gives what the image gives in a batch; the norm stays as it was."""
    x, e, transform, norm = _spatial_parts(4, 4)
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    norm.eval()
    with limited("one image"), torch.no_grad():
        both = f(x, e, transform, norm, 1.0, valid)
        alone = f(x[:1], e, transform, norm, 1.0, valid[:1])
        assert isinstance(both, Tensor), "it returns nothing"
        assert isinstance(alone, Tensor), "it returns nothing"
        assert alone.shape == both[:1].shape, "one image gives another shape than two"
        off = (alone - both[:1]).abs().max().item()
    assert off < 1e-5, f"an image alone and in a batch: its map is off by up to {off:.3g}"


# ------------------------------------------------------------------ 2: the gate


def _gate_parts(sign: str, seed: int = 0) -> tuple[Tensor, Tensor, nn.Conv2d]:
    torch.manual_seed(seed)
    conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
    s = torch.rand(2, A, 5, 6)
    s = {"plus": s, "minus": -s, "mixed": s - 0.5}[sign]
    return torch.randn(2, C, 5, 6), s, conv


def _gate(x: Tensor, s: Tensor, conv: nn.Conv2d) -> Tensor:
    out = []
    for b in range(len(x)):
        weighted = s[b][:, None] * x[b]  # (A, C, h, w): what a student must not form
        maps = torch.stack([weighted.mean(1), weighted.amax(1)], dim=1)
        out.append(torch.sigmoid(conv(maps))[:, 0])
    return torch.stack(out)


def _gate_is(f: Callable, sign: str, where: str) -> None:
    x, s, conv = _gate_parts(sign)
    with limited(where), torch.no_grad():
        _same(f(x.clone(), s.clone(), conv), _gate(x, s, conv), where)


def gate_of_positive_weights(f: Callable) -> None:
    """As in training."""
    _gate_is(f, "plus", "positive weights")


def gate_of_negative_weights(f: Callable) -> None:
    """As with w1 < 0."""
    _gate_is(f, "minus", "negative weights")


def gate_of_weights_of_both_signs(f: Callable) -> None:
    """A weight of its own sign at each position."""
    _gate_is(f, "mixed", "weights of both signs")


def gate_needs_little_memory(f: Callable) -> None:
    """No tensor as large as the weighted features of all attributes."""
    torch.manual_seed(0)
    x, s, conv = (
        torch.randn(1, 64, 8, 8),
        torch.rand(1, 20, 8, 8),
        nn.Conv2d(2, 1, 7, padding=3, bias=False),
    )
    with limited("20 attributes"), torch.no_grad(), _Largest() as largest:
        got = f(x, s, conv)
    _same(got, _gate(x, s, conv).detach(), "20 attributes")
    weighted = 20 * 64 * 8 * 8
    assert largest.numbers < weighted / 2, (
        f"a tensor of {largest.numbers:,} numbers was made for 20 attributes, where the features "
        f"have {x.numel():,}"
    )


# ------------------------------------------------------------------ 3: pooling and channels


def _channel_parts(seed: int = 0) -> tuple:
    torch.manual_seed(seed)
    parts = nn.Linear(C, C), nn.Linear(2 * C, 10), nn.Linear(10, C)
    for part in parts:
        nn.init.normal_(part.weight, 0, 0.6)
    return torch.randn(2, C, 4, 5), torch.rand(2, A, 4, 5) / 3, torch.randn(A, C), *parts


def _channels(x: Tensor, weight: Tensor, e: Tensor, transform: nn.Linear, fc1: nn.Linear,
              fc2: nn.Linear) -> Tensor:  # fmt: skip
    out = torch.zeros(len(x), len(e), C)
    for b, a in itertools.product(range(len(x)), range(len(e))):
        v = torch.stack([(weight[b, a] * x[b, k]).sum() for k in range(C)])
        z = transform.weight @ e[a] + transform.bias
        z = torch.tensor([_g(float(value)) for value in z])
        hidden = (fc1.weight @ torch.cat([v, z]) + fc1.bias).clamp(min=0)
        m = 1 / (1 + torch.exp(-(fc2.weight @ hidden + fc2.bias)))
        out[b, a] = v * m
    return out


def _channels_are(f: Callable, change: Callable, where: str) -> None:
    parts = change(*_channel_parts())
    with limited(where), torch.no_grad():
        got = f(*(p.clone() if isinstance(p, Tensor) else p for p in parts))
        _same(got, _channels(*parts), where)


def channels_of_ordinary_features(f: Callable) -> None:
    """Two images, three attributes."""
    _channels_are(f, lambda *p: p, "two images, three attributes")


def channels_of_little_weight(f: Callable) -> None:
    """A gate that is nearly closed: the sum is small, and stays so."""
    _channels_are(f, lambda x, w, *p: (x, w / 1000, *p), "a gate that is nearly closed")


def channels_depend_on_the_attribute(f: Callable) -> None:
    """The same weights for all attributes: only e tells them apart."""

    def same(x: Tensor, w: Tensor, *parts: Any) -> tuple:
        return (x, w[:, :1].expand(-1, A, -1, -1), *parts)

    _channels_are(f, same, "the same spatial weights for all attributes")


def channels_need_little_memory(f: Callable) -> None:
    """No tensor as large as the weighted features of all attributes."""
    torch.manual_seed(0)
    x, w, e = torch.randn(1, C, 16, 16), torch.rand(1, 20, 16, 16), torch.randn(20, C)
    _, _, _, *parts = _channel_parts()
    with limited("20 attributes"), torch.no_grad(), _Largest() as largest:
        got = f(x, w, e, *parts)
    _same(got, _channels(x, w, e, *parts).detach(), "20 attributes")
    assert largest.numbers < 20 * C * 16 * 16 / 2, (
        f"a tensor of {largest.numbers:,} numbers was made for 20 attributes"
    )


# ------------------------------------------------------------------ 4: masks and length


def _finished(v: Tensor, masks: Tensor) -> Tensor:
    out = torch.zeros_like(v)
    for b, a in itertools.product(range(v.shape[0]), range(v.shape[1])):
        masked = v[b, a] * masks[a].clamp(min=0)
        length = float(masked.square().sum().sqrt())
        out[b, a] = masked / length if length > 0 else masked
    return out


def _finish_is(f: Callable, v: Tensor, masks: Tensor, where: str) -> None:
    with limited(where), torch.no_grad():
        _same(f(v.clone(), masks.clone()), _finished(v, masks), where)


def finish_of_positive_masks(f: Callable) -> None:
    """Masks as they start."""
    torch.manual_seed(0)
    _finish_is(f, torch.randn(2, A, C), torch.rand(A, C) + 0.1, "masks above zero")


def finish_of_masks_below_zero(f: Callable) -> None:
    """Training may push a mask below zero."""
    torch.manual_seed(1)
    _finish_is(f, torch.randn(2, A, C), torch.randn(A, C), "masks of both signs")


def finish_where_nothing_is_left(f: Callable) -> None:
    """A mask that is zero or less everywhere."""
    torch.manual_seed(2)
    masks = torch.randn(A, C)
    masks[1] = -masks[1].abs()
    _finish_is(f, torch.randn(2, A, C), masks, "a mask below zero everywhere")


# ------------------------------------------------------------------ 5: better than the centre?


def _localisation(seed: int, gain: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps, masks and the centre map; a picture is easy or hard for both maps."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    centre = np.exp(-((y - 7.5) ** 2 + (x - 7.5) ** 2) / 32)
    maps, masks = [], []
    for _ in range(60):
        cy, cx, size = rng.uniform(4, 11), rng.uniform(4, 11), rng.integers(3, 9)
        mask = (abs(y - cy) < size / 2 + 1) & (abs(x - cx) < size / 2 + 1)
        heat = centre * rng.uniform(0.5, 1.5, (16, 16)) + gain * mask * rng.uniform(0.5, 1)
        maps.append(heat * rng.uniform(0.1, 10))
        masks.append(mask)
    return np.array(maps), np.array(masks), centre


def _better(maps: np.ndarray, masks: np.ndarray, centre: np.ndarray) -> np.ndarray:
    own = np.array([h[m].sum() / h.sum() for h, m in zip(maps, masks, strict=True)])
    return 100 * (own - np.array([centre[m].sum() / centre.sum() for m in masks]))


def _ends(f: Callable, seed: int, gain: float, where: str) -> tuple[tuple, tuple, float]:
    maps, masks, centre = _localisation(seed, gain)
    with limited(where):
        got = f(maps.copy(), masks.copy(), centre.copy(), np.random.default_rng(1))
    assert isinstance(got, tuple | list), f"{where}: it returns no three numbers"
    assert len(got) == 3, f"{where}: it returns {len(got)} numbers, not three"
    of_pictures = _better(maps, masks, centre)
    rng = np.random.default_rng(2)
    means = rng.choice(of_pictures, (20_000, 60)).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return tuple(number(one, where) for one in got), (low, high), of_pictures.mean()


def difference_is_right(f: Callable) -> None:
    """The mean over pictures, in points of percent."""
    for seed, gain in ((0, 0.6), (1, 0.0)):
        where = "the mean difference"
        got, _, mean = _ends(f, seed, gain, where)
        near(got[0], mean, where, 1e-3)


def interval_is_paired(f: Callable) -> None:
    """Pictures are easy or hard for both maps, so the interval of the difference is narrow."""
    for seed, gain in ((2, 0.6), (3, 0.1)):
        (_, low, high), expected, _ = _ends(f, seed, gain, "the interval")
        ratio = (high - low) / (expected[1] - expected[0])
        assert ratio > 0, "the interval: its ends have changed places, or it has no width"
        assert 0.85 < ratio < 1.15, f"the interval is {ratio:.2f} times as wide as it should be"
        off = abs((low + high) - sum(expected)) / 2
        assert off < 0.15 * (expected[1] - expected[0]), "the middle of the interval is off"


def maps_of_any_scale(f: Callable) -> None:
    """A map counts the same, whatever it is multiplied by."""
    maps, masks, centre = _localisation(4, 0.4)
    with limited("maps of another scale"):
        one = f(maps.copy(), masks.copy(), centre.copy(), np.random.default_rng(1))
        factor = np.linspace(0.01, 100, 60)[:, None, None]
        two = f(maps * factor, masks.copy(), 3 * centre, np.random.default_rng(1))
        assert isinstance(one, tuple | list), "it returns no three numbers"
        off = abs(number(one[0], "maps") - number(two[0], "maps"))
    assert off < 1e-6, f"maps that are multiplied by a number: the difference changes by {off:.3g}"
