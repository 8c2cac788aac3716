"""The account of a preparation: nothing is counted twice, dropped, or wrong in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deepfashion_miniature
import fashion_miniature
import fashionai_miniature
import pandas as pd
import pytest
import test_own_photos as own_miniature
import test_zappos50k as zappos_miniature

from data_prep.common.ledger import Ledger, named, write_report

REASONS = [*["", "no photo", "no label"] * 30, "no photo", "odd"]


def make_ledger() -> Ledger:
    ledger = Ledger("no label", "never", "no photo")
    names = pd.Series([f"row {i}" for i in range(len(REASONS))])
    ledger.add_table(pd.Series(REASONS), names)
    ledger.add("empty")
    return ledger


def test_every_reason_is_counted_once_and_named() -> None:
    expected: dict[str, list[str]] = {"no label": [], "never": [], "no photo": [], "odd": []}
    for i, reason in enumerate(REASONS):
        if reason:
            expected[reason].append(f"row {i}")
    ledger = make_ledger()
    assert list(ledger.report().items()) == [
        (reason, {"count": len(names), "ids": names[:20]}) for reason, names in expected.items()
    ]
    assert ledger.count() == 62
    assert ledger.count("odd", "no photo", "never", "unheard of") == 32


def test_sums_that_agree_are_kept_and_others_refused() -> None:
    ledger = make_ledger()
    ledger.balance("rows = kept + left out", len(REASONS), REASONS.count(""))
    ledger.agree("kept = in the splits", 30, sum([20, 10]))
    assert ledger.sums == {"rows = kept + left out": [92, 92], "kept = in the splits": [30, 30]}
    with pytest.raises(RuntimeError, match="disagree: kept = in the splits: 30 and 29"):
        ledger.agree("kept = in the splits", 30, 29)
    ledger.add("no photo", "row 1")  # a second time
    with pytest.raises(RuntimeError, match=r"disagree: rows = kept \+ left out: 92 and 93"):
        ledger.balance("rows = kept + left out", 92, 30)


def test_the_summary_has_a_line_for_each_reason_that_something_has() -> None:
    report = make_ledger().report()
    assert Ledger.lines(report, "left out, ") == [
        "left out, no label: 30 (row 2, row 5, row 8, …)",
        "left out, no photo: 31 (row 1, row 4, row 7, …)",
        "left out, odd: 1 (row 91)",
    ]
    assert Ledger.lines({"far": named("abc" * 500)}, shown=2, between="; ") == [
        "far: 1,500 (a; b; …)"
    ]
    three = {"near": named("abc", "names")}
    assert Ledger.lines(three) == ["near: 3 (a, b, c)"]


def test_the_file_has_the_report_as_it_is(tmp_path: Path) -> None:
    report = {"rows": Ledger("é", word="names").report()}
    write_report(tmp_path, report)
    text = (tmp_path / "prepare_report.json").read_text(encoding="utf-8")
    assert json.loads(text) == report == {"rows": {"é": {"count": 0, "names": []}}}
    assert "é" in text


def fashionai(base: Path) -> dict[str, Any]:
    return fashionai_miniature.run(fashionai_miniature.make_raw(base / "raw"), base / "out")


def deepfashion(base: Path) -> dict[str, Any]:
    labels, partition = deepfashion_miniature.clean()
    raw = deepfashion_miniature.make_raw(base / "raw", [*labels, ("bare", [])], partition)
    return deepfashion_miniature.run(raw, base / "out")


def fashion_products(base: Path) -> dict[str, Any]:
    return fashion_miniature.run(fashion_miniature.make_folder(base / "raw"), base / "out")


def own_photos(base: Path) -> dict[str, Any]:
    counts = {"closure": {"zip": 9, "buttons": 9}, "colour": {"red": 9}}
    own_miniature.make_tree(base / "photos", counts)
    (base / "photos/closure/zip/broken.jpg").write_bytes(b"rubbish")
    return own_miniature.run(base / "photos", base / "out")


def zappos50k(base: Path) -> dict[str, Any]:
    source = zappos_miniature.make_folder(base)
    (source / zappos_miniature.PATHS[3]).unlink()
    (source / zappos_miniature.PATHS[4]).write_bytes(b"rubbish")
    lists = zappos_miniature.make_lists(base / "csn")
    return zappos_miniature.run(source, base / "out", triplets=lists, max_missing=0.1)


def twice(self: Ledger, reason: str, *names: str) -> None:
    ADD(self, reason, *names, *names)


def never(self: Ledger, reason: str, *names: str) -> None:
    pass


ADD = Ledger.add


@pytest.mark.parametrize(
    "prepare", [fashionai, deepfashion, fashion_products, own_photos, zappos50k]
)
@pytest.mark.parametrize("wrong", [twice, never])
def test_each_preparation_refuses_an_account_that_is_wrong(
    prepare: Callable[[Path], dict[str, Any]],
    wrong: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sums = prepare(tmp_path / "right")["sums"]
    assert sums
    assert all(a == b for a, b in sums.values())
    monkeypatch.setattr(Ledger, "add", wrong)
    with pytest.raises(RuntimeError, match="the report's sums disagree"):
        prepare(tmp_path / "wrong")
    assert not (tmp_path / "wrong/out").exists()
