"""Comparing what a student has written with what is right.

A `Check` holds the right function, a judge that tries the student's on cases made anew each time,
and *slips*: plausible wrong answers, each with the hint that it gets. `compared` makes such a check
from the right function, the cases and the slips; where an answer is random, or any of several is
right, a check has a judge of its own.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Judge = Callable[[Any, np.random.Generator], str | None]
Cases = Callable[[np.random.Generator], Sequence[tuple[Any, ...]]]


@dataclass(frozen=True)
class Check:
    """One thing that a student fills in.

    Attributes:
        right: what the notebook goes on with where the blank is left: the library's own.
        judge: called with an answer and a random generator; says what is off, or None.
        slips: hint -> a wrong answer that gets it (a test tries them all).
    """

    right: Any
    judge: Judge
    slips: Mapping[str, Any] = field(default_factory=dict)


def compared(
    right: Callable[..., Any],
    cases: Cases,
    slips: Mapping[str, Callable[..., Any]],
    tolerance: float = 1e-5,
) -> Check:
    """A check that compares results on cases.

    Args:
        right: the right function.
        cases: makes the cases from a random generator, each a tuple of arguments. They are copied
            for each call, so that a function which writes into them does no harm.
        slips: hint -> wrong function: an answer that agrees with it on every case gets the hint. On
            the cases together the slips differ from what is right, and from each other.
        tolerance: relative and absolute error that is still rounding; 0 for whole numbers.
    """

    def judge(answer: Callable[..., Any], rng: np.random.Generator) -> str | None:
        if not callable(answer):
            return f"this is {_kind(answer)}, and a function is asked for"
        tried = list(cases(rng))
        got: list[Any] = []
        first = None
        for arguments in tried:
            try:
                got.append(answer(*copy.deepcopy(arguments)))
            except Exception as error:  # whatever a student's function raises
                where = _described(arguments)
                return f"{where} it raises {type(error).__name__}: {str(error) or 'no message'}"
            off = difference(got[-1], right(*copy.deepcopy(arguments)), tolerance)
            if off is not None and first is None:
                first = f"{_described(arguments)} {off}"
        if first is None:
            return None
        for hint, wrong in slips.items():
            if all(_same(wrong, a, g, tolerance) for a, g in zip(tried, got, strict=True)):
                return hint
        return first

    return Check(right, judge, slips)


def _same(
    wrong: Callable[..., Any], arguments: tuple[Any, ...], got: Any, tolerance: float
) -> bool:
    try:
        return difference(got, wrong(*copy.deepcopy(arguments)), tolerance) is None
    except Exception:  # a slip that cannot take these arguments explains nothing
        return False


def difference(got: Any, expected: Any, tolerance: float = 1e-5) -> str | None:
    """What distinguishes an answer from what is expected, in words; None where nothing does.

    Numbers, arrays, tensors, texts, and tuples, lists and dictionaries of them are compared. The
    words say how large an error is and how large one may be, not what is expected.
    """
    if got is None and expected is not None:
        return "it gives None: is the `return` missing?"
    if isinstance(expected, Mapping):
        if not isinstance(got, Mapping) or set(got) != set(expected):
            return f"it gives {_kind(got)}, where a dictionary with other keys is expected"
        pairs = [(f"of {key!r}", got[key], expected[key]) for key in expected]
    elif isinstance(expected, tuple | list) and not _is_numbers(expected):
        if not isinstance(got, tuple | list) or len(got) != len(expected):
            return f"it gives {_kind(got)}, where {len(expected)} things are expected"
        pairs = [
            (f"of number {i + 1}", g, e) for i, (g, e) in enumerate(zip(got, expected, strict=True))
        ]
    elif isinstance(expected, str | bool | type(None)):
        return None if got == expected else f"it gives {got!r}, which is not right"
    else:
        return _of_numbers(got, expected, tolerance)
    for where, one, other in pairs:
        if (off := difference(one, other, tolerance)) is not None:
            return f"{off} ({where})"
    return None


def _of_numbers(got: Any, expected: Any, tolerance: float) -> str | None:
    try:
        one, other = _array(got), _array(expected)
    except (TypeError, ValueError):
        return f"it gives {_kind(got)}, and numbers are expected"
    if one.dtype == object or one.dtype.kind in "SU":
        return f"it gives {_kind(got)}, and numbers are expected"
    if one.shape != other.shape:
        return f"it gives the shape {one.shape}, and {other.shape} is expected"
    one, other = one.astype(float), other.astype(float)
    missing = np.isnan(other)
    if (np.isnan(one) & ~missing).any():
        return "it gives NaN"
    if (missing & ~np.isnan(one)).any():
        return "it gives a number where NaN is expected"
    with np.errstate(invalid="ignore"):
        error = np.where((one == other) | missing, 0.0, np.abs(one - other))
    allowed = tolerance * (1 + np.abs(np.nan_to_num(other, posinf=0, neginf=0)))
    if not (error > allowed).any():
        return None
    worst = float(error.max())
    many = f", in {int((error > allowed).sum())} of {error.size} places" if error.size > 1 else ""
    rounding = "no rounding is allowed here"
    if tolerance:
        rounding = f"an error up to {tolerance:g} would be rounding"
    return f"it is off by {worst:.3g}{many} ({rounding})"


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def _is_numbers(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(v, int | float | np.number) for v in values)


def _kind(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"{type(value).__name__} of the shape {tuple(value.shape)}"
    text = repr(value)
    return textwrap.shorten(text, 60, placeholder=" …") if text else type(value).__name__


def _described(arguments: tuple[Any, ...]) -> str:
    words = []
    for value in arguments:
        if isinstance(value, np.ndarray) and value.size <= 12:
            words.append(np.array2string(value, precision=3, separator=", "))
        elif hasattr(value, "shape"):
            words.append(f"{type(value).__name__} {tuple(value.shape)}")
        elif isinstance(value, int | float | str | bool | np.number):
            words.append(repr(value))
        else:
            words.append(textwrap.shorten(repr(value), 40, placeholder=" …"))
    return f"for ({', '.join(' '.join(w.split()) for w in words)})"


def left_empty(answer: Any) -> bool:
    """Whether an answer is a blank that nobody has filled in: `...`, or a function that has one.

    An ellipsis in square brackets, as in ``x[..., None]``, is no blank.
    """
    if answer is ...:
        return True
    if not inspect.isfunction(answer):
        return False
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(answer)))
    except (OSError, SyntaxError, TypeError, SystemError):  # the last: a fault of CPython 3.11
        return ... in answer.__code__.co_consts
    return _has_blank(tree)


def _has_blank(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return node.value is ...
    inside = [node.value] if isinstance(node, ast.Subscript) else ast.iter_child_nodes(node)
    return any(map(_has_blank, inside))
