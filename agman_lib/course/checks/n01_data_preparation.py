"""Notebook 01: relevance, the expected AP of chance, a triplet, and where negatives come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agman_lib.course.answers import Check, compared
from agman_lib.evaluation.ranking import expected_average_precision

VALUES = ("short", "elbow", "long", "none")


def relevant(query: set[str], candidates: list[set[str]]) -> np.ndarray:
    """Which candidates are right for a query: bool (N,)."""
    return np.array([bool(query & candidate) for candidate in candidates])


def expected_ap(n: int, r: int) -> float:
    """Expected AP, 0 to 1, of a random ranking of n candidates, r of them relevant."""
    return float(expected_average_precision(np.array(n), np.array(r)))


def draw_triplet(
    images_of: dict[str, np.ndarray], rng: np.random.Generator
) -> tuple[int, int, int]:
    """Anchor, positive and negative from value -> images."""
    usable = sorted(value for value, images in images_of.items() if len(images) > 1)
    value = usable[rng.integers(len(usable))]
    anchor, positive = rng.choice(images_of[value], 2, replace=False)
    others = np.concatenate([images for v, images in images_of.items() if v != value])
    return int(anchor), int(positive), int(rng.choice(others))


def negative_shares(counts: np.ndarray) -> np.ndarray:
    """Share (V,) of ASEN's negatives that have each value, from the images of each value (V,)."""
    terms = counts / (counts.sum() - counts[:, None])  # (v, w)
    return (terms.sum(0) - terms.diagonal()) / len(counts)


