"""Exact full-ranking retrieval metrics, the random row, and intervals.

For each attribute, each query ranks all candidates labelled for that attribute by cosine. A
candidate is relevant when it has a value of the attribute in common with the query. Attributes are
averaged weighted by their number of queries (ASEN's protocol).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from agman_lib.dataset import Labels, PreparedDataset
from agman_lib.errors import AgmanError
from agman_lib.triplets import Triplets, listed_triplets

CHUNK = 1_000_000  # similarities ranked at once, by each thread
Embedder = Callable[[np.ndarray, np.ndarray], np.ndarray]


# --------------------------------------------------------------------------- ranking


def relevant_ranks(similarity: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the relevant candidates.

    Candidates are ranked by similarity, highest first; of equal ones the lower index comes first.

    Args:
        similarity: (Q, N) float32 or float64, any sign; no NaN.
        relevant: (Q, N) bool.

    Returns:
        ``query`` (R,) and ``rank`` (R,) from 1, sorted by query, then rank.
    """
    similarity, relevant = np.asarray(similarity), np.asarray(relevant, dtype=bool)
    if similarity.shape != relevant.shape or similarity.ndim != 2:
        raise AgmanError(
            f"similarity {similarity.shape} and relevant {relevant.shape} must both be (Q, N)"
        )
    if np.isnan(similarity).any():
        raise AgmanError("similarities contain NaN: the network's output is broken")
    if similarity.dtype == np.float32:
        # One integer sorts by similarity (descending), then index, and carries the relevance.
        bits = (similarity + np.float32(0)).view(np.uint32)  # + 0 makes -0 the same as 0
        negative = (bits.view(np.int32) >> 31).view(np.uint32)  # all ones or all zeros
        bits ^= ~(negative | np.uint32(1 << 31))
        key = bits.astype(np.uint64)
        key <<= np.uint64(32)
        key |= np.arange(similarity.shape[1], dtype=np.uint64) << np.uint64(1)
        key |= relevant
        key.sort(axis=1)
        ranked = (key & np.uint64(1)).astype(bool)
    else:
        order = np.argsort(-similarity, axis=1, kind="stable")
        ranked = np.take_along_axis(relevant, order, axis=1)
    query, position = np.nonzero(ranked)
    return query, position + 1


