"""``last.pt``: all that a run needs to go on from where it was killed, as if it had not been."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from agman_lib.base.folders import write_whole
from agman_lib.networks.weights import load_tensors
from agman_lib.training.log import TrainingLog

NAME = "last.pt"


def save_checkpoint(
    folder: Path,
    accelerator: Any,
    step_module: nn.Module,
    averaged: nn.Module | None,
    optimizer: Optimizer,
    log: TrainingLog,
    progress: dict[str, Any],
) -> None:
    """Write the checkpoint, whole or not at all; every process calls it, and the main one writes.

    Args:
        averaged: the running mean of the weights, where there is one.
        progress: how far the run is; plain values.
    """
    logged = log.state()
    if not accelerator.is_main_process:
        return
    scaler = getattr(accelerator, "scaler", None)
    state = {
        "step_module": accelerator.unwrap_model(step_module).state_dict(),
        "averaged": None if averaged is None else averaged.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler else None,
    }
    buffer = io.BytesIO()
    torch.save(state | progress | logged, buffer)
    write_whole(folder / NAME, buffer.getvalue())


def restore_checkpoint(
    folder: Path,
    accelerator: Any,
    step_module: nn.Module,
    averaged: nn.Module | None,
    optimizer: Optimizer,
    log: TrainingLog,
) -> dict[str, Any]:
    """Put everything back as it was when the checkpoint was written, and return its ``progress``.

    Raises:
        AgmanError: the file is damaged.
    """
    state = load_tensors(folder / NAME)
    accelerator.unwrap_model(step_module).load_state_dict(state["step_module"])
    if averaged is not None:
        averaged.load_state_dict(state["averaged"])
    optimizer.load_state_dict(state["optimizer"])
    if state["scaler"]:
        accelerator.scaler.load_state_dict(state["scaler"])
    log.restore(state)
    return state
