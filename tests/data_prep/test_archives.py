"""Hostile, damaged and truncated downloads end in one clear line."""

from __future__ import annotations

import io
import shutil
import stat
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from agman_lib.base.errors import AgmanError
from data_prep.common.archives import extract, open_zip, read_member, safe_name, undecodable

CONTENT = {"a.txt": b"first " * 50, "deep/b.txt": b"second " * 50}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "archive.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(name, content)
    return file


def add(source: Path, member: str | zipfile.ZipInfo, content: bytes = b"x") -> None:
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr(member, content)


def refuses(path: Path, message: str) -> None:
    with pytest.raises(AgmanError, match=message), open_zip(path):
        pass


def test_extract(source: Path, tmp_path: Path) -> None:
    with open_zip(source) as archive:
        assert read_member(archive, "a.txt") == CONTENT["a.txt"]
        extract(archive, {"deep/b.txt": "new/name.txt"}, tmp_path / "out", progress=True)
    assert (tmp_path / "out/new/name.txt").read_bytes() == CONTENT["deep/b.txt"]
    assert [p.name for p in (tmp_path / "out").rglob("*")] == ["new", "name.txt"]


@pytest.mark.parametrize(
    "name",
    ["../evil.jpg", "images/../../evil.jpg", "/evil.jpg", "C:/evil.jpg", "..\\evil.jpg", "a\nb"],
)
def test_names_that_climb_out_are_refused(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(AgmanError, match="would leave the folder"):
        safe_name(name, "here")
    with open_zip(source) as archive, pytest.raises(AgmanError, match="would leave the folder"):
        extract(archive, {"a.txt": name}, tmp_path / "out", progress=False)
    add(source, name)
    refuses(source, r"archive\.zip: .*would leave the folder")


@pytest.mark.parametrize("name", ["a.jpg", "a/b..jpg", "..a/b", "Boots.A. Co./1.jpg", "é/ü.jpg"])
def test_harmless_names_pass(name: str) -> None:
    assert safe_name(name, "here") == name


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(source: Path, kind: int) -> None:
    member = zipfile.ZipInfo("images/1.png")
    member.external_attr = (kind | 0o777) << 16
    add(source, member, b"/etc/passwd")
    refuses(source, r"'images/1\.png' is a link or device")


def test_folders_pass(source: Path) -> None:
    add(source, "images/", b"")
    with open_zip(source) as archive:
        assert "images/" in archive.namelist()


def test_encrypted_members_are_refused(source: Path) -> None:
    content = bytearray(source.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the first central entry
    source.write_bytes(content)
    refuses(source, r"'a\.txt' is encrypted")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated(source: Path, share: float) -> None:
    content = source.read_bytes()
    source.write_bytes(content[: int(len(content) * share)])
    message = r"archive\.zip: a truncated or damaged zip archive; download it again$"
    refuses(source, message)


@pytest.mark.parametrize("content", [b"", b"<html>log in</html>"])
def test_no_zip(source: Path, content: bytes) -> None:
    source.write_bytes(content)
    refuses(source, r"archive\.zip: not a zip archive; download it again$")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path, message in {
        tmp_path / "gone.zip": "no such file",
        tmp_path: "cannot be read",
    }.items():
        refuses(path, message)


def test_a_wrong_checksum_is_noticed(source: Path, tmp_path: Path) -> None:
    source.write_bytes(source.read_bytes().replace(b"second", b"sekond", 1))
    message = r"member 'deep/b\.txt' is damaged .*CRC"
    with open_zip(source) as archive, pytest.raises(AgmanError, match=message):
        extract(archive, {n: n for n in CONTENT}, tmp_path / "out", progress=False)
    assert not (tmp_path / "out/deep").exists()


def test_too_little_space_is_said_before_unpacking(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=400))
    with open_zip(source) as archive:
        extract(archive, {"a.txt": "a.txt"}, tmp_path / "out", progress=False)
        with pytest.raises(AgmanError, match="unpacking needs"):
            extract(archive, {n: f"again/{n}" for n in CONTENT}, tmp_path / "out", progress=False)
    assert not (tmp_path / "out/again").exists()


def test_undecodable_names_exactly_the_bad_files(tmp_path: Path) -> None:
    photo = io.BytesIO()
    Image.new("RGB", (4, 4)).save(photo, "JPEG")
    paths = [tmp_path / f"{n}.jpg" for n in range(200)]
    for n, path in enumerate(paths):
        path.write_bytes(b"rubbish" if n in (0, 64, 199) else photo.getvalue())
    assert undecodable(paths, progress=False) == {paths[0], paths[64], paths[199]}
    assert undecodable([], progress=False) == set()