def average_precision(similarity: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Average precision of full rankings.

    ``AP = mean over relevant candidates of (relevant ones up to its rank) / rank``; 0 for a query
    without relevant candidates. Ties: the lower index first (`relevant_ranks`). Equal to
    scikit-learn's ``average_precision_score`` where no similarities tie and some are relevant.

    Args:
        similarity: (Q, N), higher is nearer.
        relevant: (Q, N) bool.

    Returns:
        (Q,) float64 in [0, 1].

    >>> average_precision(np.array([[0.9, -0.2, 0.5]]), np.array([[False, True, True]])).round(4)
    array([0.5833])
    """
    return _score(similarity, relevant, ())[0]


def _score(
    similarity: np.ndarray, relevant: np.ndarray, ks: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """AP (Q,) and, for each k, whether a relevant candidate is among the first k (Q, len(ks))."""
    n_queries = len(similarity)
    average, hit = np.zeros(n_queries), np.zeros((n_queries, len(ks)), bool)

    def score(part: slice) -> None:
        query, rank = relevant_ranks(similarity[part], relevant[part])
        total = np.bincount(query, minlength=len(similarity[part]))
        first = np.cumsum(total) - total
        nth = np.arange(len(query)) - first[query] + 1
        summed = np.bincount(query, nth / rank, minlength=len(total))
        some = total > 0
        average[part] = summed / np.maximum(total, 1)
        best = np.full(len(total), np.inf)
        best[some] = rank[first[some]]
        hit[part] = best[:, None] <= np.asarray(ks, float)

    with ThreadPoolExecutor() as pool:  # NumPy sorts outside Python's lock
        list(pool.map(score, _parts(n_queries, np.shape(similarity)[1])))
    return average, hit


def expected_average_precision(n_candidates: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """Expected AP of a uniformly random ranking, in closed form.

    ``((R - 1) / (N - 1) * (N - H) + H) / N`` with ``H = sum of 1/i up to N``; 0 for R = 0.

    Args:
        n_candidates: N, broadcast against n_relevant.
        n_relevant: R.
    """
    n, r = np.broadcast_arrays(np.asarray(n_candidates, float), np.asarray(n_relevant, float))
    sizes, inverse = np.unique(n, return_inverse=True)
    harmonic = np.array([np.sum(1 / np.arange(1, int(s) + 1)) for s in sizes])[inverse]
    harmonic = harmonic.reshape(n.shape)
    spread = np.divide(r - 1, n - 1, out=np.zeros_like(n), where=n > 1)
    expected = np.divide(
        spread * (n - harmonic) + harmonic, n, out=np.zeros_like(n), where=n > 0
    )
    return np.where(r > 0, expected, 0.0)


def recall_at_k(similarity: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Whether a relevant candidate is among the first k (Q,) bool, as retrieval uses recall@k."""
    return _score(similarity, relevant, (k,))[1][:, 0]


# --------------------------------------------------------------------------- the protocol


@dataclass(frozen=True)
class Task:
    """One attribute's retrieval: rows of the query and candidate labels, and who is relevant."""

    attribute: int
    query: np.ndarray  # image indices (Q,)
    candidate: np.ndarray  # image indices (N,)
    query_values: np.ndarray  # bool (Q, V)
    candidate_values: np.ndarray  # bool (N, V)

    @property
    def n_relevant(self) -> np.ndarray:
        """How many relevant candidates each query has (Q,)."""
        single = self.query_values.sum(1) == 1
        if single.all() and (self.candidate_values.sum(1) == 1).all():
            return self.query_values @ self.candidate_values.sum(0)
        return np.concatenate(
            [self.relevant(p).sum(1) for p in _parts(len(self.query), len(self.candidate))]
        )

    def relevant(self, rows: slice) -> np.ndarray:
        """Relevance (rows, N) bool of some queries."""
        q = self.query_values[rows].astype(np.float32)
        return (q @ self.candidate_values.T.astype(np.float32)) > 0


def retrieval_tasks(dataset: PreparedDataset, split: str) -> list[Task]:
    """One `Task` for each attribute that has queries and candidates in the split.

    The pairs are those of the evaluated labels. Relevance compares the evaluated values.

    Raises:
        AgmanError: the split has no queries or no candidates.
    """
    queries = dataset.split_labels(split, "query", evaluated=True)
    candidates = dataset.split_labels(split, "candidate", evaluated=True)
    tasks = []
    for a, attribute in enumerate(dataset.attributes):
        q, c = queries.where(queries.attribute == a), candidates.where(candidates.attribute == a)
        if len(q) and len(c):
            n_values = len(attribute.values)
            tasks.append(Task(a, q.image, c.image, _one_hot(q, n_values), _one_hot(c, n_values)))
    if not tasks:
        raise AgmanError(
            f"{dataset.folder}: no attribute of split {split!r} has both queries and candidates"
        )
    return tasks


def _one_hot(labels: Labels, n_values: int) -> np.ndarray:
    return labels.value[:, None] == np.arange(n_values)


def _parts(n_queries: int, n_candidates: int, size: int | None = None) -> list[slice]:
    rows = max(1, (size or CHUNK) // max(1, n_candidates))
    return [slice(i, i + rows) for i in range(0, n_queries, rows)]


@dataclass(frozen=True)
class QueryScores:
    """Per query of one attribute: AP, its expectation for a random ranking, recall@k."""

    attribute: int
    average_precision: np.ndarray  # (Q,)
    random: np.ndarray  # (Q,)
    recall: np.ndarray  # (Q, len(ks)) bool


def score_task(
    task: Task, query: np.ndarray, candidate: np.ndarray, ks: tuple[int, ...] = (1, 5)
) -> QueryScores:
    """Rank and score one attribute from unit embeddings (Q, D) and (N, D), in chunks of queries."""
    scores = [
        _score(query[part] @ candidate.T, task.relevant(part), ks)
        for part in _parts(len(query), len(candidate), 8 * CHUNK)
    ]
    return QueryScores(
        task.attribute,
        np.concatenate([s[0] for s in scores]),
        expected_average_precision(np.asarray(len(candidate)), task.n_relevant),
        np.concatenate([s[1] for s in scores]),
    )


def score_split(
    dataset: PreparedDataset, split: str, embedder: Embedder, ks: tuple[int, ...] = (1, 5)
) -> list[QueryScores]:
    """Per-query scores of every attribute.

    Args:
        embedder: (image indices, attribute indices) -> unit embeddings (L, D); asked once.
    """
    tasks = retrieval_tasks(dataset, split)
    images = np.concatenate([np.concatenate([t.query, t.candidate]) for t in tasks])
    attributes = np.concatenate(
        [np.full(len(t.query) + len(t.candidate), t.attribute) for t in tasks]
    )
    embeddings = embedder(images, attributes)
    scores, start = [], 0
    for task in tasks:
        middle = start + len(task.query)
        end = middle + len(task.candidate)
        scores.append(score_task(task, embeddings[start:middle], embeddings[middle:end], ks))
        start = end
    return scores


def retrieval_table(
    dataset: PreparedDataset,
    scores: list[QueryScores],
    ks: tuple[int, ...] = (1, 5),
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Per attribute and in the query-weighted mean: MAP and its 95 % interval, all in percent.

    Columns: ``MAP``, ``low``, ``high`` (bootstrap over queries), ``random`` (expected MAP of a
    random ranking), ``recall@k``, ``queries``. The last row is ``mean``.
    """
    rng = np.random.default_rng(seed)
    rows, resampled = {}, []
    for s in scores:
        samples = bootstrap_means(s.average_precision, n_bootstrap, rng)
        resampled.append(samples)
        rows[dataset.attributes[s.attribute].name] = _row(s, samples, ks)
    sizes = np.array([len(s.average_precision) for s in scores])
    together = QueryScores(
        -1,
        np.concatenate([s.average_precision for s in scores]),
        np.concatenate([s.random for s in scores]),
        np.concatenate([s.recall for s in scores]),
    )
    weighted = np.average(np.stack(resampled), axis=0, weights=sizes)
    rows["mean"] = _row(together, weighted, ks)
    return pd.DataFrame.from_dict(rows, orient="index")


def _row(scores: QueryScores, samples: np.ndarray, ks: tuple[int, ...]) -> dict[str, float]:
    low, high = np.percentile(samples, [2.5, 97.5])
    row = {
        "MAP": 100 * float(scores.average_precision.mean()),
        "low": 100 * float(low),
        "high": 100 * float(high),
        "random": 100 * float(scores.random.mean()),
    }
    row |= {f"recall@{k}": 100 * float(scores.recall[:, i].mean()) for i, k in enumerate(ks)}
    return row | {"queries": len(scores.average_precision)}


def bootstrap_means(values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Means (n,) of n resamples, with replacement, of values (Q,)."""
    counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=n)
    return counts @ values / len(values)


def triplet_accuracy(dataset: PreparedDataset, split: str, embedder: Embedder) -> pd.DataFrame:
    """Share of listed triplets with cos(a, p) > cos(a, n), in percent, per attribute and overall.

    Columns: ``accuracy``, ``random`` (50), ``triplets``; the last row, ``mean``, is over triplets.
    """
    attribute, right = _triplets_right(dataset, split, embedder)
    rows = {}
    for i, name in enumerate(dataset.attribute_names):
        of = right[attribute == i]
        if len(of):
            rows[name] = {"accuracy": 100 * of.mean(), "random": 50.0, "triplets": len(of)}
    rows["mean"] = {"accuracy": 100 * right.mean(), "random": 50.0, "triplets": len(right)}
    return pd.DataFrame.from_dict(rows, orient="index")


def _triplets_right(
    dataset: PreparedDataset, split: str, embedder: Embedder
) -> tuple[np.ndarray, np.ndarray]:
    """Attribute (T,) of each listed triplet, and whether cos(a, p) > cos(a, n)."""
    t: Triplets = listed_triplets(dataset, split)
    a, n, p = (embedder(i, t.attribute) for i in (t.anchor, t.negative, t.positive))
    return t.attribute, (a * p).sum(1) > (a * n).sum(1)


def per_query_scores(
    dataset: PreparedDataset, split: str, embedder: Embedder
) -> tuple[np.ndarray, np.ndarray]:
    """Attribute index (Q,) and score (Q,) float64 of each query: its AP, or 0 and 1 of a triplet.

    Their plain mean is the headline number of the data set's protocol.
    """
    if dataset.protocol == "triplets":
        attribute, right = _triplets_right(dataset, split, embedder)
        return attribute, right.astype(float)
    scores = score_split(dataset, split, embedder)
    attribute = np.concatenate([np.full(len(s.average_precision), s.attribute) for s in scores])
    return attribute, np.concatenate([s.average_precision for s in scores])


# --------------------------------------------------------------------------- baselines


def colour_histograms(pixels: np.ndarray, bins: int = 4) -> np.ndarray:
    """Unit-length joint RGB histograms (B, bins**3) of uint8 images (B, 3, H, W)."""
    level = pixels.astype(np.int64) * bins // 256
    code = (level[:, 0] * bins + level[:, 1]) * bins + level[:, 2]
    out = np.stack([np.bincount(c.ravel(), minlength=bins**3) for c in code]).astype(np.float32)
    return out / np.linalg.norm(out, axis=1, keepdims=True)
