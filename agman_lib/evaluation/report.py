"""A network scored on a split, the rows it must be read beside, and reports as JSON and text."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Fit, Pixels
from agman_lib.evaluation.embedding import embed
from agman_lib.evaluation.protocol import (
    Relevance,
    colour_histograms,
    pairs_to_embed,
    retrieval_table,
    score_split,
    triplet_accuracy,
)
from agman_lib.networks.model import RetrievalModel


def model_facts(dataset: PreparedDataset, image_size: int, fit: Fit) -> dict[str, Any]:
    """What travels with a network's weights: what it was trained to see."""
    return {
        "dataset": dataset.name,
        "attributes": [{"name": a.name, "values": list(a.values)} for a in dataset.attributes],
        "image_size": image_size,
        "fit": fit,
    }


def check_fits(about: dict[str, Any], dataset: PreparedDataset, where: str) -> None:
    """Raise AgmanError when a network's attributes are not the data set's."""
    names = [a["name"] for a in about.get("attributes", [])]
    if names != dataset.attribute_names:
        raise AgmanError(
            f"{where}: was trained on the attributes {', '.join(names) or '(unknown)'}; "
            f"{dataset.folder} has {', '.join(dataset.attribute_names)}; "
            "evaluate it on its own data set"
        )


def evaluate_model(
    model: RetrievalModel,
    dataset: PreparedDataset,
    split: str,
    pixels: Pixels,
    accelerator: Any = None,
    progress: bool = False,
    relevance: Relevance = "evaluated",
) -> pd.DataFrame:
    """The table of `retrieval_table`, or of `triplet_accuracy` where the data set's protocol is
    triplets. With an accelerator, its processes share the embedding."""
    image, attribute = pairs_to_embed(dataset, split, relevance)
    title = f"embed {split}" if progress else None
    embeddings = embed(model, pixels, image, attribute, progress=title, accelerator=accelerator)
    return _table(dataset, split, embeddings, relevance)


def _table(
    dataset: PreparedDataset, split: str, embeddings: np.ndarray, relevance: Relevance
) -> pd.DataFrame:
    if dataset.protocol == "triplets":
        return triplet_accuracy(dataset, split, embeddings)
    return retrieval_table(dataset, score_split(dataset, split, embeddings, relevance=relevance))


def baseline_tables(
    untrained: RetrievalModel,
    dataset: PreparedDataset,
    split: str,
    pixels: Pixels,
    relevance: Relevance = "evaluated",
) -> dict[str, pd.DataFrame]:
    """The same table for an untrained network and for a colour histogram."""
    unique, inverse = np.unique(pairs_to_embed(dataset, split, relevance)[0], return_inverse=True)
    parts = np.array_split(unique, max(1, len(unique) // 256))
    colours = np.concatenate([colour_histograms(pixels.take(p).numpy()) for p in parts])
    return {
        "untrained": evaluate_model(untrained, dataset, split, pixels, relevance=relevance),
        "colour": _table(dataset, split, colours[inverse], relevance),
    }


def headline(table: pd.DataFrame) -> float:
    """The one number of a table: MAP (or accuracy) in the mean, percent."""
    return float(table.loc["mean"].iloc[0])


def with_baselines(table: pd.DataFrame, baselines: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The table with a column for each baseline's MAP (or accuracy)."""
    first = table.columns[0]
    return table.assign(**{name: other[first] for name, other in baselines.items()})


def table_to_json(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Rows by name, as JSON holds them: numbers exactly as computed."""
    return {str(k): {c: float(v) for c, v in row.items()} for k, row in table.iterrows()}


def table_to_text(table: pd.DataFrame) -> str:
    """The table as a person reads it, in a terminal or as Markdown: percent, one decimal."""
    shown = pd.DataFrame(index=table.index)
    for column in table.columns:
        if column == "MAP":
            shown["MAP [95 % interval]"] = [
                f"{r.MAP:.1f} [{r.low:.1f}, {r.high:.1f}]" for r in table.itertuples()
            ]
        elif column in ("queries", "triplets"):
            shown[column] = [str(int(n)) for n in table[column]]
        elif column not in ("low", "high"):
            shown[column] = [f"{v:.1f}" for v in table[column]]
    head = ["attribute", *shown.columns]
    lines = [head, *([str(i), *row] for i, row in zip(shown.index, shown.values, strict=True))]
    width = [max(len(line[k]) for line in lines) for k in range(len(head))]
    text = [
        "| " + " | ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in row) + " |"
        for row in (list(enumerate(zip(line, width, strict=True))) for line in lines)
    ]
    rule = "|" + "|".join("-" * (w + 1) + (":" if k else "-") for k, w in enumerate(width)) + "|"
    return "\n".join([text[0], rule, *text[1:]])


def environment(device: torch.device) -> dict[str, Any]:
    """What a result may depend on besides its config."""
    import torchvision

    import agman_lib

    return {
        "agman_lib": agman_lib.__version__,
        "git": _git_state(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "threads": torch.get_num_threads(),
    }


def _git_state() -> str | None:
    """Commit of the library's own checkout, with "+changes"; None when it is not in one."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        ask = ["git", "-C", str(here)]
        commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True)
        status = subprocess.run([*ask, "status", "--porcelain"], capture_output=True, text=True)
    except OSError:
        return None
    if commit.returncode:
        return None
    return commit.stdout.strip() + ("+changes" if status.stdout.strip() else "")
