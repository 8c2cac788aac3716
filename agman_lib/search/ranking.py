"""Scores of a gallery's images, and the best of them."""

from __future__ import annotations

import numpy as np
import torch

from agman_lib.base.errors import AgmanError
from agman_lib.search.files import REMAKE

CHUNK = 512  # vectors that are cast from float16 at once: they stay in the processor's cache


def nearest(
    embeddings: np.ndarray,
    attribute: int,
    asked: np.ndarray,
    k: int,
    keep: np.ndarray,
    candidates: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (at most k,) of the nearest images, best first, and their scores float32.

    Args:
        embeddings: unit vectors (N, A, D).
        attribute: its index.
        asked: a unit vector (D,).
        keep: bool (N,), which rows can be found.
        candidates: rows in their order, to rank these alone where k of them can be found.

    Raises:
        AgmanError: the vector that is asked about, or one that it is compared with, holds values
            that are not numbers.
    """
    if not np.isfinite(asked).all():
        raise AgmanError(
            "the query's embedding holds values that are not numbers (of an image of the gallery: "
            f"in embeddings.npy; {REMAKE})"
        )
    asked = np.asarray(asked, np.float32)  # else NumPy turns all embeddings into float64
    if candidates is not None and keep[candidates].sum() >= k:
        rows = candidates
        score = cosines(embeddings[rows, attribute], asked)
    else:  # to pick rows would copy them: one product with all, where they lie
        rows = np.arange(len(embeddings))
        score = cosines(embeddings[:, attribute], asked)
    if not np.isfinite(score).all():
        bad = int(rows[~np.isfinite(score)][0])
        raise AgmanError(f"embeddings.npy: row {bad} holds values that are not numbers; {REMAKE}")
    score[~keep[rows]] = -np.inf
    places = best_first(score, k)
    return rows[places], score[places]


def cosines(vectors: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The cosine of each vector with the one that is asked about, float32 (N,).

    Args:
        vectors: unit vectors (N, D), float32 or float16; each is read once. float16 is cast in
            chunks, and the products are summed in float32. It is fastest where the numbers of an
            attribute lie one behind the other, as in a gallery's file.
        asked: a unit vector, float32 (D,).

    Returns:
        One score for each vector; that of a vector which holds a value that is not a finite number
        is none either.
    """
    if vectors.dtype != np.float16:
        return vectors @ asked
    # PyTorch casts with the processor's instructions for it, several times as fast as NumPy.
    score = np.empty(len(vectors), np.float32)
    half = np.empty((CHUNK, len(asked)), np.float16)  # PyTorch warns of a file that it cannot write
    full = torch.empty(half.shape)
    query, out = torch.from_numpy(np.array(asked, np.float32)), torch.from_numpy(score)
    for start in range(0, len(vectors), CHUNK):
        n = min(CHUNK, len(vectors) - start)
        half[:n] = vectors[start : start + n]
        full[:n] = torch.from_numpy(half[:n])
        torch.mv(full[:n], query, out=out[start : start + n])
    return score


def best_first(score: np.ndarray, k: int) -> np.ndarray:
    """Places (at most k,) of the highest scores, best first; of equal ones the earlier first.

    Args:
        score: (N,); minus infinity marks what cannot be found.
    """
    k = min(k, int((score > -np.inf).sum()))
    if not k:
        return np.empty(0, np.int64)
    least = np.partition(score, -k)[-k]
    places = np.flatnonzero(score >= least)  # with ties, more than k
    return places[np.argsort(-score[places], kind="stable")[:k]]
