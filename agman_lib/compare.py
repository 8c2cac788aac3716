"""Networks, or the steps of the ablation, compared at equal budget over several seeds.

Every run is a run folder of its own (`agman_lib.train`), so a comparison that was broken off goes
on where it was. What is compared is the score of each test query (its average precision; for listed
triplets, whether the triplet is right), so that intervals and tests can be paired by query.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.config import TrainConfig
from agman_lib.dataset import PreparedDataset
from agman_lib.errors import AgmanError, unknown
from agman_lib.evaluate import per_query_scores, random_scores
from agman_lib.folders import write_json, write_whole
from agman_lib.intervals import bootstrap_interval, seed_interval, sign_flip_p
from agman_lib.models import NETWORKS
from agman_lib.pixels import Pixels
from agman_lib.plots import comparison_chart, save_picture
from agman_lib.published import PublishedScore, published_scores
from agman_lib.report import network_embedder
from agman_lib.runs import Run, check_same_data, read_begun
from agman_lib.train import train

ABLATION = (
    ("projected_values", "pool the projection x, not F"),
    ("swish", "g in both transforms"),
    ("spatial_gate", "spatial gate"),
    ("masks", "masks"),
    ("scalars", "scalars w, w1, w2"),
    ("multi_level", "multi-level backbone"),
    ("class_branch", "same-attribute classification"),
)
"""The switches that lead from ASENet_V2 to AG-MAN, one a step."""


@dataclass(frozen=True)
class Entry:
    """A line of the comparison: its name, and what it changes in the common config."""

    name: str
    changes: dict[str, Any] = field(default_factory=dict)


def network_entries(names: Sequence[str]) -> list[Entry]:
    """An entry for each network. Raises AgmanError for an unknown one."""
    for name in names:
        if name not in NETWORKS:
            raise unknown("network", name, NETWORKS)
    return [Entry(name, {"model": name}) for name in names]


def ablation_entries() -> list[Entry]:
    """ASENet_V2, then one of AG-MAN's parts more at each step; with all of them it is AG-MAN."""
    changes: dict[str, Any] = {"model": "asen_v2"}
    entries = [Entry("asen_v2", changes)]
    for switch, title in ABLATION:
        changes = changes | {switch: True}
        entries.append(Entry(f"+ {title}", changes))
    return [*entries[:-1], Entry(entries[-1].name, {"model": "agman"})]


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Attributes:
        scores: for each entry (S, Q): S seeds, Q queries, in percent.
        attribute: (Q,) index of each query's attribute.
        table: one row an entry, see `compare`.
        by_attribute: MAP of each entry (rows) under each attribute, mean over the seeds.
        random: what a random ranking scores, by attribute and ``mean``.
        published: published rows, where data set and protocol are the published ones.
        why_not_published: where there are none, why.
    """

    scores: dict[str, np.ndarray]
    attribute: np.ndarray
    table: pd.DataFrame
    by_attribute: pd.DataFrame
    random: dict[str, float]
    published: Sequence[PublishedScore] = ()
    why_not_published: str = ""


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
        out: folder for the runs, ``comparison.csv``, ``.md``, ``.json`` and ``.png``.
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
        AgmanError: what `train` raises; an unknown baseline; a name twice.
    """
    names = [e.name for e in entries]
    if len(set(names)) < len(names) or not names or not seeds:
        raise AgmanError("a comparison needs entries with different names, and a seed")
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
            folder = out / "runs" / f"{_slug(entry.name)}-seed{seed}"
            print(f"{entry.name}, seed {seed}: {folder}", flush=True)
            run = train(config.changed(**entry.changes, seed=seed, out=str(folder)), resume=True)
            attribute, values = _scores(run, dataset, split)
            scores[entry.name].append(100 * values)
            reports[entry.name].append(run.report)
    stacked = {name: np.stack(s) for name, s in scores.items()}
    table = _table(stacked, attribute, reports, baseline)
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
    comparison = Comparison(stacked, attribute, table, by_attribute, random, *published)
    _write(comparison, out, dataset, config, seeds, baseline, split)
    return comparison


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name).strip("-")


def _refuse_other_data(out: Path, dataset: PreparedDataset) -> None:
    """Raise AgmanError when a folder holds a comparison on other data, before anything is made."""
    for run in sorted((out / "runs").glob("*")):
        check_same_data(run, read_begun(run), dataset)


