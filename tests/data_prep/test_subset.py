"""Fewer labels, and values that training never sees: what is left out where, and what is scored."""

from __future__ import annotations

import numpy as np
import pytest

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from agman_lib.evaluation.protocol import retrieval_tasks
from data_prep.subset import prepare


def values_of(dataset: PreparedDataset, split: str, role: str) -> set[tuple[int, int]]:
    labels = dataset.split_labels(split, role, evaluated=split != "train")
    return set(zip(labels.attribute.tolist(), labels.value.tolist(), strict=True))


def test_each_value_keeps_its_share_of_the_labels_and_the_test_is_untouched(garments_set, tmp_path):
    report = prepare(garments_set.folder, tmp_path / "few", label_share=0.1)
    few = PreparedDataset.load(tmp_path / "few")
    assert few.images.equals(garments_set.images)
    before, after = garments_set.split_labels("train"), few.split_labels("train")
    assert report == {
        "training labels": len(after), "values held out": 0,
        "test queries": len(few.split_labels("test", "query", evaluated=True)),
    }  # fmt: skip
    rows = set(zip(before.image, before.attribute, before.value, strict=True))
    assert rows >= set(zip(after.image, after.attribute, after.value, strict=True))
    for a, v in values_of(garments_set, "train", "train"):
        of = [int(((x.attribute == a) & (x.value == v)).sum()) for x in (before, after)]
        assert of[1] == min(of[0], max(2, round(0.1 * of[0]))), (a, v)
    for split in ("valid", "test"):
        for role in ("query", "candidate"):
            old, new = (d.split_labels(split, role) for d in (garments_set, few))
            assert np.array_equal(old.image, new.image)
            assert np.array_equal(old.value, new.value)
    assert few.paths == garments_set.paths


def test_what_is_held_out_is_not_seen_and_alone_is_scored(garments_set, tmp_path):
    prepare(garments_set.folder, tmp_path / "unseen", held_out=0.4, seed=3)
    unseen = PreparedDataset.load(tmp_path / "unseen")
    everything = values_of(garments_set, "train", "train")
    seen = values_of(unseen, "train", "train")
    hidden = everything - seen
    for a in range(garments_set.n_attributes):
        n = sum(x == a for x, _ in everything)
        assert sum(x == a for x, _ in hidden) == min(max(1, round(0.4 * n)), max(0, n - 2))
    assert values_of(unseen, "test", "query") == values_of(garments_set, "test", "query") & hidden
    assert values_of(unseen, "test", "candidate") == values_of(garments_set, "test", "candidate")
    for role in ("query", "candidate"):
        assert values_of(unseen, "valid", role) == values_of(garments_set, "valid", role) & seen
    before = garments_set.split_labels("train")
    kept = [(a, v) in seen for a, v in zip(before.attribute, before.value, strict=True)]
    assert len(unseen.split_labels("train")) == sum(kept)
    for task in retrieval_tasks(unseen, "test"):
        assert (task.n_relevant > 0).all()
    prepare(garments_set.folder, tmp_path / "other", held_out=0.4, seed=4)
    assert values_of(PreparedDataset.load(tmp_path / "other"), "train", "train") != seen


@pytest.mark.parametrize("shares", [{"label_share": 0.0}, {"label_share": 1.5}, {"held_out": 1.0}])
def test_a_share_that_is_none_is_refused(garments_set, tmp_path, shares):
    with pytest.raises(AgmanError, match="label share"):
        prepare(garments_set.folder, tmp_path / "out", **shares)
    assert not (tmp_path / "out").exists()
