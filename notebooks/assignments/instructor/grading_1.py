"""Hidden tests of assignment 1. Each takes a student's function and fails with what is off.

A message says what is wrong and on what kind of input, never what the right answer is. What is
expected is computed in another way than in the solution: by loops over all triplets, and over all
orders of the tied items. Nothing depends on another question.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from grading_common import limited, near, number
from torch import Tensor

Values = list[set[str]]


# ------------------------------------------------------------------ 1: one triplet

ONE_EACH: Values = [{"short"}, {"long"}, {"midi"}, {"long"}, {"short"}, {"midi"}, {"short"}]
SEVERAL: Values = [{"red"}, {"red", "blue"}, {"blue"}, {"green"}, {"green", "red"}, {"green"}]
SOME_UNLABELLED: Values = [set(), {"a"}, set(), {"a"}, {"b"}, set(), {"b"}, set(), set()]


def _draws(
    draw: Callable, values: Values, n: int = 200, where: str = "drawing triplets"
) -> np.ndarray:
    rng = np.random.default_rng(0)
    with limited(where, 3):
        drawn = [draw([set(v) for v in values], rng) for _ in range(n)]
    assert all(isinstance(t, tuple | list | np.ndarray) and len(t) == 3 for t in drawn), (
        "a triplet is three image numbers"
    )
    return np.array(drawn, int)


def anchor_and_positive_differ(draw: Callable) -> None:
    """The positive is another image than the anchor."""
    t = _draws(draw, ONE_EACH)
    same = int((t[:, 0] == t[:, 1]).sum())
    assert not same, f"in {same} of {len(t)} triplets, anchor and positive are the same image"


def anchor_and_positive_share_a_value(draw: Callable) -> None:
    """They share a value."""
    for values in (ONE_EACH, SEVERAL):
        t = _draws(draw, values)
        wrong = sum(not values[a] & values[p] for a, p, _ in t)
        assert not wrong, f"in {wrong} of {len(t)} triplets, anchor and positive share no value"


def negative_shares_nothing(draw: Callable) -> None:
    """The negative shares no value with the anchor, also where an image has several."""
    t = _draws(draw, SEVERAL, 400)
    wrong = sum(bool(SEVERAL[a] & SEVERAL[n]) for a, _, n in t)
    assert not wrong, (
        f"in {wrong} of {len(t)} triplets of images with several values, the negative shares a "
        "value with the anchor"
    )


def unlabelled_images_are_not_drawn(draw: Callable) -> None:
    """Nobody knows whether an unlabelled image is alike."""
    t = _draws(draw, SOME_UNLABELLED)
    for column, name in enumerate(("anchor", "positive", "negative")):
        wrong = sum(not SOME_UNLABELLED[i] for i in t[:, column])
        assert not wrong, f"in {wrong} of {len(t)} triplets, the {name} is an unlabelled image"


def every_value_is_drawn_equally_often(draw: Callable) -> None:
    """A frequent value gives no more triplets than a rare one."""
    values: Values = [{"rare"}] * 2 + [{"common"}] * 40 + [{"some"}] * 6
    t = _draws(draw, values, 900)
    names = [next(iter(values[a])) for a in t[:, 0]]
    shares = {name: names.count(name) / len(names) for name in ("rare", "some", "common")}
    assert max(abs(share - 1 / 3) for share in shares.values()) < 0.1, (
        "with 2, 6 and 40 images of three values, the values of the anchors are not drawn equally "
        "often"
    )


def it_always_stops(draw: Callable) -> None:
    """Values of a single image are passed over, and ValueError says that there is no triplet."""
    lonely: Values = [{"a"}, {"b"}, {"b"}, {"c"}, {"d"}]
    t = _draws(draw, lonely, 100, "values that only one image has")
    assert all("b" in lonely[a] and "b" in lonely[p] for a, p, _ in t), (
        "a value that only one image has was used"
    )
    blocked: Values = [{"a", "b"}, {"a"}, {"b"}]
    t = _draws(draw, blocked, 100, "an image that shares a value with all the others")
    assert not (t[:, 0] == 0).any(), "an anchor was drawn for which there is no negative"
    rng = np.random.default_rng(0)
    for values, what in (
        ([{"a"}, {"b"}, {"c"}], "images without a partner"),
        ([{"a"}, {"a"}, set()], "images without a negative"),
        ([], "no image at all"),
    ):
        with limited(f"{what} (ValueError is asked for)", 3):
            try:
                draw(values, rng)
            except ValueError:
                continue
        raise AssertionError(f"{what}: ValueError is asked for")


# ------------------------------------------------------------------ 2: the loss over all triplets


def _loop_loss(similarity: np.ndarray, labels: np.ndarray, margin: float) -> tuple[float, int]:
    total, many = 0.0, 0
    n, attributes = labels.shape
    for k in range(attributes):
        for a, p, q in itertools.product(range(n), repeat=3):
            la, lp, lq = labels[a, k], labels[p, k], labels[q, k]
            if a != p and la >= 0 and lq >= 0 and la == lp and la != lq:
                total += max(0.0, margin - similarity[k, a, p] + similarity[k, a, q])
                many += 1
    return (total / many if many else 0.0), many


def _batch(seed: int, n: int, attributes: int, unlabelled: bool) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    e = rng.normal(size=(attributes, n, 6))
    e /= np.linalg.norm(e, axis=2, keepdims=True)
    labels = rng.integers(0, 3, (n, attributes))
    labels[:3] = np.array([0, 0, 1])[:, None]
    if unlabelled:
        labels[rng.random(labels.shape) < 0.4] = -1
        labels[:3] = np.array([0, 0, 1])[:, None]
    return torch.tensor(e @ e.transpose(0, 2, 1)), torch.tensor(labels)


def _loss_is(loss: Callable, similarity: Tensor, labels: Tensor, margin: float, where: str) -> None:
    with limited(where):
        got = loss(similarity.clone(), labels.clone(), margin)
    near(got, _loop_loss(similarity.numpy(), labels.numpy(), margin)[0], where)


def loss_of_one_attribute(loss: Callable) -> None:
    """All images labelled for one attribute; many triplets are inactive."""
    for seed, margin in ((0, 0.2), (1, 0.05), (2, 1.0)):
        similarity, labels = _batch(seed, 8, 1, unlabelled=False)
        _loss_is(loss, similarity, labels, margin, f"all labelled, one attribute, margin {margin}")


def loss_leaves_unlabelled_images_out(loss: Callable) -> None:
    """Some images are not labelled."""
    for seed in range(3):
        similarity, labels = _batch(10 + seed, 9, 1, unlabelled=True)
        _loss_is(loss, similarity, labels, 0.2, "some images not labelled, one attribute")


def loss_is_a_mean_over_all_triplets(loss: Callable) -> None:
    """Two attributes with unequal numbers of triplets: each triplet counts the same."""
    similarity, labels = _batch(20, 8, 2, unlabelled=False)
    labels[:, 1] = torch.tensor([0, 0, 1, 1, 1, 1, 1, 1])
    labels[:, 0] = torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    _loss_is(loss, similarity, labels, 0.3, "two attributes with unequal numbers of triplets")


def loss_without_triplets_is_zero(loss: Callable) -> None:
    """A batch without any triplet."""
    similarity, _ = _batch(30, 4, 1, unlabelled=False)
    for labels, where in (
        ([0, 1, 2, 3], "no two images alike"),
        ([0, 0, 0, 0], "all images alike"),
        ([-1, -1, -1, -1], "nothing labelled"),
    ):
        got = number(loss(similarity.clone(), torch.tensor(labels)[:, None], 0.2), where)
        assert got == 0, f"{where}: there is no triplet, and the loss is {got}"


def loss_can_be_trained_with(loss: Callable) -> None:
    """Its gradient is that of the mean, and a batch of 160 images takes seconds."""
    similarity, labels = _batch(40, 7, 2, unlabelled=False)
    similarity.requires_grad_()
    got = loss(similarity, labels, 0.3)
    assert isinstance(got, Tensor), "the loss is no tensor, so it has no gradient"
    assert got.requires_grad, "the loss has no gradient"
    (gradient,) = torch.autograd.grad(got, similarity)
    moved, step = similarity.detach().numpy(), 1e-4
    way = np.random.default_rng(0).normal(size=moved.shape)
    up, down = (_loop_loss(moved + s * step * way, labels.numpy(), 0.3)[0] for s in (1, -1))
    near((gradient.numpy() * way).sum(), (up - down) / (2 * step), "its gradient", 1e-3)
    similarity, labels = _batch(41, 160, 2, unlabelled=False)
    with limited("a batch of 160 images", 3):
        loss(similarity, labels, 0.2)


# ------------------------------------------------------------------ 3: MAP with ties


def _ap(order: tuple[int, ...], right: np.ndarray) -> float:
    found, total = 0, 0.0
    for rank, item in enumerate(order, 1):
        if right[item]:
            found += 1
            total += found / rank
    return 100 * total / found if found else 0.0


def _ap_of_all_orders(scores: np.ndarray, right: np.ndarray) -> float:
    groups = [np.flatnonzero(scores == s) for s in sorted(set(scores.tolist()), reverse=True)]
    orders = itertools.product(*(itertools.permutations(group) for group in groups))
    return float(np.mean([_ap(tuple(itertools.chain(*o)), right) for o in orders]))


def _map_is(map_: Callable, scores: np.ndarray, right: np.ndarray, where: str) -> None:
    with limited(where):
        got = map_(scores.copy(), right.copy())
    expected = np.mean([_ap_of_all_orders(s, r) for s, r in zip(scores, right, strict=True)])
    near(got, float(expected), where)


def map_without_ties(map_: Callable) -> None:
    """The plain MAP in percent; the gallery is short, and longer than any usual k."""
    rng = np.random.default_rng(0)
    for n in (4, 7):
        scores = rng.permuted(np.tile(np.arange(n) / n, (3, 1)), axis=1)
        right = rng.random((3, n)) < 0.5
        right[:, 0] = True
        _map_is(map_, scores, right, f"three queries, {n} candidates, no ties")
    scores = -np.arange(300.0)[None]
    right = (np.arange(300) % 7 == 5)[None]
    expected = _ap(tuple(range(300)), right[0])
    near(map_(scores, right), expected, "300 candidates without ties")


def map_with_ties(map_: Callable) -> None:
    """Equal scores, in groups of several sizes, in any order in memory."""
    rng = np.random.default_rng(1)
    for n in (3, 5, 6):
        for _ in range(4):
            scores = rng.integers(0, 3, (1, n)).astype(float)
            right = rng.random((1, n)) < 0.5
            right[0, rng.integers(n)] = True
            _map_is(map_, scores, right, f"{n} candidates, some with equal scores")


def map_does_not_depend_on_the_order_in_memory(map_: Callable) -> None:
    """The same items in another order have the same MAP."""
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 4, (5, 30)).astype(float)
    right = rng.random((5, 30)) < 0.3
    right[:, 3] = True
    first = number(map_(scores, right), "five queries with ties")
    for _ in range(3):
        order = rng.permutation(30)
        off = abs(float(map_(scores[:, order], right[:, order])) - first)
        assert off < 1e-6, f"the same items in another order: MAP changes by {off:.3g} points"


def map_counts_queries_without_right_items(map_: Callable) -> None:
    """A query for which nothing is right has an AP of 0 and is counted."""
    scores = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 1.0, 0.0]])
    right = np.array([[True, False, True], [False, False, False], [True, False, False]])
    _map_is(map_, scores, right, "three queries, for one of which nothing is right")


def map_is_fast(map_: Callable) -> None:
    """Ten queries among 2,000 candidates with many ties take seconds, not ages."""
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 20, (10, 2000)).astype(float)
    right = rng.random((10, 2000)) < 0.1
    with limited("ten queries among 2,000 candidates with ties", 3):
        got = number(map_(scores, right), "2,000 candidates with ties")
    drawn = [
        _ap(tuple(np.lexsort((rng.random(2000), -s))), r)
        for s, r in zip(scores, right, strict=True)
        for _ in range(10)
    ]
    assert abs(got - np.mean(drawn)) < 1, "2,000 candidates with ties: off by more than a point"


# ------------------------------------------------------------------ 4: what chance gives


def chance_of_one_query(chance: Callable) -> None:
    """Compared with all orders of up to six candidates."""
    for n, r in ((2, 1), (4, 2), (6, 1), (6, 5)):
        right = np.arange(n) < r
        expected = _ap_of_all_orders(np.zeros(n), right)
        near(chance(np.array([r]), n), expected, f"one query, {r} of {n} candidates right")


def chance_of_many_queries(chance: Callable) -> None:
    """The mean over queries with different numbers of right candidates."""
    counts = np.array([1, 4, 2, 5, 1])
    expected = np.mean([_ap_of_all_orders(np.zeros(5), np.arange(5) < r) for r in counts])
    near(chance(counts.copy(), 5), float(expected), "five queries among five candidates")
    near(chance(np.tile(counts, 20_000), 5), float(expected), "a hundred thousand queries")


def chance_at_the_edges(chance: Callable) -> None:
    """A single candidate; everything right; nothing right."""
    for counts, n, expected, where in (
        ([1], 1, 100.0, "a single candidate, which is right"),
        ([0], 1, 0.0, "a single candidate, which is wrong"),
        ([3, 3], 3, 100.0, "all candidates right"),
        ([0, 3], 3, 50.0, "nothing right for one of two queries"),
    ):
        with np.errstate(all="ignore"):
            near(chance(np.array(counts), n), expected, where)


# ------------------------------------------------------------------ 5: an interval over garments


def _garments(seed: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """AP of queries that are alike within a garment; garments have 1 to 8 queries."""
    rng = np.random.default_rng(seed)
    garment = np.repeat(np.arange(40), rng.integers(1, 9, 40))
    ap = 50 + spread * rng.normal(size=40)[garment] + rng.normal(size=len(garment))
    order = rng.permutation(len(garment))
    return ap[order], garment[order]


def _interval(ap: np.ndarray, garment: np.ndarray, level: float = 95) -> tuple[float, float]:
    rng, names = np.random.default_rng(1), np.unique(garment)
    sums = np.array([ap[garment == g].sum() for g in names])
    many = np.array([(garment == g).sum() for g in names])
    drawn = rng.integers(0, len(names), (4000, len(names)))
    means = sums[drawn].sum(1) / many[drawn].sum(1)
    low, high = np.percentile(means, [50 - level / 2, 50 + level / 2])
    return float(low), float(high)


def _interval_is(interval: Callable, ap: np.ndarray, garment: np.ndarray, where: str) -> None:
    with limited(where):
        got = interval(ap.copy(), garment.copy(), np.random.default_rng(7))
    assert isinstance(got, tuple | list | np.ndarray), f"{where}: it returns no two ends"
    assert len(got) == 2, f"{where}: it returns {len(got)} numbers, not two ends"
    low, high = (number(end, where) for end in got)
    expected = _interval(ap, garment)
    width, right = high - low, expected[1] - expected[0]
    assert width > 0, f"{where}: the interval has no width, or its ends have changed places"
    ratio = width / right
    assert 0.9 < ratio < 1.1, f"{where}: the interval is {ratio:.2f} times as wide as it should be"
    off = (low + high - sum(expected)) / 2
    assert abs(off) < 0.1 * right, f"{where}: its middle is off by {off / right:.2f} of its width"


def interval_of_alike_queries(interval: Callable) -> None:
    """Queries of one garment have nearly the same AP."""
    _interval_is(interval, *_garments(0, 15), "queries of a garment are alike")


def interval_of_independent_queries(interval: Callable) -> None:
    """Where each garment is asked for once, garments and queries are the same."""
    ap = np.random.default_rng(3).normal(50, 10, 120)
    _interval_is(interval, ap, np.arange(120), "one query for each garment")


def interval_weighs_queries(interval: Callable) -> None:
    """The mean is over queries: a garment with many counts for more."""
    rng = np.random.default_rng(4)
    many = np.where(np.arange(60) < 12, 20, 1)
    garment = np.repeat(np.arange(60), many)
    ap = np.where(many[garment] > 1, 80.0, 40.0) + rng.normal(size=len(garment))
    _interval_is(interval, ap, garment, "a few garments with many queries each")


def interval_is_repeatable(interval: Callable) -> None:
    """The same generator gives the same interval, and another one nearly the same."""
    ap, garment = _garments(5, 10)
    first, again, other = (
        np.array(interval(ap, garment, np.random.default_rng(seed)), float) for seed in (0, 0, 1)
    )
    assert (first == again).all(), "the same generator gives another interval"
    assert (first != other).any(), "the generator is not used"
    assert np.abs(first - other).max() < 0.8, "it varies too much from one generator to another"
