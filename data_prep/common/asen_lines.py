"""The line reader beneath `asen_splits`: every line is numbers as it should be, or named."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError

RESTORE = "restore the published file"
# Nine digits hold every real number and keep a damaged line from becoming a huge one.
_NUMBERS = re.compile(rb"[ \t]*[0-9]{1,9}(?:[ \t]+[0-9]{1,9})*[ \t]*")


@dataclass(frozen=True)
class Rows:
    """The labels of one file, one (attribute, value) a row; all arrays int64 (L,).

    ``image`` indexes the split's filenames; ``line`` counts the file's lines from 1.
    """

    file: Path
    line: np.ndarray
    image: np.ndarray
    attribute: np.ndarray
    value: np.ndarray

    def __len__(self) -> int:
        return len(self.image)


def lines_of(file: Path) -> list[bytes]:
    """The lines without their ends; empty ones at the very end do not count."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise AgmanError(f"{file}: cannot be read ({error.strerror}); {RESTORE}") from None
    content = content.removeprefix(b"\xef\xbb\xbf")
    lines = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise AgmanError(f"{file}: is empty; {RESTORE}")
    return lines


def broken(file: Path, line: int, say: str) -> AgmanError:
    """The error for one line of a file, counted from 1."""
    return AgmanError(f"{file}, line {line}: {say}")


def refuse(rows: Rows, bad: np.ndarray, say: Callable[[int], str]) -> None:
    """Raise for the first bad row; ``say(i)`` tells what is wrong."""
    if len(found := np.flatnonzero(bad)):
        raise broken(rows.file, rows.line[found[0]], f"{say(found[0])}; {RESTORE}")


def read_rows(file: Path, n_files: int, pairs: int | None = None) -> Rows:
    """Lines of an index and pairs of numbers; the index is in range and on one line only."""
    flat, images, counts = [], [], []
    form = "fileIndex attr value" + ("" if pairs else " [attr value ...]")
    for number, line in enumerate(lines_of(file), 1):
        if not _NUMBERS.fullmatch(line):
            say = f"{line[:60]!r} must be whole numbers, {form}; {RESTORE}"
            raise broken(file, number, say)
        image, *rest = map(int, line.split())
        if not rest or len(rest) % 2 or (pairs and len(rest) != 2 * pairs):
            say = f"has {1 + len(rest)} numbers where {form} is needed; {RESTORE}"
            raise broken(file, number, say)
        images.append(image)
        counts.append(len(rest) // 2)
        flat += rest
    each = np.array(images, np.int64)
    lines = np.arange(1, len(each) + 1)
    one = Rows(file, lines, each, each, each)
    refuse(one, each >= n_files, lambda i: f"index {each[i]} is not below {n_files}, the files")
    again = pd.Series(each).duplicated().to_numpy()
    earlier = "index {} stands on line {} already"
    refuse(one, again, lambda i: earlier.format(each[i], lines[each == each[i]][0]))
    labels = np.array(flat, np.int64).reshape(-1, 2)
    return Rows(file, lines.repeat(counts), each.repeat(counts), labels[:, 0], labels[:, 1])


def check_repeats(rows: Rows) -> None:
    """No label twice on a line."""
    table = pd.DataFrame({"image": rows.image, "a": rows.attribute, "v": rows.value})
    say = "the pair {} {} stands twice"
    refuse(
        rows,
        table.duplicated().to_numpy(),
        lambda i: say.format(rows.attribute[i], rows.value[i]),
    )
