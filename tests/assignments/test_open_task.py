"""Assignment 4 runs as it is handed out, at a small size."""

from __future__ import annotations

import json
import sys

import pytest
from conftest import ROOT

nbformat = pytest.importorskip("nbformat")
sys.path.insert(0, str(ROOT / "notebooks"))
import manage  # noqa: E402

SMALLER = {
    "STEPS = 80": "STEPS = 2",
    "IMAGES = 4200": "IMAGES = 70",
    "valid_queries=10": "valid_queries=2",
    "valid_candidates=40": "valid_candidates=4",
    "test_queries=40": "test_queries=4",
    "test_candidates=120": "test_candidates=8",
    "# runs =": "runs =",
    "# hand_in": "hand_in",
    "# leaderboard": "leaderboard",
    "baseline.changed()": "baseline.changed(lr=2e-3)",
}


def smaller(nb):
    for cell in nb.cells:
        for old, new in SMALLER.items():
            if cell.cell_type == "code":
                cell.source = cell.source.replace(old, new)
    return nb


@pytest.mark.notebooks
def test_the_open_task_runs_in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("AGMAN_WORK", raising=False)
    path = manage.HERE / "assignments" / "4_beat_agman.ipynb"
    code = "".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code")
    assert [old for old in SMALLER if old not in code] == []
    for _ in range(2):  # again in the same folder, as a student does
        ran = manage.execute(path, tmp_path, change=smaller)
    handed_in = tmp_path / "agman-work" / "handed-in"
    assert sorted(p.name for p in handed_in.iterdir()) == ["baseline", "baseline, by hand", "mine"]
    about = json.loads((handed_in / "mine" / "submission.json").read_text())
    assert about == {
        "images_seen": about["images_seen"],
        "parameters": about["parameters"],
        "files": ["seed0.safetensors"],
    }
    assert 0 < about["images_seen"] <= 192
    assert 2e6 < about["parameters"] < 5e6
    assert "key number: MAP of the baseline" in str(ran.cells)
