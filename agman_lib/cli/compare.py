"""``agman compare``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from agman_lib.base.errors import AgmanError
from agman_lib.cli.parse import PRESET_HELP, parse, take_preset
from agman_lib.training.config import TrainConfig


@dataclass(frozen=True)
class CompareOptions:
    """What is compared; the other options are those of ``agman train``, for all runs alike."""

    config: Annotated[TrainConfig, arg(name="")]
    networks: tuple[str, ...] = ("triplet", "csn", "asen", "asen_v2", "agman")
    """Networks to compare."""
    arms: str = ""
    """Compare the arms that a TOML file lists instead."""
    only: tuple[str, ...] = ()
    """Of these arms, compare only some, in the file's order."""
    ablation: bool = False
    """Compare the steps from asen_v2 to agman instead, one part more at a time."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of each."""
    split: Literal["valid", "test"] = "test"
    """Split that is scored: valid, while something is still being chosen."""
    baseline: str = ""
    """Entry that the others are tested against; by default asen_v2, or the first arm."""


def compare_command(args: list[str]) -> None:
    """Compare what the command line asks for, and print the table."""
    default, rest = take_preset(args)
    description = (
        "Compare networks, the steps of the ablation, or arms of your own, at equal budget over "
        "several seeds.\n\n"
        f"{PRESET_HELP} What was broken off goes on; what is finished is not trained again."
    )
    options = parse(
        CompareOptions,
        rest,
        "agman compare",
        default=CompareOptions(default),
        description=description,
    )
    from agman_lib.comparison.arms import ablation_entries, arms_from_file, network_entries
    from agman_lib.comparison.result import comparison_text
    from agman_lib.comparison.study import compare

    config = options.config
    if not config.data or not config.out:
        raise AgmanError("options --data and --out are needed: the prepared folder, the folder")
    if options.only and not options.arms:
        raise AgmanError("option --only chooses among the arms of a file; name it with --arms")
    if options.arms:
        entries = arms_from_file(options.arms, config, options.only)
    else:
        entries = ablation_entries() if options.ablation else network_entries(options.networks)
    baseline = options.baseline or (entries[0].name if options.arms else "asen_v2")
    comparison = compare(config, entries, options.seeds, config.out, baseline, options.split)
    print(comparison_text(comparison, baseline), end="")
    print(f"{config.out}: comparison.csv, .md, .json and .png, and scores.npz")
