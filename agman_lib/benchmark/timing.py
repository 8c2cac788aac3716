"""Times taken side by side: in every repetition each candidate in turn, and the ratios of those.

On a machine that others use, a time wanders by a factor of two; the ratio of two times that were
taken within the same second hardly moves.
"""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

Call = Callable[[], object]
Times = dict[str, np.ndarray]
SHORTEST = 0.02  # seconds: what takes less is repeated until it takes as long


@dataclass(frozen=True)
class Setting:
    """How a section measures."""

    device: str = "cpu"
    """As PyTorch names it."""
    quick: bool = False
    """Small sizes and few repetitions: whether everything runs, not what it costs."""
    million: bool = False
    """Search a gallery of a million, too."""

    @property
    def gpu(self) -> bool:
        """Whether the device is no CPU."""
        return self.device != "cpu"

    @property
    def repetitions(self) -> tuple[int, int, float]:
        """At least and at most how many, and the seconds after which no more are begun."""
        return (5, 5, 0.0) if self.quick else (7, 51, 15.0)


@dataclass(frozen=True)
class Row:
    """What something costs beside something else. Times are medians in seconds."""

    section: str
    device: str
    what: str
    beside: str
    """What it is measured beside; empty for a time or a memory that stands alone."""
    seconds: float
    beside_seconds: float | None = None
    faster: float | None = None
    """How many times as fast as that: the median of the repetitions' ratios."""
    low: float | None = None
    """The lower quartile of these ratios."""
    high: float | None = None
    """Their upper quartile."""
    repetitions: int = 0
    size: int | None = None
    """Images or items, where cost is measured against size."""
    memory: int | None = None
    """Bytes, at the peak, that were not in use before."""
    note: str = ""


def wait(device: str) -> None:
    """Until the device has done what it was given; a GPU works behind Python's back."""
    if device != "cpu":
        getattr(torch, device).synchronize()


def _seconds(call: Call, number: int, device: str) -> float:
    wait(device)
    began = perf_counter()
    for _ in range(number):
        call()
    wait(device)
    return (perf_counter() - began) / number


def side_by_side(calls: Mapping[str, Call], setting: Setting) -> Times:
    """Seconds (R,) of each call, R repetitions; in one, each is called in turn.

    The order is reversed in every second repetition. Each is called once before, to warm up.
    """
    number = {}
    for name, call in calls.items():
        call()
        once = _seconds(call, 1, setting.device)
        number[name] = min(1000, max(1, int(SHORTEST / max(once, 1e-9))))
    least, most, enough = setting.repetitions
    times: dict[str, list[float]] = {name: [] for name in calls}
    began = perf_counter()
    for repetition in range(most):
        if repetition >= least and perf_counter() - began > enough:
            break
        for name in list(calls)[:: 1 if repetition % 2 else -1]:
            times[name].append(_seconds(calls[name], number[name], setting.device))
    return {name: np.array(of) for name, of in times.items()}


def compared(
    section: str, setting: Setting, times: Times, what: str, beside: str = "", **more: object
) -> Row:
    """The row of one entry of `side_by_side`, beside another one or alone.

    Args:
        what, beside: names in ``times``.
        more: size, memory and note of the row.
    """
    place = section, setting.device, what, beside, float(np.median(times[what]))
    if not beside:
        return Row(*place, repetitions=len(times[what]), **more)  # type: ignore[arg-type]
    ratios = times[beside] / times[what]
    low, middle, high = (float(q) for q in np.percentile(ratios, [25, 50, 75]))
    other = float(np.median(times[beside]))
    return Row(*place, other, middle, low, high, len(ratios), **more)  # type: ignore[arg-type]


def peak_of_arrays(call: Call) -> int:
    """Bytes that NumPy (and Python) held at most during a call, beyond those before."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peak_of_tensors(call: Call, device: str) -> int | None:
    """Bytes that tensors held at most during a call, beyond those before; None if it cannot say."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        wait(device)
        return torch.cuda.max_memory_allocated() - before
    if device != "cpu":
        return None
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler says when it begins and ends
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    events = profile.profiler.kineto_results.events()
    steps = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    return int(np.cumsum([0] + [bytes_ for _, bytes_ in sorted(steps)]).max())


@contextmanager
def on_cores(threads: int) -> Iterator[None]:
    """Let nothing in the block use more cores: PyTorch, NumPy's BLAS, pools, child processes.

    The system can hold a process to some cores on Linux alone; elsewhere the pools of threads that
    decode photos and sort similarities have as many as there are cores.
    """
    from threadpoolctl import threadpool_limits

    from agman_lib.base.devices import repeatable

    held = getattr(os, "sched_getaffinity", lambda _: None)(0)
    with repeatable(threads, False), threadpool_limits(threads):
        if held:
            os.sched_setaffinity(0, sorted(held)[:threads])
        try:
            yield
        finally:
            if held:
                os.sched_setaffinity(0, held)