def _scores(run: Run, dataset: PreparedDataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Attribute and score of each query, kept in the run folder once computed."""
    file = run.folder / f"scores-{split}.npz"
    kept = _read_scores(file)
    if kept is None or kept["fingerprint"] != dataset.fingerprint:
        config = run.config
        pixels = Pixels(dataset, config.image_size, config.fit, config.cache)
        embedder = network_embedder(run.model("best"), pixels, title=f"embed {split}")
        attribute, values = per_query_scores(dataset, split, embedder)
        kept = {"attribute": attribute, "values": values, "fingerprint": dataset.fingerprint}
        whole = io.BytesIO()
        np.savez(whole, **kept)
        write_whole(file, whole.getvalue())
    return kept["attribute"], kept["values"]


def _read_scores(file: Path) -> dict[str, Any] | None:
    """A file that `_scores` wrote; None where there is none, or one that has been cut short."""
    try:
        with np.load(file) as kept:
            return {name: kept[name] for name in ("attribute", "values", "fingerprint")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


# --------------------------------------------------------------------------- statistics


def _table(
    scores: dict[str, np.ndarray],
    attribute: np.ndarray,
    reports: dict[str, list[dict[str, Any]]],
    baseline: str,
) -> pd.DataFrame:
    reference = scores[baseline].mean(0)
    rows = {}
    for name, s in scores.items():
        mean = s.mean(0)
        low, high = bootstrap_interval(mean, attribute)
        row = {"MAP": mean.mean(), "seeds ±": seed_interval(s.mean(1)), "low": low, "high": high}
        difference = mean - reference
        low, high = bootstrap_interval(difference, attribute)
        row |= {"difference": difference.mean(), "diff low": low, "diff high": high}
        by_seed = s.mean(1) - scores[baseline].mean(1)
        row["diff seeds ±"] = seed_interval(by_seed) if name != baseline else np.nan
        row["p"] = sign_flip_p(difference) if name != baseline else np.nan
        row["parameters"] = reports[name][0]["parameters"]
        row["images seen"] = reports[name][0]["images_seen"]
        row["seconds"] = float(np.mean([r["seconds"] for r in reports[name]]))
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index")


# --------------------------------------------------------------------------- writing


def comparison_text(comparison: Comparison, baseline: str) -> str:
    """The tables as Markdown."""
    t, lines = comparison.table, []
    head = ["network", "MAP ± seeds", "95 % over queries", f"difference to {baseline}"]
    head += ["± over seeds", "p"]
    head += ["parameters (M)", "images seen", "seconds", *comparison.by_attribute.columns]
    for name, row in t.iterrows():
        same = name == baseline
        over = f"{row['difference']:+.1f} [{row['diff low']:+.1f}, {row['diff high']:+.1f}]"
        cells = [
            str(name),
            f"{row['MAP']:.1f}" + ("" if np.isnan(row["seeds ±"]) else f" ± {row['seeds ±']:.1f}"),
            f"[{row['low']:.1f}, {row['high']:.1f}]",
            "" if same else over,
            "" if np.isnan(row["diff seeds ±"]) else f"± {row['diff seeds ±']:.1f}",
            "" if same else f"{row['p']:.4f}",
            f"{row['parameters'] / 1e6:.1f}",
            f"{int(row['images seen']):,}",
            f"{row['seconds']:.0f}",
            *(f"{v:.1f}" for v in comparison.by_attribute.loc[name]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    r = comparison.random
    by_chance = [f"{r[a]:.1f}" for a in comparison.by_attribute.columns]
    chance = ["random ranking (expected)", f"{r['mean']:.1f}", *[""] * 7, *by_chance]
    lines.insert(0, "| " + " | ".join(chance) + " |")
    for row in comparison.published:
        known = [f"{v:.1f}" for v in row.by_attribute] or [""] * len(by_chance)
        cells = [f"{row.method} (published, {row.source})", f"{row.score:.2f}", *[""] * 7, *known]
        lines.append("| " + " | ".join(cells) + " |")
    rule = "|" + "---|" + "---:|" * (len(head) - 1)
    text = "\n".join(["| " + " | ".join(head) + " |", rule, *lines]) + "\n"
    why = comparison.why_not_published
    return text + (f"\nNo published rows: {why}.\n" if why else "")


def _rows(table: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """A table as JSON: NaN, which JSON lacks, becomes null."""
    return {
        str(name): {str(k): None if pd.isna(v) else float(v) for k, v in row.items()}
        for name, row in table.iterrows()
    }


def _write(
    comparison: Comparison,
    out: Path,
    dataset: PreparedDataset,
    config: TrainConfig,
    seeds: Sequence[int],
    baseline: str,
    split: str,
) -> None:
    everything = comparison.table.join(comparison.by_attribute).assign(source="measured")
    for row in comparison.published:
        known = zip(comparison.by_attribute.columns, row.by_attribute, strict=False)
        values = {"MAP": row.score, "source": row.source, **dict(known)}
        everything.loc[f"{row.method} (published)", list(values)] = list(values.values())
    csv = everything.to_csv(index_label="network", lineterminator="\n")
    write_whole(out / "comparison.csv", csv.encode())
    write_whole(out / "comparison.md", comparison_text(comparison, baseline).encode())
    ours = {k: v for k, v in config.result_options.items() if k not in ("seed", "model")}
    of_seeds = {k: s.mean(1).tolist() for k, s in comparison.scores.items()}
    chart = comparison_chart(comparison.table, of_seeds, comparison.random["mean"])
    save_picture(chart, out / "comparison.png", dpi=130)
    about = {
        "dataset": dataset.title,
        "fingerprint": dataset.fingerprint,
        "split": split,
        "queries": len(comparison.attribute),
        "seeds": list(seeds),
        "baseline": baseline,
        "table": _rows(comparison.table),
        "by attribute": _rows(comparison.by_attribute),
        "random": comparison.random,
        "MAP of each seed": of_seeds,
        "config": ours,
    }
    write_json(out / "comparison.json", about)
