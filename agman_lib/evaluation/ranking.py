"""Full rankings scored exactly: average precision, its expectation for a random ranking, recall."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from agman_lib.base.cores import usable_cores
from agman_lib.base.errors import AgmanError

CHUNK = 200_000  # similarities ranked at once, by each thread: what fits its cache


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
        query, position = np.nonzero((key & np.uint64(1)).astype(bool))
        return query, position + 1
    return _row_by_row(similarity, relevant)


def _row_by_row(similarity: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`relevant_ranks` for any number type; a stable sort is slow, and only ties need it."""
    ranks = []
    for row, is_relevant in zip(similarity, relevant, strict=True):
        falling = -row
        order = falling.argsort()
        placed = falling[order]
        if (placed[1:] == placed[:-1]).any():
            order = falling.argsort(kind="stable")
        ranks.append(is_relevant[order].nonzero()[0])
    query = np.repeat(np.arange(len(ranks)), [len(rank) for rank in ranks])
    return query, np.concatenate([np.zeros(0, np.int64), *ranks]) + 1


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
    return score_rankings(similarity, relevant, ())[0]


def score_rankings(
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

    with ThreadPoolExecutor(usable_cores()) as pool:  # NumPy sorts outside Python's lock
        list(pool.map(score, query_parts(n_queries, np.shape(similarity)[1])))
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
    expected = np.divide(spread * (n - harmonic) + harmonic, n, out=np.zeros_like(n), where=n > 0)
    return np.where(r > 0, expected, 0.0)


def recall_at_k(similarity: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Whether a relevant candidate is among the first k (Q,) bool, as retrieval uses recall@k."""
    return score_rankings(similarity, relevant, (k,))[1][:, 0]


def query_parts(n_queries: int, n_candidates: int, size: int | None = None) -> list[slice]:
    """Slices of the queries, so that each part has about ``size`` similarities (one query at
    least): memory does not grow with the number of candidates."""
    rows = max(1, (size or CHUNK) // max(1, n_candidates))
    return [slice(i, i + rows) for i in range(0, n_queries, rows)]
