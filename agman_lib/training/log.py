"""``log.csv`` of a run: a line now and then, the mean losses since the line before."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from agman_lib.base.errors import AgmanError
from agman_lib.base.folders import write_whole

COLUMNS = ["epoch", "step", "lr", "total", "triplet", "classification", "valid"]


def read_log(folder: Path) -> pd.DataFrame:
    """``log.csv`` of a run folder, finished or not."""
    return pd.read_csv(folder / "log.csv")


class TrainingLog:
    """The sums of an epoch's losses, over all processes, and the file that their means go to.

    The sums are of the three losses, and in the fourth place how many steps they are of.
    """

    def __init__(self, folder: Path, accelerator: Any) -> None:
        self.file, self.accelerator = folder / "log.csv", accelerator
        self.begin_epoch()

    def begin_file(self) -> None:
        """Write the file with its head alone."""
        write_whole(self.file, (",".join(COLUMNS) + "\n").encode())

    def begin_epoch(self) -> None:
        """Forget the sums."""
        self.unlogged = torch.zeros(4, device=self.accelerator.device)  # since the last line
        self.logged = torch.zeros(4)  # what this epoch's lines were made of

    def add(self, losses: list[Tensor]) -> None:
        """A step's losses: total, triplet, classification."""
        one = torch.ones((), device=self.accelerator.device)
        self.unlogged += torch.stack([*losses, one])

    def write_line(self, epoch: int, step: int, lr: float, valid: float | None) -> list[float]:
        """Write a line; returns its mean losses over all processes.

        Raises:
            AgmanError: a loss is not finite.
        """
        sums = self.unlogged[:3] / self.unlogged[3].clamp(min=1)
        means = self.accelerator.reduce(sums, "mean").tolist()
        self.logged += self.unlogged.cpu()
        self.unlogged.zero_()
        if not all(np.isfinite(means)):
            raise AgmanError(
                f"{self.file.parent}: the loss is not finite at epoch {epoch}, step {step}; "
                "try a lower --lr or --precision no"
            )
        if self.accelerator.is_main_process:
            row = [epoch, step, lr, *means, "" if valid is None else valid]
            with open(self.file, "a", newline="") as file:
                csv.writer(file, lineterminator="\n").writerow(row)
        return means

    def epoch_means(self) -> list[float]:
        """The mean losses over the lines of this epoch."""
        return (self.logged[:3] / self.logged[3]).tolist()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, the file's text among it; all processes call it."""
        unlogged = self.accelerator.gather(self.unlogged[None]).cpu()  # a row a process
        text = self.file.read_text() if self.accelerator.is_main_process else ""
        return {"unlogged": unlogged, "logged": self.logged, "log": text}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint: what was logged after it will be logged again."""
        rank = self.accelerator.process_index
        self.unlogged = state["unlogged"][rank].to(self.accelerator.device)
        self.logged = state["logged"]
        if self.accelerator.is_main_process:
            write_whole(self.file, state["log"].encode())
