from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import shared
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from agman_lib.base.errors import AgmanError
from agman_lib.benchmark.straightforward import published_average_precision
from agman_lib.data.dataset import PreparedDataset
from agman_lib.evaluation import protocol as evaluate
from agman_lib.evaluation import ranking
from agman_lib.evaluation.protocol import (
    colour_histograms,
    pairs_to_embed,
    random_scores,
    retrieval_table,
    retrieval_tasks,
    score_split,
)
from agman_lib.evaluation.ranking import average_precision, expected_average_precision, recall_at_k
from agman_lib.evaluation.statistics import bootstrap_means


def naive_average_precision(similarity, relevant) -> float:
    """As published, one candidate after the other; of equal similarities the lower index first."""
    rows, one = np.asarray(similarity)[None], np.ones(1)
    return published_average_precision(rows, one, np.asarray(relevant), kind="stable")[0]


def naive(similarity, relevant) -> np.ndarray:
    return np.array([naive_average_precision(*r) for r in zip(similarity, relevant, strict=True)])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_equals_the_naive_loop_on_data_without_ties(dtype):
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 150):
        similarity = rng.permuted(np.linspace(-1, 1, 40 * n).reshape(40, n), axis=1).astype(dtype)
        relevant = rng.random((40, n)) < 0.3
        relevant[:3] = False
        assert len(np.unique(similarity[5])) == n
        found = average_precision(similarity, relevant)
        np.testing.assert_allclose(found, naive(similarity, relevant), atol=1e-9, rtol=0)
        assert (found[:3] == 0).all()


