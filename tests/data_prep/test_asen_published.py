"""The published split files as they are: their counts, and whole preparations from them."""

from __future__ import annotations

import os
from pathlib import Path

import deepfashion_miniature
import fashionai_miniature
import numpy as np
import pandas as pd
import pytest
from conftest import shared

from agman_lib.evaluation.protocol import expected_average_precision
from data_prep import fashionai
from data_prep.common.asen_splits import (
    ranks,
    read_filenames,
    read_global_labels,
    read_labels,
    read_schema,
    read_splits,
)
from data_prep.fashionai.files import PARTS, Download, read_rows, split_path
from data_prep.fashionai.files import SCHEMA as FASHIONAI


def random_row(table: pd.DataFrame) -> tuple[float, dict[int, float]]:
    """Expected MAP of random rankings: weighted by queries, and of each attribute."""
    query, candidate = (table[table["role"].eq(r)] for r in ("query", "candidate"))
    n = candidate.groupby("attribute").size().reindex(query["attribute"]).to_numpy()
    pairs = pd.MultiIndex.from_frame(query[["attribute", "value"]])
    r = candidate.groupby(["attribute", "value"]).size().reindex(pairs, fill_value=0).to_numpy()
    scores = pd.Series(expected_average_precision(n, r), query["attribute"].to_numpy())
    return float(scores.mean()), scores.groupby(level=0).mean().to_dict()


def test_real_fashionai(tmp_path: Path) -> None:
    folder = shared("data/asen-splits/FashionAI")
    assert read_schema(folder.parent / "meta.json", "FashionAI") == FASHIONAI
    train = read_labels(folder / "label_train.txt", 144_335, FASHIONAI)
    assert train.image.tolist() == list(range(144_335))
    table = read_splits(folder.parent, "FashionAI", FASHIONAI)["valid"].table()
    assert table["role"].value_counts().to_dict() == {"query": 3_600, "candidate": 14_400}
    # every label is that of the raw file, and the folder names the attribute
    part = tmp_path / "part" / "Annotations"
    part.mkdir(parents=True)
    file = part / "label.csv"
    file.write_bytes((folder / "valid_label.csv").read_bytes())
    raw = read_rows(Download(tmp_path, ("part",), {"part": file}))
    assert raw["reason"].eq("").all()
    assert raw["maybe"].sum() == 970
    said = raw.set_index("id").loc[
        ["/".join(split_path(p.partition("/")[2]) or ()) for p in table["path"]],
        ["attribute", "value"],
    ]
    assert (said.to_numpy() == table[["attribute", "value"]].to_numpy()).all()
    # one query in five over the whole split, not within each value
    is_query = table["role"].eq("query")
    shares = is_query.groupby([table["attribute"], table["value"]]).agg(["mean", "size"])
    assert shares["mean"].agg(["min", "max"]).round(2).tolist() == [0.16, 0.28]
    spread = shares["size"] * (shares["mean"] - 0.2) ** 2 / (0.2 * 0.8)
    assert spread.sum() == pytest.approx(43.4, abs=0.05)
    overall, each = random_row(table)
    assert overall == pytest.approx(0.16040, abs=1e-5)  # 0.15791 on the test split
    assert each[6] < each[1] < each[2] < each[0]  # more values, lower, as in the test split


def test_real_deepfashion() -> None:
    folder = shared("data/asen-splits/DeepFashion")
    schema = read_schema(folder.parent / "meta.json", "DeepFashion")
    split = read_splits(folder, "DeepFashion", schema)["valid"]
    table = split.table()
    assert table["role"].value_counts().to_dict() == {"query": 5_525, "candidate": 22_100}
    assert pd.Series(split.paths).duplicated().sum() == 1
    rows = read_global_labels(folder / "label_valid.txt", 27_625)
    types = np.zeros(1000, np.int64)
    types[rows.value] = rows.attribute + 1
    assert [int((types == t).sum()) for t in range(1, 6)] == list(schema.values())
    # row by row: (type - 1, rank within the type) is one of the image's own labels
    own = {*zip(rows.image, rows.attribute, ranks(types)[rows.value], strict=True)}
    evaluated = [split.roles[r] for r in ("query", "candidate")]
    said = [z for r in evaluated for z in zip(r.image, r.attribute, r.value, strict=True)]
    assert len(said) == 27_625
    assert own.issuperset(said)
    wrong = ranks(types[::-1])[::-1]  # a rank counted from the other end is not
    assert not {*zip(rows.image, rows.attribute, wrong[rows.value], strict=True)} >= {*said}
    kinds = pd.Series([(i, a) for i, a, _ in own]).value_counts()
    another = np.mean([kinds[i, a] > 1 for i, a, _ in said])
    assert another == pytest.approx(0.46, abs=0.005)
    overall, _ = random_row(table)
    assert overall == pytest.approx(0.03270, abs=1e-5)  # 0.0338 on the test split


