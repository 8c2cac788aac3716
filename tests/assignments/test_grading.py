"""The hidden tests of the assignments: what is right gets all points, each slip loses its own."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from conftest import ROOT

nbformat = pytest.importorskip("nbformat")
INSTRUCTOR = ROOT / "notebooks" / "assignments" / "instructor"
CONFIG = re.compile(r'^""" # BEGIN TEST CONFIG\n(.*?)""" # END TEST CONFIG\n', re.S)
sys.path[:0] = [str(INSTRUCTOR), str(ROOT / "tests" / "assignments")]

import wrong_1  # noqa: E402
import wrong_2  # noqa: E402
import wrong_3  # noqa: E402

ASSIGNMENTS = {
    "1_triplets_and_map": wrong_1,
    "2_levels_and_classes": wrong_2,
    "3_attribute_guided_attention": wrong_3,
}


def hidden_tests(name: str) -> dict[str, object]:
    """The hidden tests of an instructor's notebook by name, without "test_"."""
    found = {}
    for cell in nbformat.read(INSTRUCTOR / f"{name}.ipynb", as_version=4).cells:
        config = CONFIG.match(cell.source)
        if cell.cell_type == "code" and config and "hidden: true" in config[1]:
            scope: dict[str, object] = {}
            exec(cell.source[config.end() :], scope)
            (test,) = (key for key in scope if key.startswith("test_"))
            found[test.removeprefix("test_")] = scope[test]
    return found


HIDDEN = {name: hidden_tests(name) for name in ASSIGNMENTS}
CASES = [
    pytest.param(assignment, function, slip, id=f"{assignment[0]}: {slip}")
    for assignment, module in ASSIGNMENTS.items()
    for function, slips in module.WRONG.items()
    for slip in slips
]


def lost(assignment: str, env: dict[str, object]) -> dict[str, str]:
    """The hidden tests that fail, with what they say."""
    found = {}
    for name, test in HIDDEN[assignment].items():
        try:
            test(env)
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_what_is_right_loses_nothing(assignment):
    assert len(HIDDEN[assignment]) >= 19
    assert lost(assignment, dict(ASSIGNMENTS[assignment].RIGHT)) == {}


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_what_is_left_empty_loses_everything(assignment):
    empty = {name: lambda *_: ... for name in ASSIGNMENTS[assignment].RIGHT}
    assert list(lost(assignment, empty)) == list(HIDDEN[assignment])


@pytest.mark.parametrize(("assignment", "function", "slip"), CASES)
def test_each_slip_loses_what_it_should_and_nothing_else(assignment, function, slip):
    module = ASSIGNMENTS[assignment]
    wrong, expected = module.WRONG[function][slip]
    found = lost(assignment, {**module.RIGHT, function: wrong})
    tests = module.TESTS[function]
    assert sorted(found) == sorted(tests[word] for word in expected.split()), found
    for message in found.values():
        assert message.startswith("AssertionError: "), message
        assert len(message) > 30


def test_the_grading_modules_know_nothing_of_the_library():
    for name in ASSIGNMENTS:
        spec = importlib.util.find_spec(f"grading_{name[0]}")
        assert "agman_lib" not in Path(spec.origin).read_text(encoding="utf-8")
