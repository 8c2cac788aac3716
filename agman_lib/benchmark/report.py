"""The benchmark as a whole: which sections there are, the table, and its files."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from agman_lib.base.cores import usable_cores
from agman_lib.base.errors import AgmanError, unknown
from agman_lib.base.folders import write_json, write_whole
from agman_lib.base.pictures import save_picture
from agman_lib.benchmark import losses, networks, photos, rankings, searches
from agman_lib.benchmark.timing import Row, Setting, on_cores
from agman_lib.evaluation.report import environment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECTIONS: dict[str, tuple[Callable[[Setting], list[Row]], bool]] = {
    "embedding": (networks.embedding, True),
    "step": (networks.step, True),
    "loss": (losses.loss, True),
    "input": (photos.from_disk, False),
    "sampling": (rankings.sampling, False),
    "map": (rankings.average_precisions, False),
    "bootstrap": (rankings.intervals, False),
    "search": (searches.search, False),
    "startup": (searches.startup, False),
}
"""Each section, and whether a GPU takes part in it."""
HEAD = ("what", "beside", "device", "size", "time", "time beside", "× as fast", "quartiles",
        "× the time", "n", "memory", "note")  # fmt: skip


@dataclass(frozen=True)
class Report:
    """A benchmark's rows, and the machine that they were measured on."""

    machine: dict[str, Any]
    rows: list[Row]

    def markdown(self) -> str:
        """The machine, and a table for each section."""
        about = "\n".join(f"- {name}: {value}" for name, value in self.machine.items())
        text = [f"# Benchmark\n\n{about}\n\nTimes are medians. {EXPLAINED}"]
        for section in dict.fromkeys(row.section for row in self.rows):
            lines = [HEAD, ["---"] * 3 + ["---:"] * 8 + ["---"]]
            lines += [cells(row) for row in self.rows if row.section == section]
            table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
            doc = SECTIONS[section][0].__doc__ or ""
            text.append(f"## {section}\n\n{doc}\n\n{table}")
        return "\n\n".join(text) + "\n"

    def figure(self) -> Figure:
        """Time against size: the loss over all triplets, and a gallery's search."""
        from matplotlib.figure import Figure

        panels = {"loss": "images in the batch", "search": "items in the gallery"}
        figure = Figure(figsize=(9.5, 3.6), layout="constrained")
        for axes, (section, label) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            lines: dict[tuple[str, str], dict[int, float]] = {}
            for row in self.rows:
                if row.section == section and row.size:
                    line = lines.setdefault((row.what, row.device), {})
                    line[row.size] = 1000 * row.seconds
            for (what, device), line in lines.items():
                name = what if device == "cpu" else f"{what}, {device}"
                axes.plot(list(line), list(line.values()), "o-", ms=4, label=name)
            axes.set(title=section, xlabel=label, ylabel="milliseconds")
            axes.grid(color="#eeeeee")
            if lines:
                sizes = sorted({size for line in lines.values() for size in line})
                axes.set(xscale="log", yscale="log")
                axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
                axes.set_xticks([], minor=True)
                axes.legend(frameon=False, fontsize=8)
        return figure

    def write(self, folder: str | Path) -> None:
        """Write benchmark.json, benchmark.md and cost.png into a folder that exists."""
        folder = Path(folder)
        rows = [asdict(row) for row in self.rows]
        write_json(folder / "benchmark.json", {"machine": self.machine, "rows": rows})
        write_whole(folder / "benchmark.md", self.markdown().encode())
        save_picture(self.figure(), folder / "cost.png")


EXPLAINED = (
    "“× as fast” is the median of the ratios of the repetitions, in each of which both were timed "
    "one after the other; above 1, what stands first is the faster. “× the time” is 1 divided by "
    "that. n is the number of repetitions. Memory is what was in use at the peak and not before."
)


def cells(row: Row) -> list[str]:
    """A row of the Markdown table."""
    ratio = spread = inverse = ""
    if row.faster is not None:
        ratio, inverse = three_digits(row.faster), three_digits(1 / row.faster)
        spread = " to ".join(three_digits(q) for q in (row.low, row.high) if q is not None)
    memory = "" if row.memory is None else f"{row.memory / 1e6:,.1f} MB"
    beside = "" if row.beside_seconds is None else duration(row.beside_seconds)
    size = "" if row.size is None else f"{row.size:,}"
    return [row.what, row.beside, row.device, size, duration(row.seconds), beside, ratio, spread,
            inverse, str(row.repetitions), memory, row.note.replace("|", "/")]  # fmt: skip


def three_digits(number: float) -> str:
    """Three digits or, of what is larger, all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def duration(seconds: float) -> str:
    """Seconds as a person reads them, three digits."""
    for unit, scale in (("s", 1), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def run_benchmark(
    sections: Iterable[str] = tuple(SECTIONS),
    device: str = "all",
    threads: int = 1,
    quick: bool = False,
    million: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Measure sections, each on the CPU and, where a GPU takes part, there too.

    Args:
        sections: names in `SECTIONS`.
        device: "all": the CPU and a GPU where there is one; "cpu" or "gpu": that alone.
        threads: that the CPU may use, and on Linux cores that the process may.
        quick: small sizes and few repetitions: whether everything runs, not what it costs.
        million: also search a gallery of a million (needs about 6 GB of memory).
        say: told of each section that begins, and of its rows when it ends.

    Raises:
        AgmanError: an unknown section; no GPU for "gpu"; fewer threads than 1, or more than cores.
    """
    sections = list(sections)
    for name in sections:
        if name not in SECTIONS:
            raise unknown("section", name, SECTIONS)
    if not 1 <= threads <= usable_cores():
        raise AgmanError(f"--threads must be 1 to {usable_cores()}, the cores here, not {threads}")
    gpu = "cuda" if torch.cuda.is_available() else "mps"
    if not (gpu == "cuda" or torch.backends.mps.is_available()):
        gpu = ""
        if device == "gpu":
            raise AgmanError("--device gpu: PyTorch finds no GPU here; leave the option out")
    devices = [d for d in ("cpu", gpu) if d and device in ("all", "gpu" if d == gpu else d)]
    rows = []
    with on_cores(threads):
        machine = describe(torch.device(devices[-1]), quick)
        for name in sections:
            measure, with_gpu = SECTIONS[name]
            for place in devices if with_gpu else [d for d in devices if d == "cpu"]:
                say(f"{name}, on the {place}")
                try:
                    found = measure(Setting(place, quick, million))
                except (
                    RuntimeError,
                    TypeError,
                ) as error:  # what a GPU cannot, or has no memory for
                    if place == "cpu":
                        raise
                    found = []
                    machine[f"{name} left out on {place}"] = str(error).splitlines()[0]
                rows += found
                say("\n".join(f"  {line(row)}" for row in found))
    return Report(machine, rows)


def line(row: Row) -> str:
    """A row in a terminal."""
    if row.faster is None:
        return f"{row.what}: {duration(row.seconds)}"
    return (
        f"{row.what}: {duration(row.seconds)}, {three_digits(row.faster)} × as fast as {row.beside}"
    )


def describe(device: torch.device, quick: bool) -> dict[str, Any]:
    """The date, the machine and the versions."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.is_file() else ""
    models = [ln.partition(":")[2].strip() for ln in text.splitlines() if "model name" in ln]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load before": load and round(load, 1),
        "quick": quick,
        **environment(device),
    }
