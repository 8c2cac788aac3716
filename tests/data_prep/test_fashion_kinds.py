"""Fashion Product Images by kind: which product is asked for what, and one label a photo."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED
from fashion_miniature import jpeg, make_folder, row, run

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from data_prep.fashion_products.convert import prepare
from data_prep.fashion_products.downloads import COLUMNS
from data_prep.fashion_products.kinds import add_kinds

REAL = SHARED / "data/fashion-product-images-small/archive.zip"
SHOE = {"masterCategory": "Footwear", "subCategory": "Shoes", "articleType": "Flats"}
BAG = {"masterCategory": "Accessories", "subCategory": "Bags", "articleType": "Clutches"}
WATCH = {"masterCategory": "Accessories", "subCategory": "Watches", "articleType": "Watches"}
LIPS = {"masterCategory": "Personal Care", "subCategory": "Lips", "articleType": "Lipstick"}


def kinds_of(*changes: dict[str, str]) -> pd.DataFrame:
    return add_kinds(pd.DataFrame([row(0, **c) for c in changes], columns=COLUMNS))


def test_a_product_is_asked_for_what_its_kind_has() -> None:
    found = kinds_of({}, SHOE, BAG, WATCH, LIPS)
    assert found["kind"].tolist() == ["top", "shoe", "bag", "accessory", ""]
    owned = [c for c in found if c not in (*COLUMNS, "kind", "pattern")]
    assert [{c: r[c] for c in owned if r[c]} for _, r in found.iterrows()] == [
        {"top_type": "Shirts", "top_colour": "Red", "top_for": "Men"},
        {"shoe_type": "Flats", "shoe_colour": "Red", "shoe_for": "Men"},
        {"bag_type": "Clutches"},
        {"accessory_type": "Watches"},
        {},
    ]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("Palm Tree Men Striped Blue Shirt", "striped"),
        ("Stripes and Co. Top", "striped"),
        ("PRINTED kurta", "printed"),
        ("Checked shirt", "check"),
        ("Solid polo", "solid"),
        ("Striped and printed top", ""),  # of which of the two?
        ("Sprint tee for a checklist", ""),  # only part of a word
        ("Plain tee", ""),
    ],
)
def test_a_pattern_is_what_the_name_says_if_it_says_one(name: str, pattern: str) -> None:
    assert kinds_of({"productDisplayName": name})["top_pattern"].item() == pattern
    assert kinds_of({"productDisplayName": name} | SHOE)["top_pattern"].item() == ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """80 tops, some of them striped or printed, 40 shoes of two types, 40 lipsticks."""
    tops = [row(n, productDisplayName=("Striped", "Printed", "A")[n % 3]) for n in range(80)]
    kinds = [{"articleType": t} for t in ("Flats", "Heels")]
    shoes = [row(100 + n, **SHOE | kinds[n % 2]) for n in range(40)]
    lips = [row(200 + n, **LIPS) for n in range(40)]
    rows = tops + shoes + lips
    photos = {r[0]: jpeg(shade=n) for n, r in enumerate(rows)}
    return make_folder(tmp_path / "source", (rows, photos))


def test_each_training_photo_has_one_label_and_the_others_all(folder: Path, tmp_path: Path) -> None:
    report = run(folder, tmp_path / "one", attributes="by-kind")
    dataset = PreparedDataset.load(tmp_path / "one")
    assert dataset.name == "fashion-products-by-kind"
    assert dataset.attribute_names == [
        "top_type", "top_pattern", "top_colour", "top_for", "shoe_type", "shoe_colour", "shoe_for"
    ]  # fmt: skip
    assert report["rows"]["kept"] == 120
    assert report["rows"]["left_out"]["of no kind"]["count"] == 40
    assert report["sums"]["training labels written = training images"][0] == 96
    split = dataset.images.set_index("image")["split"]
    in_train = dataset.labels["image"].map(split).eq("train")
    assert dataset.labels[in_train]["image"].is_unique
    assert set(dataset.labels[in_train]["image"]) == set(split[split.eq("train")].index)
    assert report["training_labels_written"] == {
        a: int((dataset.labels[in_train]["attribute"] == a).sum()) for a in dataset.attribute_names
    }
    kinds = pd.read_csv(tmp_path / "one" / "kinds.csv", dtype=str).set_index("image")["kind"]
    owner = dataset.labels["attribute"].str.split("_").str[0]
    assert (dataset.labels["image"].map(kinds) == owner).all()

    run(folder, tmp_path / "all", attributes="by-kind", labels="all")
    every = PreparedDataset.load(tmp_path / "all")
    assert every.images.equals(dataset.images)  # the same split
    key = ["image", "attribute", "value"]
    ours, theirs = (set(map(tuple, d.labels[key].to_numpy())) for d in (dataset, every))
    assert ours < theirs
    assert {t for t in theirs if split[t[0]] != "train"} == {
        t for t in ours if split[t[0]] != "train"
    }
    known = Counter(t[1] for t in theirs if split[t[0]] == "train" and t[1].startswith("top"))
    taken = Counter(t[1] for t in ours if split[t[0]] == "train" and t[1].startswith("top"))
    assert all(0 < taken[a] < n for a, n in known.items())  # each attribute is drawn at times

    run(folder, tmp_path / "again", attributes="by-kind")
    again, other = PreparedDataset.load(tmp_path / "again"), tmp_path / "other"
    assert again.labels.equals(dataset.labels)
    run(folder, other, attributes="by-kind", seed=1)
    assert not PreparedDataset.load(other).labels.equals(dataset.labels)
    with pytest.raises(AgmanError, match="unknown attributes 'by-knd'; did you mean 'by-kind'"):
        run(folder, tmp_path / "no", attributes="by-knd")
    assert not (tmp_path / "no").exists()


@pytest.mark.skipif(not REAL.is_file(), reason=f"the real download is not at {REAL}")
@pytest.mark.slow
def test_the_real_archive_by_kind(tmp_path: Path) -> None:
    """Every label of the photos that are evaluated, against styles.csv read independently."""
    report = prepare(REAL, tmp_path / "out", attributes="by-kind", progress=False)
    with zipfile.ZipFile(REAL) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("styles.csv").decode())))
        have = {n[7:-4] for n in archive.namelist() if n.startswith("images/")}
    known: dict[str, dict[str, str]] = {}
    for r in rows:
        if r["id"] not in have:
            continue
        labels = known[r["id"]] = {}
        if r["subCategory"] == "Topwear":
            labels |= {"top_type": r["articleType"], "top_colour": r["baseColour"]}
            labels["top_for"] = r["gender"]
            words = re.findall(r"\w+", r["productDisplayName"].lower())
            said = {
                pattern
                for pattern, forms in {
                    "printed": {"print", "prints", "printed"},
                    "striped": {"stripe", "stripes", "striped"},
                    "check": {"check", "checks", "checked", "checkered"},
                    "solid": {"solid"},
                }.items()
                if forms & set(words)
            }
            if len(said) == 1:
                labels["top_pattern"] = said.pop()
        elif r["subCategory"] == "Bottomwear":
            labels["bottom_type"] = r["articleType"]
        elif r["subCategory"] in ("Shoes", "Sandal", "Flip Flops"):
            labels |= {"shoe_type": r["articleType"], "shoe_colour": r["baseColour"]}
            labels["shoe_for"] = r["gender"]
        elif r["subCategory"] == "Bags":
            labels["bag_type"] = r["articleType"]
        elif r["masterCategory"] == "Accessories":
            labels["accessory_type"] = r["articleType"]
    counts = Counter((a, v) for labels in known.values() for a, v in labels.items())
    frequent = {k for k, n in counts.items() if n >= 100 and k[1] not in ("", "NA")}
    expected = {i: {a: v for a, v in of.items() if (a, v) in frequent} for i, of in known.items()}
    expected = {i: of for i, of in expected.items() if of}
    dataset = PreparedDataset.load(tmp_path / "out")
    assert set(dataset.images["image"]) == set(expected)
    assert report["rows"]["kept"] == len(expected) == 28794
    split = dataset.images.set_index("image")["split"]
    found: dict[str, dict[str, Any]] = {}
    for label in dataset.labels.itertuples():
        found.setdefault(label.image, {})[label.attribute] = label.value
    for image, labels in expected.items():
        if split[image] == "train":
            assert len(found[image]) == 1
            assert found[image].items() <= labels.items()
        else:
            assert found[image] == labels
    assert len(dataset.attributes) == 10
    assert {len(a.values) for a in dataset.attributes} == {3, 4, 7, 9, 10, 12, 16}
    assert np.all([a == b for a, b in report["sums"].values()])
