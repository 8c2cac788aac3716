"""The leaderboard of a challenge: every submission scored on the hidden labels."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError, unknown
from agman_lib.base.folders import write_whole
from agman_lib.challenge.handout import SPLIT, Challenge
from agman_lib.challenge.submission import Submission, read_submission
from agman_lib.evaluation.protocol import per_query_scores, random_scores
from agman_lib.evaluation.statistics import bootstrap_interval, seed_interval, welch_interval

POINTS = 10  # at most, for the gain: a point for each point of MAP
STYLE = """
body { font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }
table { border-collapse: collapse } th, td { padding: .3em .7em; text-align: right }
th:nth-child(2), td:nth-child(2) { text-align: left }
tr { border-bottom: 1px solid #ccc } .chance, .baseline { background: #f2f2f2 }
.table { overflow-x: auto }
"""


@dataclass(frozen=True)
class Leaderboard:
    """What was scored.

    Attributes:
        challenge: the key.
        baseline: the submission that the others are compared with.
        table: a row for each submission that keeps the rules, the best first: ``place``, ``MAP``,
            ``seeds ±`` (half of the 95 % t interval over its trainings); ``gain`` over the
            baseline, ``low`` and ``high`` (paired bootstrap over queries), ``gain seeds ±``
            (Welch's interval over the trainings of both), ``points``; ``parameters``, ``images
            seen``; and the MAP under each attribute. Percent.
        random: MAP of a random ranking: ``mean``, and under each attribute.
        refused: of each other submission, why it was not scored.
    """

    challenge: Challenge
    baseline: str
    table: pd.DataFrame
    random: dict[str, float]
    refused: dict[str, str]

    def markdown(self) -> str:
        """The leaderboard as Markdown."""
        head, rows = self._cells()
        aligned = "|" + "|".join("---" if k == 1 else "---:" for k in range(len(head))) + "|"
        lines = [f"# {_plain(self.challenge.title)}", "", *_paragraphs(self), "", _row(head)]
        lines += [aligned, *(_row(cells) for _, cells in rows)]
        if self.refused:
            lines += ["", "Not scored:", ""]
            lines += [f"- {_plain(name)}: {_plain(why)}" for name, why in self.refused.items()]
        return "\n".join(lines) + "\n"

    def html(self) -> str:
        """The leaderboard as a page that needs nothing else."""
        head, rows = self._cells()
        title = html.escape(self.challenge.title)
        body = [f"<h1>{title}</h1>", *(f"<p>{html.escape(p)}</p>" for p in _paragraphs(self) if p)]
        body.append('<div class="table"><table><thead><tr>')
        body += [f'<th scope="col">{html.escape(cell)}</th>' for cell in head]
        body.append("</tr></thead><tbody>")
        for kind, cells in rows:
            inside = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            body.append(f'<tr class="{kind}">{inside}</tr>')
        body.append("</tbody></table></div>")
        if self.refused:
            body.append("<h2>Not scored</h2><ul>")
            for name, why in self.refused.items():
                body.append(f"<li>{html.escape(name)}: {html.escape(why)}</li>")
            body.append("</ul>")
        start = '<!doctype html><html lang="en"><meta charset="utf-8">'
        start += '<meta name="viewport" content="width=device-width"><title>'
        return f"{start}{title}</title><style>{STYLE}</style>\n" + "\n".join(body) + "</html>\n"

    def write(self, out: str | Path) -> None:
        """Write ``leaderboard.md``, ``.html`` and ``.csv`` into a folder, which may exist."""
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "leaderboard.md", self.markdown().encode())
        write_whole(out / "leaderboard.html", self.html().encode())
        everybody = self.table.assign(**{"not scored because": ""})
        for name, why in self.refused.items():
            everybody.loc[name, ["points", "not scored because"]] = [0.0, why]
        csv = everybody.to_csv(index_label="submission", lineterminator="\n")
        write_whole(out / "leaderboard.csv", csv.encode())

    def _cells(self) -> tuple[list[str], list[tuple[str, list[str]]]]:
        """The table's head, and for each row its kind and its cells."""
        names = [n for n in self.challenge.attributes if n in self.table.columns]
        head = ["place", "submission", "MAP ± seeds", f"gain over {self.baseline}", "± over seeds"]
        head += ["points", "parameters (M)", "images seen", *(n.replace("_", " ") for n in names)]
        rows = []
        for name, row in self.table.iterrows():
            its = name == self.baseline
            gain = f"{row['gain']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
            cells = [
                f"{row['place']:.0f}",
                str(name),
                f"{row['MAP']:.1f}{_plus_minus(row['seeds ±'])}",
                "" if its else gain,
                "" if its else _plus_minus(row["gain seeds ±"]).strip(),
                "" if its else f"{row['points']:.1f}",
                f"{row['parameters'] / 1e6:.2f}",
                f"{row['images seen']:,.0f}",
                *(f"{row[n]:.1f}" for n in names),
            ]
            rows.append(("baseline" if its else "submission", cells))
        chance = ["", "a random ranking", f"{self.random['mean']:.1f}", *[""] * 5]
        rows.append(("chance", [*chance, *(f"{self.random[n]:.1f}" for n in names)]))
        return head, rows


def leaderboard(
    key: str | Path, submissions: str | Path, baseline: str, points: float = POINTS
) -> Leaderboard:
    """Score every submission in a folder. None of them can stop the others.

    Its place is one more than the number of submissions that are better and settled to be: whose
    interval of the difference lies above 0, over queries and over trainings. So those that the data
    do not tell apart share a place. A submission earns a point for each point of MAP that it gains
    over the baseline if that gain is settled, and otherwise none.

    Args:
        key: a challenge's key.
        submissions: a folder of folders, each of which bears the name of its author.
        baseline: the name of one of them.
        points: the most points for a gain.

    Raises:
        AgmanError: no key, no submissions, or a baseline that is missing or breaks the rules.
    """
    challenge, folder = Challenge.load(key), Path(submissions)
    if not folder.is_dir():
        raise AgmanError(f"{folder}: no such folder")
    found = {p.name: p for p in sorted(folder.iterdir()) if p.is_dir() and p.name[0] != "."}
    if baseline not in found:
        raise unknown("baseline", baseline, list(found), str(folder))
    scores, facts, refused = {}, {}, {}
    attribute = np.zeros(0, int)
    for folder_name, path in found.items():
        name = _readable(folder_name)
        try:
            read = read_submission(path, challenge)
            each = [per_query_scores(challenge.dataset, SPLIT, e) for e in read.embeddings]
        except AgmanError as error:
            refused[name] = _readable(str(error))
        except Exception as error:  # whatever a file holds, the others are scored
            refused[name] = f"cannot be read ({type(error).__name__})"
        else:
            attribute = each[0][0]
            scores[name] = 100 * np.stack([score for _, score in each])
            facts[name] = read
    if baseline not in scores:
        raise AgmanError(f"{found[baseline]}: the baseline cannot be scored: {refused[baseline]}")
    table = _table(challenge, scores, attribute, facts, baseline, points)
    return Leaderboard(challenge, baseline, table, random_scores(challenge.dataset, SPLIT), refused)


def _table(
    challenge: Challenge,
    scores: dict[str, np.ndarray],
    attribute: np.ndarray,
    facts: dict[str, Submission],
    baseline: str,
    points: float,
) -> pd.DataFrame:
    """The table of a `Leaderboard`, of scores (S, Q) in percent."""
    order = sorted(scores, key=lambda name: (-scores[name].mean(), name))
    rows = {}
    for number, name in enumerate(order):
        s = scores[name]
        better = sum(_settled(scores[other], s, attribute) for other in order[:number])
        gain, low, high, over_seeds = _difference(s, scores[baseline], attribute)
        earned = min(points, gain) if _settled(s, scores[baseline], attribute) else 0.0
        row = {"place": 1 + better, "MAP": s.mean(), "seeds ±": seed_interval(s.mean(1))}
        row |= {"gain": gain, "low": low, "high": high, "gain seeds ±": over_seeds}
        row |= {"points": earned, "parameters": facts[name].parameters}
        row |= {"images seen": facts[name].images_seen}
        for a, called in enumerate(challenge.dataset.attribute_names):
            if (attribute == a).any():
                row[called] = s[:, attribute == a].mean()
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def _difference(
    ours: np.ndarray, theirs: np.ndarray, attribute: np.ndarray
) -> tuple[float, float, float, float]:
    """Mean difference of scores (S, Q), its interval over queries, and half that over seeds."""
    by_query = ours.mean(0) - theirs.mean(0)
    over_seeds = welch_interval(ours.mean(1), theirs.mean(1))
    return float(by_query.mean()), *bootstrap_interval(by_query, attribute), over_seeds


def _settled(better: np.ndarray, worse: np.ndarray, attribute: np.ndarray) -> bool:
    """Whether both intervals of a difference lie above 0; of one training each, never."""
    over_seeds = welch_interval(better.mean(1), worse.mean(1))
    if not better.mean() - worse.mean() > over_seeds:
        return False
    return bootstrap_interval(better.mean(0) - worse.mean(0), attribute)[0] > 0


def _plus_minus(half: float) -> str:
    """Half an interval; nothing where one training leaves it unknown."""
    return "" if np.isnan(half) else f" ± {half:.1f}"


def _paragraphs(board: Leaderboard) -> list[str]:
    """What a reader of the table must know."""
    rules = board.challenge.rules
    allowed = f"Allowed are {rules.images_seen:,} training images seen by each of {rules.seeds} "
    allowed += f"trainings, {rules.parameters:,} parameters and {rules.dimensions} dimensions."
    how = "MAP in percent, mean over the trainings, with a 95 % interval over them (± seeds). The "
    how += "gain has a paired 95 % bootstrap interval over queries in brackets, and Welch's 95 % "
    how += "interval over the trainings. A place is one more than the number of submissions whose "
    how += (
        "lead over this one has both intervals above 0; so what the data do not tell apart shares "
    )
    how += "a place. A gain with both intervals above 0 earns a point for each point of MAP, up to "
    how += "the most that was set."
    return [allowed, "", how]


def _readable(text: str) -> str:
    """Text that can be written as UTF-8, on one line."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _plain(text: str) -> str:
    """Text in which nothing means anything to Markdown or HTML."""
    for sign in "\\`*_[]|#":
        text = text.replace(sign, f"\\{sign}")
    return html.escape(text, quote=False)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"
