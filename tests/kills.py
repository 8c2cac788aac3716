"""Kills training, preparing, indexing and comparing again and again, and looks at what is left.

::

    python tests/kills.py --kills 1000 --seed 0

Each job is a small one of its kind. It is killed (SIGKILL) once or several times, at a random
moment of the clock, or of its work on files: before a random one of its operations, or while it
does it. Each time it is begun again with the same call, and in the end it may finish. What must
hold:

- After a kill, everything that has its final name is whole.
- In the end, every file has the bytes that an undisturbed job gives it, but for the time that it
  says it took; and there is no other file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from conftest import make_squares
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.comparison.arms import network_entries
from agman_lib.comparison.study import compare
from agman_lib.data import pixels
from agman_lib.data.dataset import PreparedDataset
from agman_lib.evaluation.report import model_facts
from agman_lib.networks.build import build_model
from agman_lib.networks.weights import load_tensors, read_weights, save_model
from agman_lib.search.gallery import Gallery
from agman_lib.training.config import TrainConfig
from agman_lib.training.loop import train
from data_prep import garments, own_photos

# The victims are forked from this process, which has everything imported and never computes with
# several threads: their locks would be copied as they are.
FORK = multiprocessing.get_context("fork")
CHANGES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")
UNFINISHED = (".partial", ".log")  # of the pixel cache; all else that is unfinished is hidden
ENOUGH = 50  # findings, to stop
LONGEST = 0.02  # seconds between the beginning of an operation on a file and a kill "while"


@dataclass
class Job:
    """Something that can be killed.

    Attributes:
        kind: train, prepare, index or compare.
        folder: all that it writes lies in there.
        work: the call.
        at_once: what it makes appears at once: until then nothing may have its final name.
    """

    kind: str
    folder: Path
    work: Callable[[], object]
    at_once: bool = False
    seconds: float = 0.0
    operations: int = 0
    result: dict[str, Any] = field(default_factory=dict)


# --------------------------------------------------------------------------- the jobs


def make_jobs(work: Path) -> list[Job]:
    """The jobs, everything that they need made."""
    pixels.CHUNK = 8  # so that the pixel cache of a few photos has several chunks
    data = make_squares(work / "squares", n_train=24, n_query=4, n_candidate=8)
    dataset = PreparedDataset.load(data)
    photos = _own_photos(dataset, work / "photos")
    config = TrainConfig(
        data=str(data), model="csn", backbone="resnet18", image_size=32, epochs=2,
        steps_per_epoch=3, batch_size=4, lr=1e-3, passes="joint", threads=1, device="cpu",
        log_every=1, checkpoint_every=1, values_per_attribute=2, images_per_value=2,
    )  # fmt: skip
    few = config.changed(epochs=1, steps_per_epoch=2, checkpoint_every=2)
    network = build_model("csn", 2, "resnet18"), model_facts(dataset, 32, "crop")
    save_model(work / "network.safetensors", *network)

    def trained(sampler: str) -> Job:
        folder = work / f"train-{sampler}"
        run = config.changed(sampler=sampler, out=str(folder / "run"))
        return Job("train", folder, lambda: train(run, resume=True))

    def made(kind: str, name: str, make: Callable[[Path], object]) -> Job:
        folder = work / name
        return Job(kind, folder, lambda: _unless_made(folder / "made", make), at_once=True)

    return [
        trained("triplets"),
        trained("batch"),
        made("prepare", "garments", lambda out: garments.prepare(
            out, size=64, train=28, valid_queries=1, valid_candidates=2, test_queries=1,
            test_candidates=2, workers=1)),
        made("prepare", "own-photos", lambda out: own_photos.prepare(photos, out, progress=False)),
        made("index", "gallery", lambda out: Gallery.build(*network, dataset).save(out)),
        Job("index", data / "cache", lambda: pixels.Pixels(dataset, 32, cache=True)),
        Job("compare", work / "compare", lambda: compare(
            few, network_entries(["triplet", "csn"]), [0], work / "compare" / "made")),
    ]  # fmt: skip


def _own_photos(dataset: PreparedDataset, folder: Path) -> Path:
    """The same photos as attribute/value/photo."""
    for row in dataset.labels.itertuples():
        place = folder / row.attribute / row.value
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(dataset.paths[dataset.image_index(row.image)], place)
    return folder


def _unless_made(out: Path, make: Callable[[Path], object]) -> None:
    """Make a folder; where it is there already, the library must say so."""
    there = out.exists()
    try:
        make(out)
    except AgmanError as error:
        if not (there and "already exists" in str(error)):
            raise


# --------------------------------------------------------------------------- killing


@dataclass(frozen=True)
class Moment:
    """When to kill: after ``seconds``; or, with an ``operation``, so long after that one begins."""

    seconds: float
    operation: int | None = None


def some_moment(job: Job, chance: random.Random) -> Moment:
    """Of the clock, before an operation on a file, or while it is done; a third of them each."""
    how = chance.randrange(3)
    if how == 0:
        return Moment(chance.uniform(0, job.seconds))
    return Moment((how - 1) * chance.uniform(0, LONGEST), chance.randrange(job.operations))


def run(job: Job, moment: Moment | None, said: Path) -> int:
    """Do a job in a process of its own and kill it at the moment. Returns its exit code."""
    counted = FORK.Value("i", 0)
    victim = FORK.Process(target=_victim, args=(job, moment, said, counted))
    began = time.perf_counter()
    victim.start()
    if moment is not None and moment.operation is None:
        victim.join(moment.seconds)
        victim.kill()
    victim.join()
    if moment is None:
        job.seconds, job.operations = time.perf_counter() - began, counted.value
    assert victim.exitcode is not None
    return victim.exitcode


def _victim(job: Job, moment: Moment | None, said: Path, counted: Any) -> None:
    with open(said, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.addaudithook(lambda event, args: _on_event(event, args, str(job.folder), moment, counted))
    try:
        job.work()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _on_event(event: str, args: tuple, folder: str, moment: Moment | None, counted: Any) -> None:
    """Count what changes files in the folder, and kill this process where it is due."""
    path = str(args[0])  # a mere name where a folder is removed with all that is in it
    if event not in CHANGES or (path.startswith("/") and not path.startswith(folder)):
        return
    if event == "open" and not (args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        return
    counted.value += 1
    if moment is None or moment.operation != counted.value - 1:
        return
    if moment.seconds == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Timer(moment.seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


# --------------------------------------------------------------------------- what must hold


def what_is_not_whole(job: Job) -> list[str]:
    """What is wrong with the files that have their final names."""
    files = [p for p in sorted(job.folder.rglob("*")) if p.is_file() and _is_final(job, p)]
    wrong = [f"{p.relative_to(job.folder)} is not whole: {e}" for p in files if (e := _trouble(p))]
    if job.at_once and files:
        wrong += _differences(
            {str(p.relative_to(job.folder)): _content(p) for p in files}, job.result
        )
    return wrong


def _is_final(job: Job, path: Path) -> bool:
    inside = path.relative_to(job.folder)
    return not any(part.startswith(".") for part in inside.parts) and (
        path.suffix not in UNFINISHED
    )


READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda p: json.loads(p.read_text()),
    ".csv": pd.read_csv,
    ".npy": np.load,
    ".npz": lambda p: dict(np.load(p)),
    ".png": lambda p: Image.open(p).load(),
    ".safetensors": read_weights,
    ".pt": load_tensors,
    ".md": lambda p: p.read_text().index("|\n"),
}


def _trouble(path: Path) -> str:
    try:
        READERS[path.suffix](path)
    except Exception as error:  # a damaged file can raise anything
        return f"{type(error).__name__} {error}"
    return ""


def result_of(job: Job) -> dict[str, Any]:
    """The content of every file in the job's folder but for times, hidden files included."""
    files = sorted(p for p in job.folder.rglob("*") if p.is_file())
    return {str(p.relative_to(job.folder)): _content(p) for p in files}


