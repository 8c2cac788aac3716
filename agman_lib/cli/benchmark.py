"""``agman benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

Section = Literal[
    "embedding", "step", "loss", "input", "sampling", "map", "bootstrap", "search", "startup"
]


def benchmark(
    out: str = "benchmark",
    sections: tuple[Section, ...] = get_args(Section),
    quick: bool = False,
    threads: int = 1,
    device: Literal["all", "cpu", "gpu"] = "all",
    million: bool = False,
) -> None:
    """Measure what the library costs, side by side with the straightforward way.

    Args:
        out: Folder to make, for benchmark.json, benchmark.md and cost.png.
        sections: What to measure.
        quick: Small sizes and few repetitions: whether everything runs, not what it costs.
        threads: Of the CPU.
        device: The CPU and the GPU where there is one (all), or one of the two.
        million: Also search a gallery of a million (6 GB of memory).
    """
    from agman_lib.base.folders import whole_folder
    from agman_lib.benchmark import run_benchmark

    with whole_folder(Path(out)) as folder:
        report = run_benchmark(
            sections, device, threads, quick, million, lambda text: print(text, flush=True)
        )
        report.write(folder)
    print(f"\n{report.markdown()}\n{out}: benchmark.md, benchmark.json and cost.png")
