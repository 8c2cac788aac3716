"""Notebook 06: the total of a table, intervals over queries and seeds, and a factor's effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from agman_lib.course.answers import Check, compared
from agman_lib.evaluation.statistics import seed_interval

DRAWS = 2000


def total(scores: np.ndarray, queries: np.ndarray) -> float:
    """MAP over all queries, from the MAP (A,) and the queries (A,) of each attribute."""
    return float((scores * queries).sum() / queries.sum())


def bootstrap(ap: np.ndarray, rng: np.random.Generator, draws: int = DRAWS) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of ap (Q,)."""
    means = rng.choice(ap, (draws, len(ap))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def paired(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of b - a, both (Q,), of the same queries."""
    return bootstrap(b - a, rng)


def half_width(scores: np.ndarray) -> float:
    """Half of the 95 % t interval of the mean of scores (S,), one a seed."""
    return float(seed_interval(scores))


def effect(cells: np.ndarray, has: np.ndarray) -> np.ndarray:
    """The effect (S,) of a factor in each seed, from cells (C, S) and whether they have it (C,)."""
    return cells[has].mean(0) - cells[~has].mean(0)


def _tables(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    return [(rng.uniform(0, 100, a), rng.integers(5, 400, a)) for a in (2, 5, 8)]


def _of_seeds(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    return [(rng.normal(50, 3, n),) for n in (2, 3, 5, 10)]


def _designs(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Eight cells in any order, three seeds; a lucky seed lifts all of them."""
    cases = []
    for _ in range(4):
        has = rng.permutation(np.arange(8) < 4)
        cases.append((rng.normal(50, 5, (8, 3)) + rng.normal(0, 9, 3), has))
    return cases


def _ends(answer: Callable[..., Any], arguments: tuple, seed: int) -> tuple[float, float] | str:
    """The two ends that an answer gives with a generator of this seed; or a fault."""
    try:
        low, high = answer(*[np.copy(a) for a in arguments], np.random.default_rng(seed))
        return float(low), float(high)
    except Exception as error:  # whatever a student's function gives
        return f"it gives no two ends ({type(error).__name__}: {error})"


def _judge_ends(
    answer: Callable[..., Any], expected: tuple[float, float], arguments: tuple, where: str
) -> tuple[float, float] | str:
    """An answer's width and middle, against those expected and the expected width; or a fault."""
    got = _ends(answer, arguments, 5)
    if isinstance(got, str):
        return f"{where} {got}"
    low, high = got
    if not np.isfinite([low, high]).all():
        return f"{where} it gives {low}, {high}"
    width = expected[1] - expected[0]
    return (high - low) / width, ((low + high) - sum(expected)) / 2 / width


def _judge_bootstrap(answer: Callable[..., Any], rng: np.random.Generator) -> str | None:
    """Compares width and middle: two bootstraps differ by some percent of the width."""
    if not callable(answer):
        return "a function is asked for"
    for n in (40, 300):
        ap = 100 * rng.beta(4, 1.2, n)
        found = _judge_ends(answer, bootstrap(ap, rng, 20_000), (ap,), f"for {n} queries")
        if isinstance(found, str):
            return found
        ratio, middle = found
        if ratio < 0:
            return "the ends have changed places"
        if ratio < 0.01:
            return "the interval has no width: is each sample drawn with replacement?"
        if abs(ratio / np.sqrt(n) - 1) < 0.35:
            return "this is where single queries lie; the interval of their mean is narrower"
        if ratio < 0.89:
            return f"it is {ratio:.2f} times as wide as it should be: which percentiles hold 95 %?"
        if ratio > 1.12 or abs(middle) > 0.1:
            return f"for {n} queries it is {ratio:.2f} times as wide as it should be, or moved"
    drawn = [_ends(answer, (ap,), seed) for seed in (5, 5, 6)]
    if drawn[0] == drawn[2]:
        return "another generator gives the same ends: where are the samples drawn?"
    if drawn[0] != drawn[1]:
        return "the same generator gives other ends: are the samples drawn with rng?"
    return None


def _judge_paired(answer: Callable[..., Any], rng: np.random.Generator) -> str | None:
    """Queries are easy or hard for both networks, so that pairing makes the interval narrow."""
    if not callable(answer):
        return "a function is asked for"
    hard = rng.uniform(20, 90, 200)
    a, b = hard + rng.normal(0, 3, 200), hard + 1.5 + rng.normal(0, 3, 200)
    found = _judge_ends(answer, bootstrap(b - a, rng, 20_000), (a, b), "for 200 queries")
    if isinstance(found, str):
        return found
    ratio, middle = found
    if ratio < 0:
        return "the ends have changed places"
    if ratio > 2:
        return "it is far too wide: are a query's two scores drawn together?"
    if abs(middle) > 1:
        return "the sign: positive means that b is better"
    if not 0.88 < ratio < 1.13 or abs(middle) > 0.1:
        return f"it is {ratio:.2f} times as wide as it should be, or moved"
    return None


def _percent(low: float, high: float) -> Callable[..., tuple[float, float]]:
    def answer(ap: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
        means = rng.choice(ap, (DRAWS, len(ap))).mean(1)
        return tuple(np.percentile(means, [low, high]))

    return answer


def _apart(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    means = [rng.choice(b, len(b)).mean() - rng.choice(a, len(a)).mean() for _ in range(DRAWS)]
    return tuple(np.percentile(means, [2.5, 97.5]))


def _spread(scores: np.ndarray, ddof: int = 1) -> float:
    return float(np.std(scores, ddof=ddof) / np.sqrt(len(scores)))


def _t(scores: np.ndarray, share: float = 0.975) -> float:
    return float(stats.t.ppf(share, len(scores) - 1))


CHECKS = {
    "total of a table": compared(
        total,
        _tables,
        {
            "an attribute with many queries counts for more": lambda s, q: s.mean(),
            "an attribute with few queries counts for less": (
                lambda s, q: (s / q).sum() / (1 / q).sum()
            ),
            "this is a sum, and a mean is asked for": lambda s, q: (s * q).sum(),
            "it divides by the number of attributes": lambda s, q: (s * q).mean() / q.max(),
        },
    ),
    "bootstrap interval": Check(
        bootstrap,
        _judge_bootstrap,
        {
            "the interval has no width": lambda ap, rng: (ap.mean(), ap.mean() + 1e-12),
            "which percentiles hold 95 %": _percent(5, 95),
            "this is where single queries lie": lambda ap, rng: (
                ap.mean() - 1.96 * ap.std(),
                ap.mean() + 1.96 * ap.std(),
            ),
            "the ends have changed places": _percent(97.5, 2.5),
            "it gives no two ends": lambda ap, rng: ap.mean(),
            "where are the samples drawn?": lambda ap, rng: (
                ap.mean() - 1.96 * _spread(ap),
                ap.mean() + 1.96 * _spread(ap),
            ),
            "are the samples drawn with rng?": lambda ap, rng: bootstrap(
                ap, np.random.default_rng()
            ),
        },
    ),
    "paired interval": Check(
        paired,
        _judge_paired,
        {
            "are a query's two scores drawn together?": _apart,
            "the sign: positive means that b is better": lambda a, b, rng: paired(b, a, rng),
            "it gives no two ends": lambda a, b, rng: (b - a).mean(),
            "the ends have changed places": lambda a, b, rng: paired(a, b, rng)[::-1],
            "it is far too wide": lambda a, b, rng: bootstrap(b, rng),
        },
    ),
    "interval over seeds": compared(
        half_width,
        _of_seeds,
        {
            "1.96 is for many seeds; with few, t is larger": lambda s: 1.96 * _spread(s),
            "the standard deviation of a sample divides by n - 1": lambda s: _t(s) * _spread(s, 0),
            "this is the spread of single seeds; that of their mean is smaller": (
                lambda s: _t(s) * np.std(s, ddof=1)
            ),
            "2.5 % lie on each side": lambda s: _t(s, 0.95) * _spread(s),
            "this is the whole width, and half of it is asked for": lambda s: (
                2 * _t(s) * _spread(s)
            ),
        },
    ),
    "effect of a factor": compared(
        effect,
        _designs,
        {
            "with minus without, not the other way round": lambda c, h: -effect(c, h),
            "one number for each seed is asked for": lambda c, h: effect(c, h).mean(),
            "this compares two cells only; the effect uses all eight": (
                lambda c, h: c[h][0] - c[~h][0]
            ),
            "this is a difference of sums, and of means is asked for": (
                lambda c, h: c[h].sum(0) - c[~h].sum(0)
            ),
            "this is half of it: compare with the cells that do not have it, not with all": (
                lambda c, h: c[h].mean(0) - c.mean(0)
            ),
        },
    ),
}