def test_fashionai_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = shared("data/asen-splits")
    paths = read_filenames(splits / "FashionAI/filenames_valid.txt")
    lines = (splits / "FashionAI/valid_label.csv").read_text(encoding="utf-8").splitlines()
    raw = tmp_path / "raw"
    for part in PARTS:
        (raw / part / "Images").mkdir(parents=True)
        own = [text for path, text in zip(paths, lines, strict=True) if path.startswith(part)]
        fashionai_miniature.add_labels(raw, part, own)
    monkeypatch.setattr(os.path, "isfile", lambda path: True)  # 18,000 photos that are not here
    report = fashionai_miniature.run(raw, tmp_path / "out", splits=splits, maybe="drop")
    assert report["split"] == {"train": "absent", "valid": "published", "test": "absent"}
    lists = report["published_files"]
    assert lists["agreement"] == {"compared": 18_000, "disagree": {"count": 0, "ids": []}}
    assert (lists["kept"], lists["with_maybe"]) == (18_000, 970)  # "drop" leaves them alone
    assert report["images"]["valid_query"] == 3_600
    assert report["images"]["valid_candidate"] == 14_400
    assert report["queries_without_candidate"]["valid"] == 0


@pytest.mark.slow
def test_fashionai_of_full_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, rng, names = tmp_path / "raw", np.random.default_rng(0), list(FASHIONAI)
    for part, n in ((PARTS[0], 80_335), (PARTS[1], 100_000)):
        rows = []
        for i, a in enumerate(rng.integers(0, 8, n)):
            text = fashionai_miniature.letters(names[a], int(rng.integers(FASHIONAI[names[a]])))
            rows.append(fashionai_miniature.line(names[a], f"{part[-1]}{i:031x}", text))
        (raw / part / "Images").mkdir(parents=True)
        fashionai_miniature.add_labels(raw, part, rows)
    monkeypatch.setattr(os.path, "isfile", lambda path: True)
    report = fashionai_miniature.run(raw, tmp_path / "out")
    assert report["differs_from_published"] == []
    assert "all sizes are those of the published split" in fashionai.summary(report)


@pytest.mark.slow
def test_deepfashion_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = shared("data/asen-splits/DeepFashion")
    paths = read_filenames(splits / "filenames_valid.txt")
    rows = read_global_labels(splits / "label_valid.txt", len(paths))
    types = np.zeros(1000, np.int64)
    types[rows.value] = rows.attribute + 1
    raw = tmp_path / "raw"
    for folder in ("Anno", "Eval", "img"):
        (raw / folder).mkdir(parents=True)
    cloth = "".join(f"name {g}  {t}\n" for g, t in enumerate(types))
    (raw / "Anno/list_attr_cloth.txt").write_text(f"1000\nh\n{cloth}", encoding="utf-8")
    more = [deepfashion_miniature.path(f"more{i}") for i in range(15)]
    marks = np.full((len(paths) + 15, 1000, 3), list(b" -1"), np.uint8)
    marks[rows.image, rows.value] = marks[-15:, 0] = list(b"  1")
    with open(raw / "Anno/list_attr_img.txt", "wb") as file:
        file.write(b"%d\nh\n" % len(marks))
        for name, own in zip(paths + more, marks, strict=True):
            file.write(name.encode() + own.tobytes() + b"\n")
    partition = "".join(f"{p} {('train', 'val', 'test')[i % 3]}\n" for i, p in enumerate(more))
    (raw / "Eval/list_eval_partition.txt").write_text(f"15\nh\n{partition}", encoding="utf-8")
    monkeypatch.setattr(os.path, "isfile", lambda path: True)  # photos that are not here
    report = deepfashion_miniature.run(raw, tmp_path / "out", splits=splits)
    assert report["published_files"]["kept"] == 27_625
    assert report["published_files"]["agreement"]["disagree"]["count"] == 0
    assert report["label_valid"]["compared"] == 96_382
    assert report["evaluated_labels"]["valid_query"] == 5_525
    assert report["evaluated_labels"]["valid_candidate"] == 22_100
    assert report["images"]["valid_candidate"] == 22_099  # one is listed twice
    assert report["another_true_value"]["valid"]["share"] == pytest.approx(0.4648, abs=1e-4)
    none = report["queries_without_candidate"]
    assert (none["evaluated value"]["valid"], none["any true value"]["valid"]) == (29, 3)
