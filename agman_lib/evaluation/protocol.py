"""The protocol: what is asked of a network on a split, and how its embeddings are scored.

`pairs_to_embed` says which (image, attribute) pairs a split asks for; everything else here takes
their embeddings, in that order.

For each attribute, each query ranks all candidates labelled for that attribute by cosine. A
candidate is relevant when it has the query's value of the attribute. Attributes are averaged
weighted by their number of queries (ASEN's protocol).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError, check_choice
from agman_lib.data.dataset import Labels, PreparedDataset
from agman_lib.data.triplets import Triplets, listed_triplets
from agman_lib.evaluation.ranking import (
    CHUNK,
    expected_average_precision,
    query_parts,
    score_rankings,
)
from agman_lib.evaluation.statistics import bootstrap_means

Relevance = Literal["evaluated", "all"]


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
        if (self.candidate_values.sum(1) == 1).all():
            return self.query_values @ self.candidate_values.sum(0)
        return np.concatenate(
            [self.relevant(p).sum(1) for p in query_parts(len(self.query), len(self.candidate))]
        )

    def relevant(self, rows: slice) -> np.ndarray:
        """Relevance (rows, N) bool of some queries."""
        q = self.query_values[rows].astype(np.float32)
        return (q @ self.candidate_values.T.astype(np.float32)) > 0


def retrieval_tasks(
    dataset: PreparedDataset, split: str, relevance: Relevance = "evaluated"
) -> list[Task]:
    """One `Task` for each attribute that has queries and candidates in the split.

    The pairs are those of the evaluated labels.

    Args:
        relevance: "evaluated" compares the one evaluated value of query and candidate (ASEN's
            protocol); "all" asks whether the sets of all their values of the attribute meet, which
            is the honest question where an image has several (DeepFashion).

    Raises:
        AgmanError: the split has no queries or no candidates.
    """
    check_choice("relevance", relevance, Relevance)
    queries = dataset.split_labels(split, "query", evaluated=True)
    candidates = dataset.split_labels(split, "candidate", evaluated=True)
    every = dataset.split_labels(split) if relevance == "all" else None
    tasks = []
    for a, attribute in enumerate(dataset.attributes):
        q, c = queries.where(queries.attribute == a), candidates.where(candidates.attribute == a)
        if len(q) and len(c):
            known = None if every is None else every.where(every.attribute == a)
            n_values = len(attribute.values)
            q_values, c_values = (
                _has_value(rows, rows if known is None else known, n_values) for rows in (q, c)
            )
            tasks.append(Task(a, q.image, c.image, q_values, c_values))
    if not tasks:
        raise AgmanError(
            f"{dataset.folder}: no attribute of split {split!r} has both queries and candidates"
        )
    return tasks


def _has_value(rows: Labels, known: Labels, n_values: int) -> np.ndarray:
    """Which values (len(rows), n_values) bool the images of rows have by the known labels."""
    images, place = np.unique(rows.image, return_inverse=True)
    of = known.where(np.isin(known.image, images))
    table = np.zeros((len(images), n_values), bool)
    table[np.searchsorted(images, of.image), of.value] = True
    return table[place]


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
        score_rankings(query[part] @ candidate.T, task.relevant(part), ks)
        for part in query_parts(len(query), len(candidate), 40 * CHUNK)
    ]
    return QueryScores(
        task.attribute,
        np.concatenate([s[0] for s in scores]),
        expected_average_precision(np.asarray(len(candidate)), task.n_relevant),
        np.concatenate([s[1] for s in scores]),
    )


def pairs_to_embed(
    dataset: PreparedDataset, split: str, relevance: Relevance = "evaluated"
) -> tuple[np.ndarray, np.ndarray]:
    """The (image, attribute) pairs whose embeddings score a split: two int64 (L,).

    Retrieval: the queries and the candidates of each attribute in turn. Triplets: every pair once,
    however many triplets it stands in.

    Raises:
        AgmanError: as `retrieval_tasks`.
    """
    if dataset.protocol == "triplets":
        pairs = _triplet_pairs(dataset, listed_triplets(dataset, split))[0]
        return pairs // dataset.n_attributes, pairs % dataset.n_attributes
    tasks = retrieval_tasks(dataset, split, relevance)
    images = np.concatenate([np.concatenate([t.query, t.candidate]) for t in tasks])
    sizes = [len(t.query) + len(t.candidate) for t in tasks]
    return images, np.repeat([t.attribute for t in tasks], sizes)


def score_split(
    dataset: PreparedDataset,
    split: str,
    embeddings: np.ndarray,
    ks: tuple[int, ...] = (1, 5),
    relevance: Relevance = "evaluated",
) -> list[QueryScores]:
    """Per-query scores of every attribute.

    Args:
        embeddings: unit embeddings (L, D) of `pairs_to_embed`.
        relevance: as in `retrieval_tasks`.
    """
    scores, start = [], 0
    for task in retrieval_tasks(dataset, split, relevance):
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


def triplet_accuracy(dataset: PreparedDataset, split: str, embeddings: np.ndarray) -> pd.DataFrame:
    """Share of listed triplets with cos(a, p) > cos(a, n), in percent, per attribute and overall.

    Columns: ``accuracy``, ``random`` (50), ``triplets``; the last row, ``mean``, is over triplets.

    Args:
        embeddings: unit embeddings (L, D) of `pairs_to_embed`.
    """
    attribute, right = _triplets_right(dataset, split, embeddings)
    rows = {}
    for i, name in enumerate(dataset.attribute_names):
        of = right[attribute == i]
        if len(of):
            rows[name] = {"accuracy": 100 * of.mean(), "random": 50.0, "triplets": len(of)}
    rows["mean"] = {"accuracy": 100 * right.mean(), "random": 50.0, "triplets": len(right)}
    return pd.DataFrame.from_dict(rows, orient="index")


def _triplet_pairs(dataset: PreparedDataset, t: Triplets) -> tuple[np.ndarray, np.ndarray]:
    """The triplets' pairs as ``image * A + attribute``, each once; and the anchors', negatives'
    and positives' places (3T,) among them."""
    size = dataset.n_attributes
    places = [i * size + t.attribute for i in (t.anchor, t.negative, t.positive)]
    return np.unique(np.concatenate(places), return_inverse=True)


