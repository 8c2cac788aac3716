"""Downloads in their containers: zip archives, parquet files, and the photos that come out.

Shared by all data sets. What a download contains is not trusted: no member leaves its folder.
"""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from agman_lib.base.errors import AgmanError
from agman_lib.base.progress import bar
from agman_lib.data.images import decode_each

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError)


# --------------------------------------------------------------------------- zip archives


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a downloaded zip archive whose every member is safe to unpack.

    Raises:
        AgmanError: there is no such file, it is no zip archive or a truncated one, or a member is
            encrypted, a link, or would leave the folder it is unpacked to.
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise AgmanError(f"{path}: no such file; download it first") from None
    except OSError as error:
        raise AgmanError(f"{path}: cannot be read ({error.strerror})") from None
    except _DAMAGED:
        with open(path, "rb") as file:
            is_zip = file.read(2) == b"PK"
        found = "a truncated or damaged zip archive" if is_zip else "not a zip archive"
        raise AgmanError(f"{path}: {found}; download it again") from None
    with archive:
        for member in archive.infolist():
            _check_member(path, member)
        yield archive


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    safe_name(member.filename, str(path))
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise AgmanError(
            f"{path}: member {member.filename!r} is a link or device, which is never unpacked; "
            "get the archive from its original source"
        )
    if member.flag_bits & 1:
        raise AgmanError(f"{path}: member {member.filename!r} is encrypted; unpack it by hand")


def safe_name(name: str, where: str) -> str:
    """A member's relative path with forward slashes.

    Raises:
        AgmanError: the name is empty, absolute, has a drive letter, or climbs out by "..".
    """
    clean = name.replace("\\", "/")
    parts = clean.split("/")
    if not clean or clean.startswith("/") or ".." in parts or re.search(r"[:\x00-\x1f]", clean):
        raise AgmanError(
            f"{where}: the name {name!r} would leave the folder it is unpacked to; "
            "get the archive from its original source"
        )
    return clean


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes, their checksum (CRC) verified.

    Raises:
        AgmanError: the member is damaged.
    """
    try:
        return archive.read(name)
    except _DAMAGED as error:
        raise AgmanError(
            f"{archive.filename}: member {name!r} is damaged ({error}); download it again"
        ) from None


def extract(
    archive: zipfile.ZipFile, targets: Mapping[str, str], folder: Path, progress: bool = True
) -> None:
    """Unpack members under other names, the checksum (CRC) of each verified.

    Args:
        archive: from `open_zip`.
        targets: name in the archive -> path relative to ``folder``.
        folder: made where it is missing.
        progress: show a progress bar.

    Raises:
        AgmanError: a member is damaged, a target leaves the folder, or the disk is too full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    need = sum(archive.getinfo(name).file_size for name in targets)
    if need > (free := shutil.disk_usage(folder).free):
        raise AgmanError(
            f"{folder}: unpacking needs {need / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
            "free some space or choose another --out"
        )
    for name, target in bar(targets.items(), "unpacking" if progress else None):
        write_file(folder / safe_name(target, str(archive.filename)), read_member(archive, name))


def write_file(path: Path, content: bytes) -> None:
    """Write a file and the folders above it. Raises AgmanError, for instance on a full disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise AgmanError(
            f"{path}: cannot be written ({error.strerror}); free some space or choose another --out"
        ) from None


# --------------------------------------------------------------------------- parquet


def read_parquet(files: list[Path], columns: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of parquet files one by one, read in small batches so that memory stays flat.

    Raises:
        AgmanError: pyarrow is not installed, a file is damaged, or a column is missing.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise AgmanError(
            f"{files[0]}: reading parquet needs pyarrow; pip install 'agman-lib[parquet]'"
        ) from None
    for file in files:
        try:
            table = parquet.ParquetFile(file)
        except (OSError, ValueError) as error:
            raise AgmanError(
                f"{file}: not a readable parquet file ({error}); download it again"
            ) from None
        with table:
            if missing := [c for c in columns if c not in table.schema_arrow.names]:
                raise AgmanError(f"{file}: lacks the columns {', '.join(missing)}")
            batches = table.iter_batches(batch_size=512, columns=columns)
            try:
                for batch in batches:
                    yield from batch.to_pylist()
            except (OSError, ValueError) as error:
                raise AgmanError(f"{file}: damaged ({error}); download it again") from None


# --------------------------------------------------------------------------- photos


def undecodable(paths: list[Path], progress: bool = True) -> set[Path]:
    """The files among ``paths`` that `decode_each` refuses; every one is really decoded."""
    # what waits in a pool takes memory, so photos go there by the thousand
    parts = (paths[i : i + 1024] for i in range(0, len(paths), 1024))
    faults = chain.from_iterable(decode_each(part, lambda photo: None) for part in parts)
    both = zip(paths, faults, strict=True)
    title = "decoding photos" if progress else None
    return {path for path, fault in bar(both, title, total=len(paths), unit="photo") if fault}
