"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agman_lib.errors import AgmanError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary name, flushed to disk, then renamed."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all; numbers exactly as computed."""
    write_whole(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def refuse_existing(out: Path) -> None:
    """Raise AgmanError when a folder to be made exists and is not empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AgmanError(f"{out}: exists already; choose another --out or remove it first")


@contextmanager
def whole_folder(out: Path, check: Callable[[Path], Any] | None = None) -> Iterator[Path]:
    """A temporary folder beside ``out`` that becomes ``out`` when the block ends well.

    When anything fails, nothing is left.

    Args:
        check: called with the temporary folder before it takes its name.

    Raises:
        AgmanError: ``out`` exists and is not an empty folder.
    """
    refuse_existing(out)
    partial = out.parent / f"{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if check is not None:
            check(partial)
        if out.exists():
            out.rmdir()
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
