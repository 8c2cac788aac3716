"""What is compared: networks, the steps of the ablation, or arms that a file names."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from agman_lib.base.errors import AgmanError, unknown
from agman_lib.comparison.untrained import UNTRAINED
from agman_lib.networks.model import CLASSIFIERS, NETWORKS
from agman_lib.training.config import TrainConfig

ABLATION = (
    ("projected_values", "pool the projection x, not F"),
    ("swish", "g in both transforms"),
    ("spatial_gate", "spatial gate"),
    ("masks", "masks"),
    ("scalars", "scalars w, w1, w2"),
    ("multi_level", "multi-level backbone"),
    ("class_branch", "same-attribute classification"),
)
"""The switches that lead from ASENet_V2 to AG-MAN, one a step."""


@dataclass(frozen=True)
class Entry:
    """A line of a comparison.

    Attributes:
        name: as the tables print it.
        changes: what it changes in the common config.
        untrained: one of `UNTRAINED`: a baseline that trains no network; else "".
        levels: of each factor, where the entry is a cell of a factorial experiment.
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    untrained: str = ""
    levels: dict[str, str] = field(default_factory=dict)


def network_entries(names: Sequence[str]) -> list[Entry]:
    """An entry for each network. Raises AgmanError for an unknown one."""
    for name in names:
        if name not in NETWORKS | CLASSIFIERS:
            raise unknown("network", name, NETWORKS | CLASSIFIERS)
    return [Entry(name, {"model": name}) for name in names]


def ablation_entries() -> list[Entry]:
    """ASENet_V2, then one of AG-MAN's parts more at each step; with all of them it is AG-MAN."""
    changes: dict[str, Any] = {"model": "asen_v2"}
    entries = [Entry("asen_v2", changes)]
    for switch, title in ABLATION:
        changes = changes | {switch: True}
        entries.append(Entry(f"+ {title}", changes))
    return [*entries[:-1], Entry(entries[-1].name, {"model": "agman"})]


def arms_from_file(path: str | Path, config: TrainConfig, only: Sequence[str] = ()) -> list[Entry]:
    """The entries that a TOML file lists, in its order.

    Each is a table ``[arms."NAME"]`` of training options and their values. ``factors = {…}`` gives
    its level of each factor, and ``untrained = "…"`` makes it one of `UNTRAINED`. Options before
    the first arm are of all.

    Args:
        config: what the arms change; each is checked with it.
        only: names of the arms that are wanted; by default all.

    Raises:
        AgmanError: the file cannot be read, it has no arm of a name that is wanted, or
            an option or value is unknown, by its arm.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AgmanError(f"{path}: not a readable file of arms ({error})") from None
    arms = content.pop("arms", None)
    if not isinstance(arms, dict) or not all(isinstance(arm, dict) for arm in arms.values()):
        raise AgmanError(f'{path}: lists no arms; each is a table [arms."NAME"] of options')
    known, entries = {f.name for f in fields(TrainConfig)} - {"data", "out", "seed"}, []
    for name, arm in arms.items():
        levels, untrained = arm.pop("factors", {}), arm.pop("untrained", "")
        changes = content | arm
        for option in changes:
            if option not in known:
                raise AgmanError(f"{path}, arm {name!r}: {unknown('option', option, known)}")
        if untrained and untrained not in UNTRAINED:
            raise AgmanError(f"{path}, arm {name!r}: {unknown('baseline', untrained, UNTRAINED)}")
        try:
            config.changed(**changes).check()
        except AgmanError as error:
            raise AgmanError(f"{path}, arm {name!r}: {error}") from None
        entries.append(Entry(name, changes, untrained, levels))
    for name in only:
        if name not in arms:
            raise AgmanError(f"{path}: {unknown('arm', name, arms)}")
    return [entry for entry in entries if not only or entry.name in only]
