"""What the notebooks share: how large to run, data to work on, and what comes with the package.

Everything that a notebook writes goes into the folder ``agman-work`` beside it (or where
``AGMAN_WORK`` says).
"""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from agman_lib.base.errors import AgmanError, unknown
from agman_lib.data.dataset import PreparedDataset
from agman_lib.networks.model import RetrievalModel

PROFILES = ("quick", "full")
NARROW = 6.4  # inches of a figure, 74 characters of text: what a window of 700 pixels has room for
T = TypeVar("T")


def profile() -> str:
    """How large the notebooks run: ``AGMAN_PROFILE``, "quick" (minutes on a laptop) or "full".

    Raises:
        AgmanError: it is set to something else.
    """
    name = os.environ.get("AGMAN_PROFILE", "quick")
    if name not in PROFILES:
        raise unknown("profile", name, PROFILES, "environment variable AGMAN_PROFILE")
    return name


def sized(quick: T, full: T) -> T:
    """One of two values, by the profile."""
    return quick if profile() == "quick" else full


def work(*parts: str) -> Path:
    """A path in the notebooks' working folder, whose parent is there."""
    path = Path(os.environ.get("AGMAN_WORK", "agman-work")).joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def garments(
    train: int, queries: int, candidates: int, labels: str = "one", seed: int = 0, size: int = 96
) -> PreparedDataset:
    """Built-in garments, drawn into the working folder, or opened where they are there already.

    Args:
        train: training images.
        queries, candidates: of each attribute in the test split; validation has half of them.
        labels: "one" (a training image is labelled for one attribute, as in FashionAI), "all" or
            "every", as in `data_prep.garments.dataset.prepare`.
        seed: of the drawing.
        size: pixels.
    """
    from data_prep.garments.dataset import prepare

    name = f"garments-{size}px-{train}-{queries}-{candidates}-{labels}-seed{seed}"
    folder = work(name)
    if not folder.exists():
        prepare(
            folder,
            size=size,
            train=train,
            valid_queries=max(1, queries // 2),
            valid_candidates=max(1, candidates // 2),
            test_queries=queries,
            test_candidates=candidates,
            labels=labels,
            seed=seed,
        )
    return PreparedDataset.load(folder)


def start_weights() -> Path:
    """The file of `start_model`."""
    return _assets() / "garments.safetensors"


def _assets() -> Path:
    return Path(str(files("agman_lib") / "assets"))


def start_model() -> tuple[RetrievalModel, dict[str, Any]]:
    """The small AG-MAN that comes with the package, trained on garments, and what it knows.

    It is the preset ``quick`` with seed 0, but from random weights and on a ResNet-18, since the
    paper's backbone is a ResNet (``about["trained_by"]``); the class branch is left out. ``make
    checkpoint`` trains it again.
    """
    from agman_lib.networks.weights import load_model

    return load_model(start_weights())


def results(name: str) -> dict[str, Any]:
    """Committed results of the library's own longer runs, by name.

    Raises:
        AgmanError: there is none of this name.
    """
    folder = _assets()
    known = sorted(p.stem for p in folder.glob("*.json"))
    if name not in known:
        raise unknown("result", name, known)
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def pictures(dataset: PreparedDataset, images: Any) -> list[np.ndarray]:
    """The files of these image indices as uint8 (H, W, 3)."""
    from agman_lib.data.images import decode_image

    return [np.asarray(decode_image(dataset.paths[int(i)])) for i in images]


def wrapped(text: str, width: int = 74) -> str:
    """Text whose long lines are broken between words, so that a narrow window need not do it."""
    import textwrap

    wrapper = textwrap.TextWrapper(
        width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrapper.fill(line) for line in text.splitlines())


def show(figure: Figure, alt: str, dpi: int = 90) -> None:
    """Show a figure with a description for those who cannot see it.

    As HTML, because notebook front ends do not pass the description of a plain image on.
    """
    from IPython.display import display

    display({"text/html": picture_html(figure, alt, dpi), "text/plain": alt}, raw=True)


def picture_html(figure: Figure, alt: str, dpi: int = 90) -> str:
    """A figure as an HTML image with its description.

    The PNG in it has a palette of 256 colours, which keeps notebooks small. A figure that is
    somewhat too wide for a narrow window is drawn narrower, by a fifth at most: its text keeps its
    size, which it would lose were the finished image shrunk.
    """
    import base64
    import html
    import io

    from PIL import Image

    width, height = figure.get_size_inches()
    scale = min(1.0, max(NARROW / width, 0.8))
    figure.set_size_inches(scale * width, scale * height)
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    figure.set_size_inches(width, height)
    Image.open(drawn).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"
    return f'<img alt="{html.escape(alt)}" src="{source}" style="max-width: 100%">'


def key_number(name: str, value: float, tolerance: float) -> None:
    """Print a number that a run on another machine must come near to.

    Args:
        name: what it is.
        value: what came out.
        tolerance: how far another machine, or another version of PyTorch, may be off.
    """
    if not np.isfinite(value):
        raise AgmanError(f"{name} is {value}")
    print(f"key number: {name} = {value:.2f} (elsewhere within {tolerance:g})")


def machine() -> pd.DataFrame:
    """What the notebook runs on, as a table."""
    import platform

    import torch

    from agman_lib.base.cores import usable_cores
    from agman_lib.evaluation.report import environment

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    about = environment(device)
    rows = {
        "Python": about["python"],
        "PyTorch": about["torch"],
        "torchvision": about["torchvision"],
        "agman_lib": about["agman_lib"],
        "system": f"{platform.system()} {platform.machine()}",
        "CPU cores to use": usable_cores(),
        "accelerator": about["device_name"] if device.type == "cuda" else "none (a CPU is enough)",
        "profile": profile(),
    }
    return pd.DataFrame({"": rows}).astype(str)
