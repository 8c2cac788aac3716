"""Fashion Product Images: every row and value accounted for, and the split."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED
from fashion_miniature import make_folder, make_zip, miniature, run, tables

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from data_prep.fashion_products.convert import ATTRIBUTES, CELLS, prepare, summary

REAL = SHARED / "data/fashion-product-images-small/archive.zip"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    base = tmp_path_factory.mktemp("mini")
    report = run(make_zip(base / "archive.zip"), base / "out")
    return base / "out", report


# --------------------------------------------------------------------------- rows and values


def test_every_row_is_accounted_for(prepared: tuple[Path, dict[str, Any]]) -> None:
    out, report = prepared
    assert report["rows"] == {
        "read": 129,
        "repaired": {"count": 1, "ids": ["1"]},
        "kept": 124,
        "left_out": {
            "unreadable row": {"count": 1, "ids": ["line 130"]},
            "duplicate id": {"count": 1, "ids": ["6"]},
            "no image file": {"count": 1, "ids": ["2"]},
            "unreadable image": {"count": 1, "ids": ["3"]},
            "no label left": {"count": 1, "ids": ["7"]},
        },
    }
    assert all(a == b for a, b in report["sums"].values())
    assert json.loads((out / "prepare_report.json").read_text(encoding="utf-8")) == report
    assert {p.stem for p in (out / "images").iterdir()} == {
        *(r[0] for r in miniature()[0] if r[0] not in "237")
    }


def test_every_value_is_accounted_for(prepared: tuple[Path, dict[str, Any]]) -> None:
    out, report = prepared
    colours = report["attributes"]["baseColour"]
    about = {v: (e["status"], e["rows"], e["photos"], e["labels"]) for v, e in colours.items()}
    assert about == {  # 40 clean rows each; row(0) is Red, and so are the extra rows
        "Blue": ("kept", 41, 40, 40),
        "NA": ("no label", 1, 1, 0),
        "Navy Blue": ("kept", 40, 40, 40),
        "Red": ("kept", 45, 43, 43),
        "Teal": ("rare", 1, 1, 0),
    }
    usage = report["attributes"]["usage"]
    assert (usage["NA"]["status"], usage["NA"]["photos"]) == ("no label", 2)
    assert report["attributes"]["season"][""]["status"] == "no label"
    dataset = PreparedDataset.load(out)
    assert {a.name: a.values for a in dataset.attributes} == {
        "gender": ("Men", "Women"),
        "articleType": ("Shirts", "Tops"),
        "baseColour": ("Blue", "Navy Blue", "Red"),
        "season": ("Fall", "Summer"),
        "usage": ("Casual", "Sports"),
    }
    of_5 = dataset.labels[dataset.labels["image"].eq("5")]
    assert set(of_5["attribute"]) == {"gender", "articleType", "baseColour"}
    of_6 = dataset.labels[dataset.labels["image"].eq("6")]
    assert set(of_6["attribute"]) == set(ATTRIBUTES) - {"baseColour"}


def test_counts_by_split_are_those_of_the_tables(prepared: tuple[Path, dict[str, Any]]) -> None:
    out, report = prepared
    dataset = PreparedDataset.load(out)
    merged = dataset.labels.merge(dataset.images, on="image")
    cell = merged["split"].where(merged["role"].eq("train"), merged["split"] + "_" + merged["role"])
    counted = Counter(zip(merged["attribute"], merged["value"], cell, strict=True))
    for attribute, values in report["attributes"].items():
        for value, entry in values.items():
            assert [entry[c] for c in CELLS] == [counted[attribute, value, c] for c in CELLS]
    assert merged["evaluated"].eq(merged["split"].ne("train")).all()


def test_an_attribute_with_one_frequent_value_is_left_out(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "raw")
    text = (folder / "styles.csv").read_text().replace("Women", "Men")
    (folder / "styles.csv").write_text(text)
    report = run(folder, tmp_path / "out")
    assert report["attributes"]["gender"]["Men"]["status"] == "attribute left out"
    assert "gender" not in PreparedDataset.load(tmp_path / "out").attribute_names
    assert "gender: left out" in summary(report)


def test_a_value_with_exactly_min_images_photos_is_kept(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "raw")
    at = run(source, tmp_path / "at", min_images=40)["attributes"]["baseColour"]
    above = run(source, tmp_path / "above", min_images=41)["attributes"]["baseColour"]
    assert (at["Blue"]["photos"], at["Blue"]["status"]) == (40, "kept")
    assert above["Blue"]["labels"] == 0


def test_no_label_left_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "archive.zip")
    with pytest.raises(AgmanError, match="lower --min-images"):
        run(source, tmp_path / "out", min_images=1000)
    assert list(tmp_path.iterdir()) == [source]


def test_summary_names_what_was_left_out(prepared: tuple[Path, dict[str, Any]]) -> None:
    text = summary(prepared[1])
    for part in (
        "129 rows read, 1 repaired",
        "124 images kept",
        "no image file: 1 (2)",
        "1 rare values",
        "licence: not settled",
    ):
        assert part in text


# --------------------------------------------------------------------------- the split


def test_the_seed_decides_the_split(prepared: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    source = make_zip(tmp_path / "archive.zip")
    run(source, tmp_path / "same")
    run(source, tmp_path / "other", seed=1)
    assert tables(tmp_path / "same") == tables(prepared[0])
    assert tables(tmp_path / "other") != tables(prepared[0])


def test_no_image_is_in_two_splits_and_shares_are_kept(
    prepared: tuple[Path, dict[str, Any]],
) -> None:
    images = PreparedDataset.load(prepared[0]).images
    assert images["image"].is_unique
    share = images["split"].value_counts(normalize=True)
    assert share["valid"] == pytest.approx(0.1, abs=0.02)
    assert share["test"] == pytest.approx(0.1, abs=0.02)
    assert set(images.loc[images["split"].ne("train"), "role"]) == {"query", "candidate"}


@pytest.mark.parametrize(
    "options",
    [{"valid": 0.0}, {"valid": 0.5, "test": 0.5}, {"query_share": 1.0}, {"min_images": 0}],
)
def test_options_that_make_no_sense(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(AgmanError, match="valid and test must be above 0"):
        run(tmp_path, tmp_path / "out", **options)


# --------------------------------------------------------------------------- the real download


@pytest.mark.skipif(not REAL.is_file(), reason=f"the real download is not at {REAL}")
@pytest.mark.slow
def test_the_real_archive(tmp_path: Path) -> None:
    """Every row and value, against styles.csv and the member list read independently."""
    report = prepare(REAL, tmp_path / "out", progress=False)
    with zipfile.ZipFile(REAL) as archive:
        content = archive.read("styles.csv").decode()
        have = {n[7:-4] for n in archive.namelist() if n.startswith("images/")}
    rows = list(csv.DictReader(io.StringIO(content)))
    assert report["rows"]["read"] == len(rows) == 34446
    left_out = {why: e["ids"] for why, e in report["rows"]["left_out"].items() if e["count"]}
    assert left_out == {"no image file": [r["id"] for r in rows if r["id"] not in have]}

    dataset = PreparedDataset.load(tmp_path / "out")
    assert list(dataset.images["image"]) == [r["id"] for r in rows if r["id"] in have]
    expected = set()
    for attribute in ATTRIBUTES:
        every = Counter(r[attribute] for r in rows)
        usable = Counter(r[attribute] for r in rows if r["id"] in have)
        table = report["attributes"][attribute]
        assert {v: e["rows"] for v, e in table.items()} == every
        assert {v: e["photos"] for v, e in table.items()} == usable
        kept = {v for v, n in usable.items() if n >= 100 and v not in ("", "NA")}
        assert set(dataset.attributes[dataset.attribute_index(attribute)].values) == kept
        for value in kept:
            entry = table[value]
            assert sum(entry[c] for c in CELLS) == entry["labels"] == usable[value]
            assert all(entry[c] >= 2 for c in CELLS)
        expected |= {
            (r["id"], attribute, r[attribute])
            for r in rows
            if r["id"] in have and r[attribute] in kept
        }
    labels = dataset.labels
    got = list(zip(labels["image"], labels["attribute"], labels["value"], strict=True))
    assert len(got) == len(expected)
    assert set(got) == expected
    assert report["queries_without_candidate"] == {"valid": 0, "test": 0}
