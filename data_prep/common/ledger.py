"""The account of a preparation: what was left out, and why, and whether the sums agree."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

NAMED = 20  # how many of each reason a report names


class Ledger:
    """What a preparation left out, or found odd, by reason; and sums that must agree.

    Args:
        reasons: those that the report always has, in this order. Others follow as they come.
        word: what the report calls the names.

    >>> rows = Ledger("no photo", "no label")
    >>> rows.add("no photo", "line 7", "line 9")
    >>> rows.balance("rows read = kept + left out", read=5, kept=3)
    >>> rows.report()
    {'no photo': {'count': 2, 'ids': ['line 7', 'line 9']}, 'no label': {'count': 0, 'ids': []}}
    >>> Ledger.lines(rows.report(), "left out, ")
    ['left out, no photo: 2 (line 7, line 9)']
    >>> rows.sums
    {'rows read = kept + left out': [5, 5]}
    """

    def __init__(self, *reasons: str, word: str = "ids") -> None:
        self._names: dict[str, list[str]] = {reason: [] for reason in reasons}
        self._word = word
        self.sums: dict[str, list[int]] = {}

    def add(self, reason: str, *names: str) -> None:
        """Enter what has this reason, each by its name."""
        if names:
            self._names.setdefault(reason, []).extend(names)

    def add_table(self, reasons: pd.Series, names: pd.Series) -> None:
        """Enter the rows of a table that have a reason; the reason "" means kept."""
        for reason, some in names.groupby(reasons, sort=False):
            if reason:
                self.add(reason, *some)

    def count(self, *reasons: str) -> int:
        """How many have one of these reasons; without any, how many there are in all."""
        return sum(len(self._names.get(reason, ())) for reason in reasons or self._names)

    def balance(self, what: str, read: int, kept: int) -> None:
        """What was read is what was kept and what is entered here (`agree`)."""
        self.agree(what, read, kept + self.count())

    def agree(self, what: str, one: int, other: int) -> None:
        """Note a number that was reached in two ways.

        Raises:
            RuntimeError: they differ, which is a fault of the program.
        """
        if one != other:
            raise RuntimeError(f"the report's sums disagree: {what}: {one} and {other}")
        self.sums[what] = [int(one), int(other)]

    def report(self) -> dict[str, Any]:
        """For prepare_report.json: of each reason how many there are, and the first by name."""
        return {reason: named(names, self._word) for reason, names in self._names.items()}

    @staticmethod
    def lines(
        report: dict[str, Any], title: str = "", shown: int = 3, between: str = ", "
    ) -> list[str]:
        """The summary's lines of a `report`, with the first few names of each reason."""
        lines = []
        for reason, entry in report.items():
            count, names = entry.values()
            if count:
                some = [*names[:shown], "…"] if count > shown else names
                lines.append(f"{title}{reason}: {count:,} ({between.join(some)})")
        return lines


def named(names: Iterable[Any], word: str = "ids") -> dict[str, Any]:
    """How many there are, and the first of them by name."""
    names = [str(name) for name in names]
    return {"count": len(names), word: names[:NAMED]}


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """``prepare_report.json``."""
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (folder / "prepare_report.json").write_text(text, encoding="utf-8")
