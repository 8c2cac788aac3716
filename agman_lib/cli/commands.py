"""The ``agman`` command. Heavy imports happen inside the commands, so help answers at once."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from agman_lib import __version__
from agman_lib.base.errors import AgmanError, unknown
from agman_lib.cli.benchmark import benchmark
from agman_lib.cli.challenge import challenge, score
from agman_lib.cli.compare import compare_command
from agman_lib.cli.gallery import explain, index, search
from agman_lib.cli.parse import PRESET_HELP, parse, take_preset
from agman_lib.cli.prepare import PREPARE, Source, prepare_garments
from agman_lib.training.config import TrainConfig, preset

HELP = """usage: agman COMMAND …       (agman COMMAND --help for its options)

  quickstart                  draw garments, train, evaluate, show: a few minutes on a laptop
  prepare garments            draw the built-in garments
  prepare fashion-products    Fashion Product Images (Small): Kaggle's zip or folder, or parquet
  prepare fashionai           FashionAI attributes (login needed to get it)
  prepare deepfashion         DeepFashion, Category and Attribute Prediction (password by form)
  prepare zappos50k           UT-Zappos50K triplets
  prepare own-photos          your own table of path, attribute, value, or your own folders
  train                       train a network on a prepared folder
  evaluate                    score a run (or a weights file) on a split, with its baseline rows
  compare                     networks, or the ablation, over several seeds at equal budget
  figures                     training curve, attention and retrieval pictures of a run
  index                       make a searchable gallery of photos
  search                      find the photos of a gallery that are nearest in an attribute
  explain                     draw where a network looks, and what it finds, for photos
  convert                     a published checkpoint into a file of ours
  export                      a run's best weights, small: what retrieval needs
  challenge                   make a test set whose labels you keep
  score                       score what was handed in for a challenge: the leaderboard
  benchmark                   measure what the library costs, beside the straightforward way
