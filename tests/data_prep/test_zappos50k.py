"""UT-Zappos50K: miniature downloads with the real quirks give exactly the listed triplets."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.triplets import listed_triplets
from data_prep.zappos50k.convert import prepare, summary
from data_prep.zappos50k.lists import COLUMNS, SPLITS, parse_metadata, parse_triplets
from data_prep.zappos50k.photos import plain, portable, read_photos
from data_prep.zappos50k.triplets import draw_triplets, split_products

HEADER = "CID,Category,SubCategory,HeelHeight,Insole,Closure,Gender,Material,ToeStyle"
BRANDS = ("adidas", "Rush Inc.", "Levi's® Kids")
KINDS = (("Shoes", "Oxfords"), ("Boots", "Ankle"), ("Sandals", "Flat"))
CLOSURES = ("Lace up", "Buckle", "Lace up;Zipper", "")
GENDERS = ("Men", "Women", "Boys;Girls")
HEELS = ("Flat", "1in - 1 3/4in", "Under 1in", "")
N = 60  # 30 products in two colours each


def shoe(n: int) -> tuple[str, str]:
    """CID and path of the n-th shoe."""
    product, colour = 1000 + n // 2, 1 + n % 2
    kind = "/".join(KINDS[n // 2 % 3])
    return f"{product}-{colour}", f"{kind}/{BRANDS[n // 2 % 3]}/{product}.{colour}.jpg"


PATHS = [shoe(n)[1] for n in range(N)]
IDS = [path.split("/")[-1].removesuffix(".jpg") for path in PATHS]


def meta_row(n: int) -> list[str]:
    kind, sub = KINDS[n // 2 % 3]
    heel, closure, gender = HEELS[n // 3 % 4], CLOSURES[n % 4], GENDERS[n // 5 % 3]
    return [shoe(n)[0], kind, sub, heel, "", closure, gender, "Leather;Rubber", ""]


def metadata(rows: list[list[str]] | None = None) -> bytes:
    rows = [meta_row(n) for n in range(N)] if rows is None else rows
    return "\r\n".join([HEADER, *map(",".join, rows), ""]).encode()


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (90, 40, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


def make_folder(base: Path, paths: list[str] = PATHS, meta: bytes | None = None) -> Path:
    """ut-zap50k-images/ with ut-zap50k-data/ beside it."""
    root = base / "ut-zap50k-images"
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(jpeg())
    (base / "ut-zap50k-data").mkdir(exist_ok=True)
    (base / "ut-zap50k-data/meta-data.csv").write_bytes(metadata() if meta is None else meta)
    return root


def make_zip(file: Path, extra: dict[str, bytes] | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ut-zap50k-images/", b"")
        for path in PATHS:
            archive.writestr(f"ut-zap50k-images/{path}", jpeg())
        archive.writestr("__MACOSX/ut-zap50k-images/Shoes/Oxfords/adidas/._1000.1.jpg", b"junk")
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return file


def listed() -> dict[tuple[str, str], list[tuple[int, int, int]]]:
    """A few triplets (anchor, far, close) for every list; images by split: 0-39, 40-47, 48-59."""
    ranges = {"train": (0, 40), "val": (40, 48), "test": (48, 60)}
    table = {}
    for a, attribute in enumerate(COLUMNS):
        for split, (low, high) in ranges.items():
            rng = np.random.default_rng([a, low])
            rows = [rng.choice(np.arange(low, high), 3, replace=False) for _ in range(10 + a)]
            table[attribute, split] = [(int(r[0]), int(r[1]), int(r[2])) for r in rows]
    return table


def make_lists(folder: Path, newline: str = "\n", names: list[str] = PATHS) -> Path:
    (folder / "tripletlists").mkdir(parents=True)
    (folder / "filenames.json").write_bytes((newline.join(names) + newline).encode())
    for (attribute, split), rows in listed().items():
        text = newline.join(f"{a} {f} {c}" for a, f, c in rows) + newline
        (folder / f"tripletlists/{attribute}_tripletlist_{split}.txt").write_bytes(text.encode())
    return folder


def run(source: Path, out: Path, **options: Any) -> dict[str, Any]:
    return prepare(source, out, **({"progress": False} | options))


def written(folder: Path) -> list[bytes]:
    return [(folder / f).read_bytes() for f in ("images.csv", "labels.csv", "triplets.csv")]


def expected_triplets() -> list[tuple[str, str, str, str, str]]:
    ours = {"train": "train", "val": "valid", "test": "test"}
    return [
        (IDS[a], IDS[far], IDS[close], attribute, ours[split])
        for split in ours
        for attribute in ("class", "closure", "gender", "heel")
        for a, far, close in listed()[attribute, split]
    ]


# --------------------------------------------------------------------------- CSN's lists


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_listed_triplets_are_exactly_those_of_the_lists(tmp_path: Path, newline: str) -> None:
    source, lists = make_folder(tmp_path), make_lists(tmp_path / "csn", newline)
    report = run(source, tmp_path / "out", triplets=lists)
    dataset = PreparedDataset.load(tmp_path / "out")
    assert dataset.protocol == "triplets"
    assert dataset.attribute_names == ["class", "closure", "gender", "heel"]
    assert dataset.triplets is not None
    assert list(dataset.triplets.itertuples(index=False, name=None)) == expected_triplets()
    assert dataset.published_splits == ("train", "valid", "test")
    assert dataset.image_root == source
    assert not (tmp_path / "out/images").exists()
    assert report["triplets"]["valid"] == {"class": 10, "closure": 11, "gender": 12, "heel": 13}
    train = listed_triplets(dataset, "train")
    path = dataset.paths[train.negative[0]]
    assert path == source / PATHS[listed()["class", "train"][0][1]]


def test_images_and_labels_beside_listed_triplets(tmp_path: Path) -> None:
    report = run(make_folder(tmp_path), tmp_path / "out", triplets=make_lists(tmp_path / "csn"))
    dataset = PreparedDataset.load(tmp_path / "out")
    split = dict(zip(dataset.images["image"], dataset.images["split"], strict=True))
    mentioned = {i: s for *three, _, s in expected_triplets() for i in three}
    assert split == mentioned
    role = dataset.images["role"].eq("train")
    assert role.eq(dataset.images["split"].eq("train")).all()
    expected = [
        (IDS[n], attribute, value)
        for n in range(N)
        if IDS[n] in mentioned
        for attribute, column in COLUMNS.items()
        for value in meta_row(n)[HEADER.split(",").index(column)].split(";")
        if value
    ]
    got = dataset.labels[["image", "attribute", "value"]].itertuples(index=False, name=None)
    assert list(got) == expected
    assert not dataset.labels["evaluated"].any()
    heel = dataset.attributes[3]
    assert heel.values == ("Flat", "Under 1in", "1in - 1 3/4in")
    unused = [i for i in IDS if i not in mentioned]
    note = report["notes"].get("image in no triplet", {"names": []})
    assert note["names"] == unused[:20]


def test_without_metadata_the_labels_are_empty_and_it_is_said(tmp_path: Path) -> None:
    source = make_folder(tmp_path)
    (tmp_path / "ut-zap50k-data/meta-data.csv").unlink()
    report = run(source, tmp_path / "out", triplets=make_lists(tmp_path / "csn"))
    dataset = PreparedDataset.load(tmp_path / "out")
    assert dataset.labels.empty
    assert len(listed_triplets(dataset, "test")) == 10 + 11 + 12 + 13
    assert "labels.csv is empty" in summary(report)
    with pytest.raises(AgmanError, match=r"needs meta-data\.csv"):
        run(source, tmp_path / "out2")


def test_zip_and_folder_give_the_same_tables(tmp_path: Path) -> None:
    lists = make_lists(tmp_path / "csn")
    folder, archive = make_folder(tmp_path / "a"), make_zip(tmp_path / "b/ut-zap50k-images.zip")
    meta = tmp_path / "a/ut-zap50k-data"
    run(folder, tmp_path / "out1", triplets=lists)
    report = run(archive, tmp_path / "out2", triplets=lists / "tripletlists", metadata=meta)
    assert "photo not listed" not in report["notes"]  # what macOS adds to a zip is no photo
    one, two = PreparedDataset.load(tmp_path / "out1"), PreparedDataset.load(tmp_path / "out2")
    assert written(tmp_path / "out1")[1:] == written(tmp_path / "out2")[1:]
    # folders that end in a dot are renamed as Windows needs it, and the name can be turned back
    assert [unquote(p) for p in two.images["path"]] == list(one.images["path"])
    assert any("Rush Inc%2E/" in p for p in two.images["path"])
    below = {p.relative_to(two.image_root).as_posix() for p in two.image_root.rglob("*.jpg")}
    assert below == set(two.images["path"])


@pytest.mark.parametrize("form", ["Rush Inc", "Rush Inc%2E", "Rush Inc."])
def test_folders_unpacked_without_their_dot_are_found(tmp_path: Path, form: str) -> None:
    paths = [path.replace("Rush Inc.", form).replace("®", "┬«") for path in PATHS]
    run(make_folder(tmp_path, paths), tmp_path / "out", triplets=make_lists(tmp_path / "csn"))
    dataset = PreparedDataset.load(tmp_path / "out")
    assert dataset.triplets is not None
    assert list(dataset.triplets.itertuples(index=False, name=None)) == expected_triplets()


def test_caps_choose_by_seed_and_keep_the_order(tmp_path: Path) -> None:
    source, lists = make_folder(tmp_path), make_lists(tmp_path / "csn")
    caps = {"train": 20, "valid": 80_000, "test": 7}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        report = run(source, tmp_path / name, triplets=lists, caps=caps, seed=seed)
    table = PreparedDataset.load(tmp_path / "a").triplets
    assert table is not None
    assert table["split"].value_counts().to_dict() == {"valid": 46, "train": 20, "test": 7}
    rows, everything = list(table.itertuples(index=False, name=None)), expected_triplets()
    remaining = iter(everything)
    assert all(row in remaining for row in rows)  # a part of the whole, in its order
    assert set(table.loc[table["split"].eq("train"), "attribute"]) == set(COLUMNS)
    assert written(tmp_path / "a") == written(tmp_path / "b") != written(tmp_path / "c")
    assert "20 train triplets: 199,980 fewer than the published 200,000" in report["compared"]


def test_agreement_with_the_metadata_tells_a_shifted_name_list(tmp_path: Path) -> None:
    source, lists = make_folder(tmp_path), make_lists(tmp_path / "csn")
    right = [(0, 5, 7), (6, 11, 1)]  # numbers 0, 1, 6 and 7 are Shoes; 5 and 11 are Sandals
    for split in SPLITS.values():
        file = lists / f"tripletlists/class_tripletlist_{split}.txt"
        file.write_text("\n".join(f"{a} {f} {c}" for a, f, c in right))
    report = run(source, tmp_path / "out", triplets=lists)
    assert report["agreement_with_metadata"]["class"] == 100
    assert report["notes"]["image in triplets of several splits"]["count"] == 6
    (lists / "filenames.json").write_text("\n".join(PATHS[1:] + PATHS[:1]), encoding="utf-8")
    report = run(source, tmp_path / "shifted", triplets=lists)
    assert report["agreement_with_metadata"]["class"] == 0
    assert "class: meta-data.csv bears out 0.0 %" in summary(report)


def test_a_repeated_line_and_a_missing_photo_are_named(tmp_path: Path) -> None:
    source = make_folder(tmp_path)
    names = [*PATHS[:59], PATHS[5]]  # line 60 is line 6 again
    lists = make_lists(tmp_path / "csn", names=names)
    (source / PATHS[3]).unlink()
    (source / PATHS[4]).write_bytes(jpeg()[:60])
    report = run(source, tmp_path / "out", triplets=lists, max_missing=0.04)
    notes = report["notes"]
    assert notes["second line of an image in filenames.json"]["names"] == [
        f"line 60: {PATHS[5]}, as line 6"
    ]
    assert notes["photo missing"]["names"] == [f"line 4: {PATHS[3]}"]
    assert notes["photo unreadable"]["names"] == [f"line 5: {PATHS[4]}"]
    table = PreparedDataset.load(tmp_path / "out").triplets
    assert table is not None
    again = {IDS[59]: IDS[5]}
    expected = [
        (*(again.get(i, i) for i in row[:3]), *row[3:])
        for row in expected_triplets()
        if not {IDS[3], IDS[4]} & set(row[:3])
    ]
    assert list(table.itertuples(index=False, name=None)) == expected
    left = notes["triplets left out, a photo is missing or unreadable"]["count"]
    assert left == len(expected_triplets()) - len(expected) > 0
    assert f"line 4: {PATHS[3]}" in summary(report)
    with pytest.raises(AgmanError, match=r"filenames\.json, line 4: .*nor of 1 others of 60"):
        run(source, tmp_path / "strict", triplets=lists, max_missing=0.02)


# --------------------------------------------------------------------------- a line of a list


LINES = ["0 1 2", "3 4 5", "6 7 8", "9 10 11"]
PIECES = st.sampled_from(
    [*"0123456789", " ", "\t", "-", "+", "_", ".", "\r", "\x0b", "\x85", "٣", "\xa0", "e", ",", "x"]
)


@settings(deadline=None, max_examples=300)
@given(at=st.integers(0, 3), line=st.text(PIECES, max_size=12))
def test_a_corrupted_line_is_named_or_gives_what_it_says(
    tmp_path_factory: pytest.TempPathFactory, at: int, line: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "heel_tripletlist_val.txt"
    lines = [*LINES[:at], line, *LINES[at + 1 :]]
    file.write_bytes("\n".join(lines).encode())
    fields = line.replace("\t", " ").removesuffix("\r").strip(" ").split(" ")
    fields = [f for f in fields if f]
    plain_numbers = all(set(f) <= set("0123456789") for f in fields) and len(fields) == 3
    says = [int(f) for f in fields] if plain_numbers else [99]
    rest = [[int(f) for f in other.split()] for other in LINES]
    if not line.strip(" \t\r"):
        assert parse_triplets(file, ["p"] * 12).tolist() == rest[:at] + rest[at + 1 :]
    elif max(says) < 12:
        assert parse_triplets(file, ["p"] * 12).tolist() == [*rest[:at], says, *rest[at + 1 :]]
    else:
        with pytest.raises(AgmanError, match=rf"heel_tripletlist_val\.txt, line {at + 1}: "):
            parse_triplets(file, ["p"] * 12)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 23), st.integers(0, 127))
def test_a_flipped_byte_is_named_or_gives_what_it_says(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "flipped.txt"
    content = bytearray(b"\n".join(map(str.encode, LINES)))
    content[at] = byte
    file.write_bytes(content)
    try:
        got = parse_triplets(file, ["p"] * 12).tolist()
    except AgmanError as error:
        line = content[:at].count(10) + 1
        named = (line, line + 1) if byte == 10 else (line,)  # a new line break makes two lines
        assert any(f"line {n}: " in str(error) for n in named)  # noqa: PT017
    else:
        lines = content.decode().split("\n")
        assert got == [[int(f) for f in line.split()] for line in lines if line.strip()]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "gender_tripletlist_val.txt",
            b"1 2 3\n1 2\n",
            r"gender_\w+val\.txt, line 2: '1 2' is not",
        ),
        ("gender_tripletlist_val.txt", b"1 2 60\n", r"line 1: '1 2 60' names a line .*0 to 59"),
        ("gender_tripletlist_val.txt", b"1 2 " + b"9" * 5000, "line 1: .*names a line"),
        ("heel_tripletlist_test.txt", b"", r"heel_tripletlist_test\.txt: lists no triplet"),
        ("heel_tripletlist_test.txt", None, r"heel_tripletlist_test\.txt: missing"),
        ("../filenames.json", None, r"filenames\.json: missing"),
        ("../filenames.json", b'["Shoes/a.jpg",', r"filenames\.json, line 1: .*is not a photo"),
        ("class_tripletlist_train.txt", None, "holds no tripletlists"),
    ],
)
def test_broken_lists(tmp_path: Path, file: str, content: bytes | None, message: str) -> None:
    source, lists = make_folder(tmp_path), make_lists(tmp_path / "csn")
    target = lists / "tripletlists" / file
    if content is None:
        target.unlink()
    else:
        target.write_bytes(content)
    with pytest.raises(AgmanError, match=message):
        run(source, tmp_path / "out", triplets=lists)
    assert not (tmp_path / "out").exists()


def test_a_blank_line_of_the_name_list_keeps_the_numbers(tmp_path: Path) -> None:
    source = make_folder(tmp_path)
    lists = make_lists(tmp_path / "csn", names=[*PATHS[:7], "", *PATHS[8:]])
    with pytest.raises(AgmanError, match=r"_tripletlist_train\.txt, line \d+: '.*\b7\b.*' names"):
        run(source, tmp_path / "out", triplets=lists)


# --------------------------------------------------------------------------- from the metadata


def of_image() -> dict[str, dict[str, set[str]]]:
    columns = HEADER.split(",")
    return {
        IDS[n]: {
            a: set(meta_row(n)[columns.index(c)].split(";")) - {""} for a, c in COLUMNS.items()
        }
        for n in range(N)
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    base = tmp_path_factory.mktemp("made")
    return base / "out", run(
        make_folder(base), base / "out", caps={"train": 402, "valid": 9, "test": 41}
    )


def test_made_triplets_share_as_they_must_and_stay_in_their_split(
    made: tuple[Path, dict[str, Any]],
) -> None:
    dataset, values = PreparedDataset.load(made[0]), of_image()
    split = dict(zip(dataset.images["image"], dataset.images["split"], strict=True))
    assert set(split) == set(IDS)
    table = dataset.triplets
    assert table is not None
    assert not table.duplicated().any()
    for row in table.itertuples():
        a, n, p = (
            values[str(i)][str(row.attribute)] for i in (row.anchor, row.negative, row.positive)
        )
        assert a & p
        assert n
        assert not a & n
        assert row.anchor != row.positive
        assert {split[str(i)] for i in (row.anchor, row.negative, row.positive)} == {row.split}


def test_made_triplets_reach_their_caps_and_no_further(made: tuple[Path, dict[str, Any]]) -> None:
    report = made[1]
    assert report["triplets"]["train"] == {"class": 101, "closure": 101, "gender": 100, "heel": 100}
    assert sum(report["triplets"]["valid"].values()) <= 9
    assert report["triplets"]["test"] == {"class": 11, "closure": 10, "gender": 10, "heel": 10}
    assert report == json.loads((made[0] / "prepare_report.json").read_text(encoding="utf-8"))
    assert "made from" not in summary(report)
    assert "triplets from meta-data.csv" in summary(report)


def test_no_product_and_no_image_is_in_two_splits(made: tuple[Path, dict[str, Any]]) -> None:
    images = PreparedDataset.load(made[0]).images
    assert images["image"].is_unique
    product = images["image"].str.partition(".")[0]
    assert images.groupby(product)["split"].nunique().max() == 1
    assert images["split"].value_counts().to_dict() == {"train": 42, "test": 12, "valid": 6}


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_split_shares(sizes: list[int], seed: int) -> None:
    images = [f"{p}.{c}" for p, size in enumerate(sizes) for c in range(size)]
    split = split_products(images, np.random.default_rng(seed))
    n_train, n_valid = (split == "train").sum(), (split == "valid").sum()
    assert 0.7 * len(images) <= n_train < 0.7 * len(images) + max(sizes)
    assert 0.8 * len(images) <= n_train + n_valid < 0.8 * len(images) + max(sizes)


def test_the_seed_decides(tmp_path: Path, made: tuple[Path, dict[str, Any]]) -> None:
    source, caps = make_folder(tmp_path), {"train": 402, "valid": 9, "test": 41}
    run(source, tmp_path / "same", caps=caps)
    run(source, tmp_path / "other", caps=caps, seed=1)
    assert written(tmp_path / "same") == written(made[0]) != written(tmp_path / "other")


def test_the_seed_decides_the_triplets_of_one_split() -> None:
    values = [{a: tuple(v) for a, v in image.items()} for image in of_image().values()]
    split = np.array(["train", "valid", "test"] * (N // 3))
    caps = dict.fromkeys(SPLITS, 40)
    one, same, other = (draw_triplets(values, split, caps, seed) for seed in (0, 0, 1))
    assert one.equals(same)
    assert not one.equals(other)


def test_exhausted_data_give_every_triplet_once(tmp_path: Path) -> None:
    report = run(make_folder(tmp_path), tmp_path / "out", caps={"valid": 100_000})
    dataset, values = PreparedDataset.load(tmp_path / "out"), of_image()
    valid = dataset.images.loc[dataset.images["split"].eq("valid"), "image"].tolist()
    for attribute, count in report["triplets"]["valid"].items():
        v = {i: values[i][attribute] for i in valid if values[i][attribute]}
        every = sum(
            bool(v[a] & v[p]) and a != p and not v[a] & v[n] for a in v for p in v for n in v
        )
        assert count == every


def test_metadata_quirks_are_counted_and_named(tmp_path: Path) -> None:
    rows = [meta_row(n) for n in range(N)]
    rows[7] = [shoe(7)[0], "Shoes", "Oxfords", "NA", "", " Buckle ;;Buckle; Zipper", "", "", ""]
    rows += [meta_row(2), ["9999-9", "Shoes", "Oxfords", *[""] * 6]]
    source = make_folder(tmp_path, meta=b"\xef\xbb\xbf" + metadata(rows))
    (source / PATHS[0]).with_name("5.5.jpg").write_bytes(jpeg())
    report = run(source, tmp_path / "out", max_missing=0.02)
    notes = report["notes"]
    assert notes["second line of an image in meta-data.csv"]["names"] == [f"line 62: {shoe(2)[0]}"]
    assert notes["photo missing"]["names"] == ["line 63: 9999-9"]
    assert notes["photo not listed"]["names"] == ["5.5"]
    labels = PreparedDataset.load(tmp_path / "out").labels
    of_7 = labels[labels["image"].eq(IDS[7])]
    assert list(zip(of_7["attribute"], of_7["value"], strict=True)) == [
        ("class", "Shoes"),
        ("closure", "Buckle"),
        ("closure", "Zipper"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEADER}\n1-1,Shoes,Oxfords,,,,Men,\n", "m, line 2: 8 fields where the header has 9"),
        (f'{HEADER}\n1-1,Shoes,"Ox\nfords",,,,Men,,\n', "m, line 3: .*spans lines"),
        (f'{HEADER}\n1-1,Shoes,"Oxfords,,,,Men,,\n', "m, line 2: "),
        ("CID,Category,SubCategory,Closure\n", "m, line 1: lacks the columns Gender, HeelHeight"),
        ("", "m, line 1: lacks the columns"),
    ],
)
def test_broken_metadata(text: str, message: str) -> None:
    with pytest.raises(AgmanError, match=message):
        parse_metadata(text, "m")


def test_metadata_from_its_zip(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "ut-zap50k-images.zip")
    with zipfile.ZipFile(tmp_path / "ut-zap50k-data.zip", "w") as archive:
        archive.writestr("ut-zap50k-data/meta-data.csv", metadata())
    run(source, tmp_path / "out", caps={"train": 30, "valid": 8, "test": 8})
    assert len(PreparedDataset.load(tmp_path / "out").images) == N


# --------------------------------------------------------------------------- unfit sources


def test_half_a_download_is_refused_unless_asked_for(tmp_path: Path) -> None:
    source = make_folder(tmp_path, PATHS[:40])
    with pytest.raises(AgmanError, match=r"meta-data\.csv, line 42: 1020-1: .* 19 others of 60"):
        run(source, tmp_path / "out")
    report = run(source, tmp_path / "out", max_missing=1)
    assert sum(report["images"].values()) == 40
    assert "40 photos in the download: 49,985 fewer than the published 50,025" in summary(report)


def test_half_a_zip_is_refused(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "ut-zap50k-images.zip")
    (tmp_path / "meta-data.csv").write_bytes(metadata())
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(AgmanError, match="truncated or damaged zip"):
        run(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unreadable_photos_of_a_zip_do_not_stay(tmp_path: Path) -> None:
    broken = PATHS[0].replace("1000.1", "999.1")
    source = make_zip(tmp_path / "z.zip", {f"ut-zap50k-images/{broken}": jpeg()[:50]})
    row = ["999-1", *meta_row(0)[1:]]
    (tmp_path / "meta-data.csv").write_bytes(metadata([row, *(meta_row(n) for n in range(N))]))
    report = run(source, tmp_path / "out", max_missing=0.02)
    assert report["notes"]["photo unreadable"]["names"] == ["line 2: 999-1"]
    assert len(list((tmp_path / "out/images").rglob("*.jpg"))) == N


def test_wrong_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday/1.jpg").write_bytes(jpeg())
    with pytest.raises(AgmanError, match=r"holiday: holds no photos below Boots"):
        run(tmp_path / "holiday", tmp_path / "out")
    with pytest.raises(AgmanError, match=r"nowhere: no such file or folder; get ut-zap50k"):
        run(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(AgmanError, match="caps name train, valid, test"):
        run(tmp_path, tmp_path / "out", caps={"training": 3})


def test_a_zip_that_climbs_out_is_refused(tmp_path: Path) -> None:
    evil = {"ut-zap50k-images/Shoes/../../../evil.jpg": jpeg()}
    with pytest.raises(AgmanError, match="would leave the folder"):
        run(make_zip(tmp_path / "z/ut-zap50k-images.zip", evil), tmp_path / "out")
    assert not list(tmp_path.rglob("evil.jpg"))


def test_too_few_images_for_a_split(tmp_path: Path) -> None:
    source = make_folder(tmp_path, PATHS[:6], metadata([meta_row(n) for n in range(6)]))
    with pytest.raises(AgmanError, match=r"no triplet for the split \w+, which has \d usable"):
        run(source, tmp_path / "out")


def test_photos_of_one_name_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    paths = ["Shoes/Oxfords/A./7.1.jpg", "Boots/Ankle/B/7.1.jpg", "Boots/Ankle/B/8.1.jpg"]
    photos = read_photos(make_folder(tmp_path, [*paths, "Shoes/Oxfords/A/7.1.jpg"]))
    assert len(photos.repeated) == 1  # A and A. are the same folder on Windows
    shoe_7, boot_7 = photos.find(paths[0]), photos.find(paths[1])
    assert shoe_7 != boot_7
    assert photos.find("Sandals/Flat/A/7.1.jpg") is None
    assert photos.find_cid("7-1", "Boots/Ankle") == boot_7
    assert photos.find_cid("7-1", "Shoes/Oxfords") == shoe_7
    assert photos.find_cid("8-1", "Sandals/Flat") == "8.1"


@given(st.text(st.sampled_from('ab. "?*<>|'), min_size=1, max_size=8))
def test_the_rename_for_windows_can_be_turned_back(brand: str) -> None:
    path = f"Shoes/Oxfords/{brand}/1.1.jpg"
    renamed = portable(path)
    assert unquote(renamed) == path
    assert not any(f.endswith((".", " ")) for f in renamed.split("/")[:-1])
    assert not set(renamed) & set('<>"|?*')
    assert plain(renamed) == plain(path)
