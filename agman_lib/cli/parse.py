"""From words to options: tyro's parser, its errors in one line, and ``--preset``."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any

import tyro

from agman_lib.base.errors import AgmanError
from agman_lib.training.config import PRESETS, TrainConfig, preset

PRESET_HELP = f"--preset NAME: start from a preset ({', '.join(PRESETS)}); options change it."


def parse(what: Any, args: Sequence[str], prog: str, **more: Any) -> Any:
    """tyro's parser, its boxed message turned into one line."""
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            return tyro.cli(what, args=list(args), prog=prog, **more)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise AgmanError(_one_line(message.getvalue(), prog)) from None


def _one_line(boxed: str, prog: str) -> str:
    """What tyro's box says, and the nearest option where it names one."""
    body, *rest = re.split(r"─{9,}", "\n".join(boxed.splitlines()[1:-1]))
    text = " ".join(re.sub(r"[│╭╮╰╯]", " ", body).split())
    near = re.search(r"Perhaps you meant:[│\s]*(--[\w-]+)", "".join(rest))
    if near:
        text += f"; did you mean {near[1]}?"
    return f"{prog}: {text or boxed.strip()}; see {prog} --help"


def take_preset(args: list[str]) -> tuple[TrainConfig, list[str]]:
    """The preset that ``--preset NAME`` names, and the other words."""
    name, rest = None, []
    words = iter(args)
    for word in words:
        if word == "--preset" or word.startswith("--preset="):
            name = word.partition("=")[2] or next(words, "")
        else:
            rest.append(word)
    return (TrainConfig() if name is None else preset(name)), rest
