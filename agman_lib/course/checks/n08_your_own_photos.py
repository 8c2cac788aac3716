"""Notebook 08: search by attribute, vote for a name, abstain, carry weights to new attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agman_lib.course.answers import compared

WORDS = ("short", "midi", "long", "maxi")


def nearest(embeddings: np.ndarray, query: int, a: int, k: int) -> np.ndarray:
    """The k rows of a gallery (N, A, D) nearest to one of its rows under attribute number a."""
    cosine = embeddings[:, a] @ embeddings[query, a]
    order = np.argsort(-cosine, kind="stable")
    return order[order != query][:k]


def vote(values: Sequence[str], k: int) -> dict[str, float]:
    """Value -> share of the votes of the k nearest whose value is known; values: nearest first."""
    voters = [value for value in values if value][:k]
    return {value: voters.count(value) / len(voters) for value in dict.fromkeys(voters)}


def answered(share: np.ndarray, right: np.ndarray, t: float) -> tuple[float, float]:
    """Percent answered where the share (N,) is at least t, and percent right (N,) among those."""
    given = share >= t
    return 100 * float(given.mean()), 100 * float(right[given].mean()) if given.any() else np.nan


def carry(old: Tensor, old_names: list[str], new: Tensor, new_names: list[str]) -> Tensor:
    """A copy of the rows new (B, D) with those of old (A, D) wherever a name is in both."""
    rows = [old[old_names.index(n)] if n in old_names else new[i] for i, n in enumerate(new_names)]
    return torch.stack(rows)


def _galleries(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Galleries of unit vectors; in two a photo before or after the query is a copy of it.

    In these two the cosines are exact, because the query has a single 1, and most are negative.
    """
    cases = []
    for n, a, query, copy in ((8, 2, 4, 1), (8, 3, 2, 6), (12, 3, 0, None), (30, 4, 7, None)):
        e = rng.normal(size=(n, a, 8))
        e /= np.linalg.norm(e, axis=2, keepdims=True)
        if copy is not None:
            cosine = rng.permutation(np.append(rng.uniform(-0.9, -0.1, n - 2), [0.3, 0.5]))
            cosine[[query, copy]] = 1
            e[:, -1] = 0
            e[:, -1, 0], e[:, -1, 1] = cosine, np.sqrt(1 - cosine**2)
        cases.append((e, query, a - 1, 5))
    return cases


def _ranked(first: int = 0, of_query: float | None = None, turned: bool = False) -> Any:
    """k rows by cosine from the first on; the query's cosine replaced; turned: sorted upwards."""

    def answer(e: np.ndarray, query: int, a: int, k: int) -> np.ndarray:
        cosine = e[:, a] @ e[query, a]
        if of_query is not None:
            cosine[query] = of_query
        order = np.argsort(cosine)[::-1] if turned else np.argsort(-cosine)
        return order[first : first + k]

    return answer


