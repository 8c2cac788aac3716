"""The one error type that the command line turns into a single line and exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, get_args


class AgmanError(Exception):
    """Something that the user can fix. The message says what is wrong, where, and what to do."""


def unknown(what: str, got: str, known: Iterable[str], where: str = "") -> AgmanError:
    """An error for a name that is not one of ``known``, with the nearest ones suggested."""
    known = list(known)
    near = difflib.get_close_matches(str(got), known, n=3)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    listing = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    place = f"{where}: " if where else ""
    return AgmanError(f"{place}unknown {what} {got!r}; {hint or 'it is one of: ' + listing}")


def check_choice(what: str, value: Any, choices: Any) -> None:
    """Raise AgmanError unless a value is one of a ``Literal``'s: from Python, nothing else does."""
    if value not in get_args(choices):
        raise unknown(what, value, get_args(choices))
