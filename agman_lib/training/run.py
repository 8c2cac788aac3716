"""A run folder, opened; and its evaluation."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from agman_lib.base.devices import make_accelerator, repeatable
from agman_lib.base.errors import AgmanError, check_choice
from agman_lib.base.folders import write_json
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels
from agman_lib.evaluation.protocol import Relevance
from agman_lib.evaluation.report import (
    baseline_tables,
    check_fits,
    environment,
    evaluate_model,
    table_to_json,
    table_to_text,
    with_baselines,
)
from agman_lib.networks.build import build_model
from agman_lib.networks.model import (
    NO_PARTS,
    OWN_PARTS,
    Parts,
    RetrievalModel,
    from_description,
    without_class_branch,
)
from agman_lib.networks.weights import load_model, save_model
from agman_lib.training.config import TrainConfig
from agman_lib.training.log import read_log


@dataclass(frozen=True)
class Run:
    """A finished (or resumable) run folder."""

    folder: Path
    config: TrainConfig
    report: dict[str, Any]
    begun: dict[str, Any] = field(default_factory=dict)
    """What `note_begun` wrote: the data set that it was begun on, the number of processes."""

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Open a run folder. Raises AgmanError when it is none, or not finished."""
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise AgmanError(f"{folder}: not a run folder (no config.json); see `agman train`")
        config = TrainConfig.load(folder / "config.json")
        if not (folder / "report.json").is_file():
            raise AgmanError(f"{folder}: not finished; continue it with `agman train … --resume`")
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        return cls(folder, config, report, read_begun(folder))

    @property
    def metrics(self) -> dict[str, Any]:
        """The part of the report that the config alone determines (on a CPU, bit for bit)."""
        return self.report["metrics"]

    def dataset(self) -> PreparedDataset:
        """The data set that it was trained on, from wherever this is asked.

        Raises:
            AgmanError: it is not where it was, or its tables are no longer the same.
        """
        noted = self.begun.get("dataset", {})
        places = [self.folder / noted["from_run"], Path(noted["folder"])] if noted else []
        places.append(Path(self.config.data))
        found = [p for p in places if (p / "dataset.json").is_file()]
        if not found:
            raise AgmanError(
                f"{places[-1]}: the data set that {self.folder} was trained on is no "
                "longer there; put it back, or name its folder with --data"
            )
        dataset = PreparedDataset.load(found[0])
        check_same_data(self.folder, self.begun, dataset)
        return dataset

    @property
    def log(self) -> pd.DataFrame:
        """``log.csv``: losses as means since the line before; ``valid`` at the epochs' ends."""
        return read_log(self.folder)

    def model(self, which: str = "best") -> RetrievalModel:
        """The network with its ``best`` or ``last`` weights, in evaluation mode."""
        return load_model(self.folder / f"{which}.safetensors")[0]

    def export(self, out: str | Path) -> RetrievalModel:
        """Write the best weights as one small file, for retrieval alone, rounded to float16.

        The file says which options trained it, and how many images were seen.

        Args:
            out: file to write, ending in .safetensors.

        Returns:
            The network, without its class branch, before rounding.

        Raises:
            AgmanError: another ending.
        """
        if Path(out).suffix != ".safetensors":
            raise AgmanError(f"{out}: the output must end in .safetensors")
        model, about = load_model(self.folder / "best.safetensors")
        about |= {"trained_by": self.config.result_options}
        about |= {"images_seen": self.report["images_seen"]}
        model = without_class_branch(model)
        save_model(out, model, about, half=True)
        return model


def dataset_note(dataset: PreparedDataset) -> dict[str, str]:
    """How a report names its data set."""
    return {"name": dataset.name, "fingerprint": dataset.fingerprint}


def note_begun(folder: Path, dataset: PreparedDataset, processes: int) -> None:
    """Write ``begun.json`` of a run: what a run that goes on, or is scored, must agree with."""
    data = dataset.folder.resolve()
    about = {
        "dataset": dataset_note(dataset)
        | {"folder": str(data), "from_run": _relative(data, folder.resolve())},
        "processes": processes,
    }
    write_json(folder / "begun.json", about)


def _relative(path: Path, start: Path) -> str:
    try:
        return os.path.relpath(path, start)
    except ValueError:  # on another drive
        return str(path)


