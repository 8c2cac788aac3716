"""Plausible wrong answers to assignment 1.

`WRONG` has, for each function, what is wrong -> (a wrong function, the hidden tests that it loses).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


def _sampler(slip: str = "") -> Callable:
    """The right sampler, but for one slip."""

    def draw_triplet(values, rng):
        images: dict[str, list[int]] = {}
        for i, of_image in enumerate(values):
            for value in of_image or ({"unlabelled"} if slip == "unlabelled" else set()):
                images.setdefault(value, []).append(i)

        def allowed(i: int, value: str) -> list[int]:
            if slip == "other value":
                return [j for j, w in enumerate(values) if w and value not in w]
            known = [j for j, w in enumerate(values) if w or slip == "unlabelled negative"]
            return [j for j in known if not values[j] & values[i]]

        anchors = {v: [i for i in found if allowed(i, v)] for v, found in images.items()}
        usable = sorted(v for v, found in images.items() if len(found) > 1 and anchors[v])
        if slip == "lonely":
            usable = sorted(v for v in images if anchors[v])
        if slip == "any anchor":
            anchors = images
        if not usable:
            raise (IndexError if slip == "wrong error" else ValueError)("there is no triplet")
        if slip == "rows":
            rows = [i for v in usable for i in anchors[v]]
            row = rows[rng.integers(len(rows))]
            value = rng.choice(sorted(v for v in usable if row in anchors[v]))
            anchors = {value: [row]}
        else:
            value = usable[rng.integers(len(usable))]
        anchor = int(rng.choice(anchors[value]))
        partners = [i for i in images[value] if i != anchor or slip == "itself"]
        if slip == "lonely":
            while (positive := int(rng.choice(images[value]))) == anchor:
                pass
        elif slip == "any labelled":
            positive = int(rng.choice([i for i, w in enumerate(values) if w and i != anchor]))
        else:
            positive = int(rng.choice(partners))
        return anchor, positive, int(rng.choice(allowed(anchor, value)))

    return draw_triplet


def _loss(slip: str = "") -> Callable:
    """The right loss, but for one slip."""

    def triplet_loss(similarity, labels, margin):
        label = labels.T
        known = (label >= 0) | (slip == "unlabelled is a value")
        both = known[:, :, None] & known[:, None, :]
        same = label[:, :, None] == label[:, None, :]
        alike = same & both & (~torch.eye(len(labels), dtype=torch.bool) | (slip == "itself"))
        unlike = ~same & (known[:, :, None] if slip == "unlabelled negative" else both)
        k, a, p = alike.nonzero(as_tuple=True)
        sign = -1 if slip == "sign" else 1
        loss = margin + sign * (similarity[k, a] - similarity[k, a, p][:, None])
        loss = loss if slip == "no hinge" else loss.clamp(min=0)
        allowed = unlike[k, a]
        total, many = (loss * allowed).sum(), allowed.sum()
        if slip == "active only":
            many = (allowed & (loss > 0)).sum()
        if slip == "sum":
            return total
        if slip == "NaN":
            return total / many
        if slip == "of attributes":
            parts = [
                triplet_loss_of_one(similarity[i : i + 1], labels[:, i : i + 1], margin)
                for i in range(labels.shape[1])
            ]
            return torch.stack(parts).mean()
        if slip == "a number":
            return torch.tensor((total / many.clamp(min=1)).item())
        return total / many.clamp(min=1)

    triplet_loss_of_one = _loss() if slip == "of attributes" else None
    return triplet_loss


def _slow_loss(similarity, labels, margin):
    n, terms = len(labels), []
    for k in range(labels.shape[1]):
        for a in range(n):
            for p in range(n):
                for q in range(n):
                    la, lp, lq = int(labels[a, k]), int(labels[p, k]), int(labels[q, k])
                    if a != p and min(la, lp, lq) >= 0 and la == lp != lq:
                        terms.append((margin - similarity[k, a, p] + similarity[k, a, q]).clamp(0))
    return torch.stack(terms).mean() if terms else similarity.sum() * 0


def _map(slip: str = "") -> Callable:
    """The right MAP, but for one slip."""

    def mean_average_precision(scores, right):
        found = []
        for score, is_right in zip(scores, right, strict=True):
            if slip == "empty dropped" and not is_right.any():
                continue
            ap, above, right_above = 0.0, 0, 0
            for value in np.unique(score)[::-1]:
                group = is_right[score == value]
                t, r = len(group), int(group.sum())
                j = np.arange(1, t + 1)
                others = (j - 1) * (r - 1) / max(t - 1, 1)
                if slip == "right ones alike":  # as if being right did not use up a right one
                    others = (j - 1) * r / t
                ap += (r / t * (right_above + 1 + others) / (above + j)).sum()
                above, right_above = above + t, right_above + r
            ap /= len(score) if slip == "divided by N" else max(is_right.sum(), 1)
            found.append(ap if is_right.any() or slip != "empty is one" else 1.0)
        return np.mean(found) * (1 if slip == "share" else 100)

    return mean_average_precision


def _sorted_map(order: Callable, cut: int | None = None) -> Callable:
    def mean_average_precision(scores, right):
        found = []
        for score, is_right in zip(scores, right, strict=True):
            ranked = is_right[order(score, is_right)][:cut]
            precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
            found.append((precision * ranked).sum() / max(is_right.sum(), 1))
        return 100 * np.mean(found)

    return mean_average_precision


def _stable(score, is_right):
    return np.argsort(-score, kind="stable")


def _chance(slip: str = "") -> Callable:
    """The right expectation, but for one slip."""

    def chance(counts, n):
        counts = np.asarray(counts, float)
        if slip == "share":
            return 100 * (counts / n).mean()
        if slip == "of the mean":
            counts = counts.mean(keepdims=True)
        if slip == "empty dropped":
            counts = counts[counts > 0]
        harmonic = (1 / np.arange(1, n + 1)).sum()
        if slip == "one right":
            return 100 * harmonic / n
        ap = (
            harmonic + (counts - 1) / (n - 1 if slip == "n - 1" else max(n - 1, 1)) * (n - harmonic)
        ) / n
        if slip != "empty counted":
            ap = np.where(counts > 0, ap, 0)
        return 100 * ap.mean()

    return chance


def _interval(slip: str = "") -> Callable:
    """The right interval, but for one slip."""

    def interval(ap, garment, rng):
        if slip == "queries":
            garment = np.arange(len(ap))
        if slip == "own generator":
            rng = np.random.default_rng(0)
        names, where = np.unique(garment, return_inverse=True)
        sums, many = np.bincount(where, ap), np.bincount(where)
        drawn = rng.integers(0, len(names), (20 if slip == "few" else 4000, len(names)))
        if slip == "each garment once":
            drawn = rng.permuted(np.tile(np.arange(len(names)), (4000, 1)), axis=1)
        means = sums[drawn].sum(1) / many[drawn].sum(1)
        if slip == "mean of garments":
            means = (sums / many)[drawn].mean(1)
        ends = [5, 95] if slip == "90 %" else [2.5, 97.5]
        low, high = np.percentile(means, ends)
        return (high, low) if slip == "ends" else (low, high)

    return interval


TESTS = {  # of each function, the hidden tests by a word
    "draw_triplet": {
        "differ": "anchor_and_positive_differ",
        "share": "anchor_and_positive_share_a_value",
        "negative": "negative_shares_nothing",
        "unlabelled": "unlabelled_images_are_not_drawn",
        "equally": "every_value_is_drawn_equally_often",
        "stops": "it_always_stops",
    },
    "triplet_loss": {
        "one": "loss_of_one_attribute",
        "unlabelled": "loss_leaves_unlabelled_images_out",
        "mean": "loss_is_a_mean_over_all_triplets",
        "none": "loss_without_triplets_is_zero",
        "train": "loss_can_be_trained_with",
    },
    "mean_average_precision": {
        "plain": "map_without_ties",
        "ties": "map_with_ties",
        "order": "map_does_not_depend_on_the_order_in_memory",
        "empty": "map_counts_queries_without_right_items",
        "large": "map_is_fast",
    },
    "chance": {
        "one": "chance_of_one_query",
        "many": "chance_of_many_queries",
        "edges": "chance_at_the_edges",
    },
    "interval": {
        "alike": "interval_of_alike_queries",
        "independent": "interval_of_independent_queries",
        "weighs": "interval_weighs_queries",
    },
}
RIGHT = {
    "draw_triplet": _sampler(),
    "triplet_loss": _loss(),
    "mean_average_precision": _map(),
    "chance": _chance(),
    "interval": _interval(),
}
WRONG = {
    "draw_triplet": {
        "the anchor is its own positive": (_sampler("itself"), "differ"),
        "any labelled image is a positive": (_sampler("any labelled"), "share stops"),
        "an unlabelled image is a negative": (_sampler("unlabelled negative"), "unlabelled stops"),
        "the negative shares another value": (_sampler("other value"), "negative stops"),
        "rows are drawn uniformly": (_sampler("rows"), "equally"),
        "it loops for a value of one image": (_sampler("lonely"), "stops"),
        "an anchor without a negative": (_sampler("any anchor"), "stops"),
        "another exception": (_sampler("wrong error"), "stops"),
    },
    "triplet_loss": {
        "the hinge's sign": (_loss("sign"), "one unlabelled mean train"),
        "no hinge": (_loss("no hinge"), "one unlabelled mean train"),
        "the mean over active triplets": (_loss("active only"), "one unlabelled mean train"),
        "the anchor is its own positive": (_loss("itself"), "one unlabelled mean train"),
        "unlabelled is a value": (_loss("unlabelled is a value"), "unlabelled"),
        "unlabelled images are negatives": (_loss("unlabelled negative"), "unlabelled"),
        "the mean of the attributes' means": (_loss("of attributes"), "mean train"),
        "a batch without triplets is NaN": (_loss("NaN"), "none"),
        "a number without a gradient": (_loss("a number"), "train"),
        "three loops": (_slow_loss, "train"),
    },
    "mean_average_precision": {
        "sorted, in the order in memory": (_sorted_map(_stable), "ties order empty"),
        "the best order": (_sorted_map(lambda s, r: np.lexsort((~r, -s))), "ties empty large"),
        "cut at ten": (_sorted_map(_stable, 10), "plain ties order empty large"),
        "divided by N": (_map("divided by N"), "plain ties empty large"),
        "empty queries are dropped": (_map("empty dropped"), "empty"),
        "an empty query counts as 100 %": (_map("empty is one"), "empty"),
        "right ones do not run out": (_map("right ones alike"), "ties empty"),
        "a share": (_map("share"), "plain ties empty large"),
    },
    "chance": {
        "the share of right ones": (_chance("share"), "one many"),
        "chance of the mean count": (_chance("of the mean"), "edges"),
        "as if one were right": (_chance("one right"), "one many edges"),
        "empty queries are dropped": (_chance("empty dropped"), "edges"),
        "empty queries have a score": (_chance("empty counted"), "edges"),
        "it divides by N - 1": (_chance("n - 1"), "edges"),
    },
    "interval": {
        "queries are drawn": (_interval("queries"), "alike weighs"),
        "the mean of the garments' means": (_interval("mean of garments"), "alike weighs"),
        "a 90 % interval": (_interval("90 %"), "alike independent weighs"),
        "without replacement": (_interval("each garment once"), "alike independent weighs"),
        "the ends have changed places": (_interval("ends"), "alike independent weighs"),
        "a generator of its own": (_interval("own generator"), "alike"),
        "twenty samples": (_interval("few"), "alike independent"),
    },
}
