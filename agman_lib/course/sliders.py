"""Figures that a student moves, with a still picture where nothing can be moved."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from agman_lib.base.errors import AgmanError
from agman_lib.course.shared import picture_html

TRY = "AGMAN_TRY_SLIDERS"
"""Environment variable of tests: every control is moved to each of its ends once."""


def move(
    draw: Callable[..., Figure],
    alt: str,
    at: Mapping[str, Any] | None = None,
    **choices: Sequence[Any],
) -> None:
    """Show a figure with a control for each of its arguments.

    In a saved notebook, and where ipywidgets is not installed, the figure stands still.

    Args:
        draw: called with one value for each of ``choices``, by name; returns the figure.
        alt: what the figure shows, whatever the values, for those who cannot see it.
        at: where the controls stand at first; by default at the first choice.
        choices: argument -> its values: a slider for numbers, a menu for texts.
    """
    start = {name: values[0] for name, values in choices.items()} | dict(at or {})
    for name, value in start.items():
        if name not in choices or value not in choices[name]:
            raise AgmanError(f"{name} = {value!r} is none of the choices")
    still = {"text/html": picture_html(draw(**start), alt), "text/plain": alt}
    if os.environ.get(TRY):
        for name, values in choices.items():
            for value in (values[0], values[-1]):
                draw(**start | {name: value})
            print(f"moved {name} to {values[0]} and {values[-1]}")
    _display(_controls(draw, alt, start, choices) | still)


def _controls(
    draw: Callable[..., Figure],
    alt: str,
    start: Mapping[str, Any],
    choices: Mapping[str, Sequence[Any]],
) -> dict[str, Any]:
    """The controls above the figure, for a notebook's front end; {} without ipywidgets."""
    try:
        import ipywidgets
    except ImportError:
        return {}
    picture = ipywidgets.HTML(picture_html(draw(**start), alt))
    controls = {}
    for name, values in choices.items():
        kind = ipywidgets.Dropdown if isinstance(values[0], str) else ipywidgets.SelectionSlider
        options = [(v if isinstance(v, str) else f"{v:g}", v) for v in values]
        controls[name] = kind(
            options=options,
            value=start[name],
            description=name.replace("_", " "),
            continuous_update=False,
            style={"description_width": "initial"},
        )

    def redraw(_: Any) -> None:
        values = {name: control.value for name, control in controls.items()}
        picture.value = picture_html(draw(**values), alt)

    for control in controls.values():
        control.observe(redraw, "value")
    box = ipywidgets.VBox([*controls.values(), picture])
    return dict(box._repr_mimebundle_())


def _display(bundle: dict[str, Any]) -> None:
    from IPython.display import display

    display(bundle, raw=True)
