"""ASEN's split files: the published ones, their quirks, and every broken line named."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agman_lib.base.errors import AgmanError
from data_prep.common.asen_lines import Rows
from data_prep.common.asen_splits import (
    find_splits,
    ranks,
    read_filenames,
    read_global_labels,
    read_labels,
    read_pairs,
    read_schema,
    read_split,
    read_splits,
)
from data_prep.deepfashion.rules import global_ids

SCHEMA = {"length": 3, "collar": 2}
TYPES = np.array([3, 1, 2, 1, 5, 4])


def rows_of(rows: Rows) -> list[tuple[int, int, int, int]]:
    arrays = (rows.line, rows.image, rows.attribute, rows.value)
    return [tuple(map(int, row)) for row in zip(*arrays, strict=True)]


def write(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


# --------------------------------------------------------------------------- the format


def test_quirks_of_the_published_files(tmp_path: Path) -> None:
    names = write(tmp_path / "n.txt", "a/b c.jpg\r\nimg/1.jpg\r\nimg/1.jpg")
    assert read_filenames(names) == ["a/b c.jpg", "img/1.jpg", "img/1.jpg"]
    labels = write(tmp_path / "l.txt", "\ufeff0 0 2\r\n2 1 1 0 0\t\t\r\n1 0 1")
    assert rows_of(read_labels(labels, 3, SCHEMA)) == [
        (1, 0, 0, 2),
        (2, 2, 1, 1),
        (2, 2, 0, 0),
        (3, 1, 0, 1),
    ]
    pairs = write(tmp_path / "p.txt", "2 0 2\n0 1 1\n\n")
    assert rows_of(read_pairs(pairs, 3, SCHEMA)) == [(1, 2, 0, 2), (2, 0, 1, 1)]
    many = write(tmp_path / "g.txt", "0\t3\t0\t1\t3\t\t\t\r\n1\t5\t4\t\t\r\n")
    expected = [(1, 0, 2, 0), (1, 0, 0, 3), (2, 1, 4, 4)]
    assert rows_of(read_global_labels(many, 2, TYPES)) == expected
    assert rows_of(read_global_labels(many, 2)) == expected


def test_ranks_and_their_inverse() -> None:
    assert ranks(TYPES).tolist() == [0, 0, 0, 1, 0, 0]
    assert global_ids(TYPES - 1, ranks(TYPES), TYPES).tolist() == [0, 1, 2, 3, 4, 5]


LABELS = "0 0 1\n1 1 0\n2 0 2\n"
BROKEN_LABELS = [
    ("3 0 1", "line 2: index 3 is not below 3"),
    ("1 2 0", "line 2: attribute 2 is not below 2"),
    ("1 1 2", r"line 2: value 2 of attribute 1 \(collar\) is not below 2"),
    ("1 1", "line 2: has 2 numbers"),
    ("1", "line 2: has 1 numbers"),
    ("1 1 0 0", "line 2: has 4 numbers"),
    ("0 1 0", "line 2: index 0 stands on line 1 already"),
    ("1 -1 0", "line 2: .*whole numbers"),
    ("1 1.0 0", "line 2: .*whole numbers"),
    ("1\r1 0", "line 2: .*whole numbers"),
    ("1 1 \u0661", "line 2: .*whole numbers"),
    ("1 1 99999999999999999999", "line 2: .*whole numbers"),
    ("", "line 2: .*whole numbers"),
]


@pytest.mark.parametrize(("line", "say"), BROKEN_LABELS)
def test_broken_labels_are_named(tmp_path: Path, line: str, say: str) -> None:
    file = write(tmp_path / "some.txt", LABELS.replace("1 1 0", line))
    for read in (read_labels, read_pairs):
        with pytest.raises(AgmanError, match=f"some.txt, {say}.*restore"):
            read(file, 3, SCHEMA)


@pytest.mark.parametrize(
    ("line", "say"),
    [
        ("1\t6\t2", "type 6 not 1..5"),
        ("1\t0\t2", "type 0 not 1..5"),
        ("1\t2\t6", "attribute id 6 is not below 6"),
        ("1\t1\t2", "attribute id 2 has type 2, not 1"),
        ("1\t2\t2\t2\t2", "the pair 2 2 stands twice"),
    ],
)
def test_broken_global_labels_are_named(tmp_path: Path, line: str, say: str) -> None:
    file = write(tmp_path / "g.txt", f"0\t3\t0\n{line}\n")
    with pytest.raises(AgmanError, match=f"g.txt, line 2: {say}"):
        read_global_labels(file, 2, TYPES)


def test_an_id_of_two_types_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "g.txt", "0\t3\t7\n1\t4\t7\n")
    with pytest.raises(AgmanError, match="line 2: attribute id 7 has type 3, not 4"):
        read_global_labels(file, 2)


@pytest.mark.parametrize(
    "line", ["/a.jpg", "a/../b.jpg", "a//b", "C:/a", "a\\b", " a", "a ", "", "a\tb", "./a"]
)
def test_broken_filenames_are_named(tmp_path: Path, line: str) -> None:
    file = write(tmp_path / "filenames_valid.txt", f"x.jpg\n{line}\ny.jpg\n")
    with pytest.raises(AgmanError, match=r"filenames_valid\.txt, line 2: "):
        read_filenames(file)
    with pytest.raises(AgmanError, match=r"filenames_valid\.txt, line 1: .*UTF-8"):
        read_filenames(write(file, b"\xff.jpg\n"))
    with pytest.raises(AgmanError, match=r"filenames_valid\.txt: is empty"):
        read_filenames(write(file, "\r\n\n"))


# --------------------------------------------------------------------------- properties

ODD = st.text(alphabet="0123456789 \t\r-+._x\u0663\u00a0\ufeff\x0b", max_size=12)
NEAR = st.lists(st.integers(0, 6), min_size=1, max_size=6).map(lambda n: " ".join(map(str, n)))
GOOD = ["0 0 1", "1 1 0", "2 0 2", "4 1 1", "5 0 0"]
GOOD_GLOBAL = ["0 3 0", "1 1 1 1 3", "2 2 2", "4 5 4", "5 4 5"]


def by_hand(lines: list[str]) -> list[tuple[int, int, int, int]]:
    """What the lines say, read as plainly as can be."""
    while not lines[-1].strip("\r \t"):
        lines = lines[:-1]
    rows = []
    for number, line in enumerate(lines, 1):
        image, *rest = (int(field) for field in re.split(r"[ \t]+", line.strip("\r \t")))
        rows += [(number, image, rest[i], rest[i + 1]) for i in range(0, len(rest), 2)]
    return rows


@settings(max_examples=250, deadline=None)
@given(
    reader=st.sampled_from(["labels", "pairs", "global"]),
    at=st.integers(0, 4),
    line=st.one_of(ODD, NEAR, st.sampled_from(GOOD + GOOD_GLOBAL)),
    ending=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
)
def test_a_corrupted_line_is_named_or_means_what_it_says(
    reader: str, at: int, line: str, ending: str, last: bool
) -> None:
    read: Callable[[Path], Rows] = {
        "labels": lambda f: read_labels(f, 6, SCHEMA),
        "pairs": lambda f: read_pairs(f, 6, SCHEMA),
        "global": lambda f: read_global_labels(f, 6, TYPES),
    }[reader]
    lines = list(GOOD_GLOBAL if reader == "global" else GOOD)
    lines[at] = line
    with tempfile.TemporaryDirectory() as folder:
        text = ending.join(lines) + (ending if last else "")
        file = write(Path(folder) / "some.txt", text)
        try:
            rows = read(file)
        except AgmanError as refused:
            error = str(refused)
        else:
            error = ""
    if error:
        assert "some.txt, line " in error
        assert f"line {at + 1}" in error
        return
    said = by_hand(lines)
    down = 1 if reader == "global" else 0
    assert rows_of(rows) == [(n, image, a - down, v) for n, image, a, v in said]
    assert len({(image, a, v) for _, image, a, v in said}) == len(said)
    assert len({image for _, image, _, _ in said}) == len({n for n, *_ in said})
    for _, image, attribute, value in said:
        assert image < 6
        if reader == "global":
            assert TYPES[value] == attribute
        else:
            assert value < list(SCHEMA.values())[attribute]


@settings(max_examples=150, deadline=None)
@given(
    line=st.one_of(st.text(max_size=12), st.from_regex(r"[ab./\\ ]{0,8}", fullmatch=True)),
    at=st.integers(0, 2),
)
def test_a_corrupted_filename_is_named_or_kept_as_it_is(line: str, at: int) -> None:
    line = line.replace("\n", "").encode("utf-8", errors="replace").decode()
    lines = ["a/1.jpg", "a/2.jpg", "b/1.jpg"]
    lines[at] = line
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder) / "filenames_x.txt", "\n".join(lines) + "\n")
        try:
            paths = read_filenames(file)
        except AgmanError as refused:
            error = str(refused)
        else:
            error = ""
    if error:
        assert f"filenames_x.txt, line {at + 1}" in error
        return
    if at == 2 and not line.strip():
        lines = lines[:2]
    plain = [text.removeprefix("\ufeff").removesuffix("\r") for text in lines]
    assert paths == plain
    assert not any(p.startswith("/") or {"..", ".", ""} & set(p.split("/")) for p in paths)


# --------------------------------------------------------------------------- whole splits


def make_split(folder: Path) -> Path:
    folder.mkdir()
    write(folder / "filenames_valid.txt", "a.jpg\nb.jpg\nc.jpg\n")
    write(folder / "query_valid.txt", "1 0 2\n")
    write(folder / "candidate_valid.txt", "0 0 2\n2 1 1\n")
    write(folder / "label_train.txt", "0 0 0\n")
    return folder


def test_a_split_joins_paths_roles_and_labels(tmp_path: Path) -> None:
    folder = make_split(tmp_path / "Toy")
    assert find_splits(tmp_path, "Toy") == folder == find_splits(folder, "Toy")
    splits = read_splits(tmp_path, "Toy", SCHEMA)
    assert list(splits) == ["valid"]  # labels without their filenames are of no use
    table = splits["valid"].table()
    assert table[["path", "role", "attribute", "value", "line"]].to_numpy().tolist() == [
        ["b.jpg", "query", 0, 2, 1],
        ["a.jpg", "candidate", 0, 2, 1],
        ["c.jpg", "candidate", 1, 1, 2],
    ]


def test_an_image_is_query_or_candidate(tmp_path: Path) -> None:
    folder = make_split(tmp_path / "Toy")
    write(folder / "candidate_valid.txt", "0 0 2\n1 1 1\n")
    with pytest.raises(AgmanError, match=r"candidate_valid\.txt, line 2: index 1 is a query"):
        read_split(folder, "valid", SCHEMA)


def test_half_a_split_is_refused(tmp_path: Path) -> None:
    folder = make_split(tmp_path / "Toy")
    (folder / "query_valid.txt").unlink()
    with pytest.raises(AgmanError, match=r"query_valid\.txt: cannot be read"):
        read_splits(folder, "Toy", SCHEMA)
    with pytest.raises(AgmanError, match=r"has no filenames_train\.txt"):
        find_splits(tmp_path, "Other")


def test_meta_must_agree(tmp_path: Path) -> None:
    make_split(tmp_path / "Toy")
    meta = {"Toy": {"ATTRIBUTES": ["length", "collar"], "ATTRIBUTES_NUM": dict(SCHEMA)}}
    file = write(tmp_path / "meta.json", json.dumps(meta))
    assert read_schema(file, "Toy") == SCHEMA
    assert read_splits(tmp_path, "Toy", SCHEMA)
    with pytest.raises(AgmanError, match=r"meta\.json: its attributes of Toy"):
        read_splits(tmp_path, "Toy", {"length": 3, "collar": 3})
    with pytest.raises(AgmanError, match=r"meta\.json: gives no ATTRIBUTES"):
        read_schema(file, "Other")
    for broken in ({"length": 3}, {"length": 3, "collar": "2"}, {**SCHEMA, "x": 1}):
        meta["Toy"]["ATTRIBUTES_NUM"] = broken
        write(file, json.dumps(meta))
        with pytest.raises(AgmanError, match=r"meta\.json: .*ATTRIBUTES_NUM.*restore"):
            read_schema(file, "Toy")