def _content(path: Path) -> Any:
    if path.name == "report.json":
        content = json.loads(path.read_text())
        return {k: v for k, v in content.items() if k not in ("seconds", "environment")}
    if path.name == "last.pt":
        state = load_tensors(path)
        return {k: v for k, v in _flat(state) if k != "seconds"}
    if path.name.startswith("comparison.") and path.suffix != ".png":
        return _without_seconds(path)
    return path.read_bytes()


def _flat(state: Any, name: str = "") -> list[tuple[str, Any]]:
    """What a checkpoint holds, one by one, tensors as bytes."""
    if isinstance(state, torch.Tensor):
        return [(name, state.numpy().tobytes())]
    if isinstance(state, dict):
        return [pair for k, v in state.items() for pair in _flat(v, f"{name}.{k}".strip("."))]
    return [(name, state)]


def _without_seconds(path: Path) -> Any:
    if path.suffix == ".csv":
        return pd.read_csv(path).drop(columns="seconds").to_csv()
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        for row in content["table"].values():
            del row["seconds"]
        return content
    rows = [line.split("|") for line in path.read_text().splitlines() if line.startswith("|")]
    column = [cell.strip() for cell in rows[0]].index("seconds")
    return [row[:column] + row[column + 1 :] for row in rows]


def _differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    wrong = [f"{name} is left over" for name in sorted(set(found) - set(expected))]
    wrong += [f"{name} is missing" for name in sorted(set(expected) - set(found))]
    both = sorted(set(found) & set(expected))
    return wrong + [f"{name} has another content" for name in both if found[name] != expected[name]]


