"""Notebook 00: rank a gallery, score a ranking, and score chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agman_lib.course.answers import Check, compared
from agman_lib.evaluation.ranking import average_precision, expected_average_precision


def rank(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Rows of a gallery (N, D), best first, for a query (D,); all have length 1."""
    return np.argsort(-(gallery @ query), kind="stable")


def ap(right: np.ndarray) -> float:
    """Average precision in percent of a ranking, best first: bool (N,)."""
    scores = -np.arange(len(right), dtype=float)
    return 100 * float(average_precision(scores[None], np.asarray(right)[None])[0])


def chance(right: np.ndarray, rng: np.random.Generator) -> float:
    """Expected average precision in percent of a random order of bool (N,)."""
    return 100 * float(expected_average_precision(np.array(len(right)), np.array(right.sum())))


def _galleries(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Embeddings of length 1 without ties, some with negative cosines."""
    cases = []
    for n in (3, 10, 50):
        e = rng.normal(size=(n + 1, 8))
        e /= np.linalg.norm(e, axis=1, keepdims=True)
        cases.append((e[0], e[1:]))
    return cases


def _rankings(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Right and wrong, with at least one right, the first not always."""
    cases = [(np.array([False, True, False, True, True]),), (np.array([False, False, True]),)]
    for n in (5, 12, 40):
        right = rng.random(n) < 0.4
        right[rng.integers(1, n)] = True
        cases.append((right,))
    return cases


SHUFFLED = ((12, 1, 25.3), (12, 3, 16.7), (30, 9, 9.7))
"""How many, how many of them right, and the standard deviation of one shuffle's AP, in points."""


def _judge_chance(answer: Callable[..., Any], rng: np.random.Generator) -> str | None:
    """A mean over shuffles varies: it may do so as much as one over a hundred of them."""
    cases = [np.arange(n) < r for n, r, _ in SHUFFLED]
    given = [right.copy() for right in cases]
    try:
        found = np.array([[float(answer(right, rng)) for _ in range(6)] for right in given])
    except Exception as error:  # whatever a student's function raises
        return f"it raises {type(error).__name__}: {error}"
    if not all(np.array_equal(g, c) for g, c in zip(given, cases, strict=True)):
        return "it changes the ranking that it was given: shuffle a copy"
    expected = np.array([chance(right, rng) for right in cases])
    means = found.mean(1)
    noise = np.array([deviation for *_, deviation in SHUFFLED]) / 100**0.5
    allowed = 4.5 * noise / found.shape[1] ** 0.5  # noise is hardly ever larger
    if not np.isfinite(found).all():
        return "it gives NaN"
    if np.allclose(means, [ap(right) for right in cases]):
        return "it scores the ranking as it is: is it shuffled at all?"
    if np.allclose(means, [100 * right.mean() for right in cases]):
        return "it gives the share of right ones; the average precision of chance is higher"
    if (np.abs(100 * means - expected) < allowed).all():
        return "it gives a share, and percent are asked for"
    if (found.std(1, ddof=1) > 2.4 * noise).any():
        return "it varies too much from call to call: take the mean over many shuffles"
    off = np.abs(means - expected)
    worst = (off / allowed).argmax()
    if off[worst] > allowed[worst]:
        noisy = f"up to {allowed[worst]:.1f} would be the noise of the shuffles"
        return f"it is off by {off[worst]:.1f} points ({noisy})"
    return None


def _shuffled(many: int, replace: bool = False) -> Callable[..., float]:
    def answer(right: np.ndarray, rng: np.random.Generator) -> float:
        shuffles = (rng.choice(right, len(right), replace=replace) for _ in range(many))
        return float(np.mean([ap(s) if s.any() else 0.0 for s in shuffles]))

    return answer


def _in_place(right: np.ndarray, rng: np.random.Generator) -> float:
    rng.shuffle(right)
    return ap(right)


CHECKS = {
    "rank": compared(
        rank,
        _galleries,
        {
            "the worst come first: a large cosine is a good one": lambda q, g: np.argsort(g @ q),
            "these are the cosines, and the row numbers in their order are asked for": (
                lambda q, g: g @ q
            ),
            "these are the cosines in order, and the row numbers are asked for": (
                lambda q, g: np.sort(g @ q)[::-1]
            ),
            "this is the rank of each row; asked for is the row at each rank": (
                lambda q, g: np.argsort(np.argsort(-(g @ q)))
            ),
            "it drops the sign of the cosine: what points the opposite way is not near": (
                lambda q, g: np.argsort(-np.abs(g @ q))
            ),
        },
        tolerance=0,
    ),
    "average precision": compared(
        ap,
        _rankings,
        {
            "this is a share, and percent are asked for": lambda r: ap(r) / 100,
            "this is the mean precision over all ranks; only the ranks of right ones count": (
                lambda r: 100 * np.mean(np.cumsum(r) / np.arange(1, len(r) + 1))
            ),
            "the precision at rank 1 divides by 1, not by 0 or 2: where does your count begin?": (
                lambda r: 100 * np.mean((np.cumsum(r) / np.arange(2, len(r) + 2))[r])
            ),
            "this divides by the number of all, and the mean is over the right ones": (
                lambda r: 100 * np.sum((np.cumsum(r) / np.arange(1, len(r) + 1))[r]) / len(r)
            ),
            "this is the share of right ones, whatever their order": lambda r: 100 * np.mean(r),
        },
    ),
    "chance": Check(
        chance,
        _judge_chance,
        {
            "it scores the ranking as it is": lambda right, rng: ap(right),
            "it gives the share of right ones": lambda right, rng: 100 * right.mean(),
            "it varies too much from call to call": _shuffled(1),
            "it gives a share": lambda right, rng: _shuffled(200)(right, rng) / 100,
            "it changes the ranking": _in_place,
            "would be the noise of the shuffles": _shuffled(200, replace=True),
        },
    ),
}
