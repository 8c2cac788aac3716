"""What the hidden tests of all assignments share: a time limit, and numbers compared with words."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def limited(what: str, seconds: int = 10) -> Iterator[None]:
    """Fail where the body raises something or runs longer; the time needs Linux or macOS."""

    def stop(*_: Any) -> None:
        raise AssertionError(f"{what}: still running after {seconds} seconds")

    alarms = hasattr(signal, "SIGALRM") and threading.current_thread() == threading.main_thread()
    if alarms:
        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(seconds)
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:  # whatever a student's function raises
        raise AssertionError(f"{what}: it raises {type(error).__name__}: {error}") from error
    finally:
        if alarms:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)


def number(got: Any, where: str) -> float:
    """A result as a number; fails where it is none."""
    if got is None or got is ...:
        raise AssertionError(f"{where}: it returns nothing")
    try:
        return float(got)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AssertionError(f"{where}: it returns no number but {type(got).__name__}") from error


def near(got: Any, expected: float, where: str, tolerance: float = 1e-5) -> None:
    """Fail where a result is no number, or is not near to what is expected."""
    got = number(got, where)
    assert math.isfinite(got), f"{where}: the result is {got}"
    off = abs(got - expected)
    assert off <= tolerance * (1 + abs(expected)), f"{where}: off by {off:.3g}"
