"""Plausible wrong answers to assignment 3.

`WRONG` has, for each function, what is wrong -> (a wrong function, the hidden tests that it loses).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional


def _spatial(slip: str = "") -> Callable:
    """The right attention, but for one slip."""

    def spatial_attention(x, e, transform, norm, t, valid):
        if slip == "no norm":
            keys = torch.tanh(x)
        elif slip == "batch statistics":
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            keys = functional.batch_norm(x, mean, var, norm.weight, norm.bias, eps=norm.eps)
            keys = torch.tanh(keys)
        elif slip == "no tanh":
            keys = norm(x)
        else:
            keys = torch.tanh(norm(x))
        z = transform(e)
        query = {"sigmoid": z.sigmoid(), "tanh": z.tanh()}.get(slip, functional.silu(z))
        scale = t if slip == "no root" else t * x.shape[1] ** 0.5
        scale = 512**0.5 * t if slip == "root of 512" else scale
        scale = x.shape[1] ** 0.5 if slip == "no temperature" else scale
        scores = torch.einsum("ac,bcp->bap", query, keys.flatten(2)) / scale
        hidden = ~valid.flatten(1)[:, None]
        if slip == "channels":
            by_channel = query[None, :, :, None] * keys.flatten(2)[:, None] / scale
            return by_channel.softmax(2).sum(2).unflatten(2, x.shape[2:])
        if slip == "exp":
            out = scores.exp().masked_fill(hidden, 0)
            return (out / out.sum(2, keepdim=True)).unflatten(2, x.shape[2:])
        if slip == "padding after":
            return scores.softmax(2).masked_fill(hidden, 0).unflatten(2, x.shape[2:])
        if slip == "no padding":
            return scores.softmax(2).unflatten(2, x.shape[2:])
        out = scores.masked_fill(hidden, -torch.inf).softmax(2)
        if slip == "square":
            side = int(out.shape[2] ** 0.5)
            return out.unflatten(2, (side, side))
        return out.unflatten(2, x.shape[2:])

    return spatial_attention


def _gate(slip: str = "") -> Callable:
    """The right gate, but for one slip."""

    def gate(x, s, conv):
        if slip == "weighted":
            weighted = s[:, :, None] * x[:, None]
            maps = torch.stack([weighted.mean(2), weighted.amax(2)], dim=2)
            return torch.sigmoid(conv(maps.flatten(0, 1))).view_as(s)
        low, mean, high = x.amin(1, True), x.mean(1, True), x.amax(1, True)
        largest = torch.where(s >= 0, s * high, s * low)
        if slip == "max":
            largest = s * high
        if slip == "sign of one":
            largest = s * (high if s[0, 0, 0, 0] >= 0 else low)
        if slip == "unweighted":
            mean, largest = mean.expand_as(s), high.expand_as(s)
            maps = torch.stack([mean, largest], dim=2)
        else:
            maps = torch.stack([s * mean, largest], dim=2)
        if slip == "order":
            maps = maps.flip(2)
        if slip == "sum":
            maps = torch.stack([s * mean * x.shape[1], largest], dim=2)
        out = conv(maps.flatten(0, 1)).view_as(s)
        return out if slip == "no sigmoid" else torch.sigmoid(out)

    return gate


def _channels(slip: str = "") -> Callable:
    """The right channel attention, but for one slip."""

    def channels(x, weight, e, transform, fc1, fc2):
        if slip == "memory":
            v = (weight[:, :, None] * x[:, None]).sum((3, 4))
        else:
            v = torch.einsum("bahw,bchw->bac", weight, x)
        if slip == "mean":
            v = v / (x.shape[2] * x.shape[3])
        if slip == "weighted mean":
            v = v / weight.sum((2, 3))[..., None]
        z = transform(e)
        told = {"relu": z.relu(), "tanh": z.tanh(), "no transform": e}.get(slip, functional.silu(z))
        told = told.mean(0, keepdim=True).expand_as(told) if slip == "one attribute" else told
        told = told.expand(len(x), -1, -1)
        both = [told, v] if slip == "order" else [v, told]
        m = torch.sigmoid(fc2(torch.relu(fc1(torch.cat(both, dim=2)))))
        return m if slip == "m alone" else v * m

    return channels


def _finish(slip: str = "") -> Callable:
    """The right end, but for one slip."""

    def finish(v, masks):
        if slip == "no ReLU":
            return functional.normalize(v * masks, dim=2)
        if slip == "after":
            return functional.normalize(v, dim=2) * masks.clamp(min=0)
        masked = v * (masks.abs() if slip == "absolute" else masks.clamp(min=0))
        if slip == "NaN":
            return masked / masked.norm(dim=2, keepdim=True)
        if slip == "not scaled":
            return masked
        if slip == "whole":
            return masked / masked.norm()
        return functional.normalize(masked, dim=2)

    return finish


def _better(slip: str = "") -> Callable:
    """The right difference, but for one slip."""

    def more_than_the_centre(maps, masks, centre, rng):
        own = (maps * masks).sum((1, 2)) / maps.sum((1, 2))
        other = (centre * masks).sum((1, 2)) / centre.sum()
        if slip == "uniform":
            other = masks.mean((1, 2))
        if slip == "sums":
            own = (maps * masks).sum((1, 2)) / maps.sum((1, 2)).mean()
        if slip == "mean inside":
            own = np.array([h[m].mean() for h, m in zip(maps, masks, strict=True)])
            other = np.array([centre[m].mean() for m in masks])
        scale = 1 if slip == "share" else 100
        difference = scale * (own - other)
        means = rng.choice(difference, (2000, len(difference))).mean(1)
        if slip == "apart":
            a, b = (rng.choice(v, (2000, len(v))).mean(1) for v in (100 * own, 100 * other))
            means = a - b
        ends = [5, 95] if slip == "90 %" else [2.5, 97.5]
        low, high = np.percentile(difference if slip == "pictures" else means, ends)
        return difference.mean(), low, high

    return more_than_the_centre


TESTS = {  # of each function, the hidden tests by a word
    "spatial_attention": {
        "square": "attention_of_a_square_map",
        "any": "attention_of_any_map",
        "t": "attention_with_a_temperature",
        "padding": "attention_beside_padding",
        "large": "attention_of_large_scores",
        "alone": "attention_uses_the_running_statistics",
    },
    "gate": {
        "plus": "gate_of_positive_weights",
        "minus": "gate_of_negative_weights",
        "mixed": "gate_of_weights_of_both_signs",
        "memory": "gate_needs_little_memory",
    },
    "channels": {
        "plain": "channels_of_ordinary_features",
        "little": "channels_of_little_weight",
        "same": "channels_depend_on_the_attribute",
        "memory": "channels_need_little_memory",
    },
    "finish": {
        "plus": "finish_of_positive_masks",
        "below": "finish_of_masks_below_zero",
        "nothing": "finish_where_nothing_is_left",
    },
    "more_than_the_centre": {
        "mean": "difference_is_right",
        "interval": "interval_is_paired",
        "scale": "maps_of_any_scale",
    },
}
RIGHT = {
    "spatial_attention": _spatial(),
    "gate": _gate(),
    "channels": _channels(),
    "finish": _finish(),
    "more_than_the_centre": _better(),
}
WRONG = {
    "spatial_attention": {
        "a softmax over channels": (_spatial("channels"), "square any t padding large"),
        "the root is missing": (_spatial("no root"), "square any t padding"),
        "the root of 512": (_spatial("root of 512"), "square any t padding large"),
        "g is a sigmoid": (_spatial("sigmoid"), "square any t padding large"),
        "g is tanh": (_spatial("tanh"), "square any t padding large"),
        "no batch norm": (_spatial("no norm"), "square any t padding large"),
        "the batch's statistics": (
            _spatial("batch statistics"),
            "square any t padding large alone",
        ),
        "no tanh": (_spatial("no tanh"), "square any t padding large"),
        "no temperature": (_spatial("no temperature"), "t"),
        "padding gets weight": (_spatial("no padding"), "padding"),
        "padding is removed after the softmax": (_spatial("padding after"), "padding"),
        "exp of large scores": (_spatial("exp"), "large"),
        "a square is assumed": (_spatial("square"), "any padding"),
    },
    "gate": {
        "the features without weights": (_gate("unweighted"), "plus minus mixed memory"),
        "the maximum for any sign": (_gate("max"), "minus mixed"),
        "one sign for all positions": (_gate("sign of one"), "mixed"),
        "maximum before mean": (_gate("order"), "plus minus mixed memory"),
        "a sum for the mean": (_gate("sum"), "plus minus mixed memory"),
        "no sigmoid": (_gate("no sigmoid"), "plus minus mixed memory"),
        "the weighted features": (_gate("weighted"), "memory"),
    },
    "channels": {
        "a mean over positions": (_channels("mean"), "plain little same memory"),
        "a weighted mean": (_channels("weighted mean"), "plain little same memory"),
        "g is a ReLU": (_channels("relu"), "plain little same memory"),
        "e as it is": (_channels("no transform"), "plain little same memory"),
        "e before v": (_channels("order"), "plain little same memory"),
        "the attention alone": (_channels("m alone"), "plain little same memory"),
        "a mean over the attributes": (_channels("one attribute"), "plain little same memory"),
        "the weighted features": (_channels("memory"), "memory"),
    },
    "finish": {
        "a mask without ReLU": (_finish("no ReLU"), "below nothing"),
        "the mask after the length": (_finish("after"), "plus below nothing"),
        "absolute values": (_finish("absolute"), "below nothing"),
        "NaN where nothing is left": (_finish("NaN"), "nothing"),
        "not scaled": (_finish("not scaled"), "plus below nothing"),
        "all vectors together": (_finish("whole"), "plus below nothing"),
    },
    "more_than_the_centre": {
        "the area in place of the centre": (_better("uniform"), "mean interval"),
        "shares of the mean sum": (_better("sums"), "mean interval scale"),
        "means inside": (_better("mean inside"), "mean interval scale"),
        "a share": (_better("share"), "mean interval"),
        "not paired": (_better("apart"), "interval"),
        "a 90 % interval": (_better("90 %"), "interval"),
        "where single pictures lie": (_better("pictures"), "interval"),
    },
}
