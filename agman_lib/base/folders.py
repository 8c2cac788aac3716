"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agman_lib.base.errors import AgmanError

MARKER = "unfinished.txt"
MARKED = "The command agman was filling this folder. If it no longer runs, this may be deleted.\n"


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
    """Raise AgmanError when a folder to be made exists and is not empty, or cannot be made."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if _is_ours(_hidden(out)):  # killed when only that was still to be removed
            _remove(_hidden(out))
        raise AgmanError(f"{out}: already exists; choose another --out or remove it first")
    above = next(p for p in out.absolute().parents if p.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise AgmanError(
            f"{out}: cannot be created: {above} is not a folder that you may write to; "
            "choose another --out"
        )


@contextmanager
def whole_folder(out: Path, check: Callable[[Path], Any] | None = None) -> Iterator[Path]:
    """A folder to fill that becomes ``out`` when the block ends well.

    When anything fails, nothing is left. Until then it lies in a hidden folder beside ``out``,
    which a file in it marks as ours: so what a killed process left behind is removed by the next
    one, and nothing else ever is. One process at a time may make the same ``out``.

    Args:
        check: called with the filled folder before it takes its name.

    Raises:
        AgmanError: ``out`` exists and is not an empty folder or cannot be made; or something that
            is not ours has the hidden folder's name.
    """
    refuse_existing(out)
    hidden = _hidden(out)
    if hidden.exists() and not _is_ours(hidden):
        raise AgmanError(f"{hidden}: is in the way; move it, or choose another --out")
    _remove(hidden)
    content = hidden / "content"
    try:
        hidden.mkdir(parents=True)
        (hidden / MARKER).write_text(MARKED, encoding="utf-8")
        content.mkdir()
        yield content
        if check is not None:
            check(content)
        if out.exists():
            out.rmdir()
        os.replace(content, out)
    finally:
        _remove(hidden)


def _hidden(out: Path) -> Path:
    return out.parent / f".{out.name}.agman-unfinished"


def _is_ours(hidden: Path) -> bool:
    """Whether `whole_folder` made it: it is marked, or empty (a kill struck before the mark)."""
    inside = {p.name for p in hidden.iterdir()} if hidden.is_dir() else {""}
    return not hidden.is_symlink() and (not inside or MARKER in inside)


def _remove(hidden: Path) -> None:
    """Remove a folder of ours, its mark last: a removal that is broken off can be gone on with."""
    shutil.rmtree(hidden / "content", ignore_errors=True)
    if not (hidden / "content").exists():
        shutil.rmtree(hidden, ignore_errors=True)