def _sets(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Queries and candidates with none, one or several values."""

    def some(low: int) -> set[str]:
        many = int(rng.integers(low, 4))
        return {str(v) for v in rng.choice(VALUES, many, replace=False)}

    fixed = [{"a"}, {"a", "b"}, {"b", "c"}, {"c"}, set(), {"a", "b", "c"}]
    return [({"a", "b"}, fixed), *[(some(1), [some(0) for _ in range(12)]) for _ in range(4)]]


def _sizes(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    n = [int(x) for x in rng.integers(5, 300, 5)]
    return [(2, 1), (10, 10), (40, 8), *[(m, int(rng.integers(1, m + 1))) for m in n]]


def _counts(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    return [(rng.integers(1, 60, v),) for v in (3, 4, 5)]


def _judge_triplet(answer: Callable[..., Any], rng: np.random.Generator) -> str | None:
    """Draws many triplets from values with 1, 2 and 30 images."""
    if not callable(answer):
        return "a function is asked for"
    images_of = {
        "one image": np.array([7]),
        "two images": np.array([3, 11]),
        "many images": np.arange(100, 130),
    }
    value = {int(i): name for name, images in images_of.items() for i in images}
    kept = {name: images.copy() for name, images in images_of.items()}
    drawn = []
    try:
        for _ in range(3000):
            triplet = [int(i) for i in answer(images_of, rng)]
            drawn.append([(value[i], i) for i in triplet])
    except Exception as error:  # whatever a student's function gives
        return (
            f"it raises {type(error).__name__} ({error}) for values with 1, 2 and 30 images: what "
            "can be done with a value that one image has?"
        )
    if any(len(t) != 3 for t in drawn):
        return "a triplet is three images: anchor, positive, negative"
    if not all(np.array_equal(kept[name], images_of[name]) for name in kept):
        return "it changes the images that it was given"
    if any(a == p for a, p, _ in drawn):
        return "anchor and positive are sometimes the same image"
    if all(a[0] != p[0] and a[0] == n[0] for a, p, n in drawn):
        return "positive and negative have changed places"
    if any(a[0] != p[0] for a, p, _ in drawn):
        return "anchor and positive do not always have the same value"
    if any(a[0] == n[0] for a, _, n in drawn):
        return "the negative sometimes has the anchor's value"
    share = np.mean([a[0] == "two images" for a, _, _ in drawn])
    if not 0.4 < share < 0.6:
        return "each value that can be used should be drawn equally often, rare or not"
    lonely = np.mean([n[0] == "one image" for a, _, n in drawn if a[0] == "two images"])
    if lonely == 0:
        return "a value with one image may well be the negative's"
    if lonely > 0.2:  # of 31 images it is one
        return "draw the negative among all images of the other values, not a value first"
    return None


def _slip(kind: str) -> Callable[..., tuple[int, int, int]]:
    def answer(images_of: dict[str, np.ndarray], rng: np.random.Generator) -> tuple[int, int, int]:
        names = [v for v, images in images_of.items() if len(images) > 1 or kind == "lonely"]
        if kind == "rows":
            sizes = np.array([len(images_of[v]) for v in names])
            value = names[rng.choice(len(names), p=sizes / sizes.sum())]
        else:
            value = names[rng.integers(len(names))]
        a, p = rng.choice(images_of[value], 2, replace=kind == "itself")
        others = [i for v, i in images_of.items() if v != value or kind == "any negative"]
        if kind == "no lonely negative":
            others = [i for i in others if len(i) > 1]
        if kind == "value first":
            others = [others[rng.integers(len(others))]]
        n = rng.choice(np.concatenate(others))
        if kind == "any positive":
            p = rng.choice(np.concatenate([images_of[v] for v in names]))
            p = p if p != a else images_of["one image"][0]
        return (a, n, p) if kind == "order" else (a, p, n)

    return answer


CHECKS = {
    "relevance": compared(
        relevant,
        _sets,
        {
            "one shared value is enough; the others may differ": lambda q, c: np.array(
                [q == x for x in c]
            ),
            "a candidate may have more values than the query": lambda q, c: np.array(
                [bool(x) and x <= q for x in c]
            ),
            "a candidate need not have all of the query's values": lambda q, c: np.array(
                [q <= x for x in c]
            ),
            "a candidate with another value is not right": lambda q, c: np.array(
                [bool(x) for x in c]
            ),
            "it is the other way round": lambda q, c: ~relevant(q, c),
        },
        tolerance=0,
    ),
    "expected average precision": compared(
        expected_ap,
        _sizes,
        {
            "this is the share of relevant ones; the expected AP is higher": lambda n, r: r / n,
            "one relevant candidate has been found already: of how many others, among how many?": (
                lambda n, r: np.mean([(1 + (i - 1) * r / n) / i for i in range(1, n + 1)])
            ),
            "the candidate at rank i is not among the others: how many others are there?": (
                lambda n, r: np.mean([(1 + (i - 1) * (r - 1) / n) / i for i in range(1, n + 1)])
            ),
            "the candidate at rank i is relevant itself, and counts": (
                lambda n, r: np.mean([(i - 1) * (r - 1) / (n - 1) / i for i in range(1, n + 1)])
            ),
            "this is in percent, and a share is asked for": lambda n, r: 100 * expected_ap(n, r),
            "the mean goes over all n ranks": (
                lambda n, r: sum((1 + (i - 1) * (r - 1) / (n - 1)) / i for i in range(1, n + 1)) / r
            ),
        },
    ),
    "triplet": Check(
        draw_triplet,
        _judge_triplet,
        {
            "anchor and positive are sometimes the same image": _slip("itself"),
            "the negative sometimes has the anchor's value": _slip("any negative"),
            "anchor and positive do not always have the same value": _slip("any positive"),
            "positive and negative have changed places": _slip("order"),
            "rare or not": _slip("rows"),
            "may well be the negative's": _slip("no lonely negative"),
            "not a value first": _slip("value first"),
            "what can be done with a value that one image has?": _slip("lonely"),
        },
    ),
    "values of the negatives": compared(
        negative_shares,
        _counts,
        {
            "the anchor's own value cannot be a negative's": lambda c: c / c.sum(),
            "this is for drawing the negative's value first": lambda c: np.full(len(c), 1 / len(c)),
            "the anchor's value is drawn uniformly, however frequent it is": lambda c: np.array(
                [
                    sum(c[v] / c.sum() * c[w] / (c.sum() - c[v]) for v in range(len(c)) if v != w)
                    for w in range(len(c))
                ]
            ),
            "these do not sum to one: each anchor's value has the same chance, 1 / V": (
                lambda c: negative_shares(c) * len(c)
            ),
            "leave the anchor's own value out of the sum": lambda c: (
                c / (c.sum() - c[:, None])
            ).mean(0),
        },
    ),
}
