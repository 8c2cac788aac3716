"""Intervals over seeds and over queries, and a paired test."""

from __future__ import annotations

import numpy as np

FEW = 8  # distinct values, that are resampled as such


def seed_interval(values: np.ndarray) -> float:
    """Half of the 95 % t interval of the mean of (S,) values; NaN for one."""
    from scipy.stats import t  # takes a while to import

    n = len(values)
    if n < 2:
        return float("nan")
    return float(t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5)


def welch_interval(first: np.ndarray, second: np.ndarray) -> float:
    """Half of the 95 % interval of a difference of means, of (S,) and (R,) values not paired.

    Welch's t interval, which lets the two spreads differ; 0 where neither has any, and NaN where
    either has fewer than two values.
    """
    from scipy.stats import ttest_ind  # takes a while to import

    if min(len(first), len(second)) < 2:
        return float("nan")
    if first.std() == second.std() == 0:
        return 0.0
    ends = ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    return float(ends.high - ends.low) / 2


def bootstrap_means(values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Means (n,) of n resamples, with replacement, of values (Q,)."""
    total, distinct = len(values), np.unique(values)
    if len(distinct) <= FEW:  # right or wrong, of triplets: how often each value is drawn is enough
        share = np.array([np.mean(values == value) for value in distinct])
        return rng.multinomial(total, share, size=n) @ distinct / total
    return rng.multinomial(total, np.full(total, 1 / total), size=n) @ values / total


def bootstrap_interval(
    values: np.ndarray, attribute: np.ndarray, n: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean of (Q,) values, resampling queries within each attribute."""
    rng = np.random.default_rng(seed)
    total = np.zeros(n)
    for a in np.unique(attribute):
        of = values[attribute == a]
        total += len(of) * bootstrap_means(of, n, rng)
    low, high = np.percentile(total / len(values), [2.5, 97.5])
    return float(low), float(high)


def sign_flip_p(difference: np.ndarray, n: int = 5000, seed: int = 0) -> float:
    """Two-sided p of a paired permutation test: would (Q,) differences of random sign do as much?

    At least ``1 / (n + 1)``.
    """
    rng = np.random.default_rng(seed)
    observed = abs(difference.sum())
    parts = np.array_split(np.arange(n), max(1, n * len(difference) // 10_000_000))
    as_much = 0
    for part in parts:
        signs = rng.integers(0, 2, (len(part), len(difference)), dtype=np.int8) * 2 - 1
        as_much += int((np.abs(signs @ difference) >= observed - 1e-9).sum())
    return (as_much + 1) / (n + 1)