def read_begun(folder: Path) -> dict[str, Any]:
    """``begun.json`` of a run folder; empty where there is none."""
    file = folder / "begun.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def check_same_data(folder: Path, begun: dict[str, Any], dataset: PreparedDataset) -> None:
    """Raise AgmanError when a run was begun on other data than these."""
    noted = begun.get("dataset")
    if noted and noted["fingerprint"] != dataset.fingerprint:
        raise AgmanError(
            f"{folder}: was started on {noted['name']} ({noted['fingerprint']}), and the tables of "
            f"{dataset.folder} belong to {dataset.name} ({dataset.fingerprint}); continue with the "
            "data that it was started on, or choose another --out"
        )


def finished_before(config: TrainConfig, dataset: PreparedDataset, resume: bool) -> bool:
    """Whether the run folder holds this run, finished; refuses to write over anything else."""
    folder, file = Path(config.out), Path(config.out) / "config.json"
    if folder.exists() and not folder.is_dir():
        raise AgmanError(f"{folder}: is a file; choose another --out")
    if not file.exists():
        # A run killed while it wrote its first file has left nothing but that, unfinished.
        if folder.exists() and any(not p.name.endswith(".partial") for p in folder.iterdir()):
            raise AgmanError(f"{folder}: is not empty and holds no run; choose another --out")
        return False
    if not resume:
        raise AgmanError(
            f"{folder}: already holds a run; continue it with --resume, or choose another --out"
        )
    finished, before = (folder / "report.json").exists(), TrainConfig.load(file)
    for name, was in before.result_options.items():
        now = getattr(config, name)
        # To open a finished run, this machine need not have the other one's number of cores.
        if now != was and not (finished and name == "threads"):
            raise AgmanError(
                f"{folder}: was started with --{name.replace('_', '-')} {was}, not {now}; "
                "resume with the same"
            )
    begun = read_begun(folder)
    if not begun and (folder / "last.pt").exists():
        raise AgmanError(
            f"{folder}: was started by an earlier version, which did not record its data; "
            "train again with another --out"
        )
    check_same_data(folder, begun, dataset)
    return finished


def initial_model(
    config: TrainConfig, dataset: PreparedDataset, say: Callable[[str], None] | None = None
) -> RetrievalModel:
    """The network of a config as its training starts: the same weights each time.

    Args:
        dataset: its attributes, in index order.
        say: told what of a weights file could not be matched by name.

    Raises:
        AgmanError: the starting weights cannot be had or are of another network.
    """
    parts = OWN_PARTS.get(config.model, NO_PARTS)
    asked = {f.name: getattr(config, f.name) for f in fields(Parts)}
    parts = replace(parts, **{name: on for name, on in asked.items() if on is not None})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_model(
            config.model,
            dataset.n_attributes,
            config.backbone,
            config.weights,
            parts,
            dataset.attribute_names,
            say,
            [len(a.values) for a in dataset.attributes],
        )


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
    if out is not None and not Path(out).parent.is_dir():
        raise AgmanError(f"{Path(out).parent}: no such folder; make it first, or change --out")
    check_choice("split", split, Literal["valid", "test"])
    check_choice("weights of a run", weights, Literal["best", "last"])
    check_choice("relevance", relevance, Relevance)
    source, config, dataset = Path(run), None, None
    if source.is_dir():
        opened = Run.load(source)
        config = opened.config
        suffix = "" if relevance == "evaluated" else f"-{relevance}"
        if data is None:  # scores on other data never replace the run's own report
            out = out or Path(run) / f"evaluate-{split}{suffix}.json"
            dataset = opened.dataset()
        source = source / f"{weights}.safetensors"
    if not source.exists():
        raise AgmanError(f"{source}: no such run folder or weights file; runs: `agman train`")
    if dataset is None:
        if data is None:
            raise AgmanError("--data is needed with a weights file: the prepared folder to score")
        dataset = PreparedDataset.load(data)
    model, about = load_model(source)
    check_fits(about, dataset, str(source))
    accelerator = make_accelerator(config.device if config else "auto")
    model.to(accelerator.device)
    pixels = Pixels(dataset, about["image_size"], about["fit"], bool(config and config.cache))
    threads = config.threads if config else torch.get_num_threads()
    with repeatable(threads, accelerator.device.type == "cpu"):
        table = evaluate_model(model, dataset, split, pixels, accelerator, True, relevance)
        if baselines and accelerator.is_main_process:
            start = initial_model(config, dataset) if config else None
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
                "dataset": dataset_note(dataset),
                "environment": environment(accelerator.device),
            }
            write_json(Path(out), report)
            print(f"report: {out}")
    return table
