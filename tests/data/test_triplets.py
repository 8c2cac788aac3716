from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import Labels, PreparedDataset
from agman_lib.data.triplets import LabelIndex, listed_triplets


def labels(rows: list[tuple[int, int, int]]) -> Labels:
    return Labels(*np.array(rows, np.int64).T)


def values_of(rows: list[tuple[int, int, int]], image: int, attribute: int) -> set[int]:
    return {v for i, a, v in rows if i == image and a == attribute}


ONE_VALUE = [(i, i % 3, (i // 3) % (2 + i % 3)) for i in range(90)]
SEVERAL = ONE_VALUE + [(i, i % 3, (i // 3 + 1) % (2 + i % 3)) for i in range(0, 90, 4) if i % 3]


@pytest.mark.parametrize("negatives", ["asen", "asen++"])
@pytest.mark.parametrize("rows", [ONE_VALUE, SEVERAL])
def test_every_triplet_is_one(rows, negatives):
    triplets = LabelIndex(labels(rows)).sample(4000, np.random.default_rng(0), negatives)
    for a, n, p, c in zip(
        triplets.anchor, triplets.negative, triplets.positive, triplets.attribute, strict=True
    ):
        assert a != p
        assert values_of(rows, a, c) & values_of(rows, p, c)
        assert values_of(rows, n, c)
        assert not values_of(rows, a, c) & values_of(rows, n, c)
    assert set(triplets.negative) == set(range(90))


def test_the_faithful_mode_may_take_a_negative_that_shares_a_value():
    index = LabelIndex(labels(SEVERAL))
    assert index.several_values
    t = index.sample(4000, np.random.default_rng(0), allow_shared=True)
    assert index.share(t.anchor, t.negative, t.attribute).any()
    t = index.sample(4000, np.random.default_rng(0))
    assert not index.share(t.anchor, t.negative, t.attribute).any()


def test_attribute_and_value_are_uniform_and_negatives_as_named():
    # Attribute 0: values of 50, 10 and 40 images; attribute 1: two values of 5.
    rows = [(i, 0, 0 if i < 50 else 1 if i < 60 else 2) for i in range(100)]
    rows += [(100 + i, 1, i % 2) for i in range(10)]
    index, n = LabelIndex(labels(rows)), 60_000
    value = {(i, a): v for i, a, v in rows}

    def shares(t, which: str) -> np.ndarray:
        of = t.attribute == 0
        anchors = np.array([value[i, 0] for i in t.anchor[of]])
        found = np.array([value[i, 0] for i in getattr(t, which)[of]])
        return np.bincount(found if which == "anchor" else found[anchors == 1], minlength=3)

    t = index.sample(n, np.random.default_rng(1), "asen")
    assert t.attribute.mean() == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(shares(t, "anchor") / (t.attribute == 0).sum(), 1 / 3, atol=0.01)
    by_image = shares(t, "negative")
    np.testing.assert_allclose(by_image / by_image.sum(), [50 / 90, 0, 40 / 90], atol=0.015)
    by_value = shares(index.sample(n, np.random.default_rng(1), "asen++"), "negative")
    np.testing.assert_allclose(by_value / by_value.sum(), [0.5, 0, 0.5], atol=0.015)


def test_values_that_cannot_give_anchors_are_skipped_and_named():
    rows = [(0, 0, 0), (1, 0, 1), (2, 0, 1), (3, 1, 0), (4, 1, 0), (5, 1, 0)]
    index = LabelIndex(labels(rows))
    assert index.usable.tolist() == [[0, 1]]
    # Value 0 of attribute 0 has one image; attribute 1 has no other value.
    assert index.skipped.tolist() == [[0, 0, 1], [1, 0, 3]]
    t = index.sample(50, np.random.default_rng(0))
    assert set(t.anchor) <= {1, 2}
    assert set(t.negative) == {0}


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 0, 0), (1, 0, 1)],
        [(0, 0, 0), (1, 0, 0)],
        # Two values, but every image has both: no negative shares nothing.
        [(i, 0, v) for i in range(3) for v in range(2)],
    ],
)
def test_impossible_labels_end_in_an_error_not_in_a_loop(rows):
    with pytest.raises(AgmanError, match="no triplets can be drawn"):
        LabelIndex(labels(rows)).sample(20, np.random.default_rng(0))


def test_an_anchor_without_any_negative_gives_way_to_others():
    # Image 0 has both values, so nothing is a negative for it; images 1 to 4 are ordinary.
    rows = [(0, 0, 0), (0, 0, 1), (1, 0, 0), (2, 0, 0), (3, 0, 1), (4, 0, 1)]
    t = LabelIndex(labels(rows)).sample(500, np.random.default_rng(0))
    assert len(t) == 500
    assert 0 not in set(t.anchor)
    assert set(t.anchor) == {1, 2, 3, 4}


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 2), st.integers(0, 3)),
        min_size=1,
        max_size=30,
        unique=True,
    ),
    negatives=st.sampled_from(["asen", "asen++"]),
)
def test_any_labels_give_triplets_or_an_error(rows, negatives):
    try:
        t = LabelIndex(labels(rows)).sample(40, np.random.default_rng(0), negatives)
    except AgmanError:
        return
    for a, n, p, c in zip(t.anchor, t.negative, t.positive, t.attribute, strict=True):
        assert a != p
        assert values_of(rows, a, c) & values_of(rows, p, c)
        assert not values_of(rows, a, c) & values_of(rows, n, c)