def _triplets_right(
    dataset: PreparedDataset, split: str, embeddings: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Attribute (T,) of each listed triplet, and whether cos(a, p) > cos(a, n)."""
    t = listed_triplets(dataset, split)
    places = _triplet_pairs(dataset, t)[1]
    a, n, p = (embeddings[rows] for rows in np.split(places, 3))
    return t.attribute, (a * p).sum(1) > (a * n).sum(1)


def per_query_scores(
    dataset: PreparedDataset, split: str, embeddings: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Attribute index (Q,) and score (Q,) float64 of each query: its AP, or 0 and 1 of a triplet.

    Their plain mean is the headline number of the data set's protocol.

    Args:
        embeddings: unit embeddings (L, D) of `pairs_to_embed`.
    """
    if dataset.protocol == "triplets":
        attribute, right = _triplets_right(dataset, split, embeddings)
        return attribute, right.astype(float)
    scores = score_split(dataset, split, embeddings)
    attribute = np.concatenate([np.full(len(s.average_precision), s.attribute) for s in scores])
    return attribute, np.concatenate([s.average_precision for s in scores])


def random_scores(dataset: PreparedDataset, split: str) -> dict[str, float]:
    """What a random ranking scores in expectation, percent: by attribute, and ``mean``."""
    if dataset.protocol == "triplets":
        return dict.fromkeys([*dataset.attribute_names, "mean"], 50.0)
    every = [
        (t.attribute, expected_average_precision(np.asarray(len(t.candidate)), t.n_relevant))
        for t in retrieval_tasks(dataset, split)
    ]
    rows = {dataset.attributes[a].name: 100 * float(e.mean()) for a, e in every}
    return rows | {"mean": 100 * float(np.concatenate([e for _, e in every]).mean())}


# --------------------------------------------------------------------------- baselines


def colour_histograms(pixels: np.ndarray, bins: int = 4) -> np.ndarray:
    """Unit-length joint RGB histograms (B, bins**3) of uint8 images (B, 3, H, W)."""
    level = pixels.astype(np.int64) * bins // 256
    code = (level[:, 0] * bins + level[:, 1]) * bins + level[:, 2]
    out = np.stack([np.bincount(c.ravel(), minlength=bins**3) for c in code]).astype(np.float32)
    return out / np.linalg.norm(out, axis=1, keepdims=True)
