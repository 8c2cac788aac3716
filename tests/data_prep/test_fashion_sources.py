"""Zip, folder and parquet give the same prepared data; what cannot be used leaves nothing."""

from __future__ import annotations

import errno
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fashion_miniature import (
    HEADER,
    jpeg,
    make_folder,
    make_parquet,
    make_zip,
    row,
    run,
    tables,
)

from agman_lib.base.errors import AgmanError
from data_prep.fashion_products.downloads import COLUMNS


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    base = tmp_path_factory.mktemp("mini")
    report = run(make_zip(base / "archive.zip"), base / "out")
    return base / "out", report


def test_all_sources_give_the_same_tables(
    prepared: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    expected = tables(prepared[0])
    make_folder(tmp_path / "nested" / "myntradataset")
    sources = {
        "folder": make_folder(tmp_path / "raw"),
        "nested": tmp_path / "nested",
        "zip": make_zip(tmp_path / "nested.zip", "myntradataset/"),
    }
    for name, source in sources.items():
        run(source, tmp_path / f"out-{name}")
        assert tables(tmp_path / f"out-{name}") == expected, name


def test_a_folder_is_referenced_not_copied(tmp_path: Path) -> None:
    run(make_folder(tmp_path / "raw"), tmp_path / "out")
    about = json.loads((tmp_path / "out/dataset.json").read_text())
    assert about["image_root"] == str((tmp_path / "raw/images").resolve())
    assert not (tmp_path / "out/images").exists()
    assert len(list((tmp_path / "raw/images").iterdir())) == 126  # nothing was removed there


def test_the_copy_inside_kaggles_zip_is_ignored(
    prepared: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    source = make_zip(tmp_path / "archive.zip")
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("myntradataset/styles.csv", HEADER)
        archive.writestr("myntradataset/images/1001.jpg", b"other")
    run(source, tmp_path / "out")
    assert tables(tmp_path / "out") == tables(prepared[0])


@pytest.mark.parametrize("where", ["one.parquet", "folder/a.parquet", "folder/data/a.parquet"])
def test_parquet(prepared: tuple[Path, dict[str, Any]], tmp_path: Path, where: str) -> None:
    file = make_parquet(tmp_path / where)
    report = run(tmp_path / where.split("/")[0], tmp_path / "out")
    assert tables(tmp_path / "out") == tables(prepared[0])
    assert report["rows"]["left_out"]["no image file"]["ids"] == ["2"]
    assert report["attributes"]["usage"][""]["status"] == "no label"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(AgmanError, match="parquet"):
        run(file, tmp_path / "again")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(AgmanError, match=r"pip install 'agman-lib\[parquet\]'"):
        run(tmp_path / "a.parquet", tmp_path / "out")


def test_a_parquet_id_cannot_leave_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    table = pd.DataFrame([row(0, id="../../evil")], columns=COLUMNS)
    table["image"] = [{"bytes": jpeg(), "path": None}]
    table.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(AgmanError, match="evil"):
        run(tmp_path / "a.parquet", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong/images").mkdir()
    (tmp_path / "wrong/styles.csv").write_text("id,colour\n1,red\n")
    for name, message in {
        "gone.zip": "no such file",
        "empty": r"neither styles\.csv",
        "wrong": r"styles\.csv, line 1: the columns must be id,",
    }.items():
        with pytest.raises(AgmanError, match=message):
            run(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("damage", ["truncated", "climbs", "full disk"])
def test_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    source = make_zip(tmp_path / "archive.zip")
    if damage == "truncated":
        source.write_bytes(source.read_bytes()[:5000])
    elif damage == "climbs":
        with zipfile.ZipFile(source, "a") as archive:
            archive.writestr("images/../../evil.jpg", jpeg())
    else:
        fill_disk(monkeypatch, after=30)
    with pytest.raises(AgmanError) as error:
        run(source, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [source]


def fill_disk(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let writing fail as a full disk does, once ``after`` files are written."""
    write, written = Path.write_bytes, []

    def write_a_few(path: Path, content: bytes) -> int:
        if len(written) == after:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_a_few)