def test_batches_hold_values_times_images_and_know_their_pairs():
    index = LabelIndex(labels(SEVERAL))
    batch = index.draw_batch(3, 2, 3, np.random.default_rng(0))
    assert len(batch) == 3 * 2 * 3
    assert sorted(set(batch.attribute)) == [0, 1, 2]
    relation = index.relation(batch)
    for i in range(len(batch)):
        for j in range(len(batch)):
            one, other = (values_of(SEVERAL, batch.image[k], batch.attribute[k]) for k in (i, j))
            if batch.attribute[i] != batch.attribute[j] or batch.image[i] == batch.image[j]:
                assert relation[i, j] == 0
            else:
                assert relation[i, j] == (1 if one & other else -1)


def test_listed_triplets(squares: PreparedDataset):
    from dataclasses import replace

    with pytest.raises(AgmanError, match="lists no triplet of split 'train'"):
        listed_triplets(squares, "train")
    table = pd.DataFrame(
        [("i3", "i1", "i2", "side", "train"), ("i9", "i8", "i7", "colour", "valid")],
        columns=["anchor", "negative", "positive", "attribute", "split"],
    )
    t = listed_triplets(replace(squares, triplets=table), "train")
    assert (t.anchor, t.negative, t.positive, t.attribute) == (3, 1, 2, 1)


def test_anchor_and_positive_are_any_two_images_of_the_value():
    index = LabelIndex(labels([(i, 0, 0) for i in range(4)] + [(4, 0, 1)]))
    t = index.sample(24_000, np.random.default_rng(0))
    pairs = np.zeros((4, 4))
    np.add.at(pairs, (t.anchor, t.positive), 1)
    np.testing.assert_allclose(pairs / len(t), (1 - np.eye(4)) / 12, atol=0.01)


def test_batches_draw_attributes_values_and_images_uniformly_and_none_twice():
    # 3 attributes with 4 values of 5 images each: image = value's number * 5 + place.
    rows = [(5 * v + i, v // 4, v % 4) for v in range(12) for i in range(5)]
    index, rng, n = LabelIndex(labels(rows)), np.random.default_rng(0), 3000
    batches = [index.draw_batch(2, 3, 2, rng) for _ in range(n)]
    for batch in batches[:100]:
        assert len(set(batch.image)) == 2 * 3 * 2
        assert len(set(zip(batch.attribute, batch.value, strict=True))) == 2 * 3
    images = np.bincount(np.concatenate([b.image for b in batches]), minlength=60)
    np.testing.assert_allclose(images / n, 2 / 3 * 3 / 4 * 2 / 5, atol=0.04)


def test_no_batch_can_be_drawn_where_no_value_has_two_images():
    alone = LabelIndex(labels([(0, 0, 0), (1, 0, 1), (2, 1, 0)]))
    with pytest.raises(AgmanError, match="no triplets can be drawn: an attribute needs a value"):
        alone.draw_batch(2, 2, 2, np.random.default_rng(0))


def test_labels_are_drawn_by_attribute_and_then_by_image():
    """Attribute 0 has 30 labels of value 0 and 10 of value 1, 1 has 4 labels, 2 has one value."""
    rows = [(i, 0, int(i >= 30)) for i in range(40)] + [(i, 1, i % 2) for i in range(40, 44)]
    rows += [(i, 2, 0) for i in range(50, 60)]
    drawn = LabelIndex(labels(rows)).draw_labels(8000, np.random.default_rng(0))
    table = np.column_stack([drawn.image, drawn.attribute, drawn.value])
    assert {tuple(row) for row in table.tolist()} == set(rows[:44])
    assert np.mean(drawn.attribute) == pytest.approx(0.5, abs=0.03)
    of_0 = drawn.where(drawn.attribute == 0)
    assert np.mean(of_0.value) == pytest.approx(0.25, abs=0.03)
    counts = np.bincount(drawn.image, minlength=44)[40:44]
    assert counts == pytest.approx(np.full(4, 1000), abs=120)