"""


RunFolder = Annotated[Positional[str], arg(metavar="RUN")]
Target = Annotated[Positional[str], arg(metavar="OUT")]


def train(config: TrainConfig, resume: bool) -> None:
    """Train, and say what comes next."""
    from agman_lib.training.loop import train as run_training

    run = run_training(config, resume)
    metrics = run.metrics
    print(f"{run.folder}: best epoch {metrics['best_epoch']}; next: agman evaluate {run.folder}")


def evaluate(
    run: RunFolder,
    data: str | None = None,
    split: Literal["valid", "test"] = "test",
    weights: Literal["best", "last"] = "best",
    baselines: bool = True,
    relevance: Literal["evaluated", "all"] = "evaluated",
    out: str | None = None,
) -> None:
    """Score a run on a split: exact MAP with intervals, recall, and the rows to read it beside.

    Args:
        run: Run folder, or a weights file of ours (then --data is needed).
        data: Prepared folder; by default the one it was trained on.
        split: Split to score.
        weights: Which weights of the run.
        baselines: Also score an untrained network and a colour histogram.
        relevance: A candidate is relevant when its evaluated value is the query's (evaluated), or
            when the sets of all their values of the attribute meet (all).
        out: Report to write; by default evaluate-SPLIT.json in the run folder (none with --data).
    """
    from agman_lib.training.run import evaluate_run

    evaluate_run(run, data, split, weights, baselines, out, relevance)


def figures(run: RunFolder, out: str | None = None, data: str | None = None) -> None:
    """Write the training curve, attention and retrieval pictures of a run.

    Args:
        run: Run folder.
        out: Folder for the pictures; by default RUN/figures.
        data: Prepared folder; by default the one it was trained on.
    """
    from agman_lib.data.dataset import PreparedDataset
    from agman_lib.explain.figures import run_figures
    from agman_lib.training.run import Run

    opened = Run.load(run)
    dataset = PreparedDataset.load(data) if data else opened.dataset()
    for path in run_figures(opened, dataset, Path(out or opened.folder / "figures")):
        print(path)


def convert(source: Source, out: Target) -> None:
    """A published checkpoint (AG-MAN, ASENet_V2, ASEN, CSN) into a safetensors file of ours.

    Args:
        source: The published file: .safetensors, or a PyTorch file that holds tensors alone.
        out: File to write, ending in .safetensors.
    """
    from agman_lib.networks.published_weights import from_official
    from agman_lib.networks.weights import read_weights, save_model

    if not out.endswith(".safetensors"):
        raise AgmanError(f"{out}: the output must end in .safetensors")
    model = from_official(read_weights(source)[0], source)
    save_model(out, model, {"source": Path(source).name})
    facts = model.description
    print(f"{out}: {facts['backbone']}, {facts['n_attributes']} attributes")


def export(run: RunFolder, out: Target) -> None:
    """A run's best weights as one small file: without the class branch, rounded to float16.

    Args:
        run: Run folder.
        out: File to write, ending in .safetensors.
    """
    from agman_lib.training.run import Run

    Run.load(run).export(out)
    print(f"{out}: {Path(out).stat().st_size / 1e6:.1f} MB")


def quickstart(out: str = "quickstart", seed: int = 0, threads: int | None = None) -> None:
    """Draw garments, train AG-MAN on them, evaluate, and make three figures.

    Args:
        out: Folder for everything; one that was broken off goes on.
        seed: Of the garments and the training.
        threads: CPU threads of the training; by default one a core. A quickstart that was begun
            with another number goes on with that number.
    """
    from agman_lib.data.dataset import PreparedDataset
    from agman_lib.explain.figures import run_figures
    from agman_lib.training.run import Run, evaluate_run

    began = time.perf_counter()
    data, run = Path(out) / "garments", Path(out) / "run"
    if not data.exists():
        print("1/4 drawing garments", flush=True)
        prepare_garments(str(data), seed=seed)
    print("2/4 training AG-MAN (preset quick)", flush=True)
    if threads is None and (run / "config.json").is_file():
        threads = TrainConfig.load(run / "config.json").threads
    config = preset("quick").changed(data=str(data), out=str(run), seed=seed)
    train(config if threads is None else config.changed(threads=threads), resume=True)
    print("3/4 evaluating on the test split", flush=True)
    evaluate_run(str(run))
    print("4/4 drawing figures", flush=True)
    for path in run_figures(Run.load(run), PreparedDataset.load(data), Path(out) / "figures"):
        print(f"  {path}")
    print(
        f"\ndone in {time.perf_counter() - began:.0f} s. Next: look at {out}/figures, then change "
        f"something:\n  agman train --preset quick --data {data} --out {out}/asen_v2 "
        f"--model asen_v2\n  agman evaluate {out}/asen_v2"
    )


def _say_first(config: TrainConfig, resume: bool) -> None:
    """What a person should know before `agman train` begins."""
    import torch

    if resume and not (Path(config.out) / "config.json").exists():
        print(f"{config.out}: there is no run to resume, so a new one begins", flush=True)
    large = config.backbone == "resnet50" and config.image_size >= 224
    if large and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        images = 3 * config.batch_size * config.steps_per_epoch * config.epochs
        print(
            f"ResNet-50 at {config.image_size} pixels: a CPU trains only a few of these {images:,} "
            "images a second; the presets quick and photos are made for CPUs",
            flush=True,
        )


def _train_command(args: list[str]) -> None:
    default, rest = take_preset(args)
    resume = "--resume" in rest
    rest = [word for word in rest if word != "--resume"]
    description = (
        f"Train a network on a prepared folder.\n\n{PRESET_HELP}\n"
        "--resume: go on with the run in --out where it was broken off."
    )
    config = parse(TrainConfig, rest, "agman train", default=default, description=description)
    _say_first(config, resume)
    train(config, resume)


COMMANDS: dict[str, Any] = {
    "quickstart": quickstart,
    "prepare": PREPARE,
    "train": _train_command,
    "compare": compare_command,
    "evaluate": evaluate,
    "figures": figures,
    "index": index,
    "search": search,
    "explain": explain,
    "convert": convert,
    "export": export,
    "challenge": challenge,
    "score": score,
    "benchmark": benchmark,
}


def _dispatch(args: list[str], commands: dict[str, Any], path: str) -> None:
    if not args or args[0] in ("-h", "--help"):
        print(HELP, end="")
        return
    if args[0] == "--version":
        print(f"agman {__version__}")
        return
    if args[0] not in commands:
        raise unknown("command", args[0], commands, path)
    command, rest = commands[args[0]], args[1:]
    path = f"{path} {args[0]}"
    if isinstance(command, dict):
        _dispatch(rest, command, path)
    elif command in (_train_command, compare_command):
        command(rest)
    else:
        parse(command, rest, path)


def main(args: list[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0, 2 for what the user can fix, 130 stopped."""
    try:
        _dispatch(sys.argv[1:] if args is None else args, COMMANDS, "agman")
    except AgmanError as error:
        print(f"error: {error}", file=sys.stderr)
    except SystemExit as stop:  # tyro has printed a help text
        return int(stop.code or 0)
    except KeyboardInterrupt:
        print("stopped; --resume goes on from the last checkpoint", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        advice = "; free some space and run again" if error.errno == errno.ENOSPC else ""
        print(f"error: {where}{error.strerror or error}{advice}", file=sys.stderr)
    else:
        return 0
    return 2
