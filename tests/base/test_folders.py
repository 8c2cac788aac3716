"""Folders that appear whole or not at all, beside files that are not ours."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from agman_lib.base.errors import AgmanError
from agman_lib.base.folders import whole_folder

FORK = multiprocessing.get_context("fork")


def fill(out: Path, kill: bool = False) -> None:
    with whole_folder(out) as folder:
        (folder / "a").write_text("half")
        if kill:
            os.kill(os.getpid(), signal.SIGKILL)
        (folder / "b").write_text("whole")


def test_folders_of_the_user_beside_it_stay(tmp_path):
    for name in ("out.partial", ".out.partial", "out-1", ".out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    before = sorted(p.name for p in tmp_path.iterdir())
    fill(tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "out"])
    assert all((tmp_path / name / "mine").read_text() == "mine" for name in before)


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path):
    out = tmp_path / "out"
    child = FORK.Process(target=fill, args=(out, True))
    child.start()
    child.join()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.")  # hidden, and never the final name
    assert not out.exists()
    fill(out)
    assert list(tmp_path.iterdir()) == [out]
    assert sorted(p.name for p in out.iterdir()) == ["a", "b"]
    # A kill may strike as early as between making the folder and marking it, too.
    left.mkdir()
    os.rename(out, tmp_path / "first")
    fill(out)
    assert not left.exists()


def test_what_a_kill_at_the_very_end_left_is_removed_too(tmp_path):
    out = tmp_path / "out"

    def fill_and_kill() -> None:
        os.replace = lambda a, b: (os.rename(a, b), os.kill(os.getpid(), signal.SIGKILL))
        fill(out)

    child = FORK.Process(target=fill_and_kill)
    child.start()
    child.join()
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(AgmanError, match="already exists"):
        fill(out)
    assert list(tmp_path.iterdir()) == [out]
    assert sorted(p.name for p in out.iterdir()) == ["a", "b"]


def test_what_is_not_ours_is_refused_by_name_and_not_touched(tmp_path):
    out = tmp_path / "out"
    child = FORK.Process(target=fill, args=(out, True))
    child.start()
    child.join()
    (left,) = tmp_path.iterdir()
    for path in left.iterdir():
        if path.is_file():
            path.unlink()  # the mark
    with pytest.raises(AgmanError, match=rf"{left.name}: is in the way; move it"):
        fill(out)
    assert (left / "content" / "a").read_text() == "half"
    assert not out.exists()


def test_a_place_where_no_folder_can_be_made_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AgmanError, match=r"file is not a folder that you may write to"):
        fill(tmp_path / "file" / "below" / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
