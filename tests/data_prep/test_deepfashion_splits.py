"""DeepFashion with ASEN's split files: roles, evaluated labels, and files that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from deepfashion_miniature import (
    OF_ID,
    add_splits,
    clean,
    labels_of,
    make_raw,
    path,
    roles_of,
    run,
)

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from data_prep.deepfashion.convert import summary

# image: [ids] -> published (attribute, value): type - 1, rank
PUBLISHED_LABELS = [("a", [0, 6]), ("b", [2, 4]), ("c", [2, 4, 7]), ("d", [6, 8]), ("e", [4])]
VALID = {
    "filenames_valid": "\n".join(path(n) for n in "abcda"),
    "query_valid": "0 0 1\n1 2 1",  # a: dotted, b: a-line
    "candidate_valid": "2 2 0\n3 0 1\n",  # c: maxi, d: dotted
    "label_valid": "0\t1\t0\t1\t6\t\t\n1\t3\t2\t3\t4\n2\t3\t2\t3\t4\t5\t7\n3\t1\t6\t3\t8\n"
    "4\t1\t6\n",
}


def make_published(tmp_path: Path, files: dict[str, str]) -> tuple[Path, Path]:
    labels, partition = clean()
    partition |= {"a": "train", "b": "test", "c": "val", "d": "train", "e": "train"}
    raw = make_raw(tmp_path / "raw", labels + PUBLISHED_LABELS, partition)
    return raw, add_splits(tmp_path / "splits" / "DeepFashion", files)


def test_published_files_are_taken_as_they_are(tmp_path: Path) -> None:
    raw, splits = make_published(tmp_path, VALID)
    report = run(raw, tmp_path / "out", splits=splits.parent)
    roles = roles_of(tmp_path / "out")
    assert {n: r for n, r in roles.items() if r.startswith("valid")} == {
        "a": "valid query",
        "b": "valid query",
        "c": "valid candidate",
        "d": "valid candidate",
    }
    every, scored = (labels_of(tmp_path / "out", e) for e in (False, True))
    assert {n: scored[n] for n in "abcd"} == {
        "a": {OF_ID[6]},
        "b": {OF_ID[4]},
        "c": {OF_ID[2]},
        "d": {OF_ID[6]},
    }
    assert all(every[name] == {OF_ID[g] for g in ids} for name, ids in PUBLISHED_LABELS)
    # a, b and c have another value of the attribute that is evaluated; b finds c only through it
    assert report["another_true_value"]["valid"] == {"of": 4, "count": 3, "share": 0.75}
    assert report["queries_without_candidate"]["evaluated value"]["valid"] == 1
    assert report["queries_without_candidate"]["any true value"]["valid"] == 0
    assert report["label_valid"] == {"compared": 10, "disagree": {"count": 0, "ids": []}}
    assert report["split"]["valid"] == "published"
    assert report["split"]["test"] == "drawn"
    assert PreparedDataset.load(tmp_path / "out").published_splits == ("valid",)
    assert "valid 2 queries + 2 candidates; 75.0% have another" in summary(report)
    # the partition's valid images are in no split when valid is published
    assert report["rows"]["left_out"]["in no split"]["count"] == 8


def test_an_image_listed_twice_is_one_image(tmp_path: Path) -> None:
    # as in the published valid: the same candidate for two attributes; and what cannot be kept
    names = [path(n) for n in "abcdcca"]
    files = VALID | {"filenames_valid": "\n".join(names)}
    files["candidate_valid"] = "2 2 0\n3 0 1\n4 4 0\n5 2 1\n6 0 0\n"
    del files["label_valid"]
    raw, splits = make_published(tmp_path, files)
    report = run(raw, tmp_path / "out", splits=splits)
    scored = labels_of(tmp_path / "out", evaluated=True)
    assert scored["c"] == {OF_ID[2], OF_ID[7]}
    assert scored["a"] == {OF_ID[6]}
    assert roles_of(tmp_path / "out")["a"] == "valid query"
    again = report["published_files"]["left_out"]["listed again"]["ids"]
    assert again == [f"candidate_valid.txt, line {n}" for n in (4, 5)]
    assert report["evaluated_labels"]["valid_candidate"] == 3
    assert report["images"]["valid_candidate"] == 2


def test_all_published_needs_no_partition(tmp_path: Path) -> None:
    test = {
        "filenames_test": "\n".join([path("e"), path("n4"), path("unknown"), path("gone")]),
        "query_test": "0 2 1",
        "candidate_test": "1 0 1\n2 0 1\n",
    }
    raw, splits = make_published(tmp_path, VALID | test)
    (raw / "Eval/list_eval_partition.txt").unlink()
    report = run(raw, tmp_path / "rest", splits=splits)
    roles = roles_of(tmp_path / "rest")
    assert list(roles.values()).count("train train") == 23  # all images but a b c d, e and n4
    assert (roles["e"], roles["n4"]) == ("test query", "test candidate")
    left_out = report["published_files"]["left_out"]
    assert left_out["not in list_attr_img.txt"]["ids"] == ["candidate_test.txt, line 2"]
    train = {
        "filenames_train": "\n".join([path("n1"), path("n2"), path("a")]),
        "label_train": "0 1 0 1 1\n1 2 0 2 1\n2 0 0",
    }
    for name, text in train.items():
        (splits / f"{name}.txt").write_text(text, encoding="utf-8")
    report = run(raw, tmp_path / "all", splits=splits)
    trained = [n for n, r in roles_of(tmp_path / "all").items() if r == "train train"]
    assert trained == ["n1", "n2"]  # a is evaluated, so it is not trained on
    again = report["published_files"]["left_out"]["listed again"]["ids"]
    assert again == ["label_train.txt, line 3"]  # several values of an attribute are no repetition
    assert report["rows"]["left_out"]["in no split"]["count"] == 21
    assert set(report["split"].values()) == {"published"}


def test_published_labels_that_do_not_belong_here(tmp_path: Path) -> None:
    files = VALID | {"query_valid": "0 4 0\n1 2 1"}
    raw, splits = make_published(tmp_path, files)
    with pytest.raises(AgmanError, match=r"list_attr_img\.txt: 1 of 4 .*query_valid\.txt, line 1"):
        run(raw, tmp_path / "out", splits=splits)
    (splits / "query_valid.txt").write_text("0 0 2\n", encoding="utf-8")
    with pytest.raises(AgmanError, match=r"query_valid\.txt, line 1: value 2 of attribute 0"):
        run(raw, tmp_path / "out", splits=splits)
    (splits / "query_valid.txt").write_text(VALID["query_valid"], encoding="utf-8")
    (splits / "label_valid.txt").write_text("0\t1\t0\n1\t3\t8\n", encoding="utf-8")
    with pytest.raises(AgmanError, match=r"1 of 2 .*label_valid\.txt, line 2"):
        run(raw, tmp_path / "out", splits=splits)
    (splits / "filenames_valid.txt").write_text("img/x/y.jpg\n" * 5, encoding="utf-8")
    with pytest.raises(AgmanError, match="none of the 4 labels of valid can be used"):
        run(raw, tmp_path / "out", splits=splits)
    assert not list(tmp_path.glob("out*"))


def test_a_few_published_labels_may_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.common.asen_protocol.TOLERATED", 0.25)
    files = VALID | {"query_valid": "0 4 0\n1 2 1"}
    raw, splits = make_published(tmp_path, files)
    report = run(raw, tmp_path / "out", splits=splits)
    disagree = report["published_files"]["agreement"]["disagree"]
    assert disagree["ids"] == [f"{path('a')} (query_valid.txt, line 1)"]
    assert labels_of(tmp_path / "out", evaluated=True)["a"] == {OF_ID[7]}  # as published
    assert labels_of(tmp_path / "out")["a"] == {OF_ID[0], OF_ID[6], OF_ID[7]}