def test_equals_scikit_learn_where_they_agree():
    rng = np.random.default_rng(1)
    similarity = rng.uniform(-1, 1, (50, 80))
    relevant = rng.random((50, 80)) < 0.2
    relevant[:, 0] = True
    expected = [average_precision_score(r, s) for r, s in zip(relevant, similarity, strict=True)]
    np.testing.assert_allclose(average_precision(similarity, relevant), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@given(data=st.data())
def test_ties_put_the_lower_index_first(dtype, data):
    n = data.draw(st.integers(1, 12))
    values = st.sampled_from([-1.0, -0.5, -0.0, 0.0, 0.5, 1.0])
    similarity = np.array([data.draw(st.lists(values, min_size=n, max_size=n))], dtype)
    relevant = np.array([data.draw(st.lists(st.booleans(), min_size=n, max_size=n))])
    found = average_precision(similarity, relevant)
    np.testing.assert_allclose(found, naive(similarity, relevant), atol=1e-12, rtol=0)


def test_all_negative_similarities_count_as_any_other():
    relevant = np.array([[False, True, True, False]])
    similarity = np.array([[-0.9, -0.1, -0.8, -0.2]])
    expected = (1 / 1 + 2 / 3) / 2
    assert average_precision(similarity, relevant)[0] == pytest.approx(expected, abs=1e-12)
    assert average_precision(similarity + 2, relevant)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_similarities_that_differ_by_very_little_are_no_ties(dtype):
    similarity = np.array([[1e-30, 2e-30, -2e-30, -1e-30]], dtype)
    for best, relevant in zip((2, 1, 4, 3), np.eye(4, dtype=bool), strict=True):
        assert average_precision(similarity, relevant[None]) == pytest.approx(1 / best)


def test_chunks_do_not_change_anything(monkeypatch):
    rng = np.random.default_rng(2)
    similarity = rng.standard_normal((31, 17)).astype(np.float32)
    relevant = rng.random((31, 17)) < 0.2
    whole = average_precision(similarity, relevant), recall_at_k(similarity, relevant, 3)
    monkeypatch.setattr(ranking, "CHUNK", 40)
    assert np.array_equal(average_precision(similarity, relevant), whole[0])
    assert np.array_equal(recall_at_k(similarity, relevant, 3), whole[1])


def test_recall_at_k_is_whether_one_of_the_first_k_is_right():
    similarity = np.array([[0.9, 0.8, 0.7], [0.9, 0.8, 0.7], [0.1, 0.2, 0.3]])
    relevant = np.array([[True, False, False], [False, False, True], [False, False, False]])
    assert recall_at_k(similarity, relevant, 1).tolist() == [True, False, False]
    assert recall_at_k(similarity, relevant, 3).tolist() == [True, True, False]


def test_nan_and_wrong_shapes_are_refused():
    with pytest.raises(AgmanError, match="NaN"):
        average_precision(np.array([[np.nan, 1.0]]), np.array([[True, False]]))
    with pytest.raises(AgmanError, match=r"must both be \(Q, N\)"):
        average_precision(np.zeros((2, 3)), np.zeros((3, 2), bool))


def test_expected_random_precision_is_the_mean_over_all_rankings():
    from itertools import permutations

    for n in range(1, 7):
        for r in range(n + 1):
            relevant = [i < r for i in range(n)]
            every = [
                naive_average_precision([-i for i in range(n)], [relevant[i] for i in p])
                for p in permutations(range(n))
            ]
            expected = expected_average_precision(np.array(n), np.array(r))
            assert float(expected) == pytest.approx(np.mean(every), abs=1e-12), (n, r)


def read_asen(name: str) -> pd.DataFrame:
    file = shared(f"data/asen-splits/FashionAI/{name}")
    return pd.read_csv(file, sep=r"\s+", header=None, names=["image", "attribute", "value"])


@pytest.mark.slow
def test_random_row_of_the_real_fashionai_split_is_the_mean_of_200_shuffles():
    query, candidate = read_asen("query_valid.txt"), read_asen("candidate_valid.txt")
    assert (len(query), len(candidate)) == (3600, 14400)
    rng = np.random.default_rng(0)
    expected, shuffled = [], np.zeros((200, len(query)))
    start = 0
    for attribute in range(8):
        q = query.value[query.attribute == attribute].to_numpy()
        c = candidate.value[candidate.attribute == attribute].to_numpy()
        values, row = np.unique(q, return_inverse=True)
        relevant = values[:, None] == c
        expected.append(expected_average_precision(np.array(len(c)), relevant.sum(1))[row])
        for k in range(200):
            # All queries of a value share a ranking: the expectation of each is the same.
            similarity = rng.random(relevant.shape, dtype=np.float32)
            shuffled[k, start : start + len(q)] = average_precision(similarity, relevant)[row]
        start += len(q)
    closed = 100 * np.concatenate(expected).mean()
    runs = 100 * shuffled.mean(1)
    standard_error = runs.std(ddof=1) / np.sqrt(len(runs))
    assert closed == pytest.approx(runs.mean(), abs=4 * standard_error)
    assert standard_error < 0.02


def test_memory_does_not_grow_with_the_number_of_candidates():
    rng = np.random.default_rng(0)
    peaks = []
    for n in (20_000, 80_000):
        query = rng.standard_normal((400, 8)).astype(np.float32)
        candidate = rng.standard_normal((n, 8)).astype(np.float32)
        one_hot = np.eye(4, dtype=bool)
        task = evaluate.Task(
            0,
            np.arange(400),
            np.arange(n),
            one_hot[rng.integers(4, size=400)],
            one_hot[rng.integers(4, size=n)],
        )
        tracemalloc.start()
        evaluate.score_task(task, query, candidate)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A similarity matrix of 400 x 80,000 alone would be four times that of 400 x 20,000.
    assert peaks[1] < 1.3 * peaks[0]
    assert peaks[1] < 400e6


def perfect_embeddings(dataset: PreparedDataset) -> np.ndarray:
    """Each (image, attribute) pair of the test split as its true value."""
    known = dataset.split_labels("test")
    value = dict(zip(zip(known.image, known.attribute, strict=True), known.value, strict=True))
    pairs = zip(*pairs_to_embed(dataset, "test"), strict=True)
    return np.eye(10, dtype=np.float32)[[value[pair] for pair in pairs]]


def test_the_protocol_on_a_perfect_and_on_a_blind_network(squares):
    table = retrieval_table(squares, score_split(squares, "test", perfect_embeddings(squares)))
    assert list(table.index) == ["colour", "side", "mean"]
    assert (table[["MAP", "low", "high", "recall@1"]] == 100).all(axis=None)
    rng, n_pairs = np.random.default_rng(0), len(pairs_to_embed(squares, "test")[0])
    blind = [
        retrieval_table(
            squares,
            score_split(squares, "test", rng.standard_normal((n_pairs, 16))),
            n_bootstrap=10,
        )
        for _ in range(300)
    ]
    mean = np.mean([t["MAP"].to_numpy() for t in blind], axis=0)
    np.testing.assert_allclose(mean, table["random"], atol=2.0)
    assert random_scores(squares, "test") == pytest.approx(table["random"].to_dict())


def test_the_mean_row_is_weighted_by_queries(squares):
    scores = [
        evaluate.QueryScores(0, np.array([1.0, 0.5, 0.0]), np.full(3, 0.2), np.ones((3, 2), bool)),
        evaluate.QueryScores(1, np.array([0.1]), np.array([0.4]), np.zeros((1, 2), bool)),
    ]
    table = retrieval_table(squares, scores)
    assert table.loc["mean", "MAP"] == pytest.approx(40)
    assert table.loc["mean", "random"] == pytest.approx(25)
    assert table.loc["mean", "recall@1"] == pytest.approx(75)
    assert table.loc["mean", "queries"] == 4
    assert table.loc["side", "low"] == table.loc["side", "high"] == pytest.approx(10)


def test_an_interval_holds_the_middle_95_percent_of_the_resampled_means(squares):
    scores = evaluate.QueryScores(0, np.arange(40) / 40, np.zeros(40), np.zeros((40, 2), bool))
    table = retrieval_table(squares, [scores], n_bootstrap=4000)
    draws = np.random.default_rng(7).choice(np.arange(40) / 40, (20_000, 40)).mean(1)
    for column, share in (("low", 0.025), ("high", 0.975)):
        # A share of 4,000 draws is known to 0.25 %; one percent further off would be seen.
        outside = (draws < table.loc["colour", column] / 100).mean()
        assert outside == pytest.approx(share, abs=0.0075), column


def test_the_interval_of_the_mean_is_weighted_by_queries_too(squares):
    # 90 queries that all score 0.8, and 10 that score 0 or 1: the mean can vary by a tenth only.
    certain, varied = np.full(90, 0.8), np.tile([0.0, 1.0], 5)
    scores = [
        evaluate.QueryScores(a, ap, np.full(len(ap), 0.2), np.ones((len(ap), 2), bool))
        for a, ap in enumerate((certain, varied))
    ]
    table = retrieval_table(squares, scores)
    interval = table[["low", "high"]]
    assert tuple(interval.loc["side"]) != (50, 50)
    np.testing.assert_allclose(interval.loc["mean"], 0.9 * 80 + 0.1 * interval.loc["side"])


def test_bootstrap_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        sample = rng.beta(0.5, 0.5, size=80)  # mean 0.5, spread out as AP is
        low, high = np.percentile(bootstrap_means(sample, 400, rng), [2.5, 97.5])
        covered += low <= 0.5 <= high
    assert 0.91 < covered / 400 < 0.985


def test_tasks_pair_the_evaluated_labels_of_the_split(squares):
    tasks = retrieval_tasks(squares, "valid")
    assert [t.attribute for t in tasks] == [0, 1]
    for task in tasks:
        roles = squares.images["role"].to_numpy()
        assert set(roles[task.query]) == {"query"}
        assert set(roles[task.candidate]) == {"candidate"}
        counted = [task.relevant(slice(i, i + 1)).sum() for i in range(len(task.query))]
        assert task.n_relevant.tolist() == counted


def test_relevance_with_several_values_is_whether_the_sets_meet():
    query = np.array([[True, True, False], [False, False, True]])
    candidate = np.array([[False, True, False], [False, False, True], [True, False, True]])
    task = evaluate.Task(0, np.arange(2), np.arange(3), query, candidate)
    assert task.relevant(slice(None)).tolist() == [[True, False, True], [False, True, True]]
    assert task.n_relevant.tolist() == [2, 2]
    two, one = np.array([[True, True, False], [False, True, True]]), np.eye(3, dtype=bool)
    assert evaluate.Task(0, np.arange(2), np.arange(2), two, two).n_relevant.tolist() == [2, 2]
    assert evaluate.Task(0, np.arange(2), np.arange(3), two, one).n_relevant.tolist() == [2, 2]


def test_relevance_by_all_values_of_an_image(squares):
    from dataclasses import replace as changed

    more = squares.labels.copy()
    query = squares.images.query("split == 'test' and role == 'query'")["image"].iloc[0]
    first = more.index[more["image"].eq(query)][0]
    extra = more.loc[[first]].assign(value="blue", evaluated=False)
    assert more.loc[first, "attribute"] == "colour"
    assert more.loc[first, "value"] != "blue"
    # A colour of an image that is labelled for its side says nothing of its side.
    sided = more[more["attribute"].eq("side") & more["evaluated"].eq(1)].iloc[[-1]]
    other = "green" if sided["value"].item() == "left" else "red"  # the place of the other side
    coloured = sided.assign(attribute="colour", value=other, evaluated=False)
    several = changed(squares, labels=pd.concat([more, extra, coloured], ignore_index=True))
    sides = [retrieval_tasks(several, "test", how)[1] for how in ("evaluated", "all")]
    assert (sides[0].candidate_values == sides[1].candidate_values).all()
    one = retrieval_tasks(several, "test")[0]
    every = retrieval_tasks(several, "test", "all")[0]
    row = list(one.query).index(squares.image_index(query))
    assert one.query_values[row].sum() == 1
    assert every.query_values[row].sum() == 2
    assert every.query_values[row, 2]
    assert every.n_relevant[row] > one.n_relevant[row]
    others = np.arange(len(one.query)) != row
    assert (every.query_values[others] == one.query_values[others]).all()
    assert (every.candidate_values == one.candidate_values).all()


def test_colour_histograms():
    red = np.zeros((1, 3, 4, 4), np.uint8)
    red[:, 0] = 255
    half = red.copy()
    half[:, :, :, 2:] = 0
    histograms = colour_histograms(np.concatenate([red, half]))
    assert histograms.shape == (2, 64)
    np.testing.assert_allclose(np.linalg.norm(histograms, axis=1), 1, rtol=1e-6)
    assert histograms[0, 48] == 1
    assert histograms[1, 48] == pytest.approx(histograms[1, 0]) == pytest.approx(0.5**0.5)
    shades = np.array([63, 64, 127, 128, 191, 192], np.uint8)  # where the four levels begin
    pure = np.full((3, 3, 2, 2), 0, np.uint8)
    pure[range(3), range(3)] = 100  # level 1 in red, green and blue
    assert colour_histograms(pure).argmax(1).tolist() == [16, 4, 1]
    grey = np.broadcast_to(shades[:, None, None, None], (6, 3, 2, 2))
    assert colour_histograms(grey).argmax(1).tolist() == [0, 21, 21, 42, 42, 63]


def test_an_attribute_without_candidates_is_no_task(squares):
    """Its queries would otherwise score 0 and weigh down the mean."""
    roles = squares.images.set_index("image")["role"]
    of = squares.labels["image"].map(roles)
    for role in ("candidate", "query"):
        some = squares.labels[~(squares.labels["attribute"].eq("side") & of.eq(role))]
        tasks = retrieval_tasks(replace(squares, labels=some.reset_index(drop=True)), "test")
        assert [squares.attributes[t.attribute].name for t in tasks] == ["colour"]


def test_recall_is_at_1_and_5_unless_asked_otherwise(squares, monkeypatch):
    """Query q's only relevant candidate is ranked at place q + 1."""
    each, order = np.eye(9, dtype=bool), np.arange(9, 0, -1.0)[:, None]
    task = evaluate.Task(0, np.arange(9), np.arange(9), each, each)
    recall = evaluate.score_task(task, np.ones((9, 1)), order).recall
    assert recall.tolist() == [[q < 1, q < 5] for q in range(9)]
    asked, real = [], evaluate.score_task
    monkeypatch.setattr(evaluate, "score_task", lambda *a: asked.append(a[3]) or real(*a))
    score_split(squares, "test", perfect_embeddings(squares))
    assert set(asked) == {(1, 5)}
