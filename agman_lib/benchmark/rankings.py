"""NumPy's part: drawing triplets, average precision, and intervals, at FashionAI's size."""

from __future__ import annotations

from functools import cache

import numpy as np

from agman_lib.benchmark.straightforward import (
    PublishedSampler,
    average_precision_by_query,
    published_average_precision,
    resampled_means,
)
from agman_lib.benchmark.timing import Row, Setting, compared, side_by_side
from agman_lib.data.dataset import Labels
from agman_lib.data.triplets import LabelIndex
from agman_lib.evaluation.ranking import average_precision
from agman_lib.evaluation.statistics import bootstrap_means

# Of ASEN's split of FashionAI, by attribute: values; training images; validation's queries and
# candidates. Which image has which value is drawn.
VALUES = (6, 9, 8, 6, 5, 5, 10, 5)
TRAINING = (17428, 24546, 20563, 17199, 13961, 12782, 26770, 11086)
QUERIES = (439, 596, 515, 419, 356, 330, 668, 277)
CANDIDATES = (1786, 2436, 2073, 1701, 1393, 1240, 2649, 1122)


Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # similarity, values of queries and candidates


@cache
def fashionai_labels() -> Labels:
    """One label for each of FashionAI's 144,335 training images, values drawn uniformly."""
    attribute = np.repeat(np.arange(len(VALUES)), TRAINING)
    value = np.random.default_rng(0).integers(np.array(VALUES)[attribute])
    return Labels(np.arange(len(attribute)), attribute, value)


def sampling(setting: Setting) -> list[Row]:
    """The triplets of an epoch, 100,000."""
    n = 5_000 if setting.quick else 100_000
    ours, theirs = LabelIndex(fashionai_labels()), PublishedSampler(fashionai_labels())
    rng = np.random.default_rng(0)
    what, beside = f"{n:,} triplets drawn", "the published loop"
    calls = {what: lambda: ours.sample(n, rng), beside: lambda: theirs.sample(n)}
    return [compared("sampling", setting, side_by_side(calls, setting), what, beside)]


def average_precisions(setting: Setting) -> list[Row]:
    """Average precision of 3,600 queries, each in its attribute, in float32 and float64."""
    rng, rows = np.random.default_rng(0), []
    parts = []
    for n_values, q, n in zip(VALUES, QUERIES, CANDIDATES, strict=True):
        q, n = (q // 8, n // 8) if setting.quick else (q, n)
        query, candidate = rng.integers(n_values, size=q), rng.integers(n_values, size=n)
        parts.append((rng.uniform(-1, 1, (q, n)), query, candidate))
    for dtype in ("float32", "float64"):
        rows += _of_type(dtype, [(s.astype(dtype), q, c) for s, q, c in parts], setting)
    return rows


def _of_type(dtype: str, parts: list[Part], setting: Setting) -> list[Row]:
    what, beside = f"average precision, {dtype}", "a NumPy loop over queries"
    published = "the published loop"
    calls = {
        what: lambda: [average_precision(s, q[:, None] == c) for s, q, c in parts],
        beside: lambda: [average_precision_by_query(s, q[:, None] == c) for s, q, c in parts],
        published: lambda: [published_average_precision(*part) for part in parts],
    }
    times = side_by_side(calls, setting)
    far = [  # with a sort that ranks equal ones as ours does; the published one leaves that open
        np.abs(mine - published_average_precision(*part, kind="stable")).max()
        for mine, part in zip(calls[what](), parts, strict=True)
    ]
    note = f"they differ by at most {max(far):.0e}"
    return [
        compared("map", setting, times, what, published, note=note),
        compared("map", setting, times, what, beside),
    ]


def intervals(setting: Setting) -> list[Row]:
    """2,000 resamples: of 40,000 triplets, right or wrong, and of 3,600 average precisions."""
    rng = np.random.default_rng(0)
    triplets = (rng.random(40_000) < 0.9).astype(float)
    of = {"40,000 triplets": triplets, "3,600 queries": rng.random(3600)}
    return [_resampled(name, values, setting) for name, values in of.items()]


def _resampled(name: str, values: np.ndarray, setting: Setting) -> Row:
    rng, n = np.random.default_rng(0), 200 if setting.quick else 2000
    what, beside = f"bootstrap of {name}, {n:,} resamples", "resamples drawn one by one"
    calls = {
        what: lambda: bootstrap_means(values, n, rng),
        beside: lambda: resampled_means(values, n, rng),
    }
    return compared("bootstrap", setting, side_by_side(calls, setting), what, beside)
