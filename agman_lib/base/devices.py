"""Devices and processes, and what makes a CPU run repeatable bit for bit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def repeatable(threads: int, deterministic: bool) -> Iterator[None]:
    """Fix what makes a CPU run repeatable for the block, and put it back."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def make_accelerator(device: str = "auto", precision: str = "no") -> Any:
    """Accelerate's `Accelerator`: the device, mixed precision, and the processes of a launch.

    Args:
        device: "auto" takes an accelerator where there is one; "cpu" never does.
        precision: "no", "bf16" or "fp16".
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    # Its state outlives a call: without this, a notebook could not train twice with other options.
    AcceleratorState._reset_state(reset_partial_state=not several)
    found = torch.cuda.is_available() or torch.backends.mps.is_available()
    # Without cpu=True, processes launched where there is no accelerator would not find each other.
    return Accelerator(cpu=device == "cpu" or not found, mixed_precision=precision)