def _rankings(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Names of values, nearest first, many unknown, and in the last fewer known ones than k."""
    cases: list[tuple[Any, ...]] = [(["", "short", "", "long", "short", "midi"], 3)]
    for n in (20, 40):
        known = rng.random(n) < 0.6
        known[:3] = [True, False, True]
        values = [str(w) if k else "" for w, k in zip(rng.choice(WORDS, n), known, strict=True)]
        cases.append((values, 7))
    cases.append((["", str(rng.choice(WORDS)), "", "midi", "maxi"], 9))
    return cases


def _guesses(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Shares of nine votes, with some equal to t; in the last none reaches it."""
    cases = []
    for n in (8, 50):
        share = rng.integers(3, 10, n) / 9
        share[:3] = 6 / 9, 1 / 3, 1.0
        right = rng.random(n) < share
        right[:3] = False, True, True
        cases.append((share, right, 6 / 9))
    cases.append((np.array([0.4, 0.5]), np.array([True, False]), 0.9))
    return cases


def _of_all(if_none: float) -> Any:
    def answer(share: np.ndarray, right: np.ndarray, t: float) -> tuple[float, float]:
        given = share >= t
        return 100 * given.mean(), 100 * (right & given).mean() if given.any() else if_none

    return answer


def _attributes(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Rows of attributes, of which some have names in both, at other places of both."""
    cases = []
    for old, new in (
        (["sleeve", "neckline", "closure", "pattern"], ["kind", "pattern", "sleeve"]),
        (["a", "b", "f"], ["b", "c", "a", "d", "e"]),
    ):
        rows = [torch.tensor(rng.normal(size=(len(n), 5)), dtype=torch.float32) for n in (old, new)]
        cases.append((rows[0], old, rows[1], new))
    return cases


def _by_number(old: Tensor, old_names: list[str], new: Tensor, new_names: list[str]) -> Tensor:
    both = min(len(old), len(new))
    return torch.cat([old[:both], new[both:]])


def _filled_with(what: Any) -> Any:
    def answer(old: Tensor, old_names: list[str], new: Tensor, new_names: list[str]) -> Tensor:
        rows = [old[old_names.index(n)] if n in old_names else what(old) for n in new_names]
        return torch.stack(rows)

    return answer


CHECKS = {
    "nearest by attribute": compared(
        nearest,
        _galleries,
        {
            "the query finds itself: leave it out": _ranked(),
            "the query finds itself, and it should not": _ranked(turned=True),
            "it drops what comes first, and that may be a copy of the query": _ranked(first=1),
            "it drops what comes first, and of two equal ones either may": (
                _ranked(first=1, turned=True)
            ),
            "a cosine may be negative, so the query can still be among the k": _ranked(of_query=0),
            "these are row numbers of a gallery without the query": (
                lambda e, q, a, k: (rows := nearest(e, q, a, k)) - (rows > q)
            ),
            "it leaves out the copies of the query, too; they are photos like any other": (
                lambda e, q, a, k: np.array(
                    [row for row in nearest(e, q, a, len(e)) if e[row, a] @ e[q, a] < 0.999][:k]
                )
            ),
            "it compares under another attribute than the one asked for": (
                lambda e, q, a, k: nearest(e, q, 0, k)
            ),
            "the least similar come first": lambda e, q, a, k: nearest(e, q, a, len(e))[::-1][:k],
            "it returns cosines, and row numbers are asked for": (
                lambda e, q, a, k: (e[:, a] @ e[q, a])[nearest(e, q, a, k)]
            ),
        },
        tolerance=0,
    ),
    "vote": compared(
        vote,
        _rankings,
        {
            "it takes the k nearest, and only then leaves out those without a name": (
                lambda v, k: vote([x for x in v[:k] if x], k)
            ),
            "those without a name vote as well": lambda v, k: vote([x or "none" for x in v], k),
            "these are votes; a share is a part of all votes": (
                lambda v, k: {x: [y for y in v if y][:k].count(x) for x in vote(v, k)}
            ),
            "where fewer than k are labelled, the shares do not sum to one": (
                lambda v, k: {x: [y for y in v if y][:k].count(x) / k for x in vote(v, k)}
            ),
            "all that are labelled vote, and only the k nearest of them should": (
                lambda v, k: vote(v, len(v))
            ),
        },
    ),
    "abstain": compared(
        answered,
        _guesses,
        {
            "a share of exactly t is an answer, too": lambda s, r, t: answered(s, r, t + 1e-9),
            "the second number is the right ones among all, not among those answered": (
                _of_all(if_none=0)
            ),
            "where there are answers, the second number is the right ones among all": (
                _of_all(if_none=np.nan)
            ),
            "these are shares, and percent are asked for": (
                lambda s, r, t: (answered(s, r, t)[0] / 100, answered(s, r, t)[1] / 100)
            ),
            "it answers where the neighbours disagree": (
                lambda s, r, t: (100 * (s < t).mean(), 100 * r[s < t].mean())
            ),
            "the two numbers have changed places": lambda s, r, t: answered(s, r, t)[::-1],
        },
    ),
    "rows by name": compared(
        carry,
        _attributes,
        {
            "it copies by number: row 0 of one network is another attribute than row 0 of the "
            "other": _by_number,
            "an attribute that the old network does not know keeps its own row; here it is zero": (
                _filled_with(lambda old: torch.zeros_like(old[0]))
            ),
            "an attribute that the old network does not know keeps its own row; here it has "
            "a mean": (_filled_with(lambda old: old.mean(0))),
            "an attribute's number in the new network is not its number in the old one": (
                lambda old, old_names, new, new_names: torch.stack(
                    [old[i] if n in old_names else new[i] for i, n in enumerate(new_names)]
                )
            ),
            "nothing is copied": lambda old, old_names, new, new_names: new,
            "the rows of the new network go to the old one: it is the other way round": (
                lambda old, old_names, new, new_names: carry(new, new_names, old, old_names)
            ),
        },
        tolerance=0,
    ),
}
