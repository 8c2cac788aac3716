"""Plausible wrong answers to assignment 2.

`WRONG` has, for each function, what is wrong -> (a wrong function, the hidden tests that it loses).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional


def _features(slip: str = "") -> Callable:
    """The right features, but for one slip."""

    def multi_level(resnet, low_level, images):
        x = resnet.relu(resnet.bn1(resnet.conv1(images)))
        x = functional.avg_pool2d(x, 3, 2, 1) if slip == "stem" else resnet.maxpool(x)
        f1 = resnet.layer1(x)
        f2 = resnet.layer2(f1)
        f3 = resnet.layer3(f2)
        if slip == "stage":  # one stage too early, brought to the right shape
            f3 = torch.cat([f2, f2], dim=1)[:, :, ::2, ::2]
        if slip == "average":
            pooled = functional.avg_pool2d(f2, 3, stride=2, padding=1)
        elif slip == "window":
            pooled = functional.max_pool2d(f2, 2)
        elif slip == "fixed size":
            pooled = functional.adaptive_max_pool2d(f2, 4)
            f3 = functional.adaptive_avg_pool2d(f3, 4) if f3.shape[2:] != (4, 4) else f3
        else:
            pooled = functional.max_pool2d(f2, 3, stride=2, padding=1)
        low = low_level(pooled.detach() if slip == "detached" else pooled)
        low = low.relu() if slip == "relu" else low
        x = f3 + low
        if slip == "256 channels":
            x = x[:, :256]
        parts = {"L": [f3, low], "order": [x, f3]}.get(slip, [f3, x])
        return x, torch.cat(parts, dim=1)

    return multi_level


def _branch(slip: str = "") -> Callable:
    """The right branch, but for one slip."""

    def class_branch(resnet, head, f3, x):
        x = {"F3": f3, "detached": x.detach(), "half": (f3 + x) / 2}.get(slip, x)
        maps = resnet.layer4(x)
        pooled = maps.amax((2, 3)) if slip == "max" else maps.mean((2, 3))
        pooled = maps[:, :, 0, 0] if slip == "corner" else pooled
        if slip == "squeeze":
            return head(maps.mean((2, 3)).squeeze())
        if slip == "sigmoid":
            return torch.sigmoid(head(pooled))
        return head(pooled)

    return class_branch


def _loss(slip: str = "") -> Callable:
    """The right loss, but for one slip."""

    def attribute_loss(logits, labels):
        target = (labels >= 0).float()
        if slip == "value 0":
            target = (labels > 0).float()
        if slip == "values":
            target = labels.clamp(min=0).float()
        if slip == "labelled only":
            keep = target.sum(1) > 0
            logits, target = logits[keep], target[keep]
        if slip == "twice":
            logits = torch.sigmoid(logits)
        if slip == "softmax":
            share = target / target.sum(1, keepdim=True).clamp(min=1)
            return -(share * logits.log_softmax(1)).sum(1).mean() / logits.shape[1]
        if slip == "logarithm":
            p = torch.sigmoid(logits)
            return -(target * p.log() + (1 - target) * (1 - p).log()).mean()
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        loss = loss * logits.shape[1] if slip == "sum over classes" else loss
        loss = loss * logits.shape[0] if slip == "sum over images" else loss
        return torch.tensor(loss.item()) if slip == "a number" else loss

    return attribute_loss


def _lowest(slip: str = "") -> Callable:
    """The right floor, but for one slip."""

    def lowest_loss(labels, group):
        target, found, weights = labels >= 0, [], []
        if slip == "value 0":
            target = labels > 0
        if slip == "no group":
            group = np.zeros(len(labels), int)
        for g in np.unique(group):
            p = target[group == g].mean(0)
            if slip != "log of 0":
                p = p.clip(1e-12, 1 - 1e-12)
            h = -(p * np.log(p) + (1 - p) * np.log1p(-p))
            if slip == "categorical":
                h = -(p * np.log(p))
            if slip == "bits":
                h = h / np.log(2)
            found.append(h.sum() if slip == "sum" else h.mean())
            weights.append(1 if slip == "groups alike" else (group == g).sum())
        return float(np.average(found, weights=weights))

    return lowest_loss


def _leak(slip: str = "") -> Callable:
    """The right test, but for one slip."""

    def leak(attributes, rng):
        onehot = np.eye(attributes.max() + 1)[attributes]

        def statistic(of):
            return float(((of.mean(0) - of.mean((0, 1))) ** 2).sum())

        real, shuffled = statistic(onehot), []
        for _ in range(5 if slip == "few" else 200):
            if slip == "new batches":  # as if every attribute were equally frequent
                drawn = rng.integers(0, onehot.shape[2], attributes.shape)
                shuffled.append(statistic(np.eye(onehot.shape[2])[drawn]))
            elif slip == "one order":
                shuffled.append(statistic(onehot[:, rng.permutation(onehot.shape[1])]))
            else:
                shuffled.append(
                    statistic(
                        rng.permuted(attributes, axis=1)[..., None] == np.arange(onehot.shape[2])
                    )
                )
        larger = np.mean([s >= real - 1e-12 for s in shuffled])
        if slip == "statistic":
            return min(real, 1.0)
        if slip == "other tail":
            return float(1 - larger)
        return float(larger)

    return leak


TESTS = {  # of each function, the hidden tests by a word
    "multi_level": {
        "x": "x_is_right",
        "f": "f_is_right",
        "size": "any_size",
        "resnet": "another_resnet",
        "train": "features_can_be_trained",
    },
    "class_branch": {
        "x": "branch_reads_x",
        "one": "branch_has_a_row_for_each_image",
        "train": "branch_trains_the_backbone",
    },
    "attribute_loss": {
        "plain": "loss_of_ordinary_logits",
        "values": "loss_does_not_look_at_values",
        "large": "loss_of_extreme_logits",
        "mean": "loss_is_a_mean_and_has_a_gradient",
    },
    "lowest_loss": {
        "nothing": "floor_knowing_nothing",
        "kind": "floor_knowing_the_kind",
        "certain": "floor_where_the_answer_is_certain",
        "reached": "floor_is_reached",
    },
    "leak": {
        "found": "leak_is_found",
        "fair": "fair_sampler_is_not_accused",
        "differ": "composition_is_no_leak",
    },
}
RIGHT = {
    "multi_level": _features(),
    "class_branch": _branch(),
    "attribute_loss": _loss(),
    "lowest_loss": _lowest(),
    "leak": _leak(),
}
WRONG = {
    "multi_level": {
        "layer2 in place of layer3": (_features("stage"), "x f size resnet train"),
        "F is F3 and L": (_features("L"), "f"),
        "F is X and F3": (_features("order"), "f"),
        "average pooling": (_features("average"), "x f size resnet"),
        "a window of 2": (_features("window"), "x f size resnet"),
        "a fixed size": (_features("fixed size"), "x f size resnet"),
        "a ReLU behind L": (_features("relu"), "x f size resnet"),
        "the stem without its max pooling": (_features("stem"), "x f size resnet"),
        "256 channels": (_features("256 channels"), "resnet"),
    },
    "class_branch": {
        "it reads F3": (_branch("F3"), "x one train"),
        "X is detached": (_branch("detached"), "train"),
        "a mean of F3 and X": (_branch("half"), "x one"),
        "max pooling": (_branch("max"), "x"),
        "one position": (_branch("corner"), "x"),
        "squeeze": (_branch("squeeze"), "one"),
        "a sigmoid": (_branch("sigmoid"), "x one"),
    },
    "attribute_loss": {
        "the value 0 is no label": (_loss("value 0"), "plain values large mean"),
        "values as targets": (_loss("values"), "plain values large mean"),
        "unlabelled images are dropped": (_loss("labelled only"), "plain large mean"),
        "the sigmoid twice": (_loss("twice"), "plain large mean"),
        "softmax": (_loss("softmax"), "plain large mean"),
        "the logarithm of 0": (_loss("logarithm"), "large"),
        "a sum over classes": (_loss("sum over classes"), "plain large mean"),
        "a sum over images": (_loss("sum over images"), "plain large mean"),
        "a number without a gradient": (_loss("a number"), "mean"),
    },
    "lowest_loss": {
        "categorical entropy": (_lowest("categorical"), "nothing kind certain reached"),
        "bits": (_lowest("bits"), "nothing kind certain reached"),
        "a sum over attributes": (_lowest("sum"), "nothing kind certain reached"),
        "the group is not used": (_lowest("no group"), "kind certain reached"),
        "groups count alike": (_lowest("groups alike"), "kind certain reached"),
        "the logarithm of 0": (_lowest("log of 0"), "certain reached"),
        "the value 0 is no label": (_lowest("value 0"), "nothing certain reached"),
    },
    "leak": {
        "the statistic itself": (_leak("statistic"), "found fair differ"),
        "the other tail": (_leak("other tail"), "found"),
        "new batches from equal shares": (_leak("new batches"), "differ"),
        "all batches in one order": (_leak("one order"), "found fair differ"),
    },
}
