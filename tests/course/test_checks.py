"""What students fill in: right answers are taken, each plausible wrong one gets its hint."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agman_lib import course
from agman_lib.base.errors import AgmanError
from agman_lib.course.answers import compared, difference, left_empty
from agman_lib.course.checks import all_checks

CHECKS = all_checks()
SLIPS = [(name, hint) for name, check in CHECKS.items() for hint in check.slips]


@pytest.mark.parametrize("name", CHECKS)
def test_what_is_right_is_taken(name):
    check = CHECKS[name]
    for seed in range(20):
        assert check.judge(check.right, np.random.default_rng(seed)) is None


@pytest.mark.parametrize(("name", "hint"), SLIPS)
def test_each_slip_gets_its_hint(name, hint):
    check = CHECKS[name]
    for seed in range(5):
        said = check.judge(check.slips[hint], np.random.default_rng(seed))
        assert said is not None
        assert hint in said


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_knows_four_slips_and_survives_anything(name):
    check = CHECKS[name]
    assert len(check.slips) >= 4
    for nonsense in (lambda *_: None, lambda *_: "nine", lambda: 0, lambda *_: np.nan, 3.0):
        assert check.judge(nonsense, np.random.default_rng(0))


def test_a_check_goes_on_with_what_is_right(capsys):
    def double(x):
        return 2 * x

    known = {"twice": compared(double, lambda rng: [(rng.normal(),)], {"half": lambda x: x / 2})}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agman_lib.course.checks.all_checks", lambda: known)

        def blank(x):
            y = ...
            return y

        def mine(x):
            return x + x

        assert course.check("twice", ...) is double
        assert course.check("twice", blank) is double
        assert capsys.readouterr().out.count("still `...`") == 2
        assert course.check("twice", mine) is mine
        assert capsys.readouterr().out == "✓ twice: right.\n"
        assert course.check("twice", lambda x: x / 2) is double
        assert capsys.readouterr().out.startswith("✗ twice: half.\n")
        known["twice"].slips["half."] = known["twice"].slips.pop("half")
        course.check("twice", lambda x: x / 2)
        assert capsys.readouterr().out.startswith("✗ twice: half.\n")
        known["twice"].slips["half?"] = known["twice"].slips.pop("half.")
        course.check("twice", lambda x: x / 2)
        assert capsys.readouterr().out.startswith("✗ twice: half?\n")
        assert course.check("twice", lambda x: x + 1) is double
        assert "it is off by" in capsys.readouterr().out
        with pytest.raises(AgmanError, match="did you mean 'twice'"):
            course.check("twise", mine)


def test_a_blank_is_told_from_an_ellipsis_in_use():
    def used(x):
        return x[..., None]

    def half_filled(x):
        """With words."""
        y = x + 1
        z = ...
        return y, z

    def two(x: tuple[int, ...]) -> tuple[int, ...]:
        return x[0], ...

    def called(x):
        return np.mean(...) + x

    assert not left_empty(used)
    assert left_empty(half_filled)
    assert left_empty(two)
    assert left_empty(called)
    assert not left_empty(3)


@pytest.mark.parametrize(
    ("got", "expected", "said"),
    [
        (1.0, 1.0 + 1e-7, None),
        (np.float32(1), torch.tensor(1.0), None),
        (1.0, 1.001, "off by 0.001"),
        (None, 1.0, "is the `return` missing"),
        (np.ones((2, 3)), np.ones((3, 2)), "shape (2, 3), and (3, 2)"),
        (np.array([1, np.nan]), np.ones(2), "NaN"),
        (np.array([1, np.nan]), np.array([1, np.nan]), None),
        (np.array([2, np.nan]), np.array([1, np.nan]), "off by 1"),
        (np.ones(2), np.array([1, np.nan]), "a number where NaN is expected"),
        (np.array([1.0, np.inf]), np.array([1.0, 2.0]), "off by inf"),
        ("a", 1.0, "numbers are expected"),
        ((1.0, "a"), (1.0, "b"), "of number 2"),
        ({"a": 1.0}, {"a": 2.0}, "of 'a'"),
        ({"a": 1.0}, {"b": 1.0}, "other keys"),
        (torch.ones(2, requires_grad=True), np.ones(2), None),
        ([3, 1, 2], np.array([3, 1, 2]), None),
        (True, False, "not right"),
    ],
)
def test_what_distinguishes_two_answers(got, expected, said):
    found = difference(got, expected)
    assert found is None if said is None else said in found
