"""Networks, or whatever `arms` lists, compared at equal budget over several seeds.

Every run is a run folder of its own (`agman_lib.training.loop`), so a comparison that was broken
off goes on where it was. What is compared is the score of each test query (its average precision;
for listed triplets, whether the triplet is right), so that intervals and tests can be paired by
query.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.base.devices import make_accelerator
from agman_lib.base.errors import AgmanError, unknown
from agman_lib.base.folders import write_json, write_whole
from agman_lib.comparison.arms import Entry
from agman_lib.comparison.factors import factor_effects
from agman_lib.comparison.published_scores import published_scores
from agman_lib.comparison.result import Comparison, comparison_table, write_comparison
from agman_lib.comparison.untrained import untrained_scores
from agman_lib.data.dataset import PreparedDataset
from agman_lib.evaluation.embedding import embed
from agman_lib.evaluation.protocol import pairs_to_embed, per_query_scores, random_scores
from agman_lib.training.config import TrainConfig
from agman_lib.training.frozen_levels import pixels_of
from agman_lib.training.loop import train
from agman_lib.training.run import Run, check_same_data, note_begun, read_begun


def compare(
    config: TrainConfig,
    entries: Sequence[Entry],
    seeds: Sequence[int],
    out: str | Path,
    baseline: str | None = None,
    split: str = "test",
) -> Comparison:
    """Train every entry with every seed (what is there already is not trained again), and compare.

    Args:
        config: what all runs have in common; its ``out`` and ``seed`` are set here.
        entries: what is compared; the names are unique.
        seeds: at least one; intervals over seeds need two.
        out: folder for the runs, ``comparison.csv``, ``.md``, ``.json`` and ``.png``, and the score
            of every query, ``scores.npz``.
        baseline: entry that the others are tested against; by default the first.
        split: what is scored.

    Returns:
        The comparison. ``table`` has the columns ``MAP`` (mean over seeds, weighted by queries),
        ``seeds ±`` (half of the 95 % t interval of that mean over seeds), ``low``, ``high`` (95 %
        bootstrap interval over queries of the mean over seeds), ``difference`` to the baseline
        with ``diff low``, ``diff high`` (the same bootstrap, paired by query), ``diff seeds ±``
        (half of the 95 % t interval over seeds, paired by seed) and ``p`` (two-sided sign-flip test
        over queries: it speaks of other queries, not of other seeds),
        ``parameters``, ``images seen`` and ``seconds`` of training.

    Raises:
        AgmanError: what `train` raises; an unknown baseline; a name twice; cells that are no
            factorial (`factor_effects`).
    """
    names, cells = [e.name for e in entries], {e.name: e.levels for e in entries if e.levels}
    if len(set(names)) < len(names) or not names or not seeds:
        raise AgmanError("a comparison needs entries with different names, and at least one seed")
    baseline = names[0] if baseline is None else baseline
    if baseline not in names:
        raise unknown("baseline", baseline, names)
    out, dataset = Path(out), PreparedDataset.load(config.data)
    _refuse_other_data(out, dataset)
    scores: dict[str, list[np.ndarray]] = {name: [] for name in names}
    reports: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    attribute = np.zeros(0, np.int64)
    for seed in seeds:  # seed by seed, so that what is broken off has compared all entries
        for entry in entries:
            folder = run_folder(out, entry.name, seed)
            print(f"{entry.name}, seed {seed}: {folder}", flush=True)
            asked = config.changed(**entry.changes, seed=seed, out=str(folder))
            if entry.untrained:
                attribute, values, report = _untrained(entry.untrained, asked, dataset, split)
            else:
                run = train(asked, resume=True)
                (attribute, values), report = _scores(run, dataset, split), run.report
            scores[entry.name].append(100 * values)
            reports[entry.name].append(report)
    stacked = {name: np.stack(s) for name, s in scores.items()}
    table = comparison_table(stacked, attribute, reports, baseline)
    by_attribute = pd.DataFrame(
        {
            dataset.attributes[a].name: {
                name: float(s[:, attribute == a].mean()) for name, s in stacked.items()
            }
            for a in np.unique(attribute)
        }
    )
    random = random_scores(dataset, split)
    published = published_scores(dataset, split, len(attribute))
    of_seeds = {name: s.mean(1) for name, s in stacked.items()}
    effects = factor_effects(of_seeds, cells) if cells else None
    comparison = Comparison(stacked, attribute, table, by_attribute, random, *published, effects)
    write_comparison(comparison, out, dataset, config, seeds, baseline, split)
    return comparison


def run_folder(out: Path, name: str, seed: int) -> Path:
    """The folder of one run of an entry in a comparison's folder."""
    slug = "".join(c if c.isalnum() else "-" for c in name).strip("-")
    return out / "runs" / f"{slug}-seed{seed}"


def _refuse_other_data(out: Path, dataset: PreparedDataset) -> None:
    """Raise AgmanError when a folder holds a comparison on other data, before anything is made."""
    for run in sorted((out / "runs").glob("*")):
        check_same_data(run, read_begun(run), dataset)


def _scores(run: Run, dataset: PreparedDataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Attribute and score of each query, kept in the run folder once computed."""
    file = run.folder / f"scores-{split}.npz"
    kept = _read_scores(file)
    if kept is None or kept["fingerprint"] != dataset.fingerprint:
        model, pairs = run.model("best"), pairs_to_embed(dataset, split)
        pixels = pixels_of(run.config, dataset, model.backbone)
        model.to(make_accelerator(run.config.device).device)
        embeddings = embed(model, pixels, *pairs, progress=f"embed {split}")
        attribute, values = per_query_scores(dataset, split, embeddings)
        kept = {"attribute": attribute, "values": values, "fingerprint": dataset.fingerprint}
        _write_scores(file, kept)
    return kept["attribute"], kept["values"]


def _untrained(
    how: str, config: TrainConfig, dataset: PreparedDataset, split: str
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """As `untrained_scores`, kept in the run folder once computed."""
    folder = Path(config.out)
    file, kept = folder / f"scores-{split}.npz", _read_scores(folder / f"scores-{split}.npz")
    report = folder / "untrained.json"
    if kept is None or kept["fingerprint"] != dataset.fingerprint or not report.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        note_begun(folder, dataset, 1)
        attribute, values, about = untrained_scores(how, config, dataset, split)
        write_json(report, about)
        kept = {"attribute": attribute, "values": values, "fingerprint": dataset.fingerprint}
        _write_scores(file, kept)
    return kept["attribute"], kept["values"], json.loads(report.read_text(encoding="utf-8"))


def _write_scores(file: Path, scores: dict[str, Any]) -> None:
    whole = io.BytesIO()
    np.savez(whole, **scores)
    write_whole(file, whole.getvalue())


def _read_scores(file: Path) -> dict[str, Any] | None:
    """A file that `_scores` wrote; None where there is none, or one that has been cut short."""
    try:
        with np.load(file) as kept:
            return {name: kept[name] for name in ("attribute", "values", "fingerprint")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
