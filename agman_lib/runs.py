"""A run folder, opened; and its evaluation."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from agman_lib.checkpoints import load_model
from agman_lib.config import TrainConfig
from agman_lib.dataset import PreparedDataset
from agman_lib.devices import make_accelerator, repeatable
from agman_lib.errors import AgmanError
from agman_lib.evaluate import Relevance
from agman_lib.folders import write_json
from agman_lib.models import NO_PARTS, Parts, RetrievalModel, build_model, from_description
from agman_lib.pixels import Pixels
from agman_lib.report import (
    baseline_tables,
    check_fits,
    environment,
    evaluate_model,
    table_to_json,
    table_to_text,
    with_baselines,
)


@dataclass(frozen=True)
class Run:
    """A finished (or resumable) run folder."""

    folder: Path
    config: TrainConfig
    report: dict[str, Any]

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Open a run folder. Raises AgmanError when it is none, or not finished."""
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise AgmanError(f"{folder}: not a run folder (no config.json); see `agman train`")
        config = TrainConfig.load(folder / "config.json")
        if not (folder / "report.json").is_file():
            raise AgmanError(f"{folder}: not finished; go on with `agman train … --resume`")
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        return cls(folder, config, report)

    @property
    def metrics(self) -> dict[str, Any]:
        """The part of the report that the config alone determines (on a CPU, bit for bit)."""
        return self.report["metrics"]

    @property
    def log(self) -> pd.DataFrame:
        """``log.csv``: losses as means since the line before; ``valid`` at the epochs' ends."""
        return read_log(self.folder)

    def model(self, which: str = "best") -> RetrievalModel:
        """The network with its ``best`` or ``last`` weights, in evaluation mode."""
        return load_model(self.folder / f"{which}.safetensors")[0]


def read_log(folder: Path) -> pd.DataFrame:
    """``log.csv`` of a run folder, finished or not."""
    return pd.read_csv(folder / "log.csv")


def initial_model(config: TrainConfig, n_attributes: int) -> RetrievalModel:
    """The network of a config as its training starts: the same weights each time.

    Raises:
        AgmanError: the starting weights cannot be had or are of another network.
    """
    parts = Parts() if config.model == "agman" else NO_PARTS
    asked = {f.name: getattr(config, f.name) for f in fields(Parts)}
    parts = replace(parts, **{name: on for name, on in asked.items() if on is not None})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_model(config.model, n_attributes, config.backbone, config.weights, parts)


def evaluate_run(
    run: str | Path,
    data: str | Path | None = None,
    split: str = "test",
    weights: str = "best",
    baselines: bool = True,
    out: str | Path | None = None,
    relevance: Relevance = "evaluated",
) -> pd.DataFrame:
    """Score a run (or a weights file of ours) on a split, print the table, write the report.

    Args:
        run: run folder, or a ``.safetensors`` file (then ``data`` is needed).
        data: prepared folder; by default the one that the run was trained on.
        split: valid or test.
        weights: "best" or "last" of the run.
        baselines: add the columns of the network as its training started (of a weights file: the
            same network with random weights) and of a colour histogram.
        relevance: "evaluated" (ASEN's protocol) or "all" (the sets of all true values meet).
        out: report file; by default ``evaluate-<split>.json`` in the run folder; none for a
            weights file or other data.

    Returns:
        The table, percent; its exact numbers are the report's ``metrics`` block.
    """
    source, config = Path(run), None
    if source.is_dir():
        config = Run.load(source).config
        suffix = "" if relevance == "evaluated" else f"-{relevance}"
        if data is None:  # scores on other data never replace the run's own report
            out = out or Path(run) / f"evaluate-{split}{suffix}.json"
        source, data = source / f"{weights}.safetensors", data or config.data
    if not source.exists():
        raise AgmanError(f"{source}: no such run folder or weights file; runs: `agman train`")
    if data is None:
        raise AgmanError("--data is needed with a weights file: the prepared folder to score on")
    model, about = load_model(source)
    dataset = PreparedDataset.load(data)
    check_fits(about, dataset, str(source))
    accelerator = make_accelerator(config.device if config else "auto")
    model.to(accelerator.device)
    pixels = Pixels(dataset, about["image_size"], about["fit"], bool(config and config.cache))
    threads = config.threads if config else torch.get_num_threads()
    with repeatable(threads, accelerator.device.type == "cpu"):
        table = evaluate_model(model, dataset, split, pixels, accelerator, True, relevance)
        if baselines and accelerator.is_main_process:
            start = initial_model(config, dataset.n_attributes) if config else None
            untrained = start or from_description(model.description)
            untrained.to(accelerator.device)
            rows = baseline_tables(untrained, dataset, split, pixels, relevance)
            table = with_baselines(table, rows)
    if accelerator.is_main_process:
        print(table_to_text(table))
        if out is not None:
            report = {
                "metrics": {"split": split, "relevance": relevance, "table": table_to_json(table)},
                "weights": source.name,
                "dataset": dataset.name,
                "environment": environment(accelerator.device),
            }
            write_json(Path(out), report)
            print(f"report: {out}")
    return table
