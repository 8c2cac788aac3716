"""The checks of what students fill in: one module for each notebook, and `check`, which uses them.

A module has a dictionary ``CHECKS``, from the name that the notebook gives to a `Check`. What is
right is the library's own function where there is one.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TypeVar

import numpy as np

from agman_lib.base.errors import unknown
from agman_lib.course.answers import Check, left_empty

T = TypeVar("T")


def all_checks() -> dict[str, Check]:
    """Every check by its name; the names are unique."""
    found: dict[str, Check] = {}
    for module in pkgutil.iter_modules(__path__):
        of_module = importlib.import_module(f"{__name__}.{module.name}").CHECKS
        assert not found.keys() & of_module.keys()
        found |= of_module
    return found


def check(name: str, answer: T) -> T:
    """Try what a student has filled in, and say what is off.

    Args:
        name: of the check.
        answer: the student's, as a rule a function; `...`, or a function with a `...` left in it,
            is a blank.

    Returns:
        The answer where it is right; otherwise the library's own, so that a notebook goes on.

    Raises:
        AgmanError: there is no such check.
    """
    known = all_checks()
    if name not in known:
        raise unknown("check", name, known)
    asked = known[name]
    if left_empty(answer):
        print(f"○ {name}: still `...`, so the notebook goes on with the library's own.")
        return asked.right
    off = asked.judge(answer, np.random.default_rng())
    if off is None:
        print(f"✓ {name}: right.")
        return answer
    off = off.rstrip(".")
    print(f"✗ {name}: {off}{'' if off.endswith('?') else '.'}")
    print("  Until it is right, the notebook goes on with the library's own.")
    return asked.right
