from __future__ import annotations

import os

import pytest

from agman_lib.base.cores import usable_cores


@pytest.mark.parametrize(
    ("says", "cores"),
    [("100000 100000\n", 1), ("50000 100000\n", 1), ("max 100000\n", None), ("nonsense", None)],
)
def test_a_containers_quota_counts(tmp_path, says, cores):
    file = tmp_path / "cpu.max"
    file.write_text(says)
    everything = usable_cores(tmp_path / "not there")
    assert 1 <= everything <= (os.cpu_count() or 1)
    assert usable_cores(file) == (cores or everything)
