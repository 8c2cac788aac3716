"""DeepFashion: a miniature raw download with every quirk, and the exact labels made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import shared
from deepfashion_miniature import (
    OF_ID,
    VALUES,
    clean,
    labels_of,
    make_raw,
    path,
    roles_of,
    run,
)
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from data_prep.deepfashion.convert import summary
from data_prep.deepfashion.files import TYPES, read_attributes, read_true_labels

# --------------------------------------------------------------------------- the raw files


def test_all_true_labels_are_there_and_exact(tmp_path: Path) -> None:
    labels, partition = clean()
    raw = make_raw(tmp_path / "raw", labels, partition)
    report = run(raw, tmp_path / "out")
    data = PreparedDataset.load(tmp_path / "out")
    assert {a.name: list(a.values) for a in data.attributes} == VALUES
    assert data.image_root == raw
    assert labels_of(tmp_path / "out") == {name: {OF_ID[g] for g in ids} for name, ids in labels}
    assert report["rows"]["kept"] == report["rows"]["lines"] == 24
    assert json.loads((tmp_path / "out/prepare_report.json").read_text(encoding="utf-8")) == report


def test_our_own_draw(tmp_path: Path) -> None:
    labels, partition = clean(150)
    raw = make_raw(tmp_path / "raw", labels, partition)
    report = run(raw, tmp_path / "out")
    roles = roles_of(tmp_path / "out")
    split_of = {"train": "train", "val": "valid", "test": "test"}
    assert {n: r.split()[0] for n, r in roles.items()} == {
        n: split_of[s] for n, s in partition.items()
    }
    assert pd.Series(roles).value_counts().to_dict() == {
        "train train": 50,
        "valid query": 10,
        "valid candidate": 40,
        "test query": 10,
        "test candidate": 40,
    }
    scored, every = (labels_of(tmp_path / "out", e) for e in (True, False))
    assert set(scored) == {n for n, s in partition.items() if s != "train"}
    assert all(len(own) == 1 and own <= every[name] for name, own in scored.items())
    # drawn from all labels: neither always the first nor always the last of an image
    of_id = {label: g for g, label in enumerate(OF_ID)}
    three = {name: own for name, (own,) in scored.items() if len(every[name]) == 3}
    places = [sorted(of_id[e] for e in every[n]).index(of_id[own]) for n, own in three.items()]
    assert set(places) == {0, 1, 2}
    assert report["split"] == {
        "train": "list_eval_partition.txt",
        "valid": "drawn",
        "test": "drawn",
    }
    run(raw, tmp_path / "same")
    run(raw, tmp_path / "other", seed=1)
    text = {n: (tmp_path / n / "labels.csv").read_bytes() for n in ("out", "same", "other")}
    assert text["out"] == text["same"] != text["other"]


def test_the_draw_stops_at_the_published_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_prep.deepfashion.rules.EVALUATED", 5)
    report = run(make_raw(tmp_path / "raw", *clean()), tmp_path / "out")
    assert report["images"] == {
        "train": 8,
        "valid_query": 1,
        "valid_candidate": 4,
        "test_query": 1,
        "test_candidate": 4,
    }
    assert report["rows"]["left_out"]["not drawn"]["count"] == 6


def test_every_image_is_accounted_for(tmp_path: Path) -> None:
    labels, partition = clean()
    labels += [("bare", []), ("gone", [1]), ("stray", [1]), ("twice", [1, 7]), ("torn", [2])]
    labels += [("twice", [0, 7])]
    partition |= {"bare": "train", "gone": "train", "twice": "train", "torn": "test"}
    raw = make_raw(tmp_path / "raw", labels, partition)
    (raw / path("gone")).unlink()
    file = raw / "Eval/list_eval_partition.txt"
    text = file.read_text(encoding="utf-8").replace("28\n", "29\n", 1)
    file.write_text(f"{text}\n{path('torn')} train\n", encoding="utf-8")
    report = run(raw, tmp_path / "out")
    rows = report["rows"]
    assert {k: v["ids"] for k, v in rows["left_out"].items() if v["count"]} == {
        "no label": [path("bare")],
        "no image file": [path("gone")],
        "in no split": [path("stray")],
    }
    assert (rows["lines"], rows["images"], rows["kept"]) == (30, 29, 26)
    assert rows["listed_twice"]["ids"] == [path("twice")]
    assert report["in_two_partitions"]["ids"] == [path("torn")]
    assert all(a == b for a, b in report["sums"].values())
    assert labels_of(tmp_path / "out")["twice"] == {OF_ID[0], OF_ID[1], OF_ID[7]}
    assert roles_of(tmp_path / "out")["torn"].startswith("test")
    assert "30 lines of list_attr_img.txt, 29 images (1 listed more than once" in summary(report)


def test_unreadable_photos_are_left_out(tmp_path: Path) -> None:
    labels, partition = clean()
    raw = make_raw(tmp_path / "raw", labels, partition)
    for name, _ in labels[1:]:
        Image.new("RGB", (4, 4)).save(raw / path(name))
    report = run(raw, tmp_path / "out", check_images=True)
    assert report["rows"]["left_out"]["unreadable image"]["ids"] == [path("n0")]


@pytest.mark.parametrize(("anno", "images"), [("Anno", "img"), ("Anno_coarse", "Img/img")])
def test_layouts(tmp_path: Path, anno: str, images: str) -> None:
    raw = make_raw(tmp_path / "deeper" / "raw", *clean(), anno=anno, images=images)
    run(raw.parent, tmp_path / "out")
    root = PreparedDataset.load(tmp_path / "out").image_root
    assert root == (raw / "Img" if images == "Img/img" else raw)


def test_wrong_and_half_downloads(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(AgmanError, match="none: no such folder; download"):
        run(tmp_path / "none", out)
    (tmp_path / "other").mkdir()
    with pytest.raises(AgmanError, match="has no Anno_coarse/ or Anno/list_attr_cloth"):
        run(tmp_path / "other", out)
    (tmp_path / "other/Anno_fine").mkdir()
    with pytest.raises(AgmanError, match="has only Anno_fine"):
        run(tmp_path / "other", out)
    raw = make_raw(tmp_path / "raw", *clean())
    (raw / "Eval/list_eval_partition.txt").unlink()
    with pytest.raises(AgmanError, match=r"list_eval_partition\.txt: cannot be read"):
        run(raw, out)
    (raw / "img").rename(raw / "photos")
    with pytest.raises(AgmanError, match=r"has no folder img with the photos; unzip img\.zip"):
        run(raw, out)
    (raw / "img").mkdir()
    make_raw(tmp_path / "x", *clean())
    (tmp_path / "x/Eval/list_eval_partition.txt").rename(raw / "Eval/list_eval_partition.txt")
    with pytest.raises(AgmanError, match="no usable image is left for train"):
        run(raw, out)
    (raw / "Anno_coarse/list_attr_img.txt").unlink()
    with pytest.raises(AgmanError, match=r"list_attr_img\.txt: missing"):
        run(raw, out)
    assert not list(tmp_path.glob("out*"))


CLOTH_FILE, LABEL_FILE = "Anno_coarse/list_attr_cloth.txt", "Anno_coarse/list_attr_img.txt"
PARTITION_FILE = "Eval/list_eval_partition.txt"


@pytest.mark.parametrize(
    ("file", "at", "line", "say"),
    [
        (CLOTH_FILE, 4, "maxi", "line 5: needs a name and a type"),
        (CLOTH_FILE, 4, "maxi 6", "line 5: needs a name and a type from 1 to 5"),
        (CLOTH_FILE, 0, "12 x", "line 1: must be the number of lines"),
        (CLOTH_FILE, 9, "boho 4", r"has no attribute of type 5 \(style-related\)"),
        (LABEL_FILE, 3, f"{path('n1')} 1 1 1 1 1 1 1 1", "line 4: needs a path and 9 times"),
        (LABEL_FILE, 3, f"{path('n1')} 1 1 1 1 1 1 1 1 2", "line 4: needs a path and 9 times"),
        (LABEL_FILE, 3, "/n1.jpg 1 1 1 1 1 1 1 1 1", "line 4: '/n1.jpg' is not a path img"),
        (LABEL_FILE, 3, "img/../x.jpg 1 1 1 1 1 1 1 1 1", "line 4: 'img/../x.jpg' is not a"),
        (LABEL_FILE, 0, "25", "the file ends after 24 entries where line 1 says 25"),
        (PARTITION_FILE, 5, f"{path('n3')} valid", "line 6: needs a path and train, val or"),
        (PARTITION_FILE, 5, path("n3"), "line 6: needs a path and train, val or"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, file: str, at: int, line: str, say: str) -> None:
    raw = make_raw(tmp_path / "raw", *clean())
    lines = (raw / file).read_text(encoding="utf-8").splitlines()
    lines[at] = line
    (raw / file).write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(AgmanError, match=f"{Path(file).name}.*{say}"):
        run(raw, tmp_path / "out")


def test_names_stay_unique_whatever_they_are(tmp_path: Path) -> None:
    names = ["lace", "lace (2)", "lace", "lace"]
    kinds = "".join(f"x {kind}\n" for kind in (1, 3, 4, 5))
    text = "8\nh\n" + "".join(f"{n}   2\n" for n in names) + kinds
    file = tmp_path / "list_attr_cloth.txt"
    file.write_text(text, encoding="utf-8")
    found, types = read_attributes(file)
    assert found[:4] == ["lace", "lace (2)", "lace (3)", "lace (4)"]
    assert types.tolist() == [2, 2, 2, 2, 1, 3, 4, 5]


def test_true_labels_take_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    file = tmp_path / "list_attr_img.txt"
    marks = b" -1" * 997 + b"  1" * 3
    with open(file, "wb") as stream:
        stream.write(b"1000\nh\n")
        for i in range(1000):
            stream.write(path(f"n{i}").encode() + marks + b"\n")
    tracemalloc.start()
    true = read_true_labels(file, 1000, progress=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(true.image) == 3_000
    assert set(true.attribute.tolist()) == {997, 998, 999}
    assert peak < 1_000_000  # 1000 x 1000 marks would be 1 MB as bytes, 8 MB as int64


def test_the_types_are_asen_s(tmp_path: Path) -> None:
    meta = json.loads(shared("data/asen-splits/meta.json").read_text(encoding="utf-8"))
    assert meta["DeepFashion"]["ATTRIBUTES"] == list(TYPES)
