"""Training: one call, the same from a notebook and from the command line.

A run is a folder: ``config.json``, ``log.csv``, ``last.pt`` (to resume from), ``last.safetensors``
and ``best.safetensors`` (weights), ``report.json``. Every file is written whole or not at all.

All randomness is keyed by the seed, the epoch and the step, so the result does not depend on the
number of loader processes, nor on where a run was broken off and resumed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from agman_lib.base.devices import make_accelerator, repeatable
from agman_lib.base.errors import AgmanError
from agman_lib.base.folders import write_json
from agman_lib.base.progress import bar
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.triplets import LabelIndex, listed_triplets
from agman_lib.evaluation.report import (
    environment,
    evaluate_model,
    headline,
    model_facts,
    table_to_json,
)
from agman_lib.networks.model import RetrievalModel
from agman_lib.networks.weights import save_model
from agman_lib.training.batches import EpochBatches, branch_classes
from agman_lib.training.checkpoint import restore_checkpoint, save_checkpoint
from agman_lib.training.config import TrainConfig
from agman_lib.training.frozen_levels import pixels_of
from agman_lib.training.log import TrainingLog, read_log
from agman_lib.training.losses import TrainingStep
from agman_lib.training.run import (
    Run,
    dataset_note,
    finished_before,
    initial_model,
    note_begun,
    read_begun,
)

WARM_UP = 0.05
"""The share of all steps in which the rate of the schedule "cosine" rises."""
PROGRESS = ("epoch", "step", "images_seen", "best")


def train(
    config: TrainConfig,
    resume: bool = False,
    after_epoch: Callable[[pd.DataFrame], None] | None = None,
) -> Run:
    """Train a network and write its run folder.

    Args:
        config: everything that matters; ``data`` and ``out`` are needed.
        resume: go on where the run in ``out`` was broken off, or start it; a finished one is
            opened.
        after_epoch: called with the log so far (`Run.log`) once an epoch is saved, in the main
            process: to draw curves while it trains. What it raises stops the run, which can be
            resumed.

    Raises:
        AgmanError: what is wrong with the options, the data or the run folder, and how to fix it.
    """
    config.check()
    if not config.data or not config.out:
        raise AgmanError("options --data and --out are needed: the prepared folder, the run folder")
    dataset = PreparedDataset.load(config.data)
    if finished_before(config, dataset, resume):
        return Run.load(config.out)
    accelerator = make_accelerator(config.device, config.precision)
    with repeatable(config.threads, accelerator.device.type == "cpu"):
        return _Training(config, dataset, accelerator).run(after_epoch)


def averaged_model(model: nn.Module, share: float) -> AveragedModel:
    """A running mean of a network's weights and batch statistics, in which the former mean has a
    share; the network itself until it is updated for the second time. Whole numbers are copied."""

    def update(means: Any, current: Any, _: Any) -> None:
        for mean, now in zip(means, current, strict=True):
            mean.lerp_(now, 1 - share) if mean.is_floating_point() else mean.copy_(now)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


class _Training:
    """The state of a run while it is trained."""

    def __init__(self, config: TrainConfig, dataset: PreparedDataset, accelerator: Any) -> None:
        self.config, self.dataset, self.accelerator = config, dataset, accelerator
        self.main = accelerator.is_main_process
        self.folder = Path(config.out)
        self.rank, self.processes = accelerator.process_index, accelerator.num_processes
        processes = read_begun(self.folder).get("processes", self.processes)
        if processes != self.processes:
            raise AgmanError(
                f"{self.folder}: was started with {processes} process(es), not {self.processes}, "
                "and each draws its own batches; resume with as many"
            )
        shared = config.batch_groups if config.sampler == "batch" else config.batch_size
        if shared % self.processes:
            raise AgmanError(
                f"--batch-size {config.batch_size} does not divide among {self.processes} processes"
            )
        self._prepare_sampling()
        with accelerator.main_process_first():  # the first fills the caches
            model = initial_model(config, self.dataset, print if self.main else None)
            if config.freeze_trunk:
                model.backbone.freeze()
            self.pixels = pixels_of(config, self.dataset, model.backbone)
        contrast = config.temperature if config.loss == "contrast" else None
        losses = config.margin, config.weighing, config.passes, config.branch_weight, contrast
        step = TrainingStep(model, *losses).to(memory_format=torch.channels_last)
        trained = [p for p in step.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=config.lr)
        self.step_module, self.optimizer = accelerator.prepare(step, optimizer)
        self.model, self.averaged = model, None
        if config.average:
            self.averaged = averaged_model(model, config.average)
        self.epoch, self.step, self.images_seen = 0, 0, 0
        self.since = time.perf_counter()  # minus the seconds that a run took before it was resumed
        self.log = TrainingLog(self.folder, accelerator)
        self.best: dict[str, Any] = {"valid": None, "epoch": None, "table": {}}
        if self.main:
            self._open_folder()
        accelerator.wait_for_everyone()
        if (self.folder / "last.pt").exists():
            self._restore()

    def _prepare_sampling(self) -> None:
        self.index, self.listed = None, None
        self.classes = branch_classes(self.config, self.dataset)
        if self.dataset.protocol == "triplets" and self.config.sampler == "triplets":
            self.listed = listed_triplets(self.dataset, "train")
            listed_triplets(self.dataset, "valid")
            return
        self.index = LabelIndex(self.dataset.split_labels("train"))
        self.index.check_usable()
        for role in ("query", "candidate"):
            self.dataset.split_labels("valid", role, evaluated=True)
        if self.main and len(self.index.skipped):
            names = [
                f"{self.dataset.attributes[a].name}={self.dataset.attributes[a].values[v]} ({n})"
                for a, v, n in self.index.skipped
            ]
            print(f"values with too few images, from which no anchor is drawn: {', '.join(names)}")

    # ------------------------------------------------------------------ folder and checkpoints

    def _open_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "config.json").exists():
            write_json(self.folder / "config.json", asdict(self.config))
        if not (self.folder / "begun.json").exists():
            note_begun(self.folder, self.dataset, self.processes)
        if not (self.folder / "last.pt").exists():
            self.log.begin_file()

    @property
    def _kept(self) -> RetrievalModel:
        """The network that is validated and saved."""
        kept = self.model if self.averaged is None else self.averaged.module
        assert isinstance(kept, RetrievalModel)
        return kept

    @property
    def _what_goes_on(self) -> tuple[Path, Any, nn.Module, nn.Module | None, Any, TrainingLog]:
        modules = self.step_module, self.averaged
        return self.folder, self.accelerator, *modules, self.optimizer, self.log

    def _checkpoint(self) -> None:
        progress = {name: getattr(self, name) for name in PROGRESS}
        save_checkpoint(*self._what_goes_on, progress | {"seconds": self._seconds()})

    def _restore(self) -> None:
        state = restore_checkpoint(*self._what_goes_on)
        for name in PROGRESS:
            setattr(self, name, state[name])
        self.since -= state["seconds"]

    def _seconds(self) -> float:
        """Seconds of training, those before a break included."""
        return time.perf_counter() - self.since

    # ------------------------------------------------------------------ training

    def run(self, after_epoch: Callable[[pd.DataFrame], None] | None = None) -> Run:
        config = self.config
        while self.epoch < config.epochs:
            began = time.perf_counter()
            self._train_epoch()
            table = self._validate()
            valid = headline(table)
            self.log.write_line(self.epoch + 1, self.step, self._rate(self.step - 1), valid)
            losses = self.log.epoch_means()
            if self.best["valid"] is None or valid > self.best["valid"]:
                self.best = {
                    "valid": valid,
                    "epoch": self.epoch + 1,
                    "table": table_to_json(table),
                }
                self._save_weights("best")
            self.epoch, self.step = self.epoch + 1, 0
            self.log.begin_epoch()
            self._checkpoint()
            self._say(losses, table, time.perf_counter() - began)
            if after_epoch is not None and self.main:
                after_epoch(read_log(self.folder))
        return self._finish()

    def _rate(self, step: int) -> float:
        """The learning rate of a step of this epoch."""
        config = self.config
        if config.schedule == "steps":
            return config.lr * config.lr_gamma ** (self.epoch // config.lr_step)
        done = self.epoch * config.steps_per_epoch + step
        steps = config.epochs * config.steps_per_epoch
        rise = min(1.0, (done + 1) / (WARM_UP * steps))
        return config.lr * rise * 0.5 * (1 + math.cos(math.pi * done / steps))

    def _train_epoch(self) -> None:
        """The rest of this epoch."""
        config, device = self.config, self.accelerator.device
        self.step_module.train()
        which = self.epoch, self.rank, self.processes, self.classes
        batches = EpochBatches(config, self.pixels, self.index, self.listed, *which)
        loader = DataLoader(
            batches,
            batch_size=None,
            sampler=range(self.step, config.steps_per_epoch),
            num_workers=config.workers,
        )
        title = f"epoch {self.epoch + 1}/{config.epochs}" if self.main else None
        steps = bar(loader, title, initial=self.step, total=config.steps_per_epoch, unit="step")
        for batch in steps:
            if isinstance(batch, AgmanError):
                raise batch
            lr = self._rate(self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            b = batch.to(device)
            images = self.model.normalize(b.images)
            losses = self.step_module(images, b.attributes, b.relation, b.values, b.classes)
            self.accelerator.backward(losses.total)
            self.optimizer.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.model)
            self.optimizer.zero_grad()
            self.log.add([losses.total.detach(), losses.triplet, losses.classification])
            self.step += 1
            self.images_seen += len(batch.images) * self.processes
            if self.step == config.steps_per_epoch:
                continue  # the epoch's end is logged and saved with the validation
            if self.step % config.log_every == 0:
                means = self.log.write_line(self.epoch + 1, self.step, lr, None)
                steps.set_postfix(loss=f"{means[0]:.3f}", triplet=f"{means[1]:.3f}")
            if self.step % config.checkpoint_every == 0:
                self._checkpoint()

    def _validate(self) -> pd.DataFrame:
        if self.processes > 1:  # each process moved its own batch-norm statistics: take the first's
            from accelerate.utils import broadcast

            broadcast([b for b in self._kept.buffers()])
        return evaluate_model(
            self._kept, self.dataset, "valid", self.pixels, self.accelerator, progress=self.main
        )

    def _say(self, losses: list[float], table: pd.DataFrame, seconds: float) -> None:
        if self.main:
            mean = table.loc["mean"]
            name = table.columns[0]
            text = f"triplet {losses[1]:.3f}"
            if self.model.parts.class_branch:
                text += f", classification {losses[2]:.3f}"
            print(
                f"epoch {self.epoch}/{self.config.epochs}: loss {losses[0]:.3f} ({text}); "
                f"validation {name} {mean[name]:.2f} (random {mean['random']:.2f}); "
                f"{seconds:.0f} s",
                flush=True,
            )

    def _save_weights(self, which: str) -> None:
        if self.main:
            about = model_facts(self.dataset, self.config.image_size, self.config.fit)
            save_model(self.folder / f"{which}.safetensors", self._kept, about)

    def _finish(self) -> Run:
        self._save_weights("last")
        report = {
            "metrics": {
                "best_epoch": self.best["epoch"],
                "valid": self.best["table"],
            },
            "seed": self.config.seed,
            "processes": self.processes,
            "images_seen": self.images_seen,
            "seconds": round(self._seconds(), 1),
            "dataset": dataset_note(self.dataset),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "environment": environment(self.accelerator.device),
        }
        if self.main:
            write_json(self.folder / "report.json", report)
        self.accelerator.wait_for_everyone()
        return Run(self.folder, self.config, report)
