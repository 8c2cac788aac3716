"""FashionAI: a miniature raw download with every quirk, and the exact labels made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from fashionai_miniature import (
    T1,
    T2,
    add_labels,
    add_photo,
    add_splits,
    labels_of,
    letters,
    line,
    make_raw,
    neck,
    run,
    skirt,
)

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from data_prep.fashionai.convert import summary
from data_prep.fashionai.files import ATTRIBUTES, PARTS

# --------------------------------------------------------------------------- label.csv


def test_every_row_is_accounted_for_and_labels_are_exact(tmp_path: Path) -> None:
    raw = make_raw(tmp_path / "raw")
    report = run(raw, tmp_path / "out")
    rows = report["rows"]
    assert {k: v["ids"] for k, v in rows["left_out"].items()} == {
        "unreadable row": [f"{T1}/Annotations/label.csv, line {n}" for n in (4, 43)],
        "unknown attribute": [f"{T1}/Annotations/label.csv, line 37"],
        "wrong length or letter": [f"{T1}/Annotations/label.csv, line {n}" for n in (35, 36)],
        "no y": [f"{T1}/Annotations/label.csv, line 33"],
        "several y": [f"{T1}/Annotations/label.csv, line 34"],
        "conflicting labels": [
            f"{T1}/Annotations/label.csv, line 38",
            f"{T2}/Annotations/label.csv, line 31",
        ],
        "maybe": [],
        "no image file": [f"{T1}/Annotations/label.csv, line 42"],
        "unreadable image": [],
        "identical duplicate": [f"{T2}/Annotations/label.csv, line 32"],
    }
    assert (rows["read"], rows["usable"], rows["with_maybe"]) == (75, 64, 3)
    assert all(a == b for a, b in report["sums"].values())
    skirts, necks = ATTRIBUTES[0].values, ATTRIBUTES[7].values
    expected = {f"skirt_length/s{i:031x}": ("skirt_length", skirts[i % 6]) for i in range(30)}
    expected |= {f"neck_design/e{i:031x}": ("neck_design", necks[i % 5]) for i in range(30)}
    expected["skirt_length/maybe"] = ("skirt_length", "Midi")
    expected["skirt_length/two_attributes"] = ("skirt_length", "Invisible")
    expected["neck_design/two_attributes"] = ("neck_design", "Draped")
    expected["lapel_design/twice"] = ("lapel_design", "Collarless")
    assert labels_of(tmp_path / "out") == expected
    data = PreparedDataset.load(tmp_path / "out")
    assert data.image_root == raw
    twice = data.images.set_index("image").loc["lapel_design/twice", "path"]
    assert twice == f"{T1}/Images/lapel_design_labels/twice.jpg"
    assert json.loads((tmp_path / "out/prepare_report.json").read_text(encoding="utf-8")) == report
    text = summary(report)
    assert "64 usable; 3 have an m (maybe), kept as their y" in text
    assert "train: " in text
    assert "published 144,335" in text


def test_rows_with_m_are_dropped_on_demand(tmp_path: Path) -> None:
    report = run(make_raw(tmp_path / "raw"), tmp_path / "out", maybe="drop")
    assert report["rows"]["left_out"]["maybe"]["ids"] == [f"{T1}/Annotations/label.csv, line 32"]
    assert "skirt_length/maybe" not in labels_of(tmp_path / "out")
    # a conflict stays a conflict although one of its rows has an m
    assert "lapel_design/conflict" not in labels_of(tmp_path / "out")
    with pytest.raises(AgmanError, match="unknown maybe 'no'"):
        run(tmp_path / "raw", tmp_path / "out2", maybe="no")


def test_our_own_split(tmp_path: Path) -> None:
    raw = make_raw(tmp_path / "raw", n=200)
    report = run(raw, tmp_path / "out")
    images = pd.read_csv(tmp_path / "out/images.csv")
    n = 403  # photos by name, of which 18,000 of 180,335 go to valid, and to test
    photos = images["image"].str.split("/").str[1]
    counts = photos.groupby([images["split"], images["role"]]).nunique()
    assert counts["valid"].to_dict() == {"query": 8, "candidate": round(n * 18 / 180.335) - 8}
    assert counts["test"].to_dict() == {"query": 8, "candidate": 32}
    assert counts["train"].to_dict() == {"train": n - 80}
    assert report["split"] == {"train": "the rest", "valid": "drawn", "test": "drawn"}
    evaluated = pd.read_csv(tmp_path / "out/labels.csv")["evaluated"]
    assert evaluated.tolist() == images["split"].ne("train").astype(int).tolist()
    run(raw, tmp_path / "same")
    run(raw, tmp_path / "other", seed=1)
    text = {name: (tmp_path / name / "images.csv").read_bytes() for name in ("out", "same")}
    assert text["out"] == text["same"] != (tmp_path / "other/images.csv").read_bytes()


@pytest.mark.parametrize("seed", range(6))
def test_a_photo_of_two_attributes_is_in_one_split(tmp_path: Path, seed: int) -> None:
    raw = tmp_path / "raw"
    for part, attribute, values in ((T1, "skirt_length", 6), (T2, "neck_design", 5)):
        photos = [f"{i:032x}" for i in range(30)]
        for photo in photos:
            add_photo(raw, part, attribute, photo)
        text = [letters(attribute, i % values) for i in range(30)]
        add_labels(raw, part, [line(attribute, *r) for r in zip(photos, text, strict=True)])
    run(raw, tmp_path / "out", seed=seed)
    images = pd.read_csv(tmp_path / "out/images.csv")
    photos_in = images["image"].str.split("/").str[1]
    assert len(images) == 60
    assert images.groupby(photos_in)[["split", "role"]].nunique().eq(1).all(axis=None)


def test_unreadable_photos_are_left_out(tmp_path: Path) -> None:
    raw = make_raw(tmp_path / "raw")
    for i in range(0, 30):
        add_photo(raw, T1, "skirt_length", f"s{i:031x}", empty=False)
    report = run(raw, tmp_path / "out", check_images=True)
    assert report["rows"]["left_out"]["unreadable image"]["count"] == 35  # two of them twins
    assert report["rows"]["usable"] == 30


# --------------------------------------------------------------------------- layouts


def test_layouts(tmp_path: Path) -> None:
    make_raw(tmp_path / "deeper" / "FashionAI")
    run(tmp_path / "deeper", tmp_path / "a")
    assert PreparedDataset.load(tmp_path / "a").image_root == tmp_path / "deeper" / "FashionAI"
    report = run(tmp_path / "deeper" / "FashionAI" / T2, tmp_path / "b")
    assert report["parts"] == [T2]
    assert len(labels_of(tmp_path / "b")) == 32
    web = tmp_path / "early" / "web"
    for i in range(40):
        add_photo(web.parent, "web", "skirt_length", f"w{i}")
    rows = [line("skirt_length", f"w{i}", letters("skirt_length", i % 6)) for i in range(40)]
    (web / "Annotations").mkdir()
    (web / "Annotations/skirt_length_labels.csv").write_text("\n".join(rows), encoding="utf-8")
    assert run(tmp_path / "early", tmp_path / "c")["rows"]["usable"] == 40


def test_wrong_and_half_downloads(tmp_path: Path) -> None:
    with pytest.raises(AgmanError, match="none: no such folder; download"):
        run(tmp_path / "none", tmp_path / "out")
    (tmp_path / "other").mkdir()
    with pytest.raises(AgmanError, match=f"has neither {T1} nor {T2}; download"):
        run(tmp_path / "other", tmp_path / "out")
    raw = make_raw(tmp_path / "raw")
    (raw / T2 / "Annotations/label.csv").unlink()
    with pytest.raises(AgmanError, match=r"label\.csv: missing; unzip fashionAI.*again"):
        run(raw, tmp_path / "out")
    (tmp_path / "half" / T1 / "Annotations").mkdir(parents=True)
    with pytest.raises(AgmanError, match="has no folder Images; unzip it again"):
        run(tmp_path / "half", tmp_path / "out")
    for file in (raw / T1 / "Images").rglob("*.jpg"):
        file.unlink()
    add_labels(raw, "x", [])
    (raw / "x/Annotations/label.csv").rename(raw / T2 / "Annotations/label.csv")
    with pytest.raises(AgmanError, match="no labelled photo is left for train; 0 are usable"):
        run(raw, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


# --------------------------------------------------------------------------- published files


VALID = {
    "filenames_valid": "\n".join([skirt(0), neck(1), skirt(6), neck(6), skirt(99)]),
    "query_valid": "0 0 0\n1 7 1\n",
    "candidate_valid": "2 0 0\n4 0 3\n3 7 1",
}


def test_published_files_are_taken_as_they_are(tmp_path: Path) -> None:
    raw = make_raw(tmp_path / "raw")
    splits = add_splits(tmp_path / "splits" / "FashionAI", **VALID)
    report = run(raw, tmp_path / "out", splits=splits.parent)
    prepared = PreparedDataset.load(tmp_path / "out")
    assert prepared.published_splits == ("valid",)
    images = prepared.images.set_index("image")
    valid = images[images["split"] == "valid"]["role"].to_dict()
    assert valid == {
        f"skirt_length/s{0:031x}": "query",
        f"neck_design/e{1:031x}": "query",
        f"skirt_length/s{6:031x}": "candidate",
        f"neck_design/e{6:031x}": "candidate",
    }
    lists = report["published_files"]
    assert lists["left_out"]["no image file"]["ids"] == ["candidate_valid.txt, line 2"]
    assert lists["not_in_label_csv"]["ids"] == [f"skirt_length/s{99:031x}"]
    assert (lists["labels"], lists["kept"]) == (5, 4)
    assert lists["agreement"] == {"compared": 4, "disagree": {"count": 0, "ids": []}}
    assert report["split"] == {"train": "the rest", "valid": "published", "test": "drawn"}
    assert report["rows"]["in_published_files"] == 4
    assert len(images) == 64  # the rest is there too, each image once
    assert "valid published" in summary(report)


def test_a_photo_in_a_published_file_is_not_drawn_for_another_attribute(tmp_path: Path) -> None:
    raw = make_raw(tmp_path / "raw")
    for photo, value in ((f"e{1:031x}", 2), (f"e{6:031x}", 3)):  # necks of valid, now in skirts
        add_photo(raw, T1, "skirt_length", photo)
        row = line("skirt_length", photo, letters("skirt_length", value))
        with open(raw / T1 / "Annotations/label.csv", "ab") as file:
            file.write(f"\r\n{row}".encode())
    report = run(raw, tmp_path / "out", splits=add_splits(tmp_path / "s", **VALID))
    assert report["rows"]["in_published_files"] == 6
    assert f"skirt_length/e{1:031x}" not in labels_of(tmp_path / "out")


def test_all_published_needs_no_label_csv(tmp_path: Path) -> None:
    raw = make_raw(tmp_path / "raw")
    for part in PARTS:
        (raw / part / "Annotations/label.csv").unlink()
    test = {f"{k.split('_')[0]}_test": v for k, v in VALID.items()}
    test["filenames_test"] = "\n".join([skirt(12), neck(11), skirt(18), neck(16), skirt(21)])
    # skirt 12 is in test already; neck 2 stands twice with one value, neck 3 with two
    train = [skirt(1), skirt(12), neck(2), neck(2), neck(3), neck(3)]
    train_labels = "0 0 1\n1 0 0\n2 7 2\n3 7 2\n4 7 3\n5 7 4"
    files = VALID | test | {"filenames_train": "\n".join(train), "label_train": train_labels}
    report = run(raw, tmp_path / "out", splits=add_splits(tmp_path / "s", **files))
    data = PreparedDataset.load(tmp_path / "out")
    train_rows = data.split_labels("train")
    assert sorted(zip(train_rows.attribute, train_rows.value, strict=True)) == [(0, 1), (7, 2)]
    assert len(data.split_labels("test", evaluated=True)) == 5
    assert set(report["split"].values()) == {"published"}
    assert data.published_splits == ("train", "valid", "test")
    left_out = report["published_files"]["left_out"]
    lines = {reason: entry["ids"] for reason, entry in left_out.items() if entry["count"]}
    assert lines == {
        "identical duplicate": [f"label_train.txt, line {n}" for n in (2, 4)],
        "conflicting labels": [f"label_train.txt, line {n}" for n in (5, 6)],
        "no image file": ["candidate_valid.txt, line 2"],  # skirt 99, of valid
    }


def test_published_labels_that_do_not_belong_here(tmp_path: Path) -> None:
    raw = make_raw(tmp_path / "raw")
    wrong = VALID | {"query_valid": "0 0 5\n1 7 1\n"}
    with pytest.raises(AgmanError, match=r"label\.csv: 1 of 4 .*query_valid\.txt, line 1"):
        run(raw, tmp_path / "out", splits=add_splits(tmp_path / "a", **wrong))
    shifted = VALID | {"query_valid": "1 0 0\n0 7 1\n"}
    with pytest.raises(AgmanError, match=r"query_valid\.txt, line 1 labels .* for skirt_length"):
        run(raw, tmp_path / "out", splits=add_splits(tmp_path / "b", **shifted))
    other = VALID | {"filenames_valid": "img/A/1.jpg\n" * 5}
    with pytest.raises(AgmanError, match=r"'img/A/1.jpg' \(query_valid\.txt, line 1\) is not"):
        run(raw, tmp_path / "out", splits=add_splits(tmp_path / "c", **other))
    gone = VALID | {"filenames_valid": VALID["filenames_valid"].replace(T1, "x").replace(T2, "x")}
    with pytest.raises(AgmanError, match="none of the 5 labels of valid can be used"):
        run(raw, tmp_path / "out", splits=add_splits(tmp_path / "d", **gone))
    broken = VALID | {"candidate_valid": "2 0 0\n4 0 9\n"}
    with pytest.raises(AgmanError, match=r"candidate_valid\.txt, line 2: value 9"):
        run(raw, tmp_path / "out", splits=add_splits(tmp_path / "e", **broken))
    assert not list(tmp_path.glob("out*"))


def test_a_few_published_labels_may_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.common.asen_protocol.TOLERATED", 0.25)
    files = VALID | {"query_valid": "0 0 5\n1 7 1\n"}
    splits = add_splits(tmp_path / "s", **files)
    report = run(make_raw(tmp_path / "raw"), tmp_path / "out", splits=splits)
    name = f"skirt_length/s{0:031x}"
    disagree = report["published_files"]["agreement"]["disagree"]
    assert disagree["ids"] == [f"{name} (query_valid.txt, line 1)"]
    assert labels_of(tmp_path / "out")[name] == ("skirt_length", "Floor")  # as published
