"""Students' copies are up to date, and a folder of submissions is graded whatever it holds."""

from __future__ import annotations

import csv
import json
import sys
import time

import pytest
from conftest import ROOT

pytest.importorskip("otter")
sys.path.insert(0, str(ROOT / "notebooks" / "assignments"))
import assignments

pytestmark = pytest.mark.slow
SOURCES = assignments.sources()


@pytest.fixture(scope="module", params=SOURCES, ids=lambda source: source.stem)
def made(request, tmp_path_factory):
    """An assignment's source, its student's copy and its autograder, made again."""
    return request.param, *assignments.make(request.param, tmp_path_factory.mktemp("made"))


def cells(notebook) -> list[dict]:
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def test_the_students_copy_is_up_to_date(made):
    source, student, _ = made
    assert (assignments.HERE / source.name).read_bytes() == student.read_bytes()
    text = student.read_text(encoding="utf-8")
    assert "grading_" not in text
    assert "SOLUTION" not in text


def solved(source, student) -> dict:
    """A student's notebook in which every function is the instructor's."""
    nb = json.loads(student.read_text(encoding="utf-8"))
    solutions = {}
    for cell in cells(source):
        lines = "".join(cell["source"]).splitlines(keepends=True)
        if lines and lines[0].startswith("def ") and any("SOLUTION" in line for line in lines):
            solutions[lines[0]] = [line for line in lines if "SOLUTION" not in line]
    for cell in nb["cells"]:
        first = "".join(cell["source"]).splitlines(keepends=True)[:1]
        cell["source"] = solutions.get(*first, cell["source"]) if first else cell["source"]
    return nb


def test_a_folder_of_submissions_is_graded_whatever_it_holds(made, tmp_path):
    source, student, _ = made
    whole = solved(source, student)
    unfinished = json.loads(json.dumps(whole))
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    unfinished["cells"].insert(4, code | {"id": "fails", "source": "1 / 0"})
    for name, nb in (("whole", whole), ("fails", unfinished)):
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(nb), encoding="utf-8")
    (tmp_path / "untouched.ipynb").write_bytes(student.read_bytes())
    (tmp_path / "broken.ipynb").write_text('{"cells": [', encoding="utf-8")
    (tmp_path / "empty.ipynb").write_bytes(b"")

    rows = {row["notebook"]: row for row in assignments.grade(source, tmp_path, seconds=240)}
    full = sum(points or 0 for points in assignments.questions(source).values())
    expected = {"whole": full, "fails": full, "untouched": 0, "broken": 0, "empty": 0}
    assert {name: rows[f"{name}.ipynb"]["points"] for name in expected} == expected
    assert "does not appear to be JSON" in rows["broken.ipynb"]["note"]
    assert rows["empty.ipynb"]["note"] == "the file is empty"
    assert rows["whole.ipynb"]["note"] == ""
    feedback = (tmp_path / "feedback" / "untouched.md").read_text()
    assert "it returns nothing" in feedback
    assert f"0 of {full:g} points. Marked by hand: q6." in feedback

    (by_hand, *_) = [q for q, points in assignments.questions(source).items() if points is None]
    marks = tmp_path / "marks.csv"
    table = list(csv.DictReader(marks.open(newline="", encoding="utf-8")))
    assert [row["notebook"] for row in table] == sorted(rows)
    for row in table:
        row[by_hand] = "1.5"
    with marks.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    for name in ("fails", "untouched", "broken"):
        (tmp_path / f"{name}.ipynb").unlink()
    again = assignments.grade(source, tmp_path)
    assert [row[by_hand] for row in again] == ["1.5", "1.5"]  # what was marked by hand stays


def test_an_endless_notebook_is_stopped(made, tmp_path):
    """Beside another that is quick, and without a kernel that goes on."""
    source, student, autograder = made
    if source != SOURCES[0]:
        pytest.skip("the same for every assignment")
    endless = json.loads(student.read_text(encoding="utf-8"))
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    mark = tmp_path / "alive"
    loop = f"import time\nwhile True:\n    open({str(mark)!r}, 'w').close()\n    time.sleep(0.1)"
    endless["cells"].insert(2, code | {"id": "endless", "source": loop})
    (tmp_path / "endless.ipynb").write_text(json.dumps(endless), encoding="utf-8")
    row, feedback = assignments.grade_one(
        tmp_path / "endless.ipynb", autograder, assignments.questions(source), seconds=30
    )
    assert row["points"] == 0
    assert row["note"] == "still running after 30 seconds"
    assert "still running" in feedback
    assert mark.exists()
    mark.unlink()
    time.sleep(5)  # a kernel looks once a second whether its parent is there
    mark.unlink(missing_ok=True)
    time.sleep(1)
    assert not mark.exists()