# --------------------------------------------------------------------------- the whole


def kill_until_done(job: Job, times: int, chance: random.Random, said: Path) -> tuple[int, list]:
    """From an empty folder to the result, killed so often or less. Returns kills and findings."""
    shutil.rmtree(job.folder, ignore_errors=True)
    findings, kills, moment = [], 0, None
    for more in range(times, -1, -1):
        moment = some_moment(job, chance) if more else None
        code = run(job, moment, said) if more else _run_to_the_end(job, said)
        if code == -signal.SIGKILL:
            kills += 1
            findings += [f"after {moment}: {w}" for w in what_is_not_whole(job)]
        elif code:
            findings.append(f"after {kills} kills: exit code {code}\n{said.read_text()[-2000:]}")
            break
        elif not more:
            findings += [f"in the end: {w}" for w in _differences(result_of(job), job.result)]
    return kills, findings


def _run_to_the_end(job: Job, said: Path) -> int:
    measured = job.seconds, job.operations
    code = run(job, None, said)
    job.seconds, job.operations = measured
    return code


def main() -> int:
    """Kill as often as asked, the kinds in turn; print counts and findings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chance, kills, findings = random.Random(options.seed), Counter(), []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        said = Path(work) / "said.txt"
        jobs = make_jobs(Path(work))
        for job in jobs:
            if code := _begin(job, said):
                print(f"{job.folder.name} fails undisturbed ({code}):\n{said.read_text()}")
                return 1
        while (left := options.kills - kills.total()) > 0 and len(findings) < ENOUGH:
            kind = min(dict.fromkeys(j.kind for j in jobs), key=kills.__getitem__)
            job = chance.choice([j for j in jobs if j.kind == kind])
            times = min(left, chance.randint(1, 4))
            struck, found = kill_until_done(job, times, chance, said)
            kills[kind] += struck
            findings += [f"{job.folder.name}: {f}" for f in found]
            for finding in found:
                print(f"FOUND {job.folder.name}: {finding}", flush=True)
    for kind, n in kills.items():
        print(f"{kind}: killed {n} times")
    minutes = (time.perf_counter() - began) / 60
    print(f"{kills.total()} kills in {minutes:.1f} minutes, {len(findings)} findings")
    return int(bool(findings))


def _begin(job: Job, said: Path) -> int:
    """Do a job undisturbed: how long it takes, what it does with files, and its result."""
    shutil.rmtree(job.folder, ignore_errors=True)
    code = run(job, None, said)
    job.result = result_of(job)
    print(f"{job.folder.name}: {job.seconds:.1f} s, {job.operations} operations on files, "
          f"{len(job.result)} files")  # fmt: skip
    return code


if __name__ == "__main__":
    sys.exit(main())
