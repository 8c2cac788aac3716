"""A few of the kills of `kills.py`, which makes a thousand."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_twenty_kills_cost_nothing_and_leave_nothing():
    command = [sys.executable, str(ROOT / "tests" / "kills.py"), "--kills", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "20 kills" in done.stdout
    assert all(f"{job}: killed" in done.stdout for job in ("train", "prepare", "index", "compare"))
