"""Make the students' copies of the assignments, and grade what is handed in.

python notebooks/assignments/assignments.py build
    students' copies beside this file, and autograders in build/assignments/
python notebooks/assignments/assignments.py hand-out NAMES OUT --seed SECRET
    a variant of each assignment for each line of the file NAMES, in OUT/NAME/
python notebooks/assignments/assignments.py grade 1 FOLDER [--seed SECRET]
    marks.csv and feedback for each notebook in FOLDER; with the seed, as variants: NAME.ipynb

A notebook that is handed in is a program, and grading runs it: see README.md for where.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from variants import Variant, variant_of, write_variant

HERE = Path(__file__).resolve().parent
INSTRUCTOR = HERE / "instructor"
BUILT = HERE.parent.parent / "build" / "assignments"
WARNING = "[IPKernelApp] WARNING"


def sources(number: str | None = None) -> list[Path]:
    """The instructor's notebooks, all or that of one number."""
    return sorted(INSTRUCTOR.glob(f"{number or '[0-9]'}_*.ipynb"))


def make(source: Path, folder: Path) -> tuple[Path, Path]:
    """A student's copy and an autograder (a zip) of an instructor's notebook, in a folder.

    Raises:
        RuntimeError: the solutions do not pass their own tests, or the format is wrong.
    """
    ran = subprocess.run(
        [*_otter("assign"), "--no-pdfs", str(source), str(folder)],
        cwd=source.parent,
        env=_environment(),
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        raise RuntimeError(f"{source.name}: {_last_line(ran.stderr)}")
    student = folder / "student" / source.name
    student.write_text(json.dumps(_tidy(student), indent=1, ensure_ascii=False) + "\n")
    (autograder,) = (folder / "autograder").glob("*.zip")
    return student, autograder


def _tidy(notebook: Path) -> dict[str, Any]:
    """A notebook whose cells are named by their places, so that making it again changes nothing."""
    nb = json.loads(notebook.read_text(encoding="utf-8"))
    for place, cell in enumerate(nb["cells"]):
        cell["id"] = f"cell-{place}"
    return nb


def build() -> None:
    """Every student's copy and autograder."""
    for source in sources():
        with tempfile.TemporaryDirectory() as made:
            student, autograder = make(source, Path(made))
            BUILT.mkdir(parents=True, exist_ok=True)
            shutil.copy(student, HERE / source.name)
            shutil.copy(autograder, BUILT / f"{source.stem}.zip")
        print(f"{HERE / source.name}\n{BUILT / source.stem}.zip")


def hand_out(names: Path, out: Path, seed: str) -> None:
    """Every student's own variant of every assignment, in ``out/NAME/``.

    Raises:
        SystemExit: a name is there twice, or cannot be the name of a folder.
    """
    students = [line.strip() for line in names.read_text("utf-8").splitlines() if line.strip()]
    for name in students:
        if students.count(name) > 1 or Path(name).name != name or name.startswith("."):
            raise SystemExit(f"{names}: {name!r} is there twice, or cannot name a folder")
    for source in sources():
        made: dict[Variant, Path] = {}
        with tempfile.TemporaryDirectory() as work:
            for name in students:
                variant = variant_of(source, name, seed)
                if variant not in made:
                    made[variant], _ = _make_variant(source, variant, Path(work))
                (out / name).mkdir(parents=True, exist_ok=True)
                shutil.copy(made[variant], out / name / source.name)
        print(f"{source.stem}: {len(students)} copies of {len(made)} variants", flush=True)


def _make_variant(source: Path, variant: Variant, work: Path) -> tuple[Path, Path]:
    """`make` of a variant, in a folder for all variants."""
    folder = work / "-".join(map(str, variant))
    return make(write_variant(source, variant, folder / "source"), folder / "made")


def grade(
    source: Path, folder: Path, seconds: int = 120, seed: str | None = None
) -> list[dict[str, Any]]:
    """Grade every notebook in a folder, one after the other.

    What cannot be graded gets no points and a note that says why; the others go on. Into the
    folder it writes ``feedback/NAME.md`` and ``marks.csv``, with a row for each notebook. Points
    that you have written into the columns of questions in words are kept.

    Args:
        source: the instructor's notebook.
        folder: the notebooks that were handed in.
        seconds: after which a notebook that is still running is stopped.
        seed: of `hand_out`, if the notebooks are variants; a notebook's name is then the student's.

    Returns:
        The rows.
    """
    submissions = sorted(folder.glob("*.ipynb"))
    if not submissions:
        raise SystemExit(f"{folder}: no notebook (*.ipynb) is there")
    asked = questions(source)
    by_hand = [q for q, points in asked.items() if points is None]
    marks = folder / "marks.csv"
    before = {row["notebook"]: row for row in _read(marks)}
    rows = []
    with tempfile.TemporaryDirectory() as made:
        autograders: dict[Variant, Path] = {}
        for submission in submissions:
            variant = variant_of(source, submission.stem, seed) if seed else ()
            if variant not in autograders:
                work = Path(made)
                both = _make_variant(source, variant, work) if seed else make(source, work)
                autograders[variant] = both[1]
            autograder = autograders[variant]
            row, feedback = grade_one(submission, autograder, asked, seconds)
            for question in by_hand:
                row[question] = before.get(submission.name, {}).get(question, "")
            (folder / "feedback").mkdir(exist_ok=True)
            (folder / "feedback" / f"{submission.stem}.md").write_text(feedback, encoding="utf-8")
            rows.append(row)
            print(f"{submission.name}: {row['points']} points {row['note']}".rstrip(), flush=True)
    with marks.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{marks}; what each student lost: {folder / 'feedback'}")
    return rows


def questions(source: Path) -> dict[str, float | None]:
    """The questions of an instructor's notebook and their points; None for one in words."""
    import yaml

    found: dict[str, float | None] = {}
    for cell in json.loads(source.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "raw" and text.startswith("# BEGIN QUESTION"):
            about = yaml.safe_load(text)
            found[about["name"]] = None if about.get("manual") else float(about["points"])
    return found


def grade_one(
    submission: Path, autograder: Path, asked: dict[str, float | None], seconds: int
) -> tuple[dict[str, Any], str]:
    """The row of ``marks.csv`` and the feedback, in Markdown, for one notebook."""
    began = time.perf_counter()
    row: dict[str, Any] = {"notebook": submission.name, "points": 0.0}
    row |= {question: (0.0 if points is not None else "") for question, points in asked.items()}
    with tempfile.TemporaryDirectory() as out:
        note = _run(submission, autograder, Path(out), seconds)
        results = Path(out) / "results.json"
        tests = json.loads(results.read_text())["tests"] if results.exists() and not note else []
    lines = [f"# {submission.name}", ""]
    for test in tests:
        if test["name"] in asked:
            row[test["name"]] = float(test["score"])
            lines += [f"## {test['name']}: {test['score']:g} of {test['max_score']:g}", ""]
            lines += [f"- {said}" for said in _messages(test["output"])] + [""]
    row["points"] = sum(float(row[q]) for q, points in asked.items() if points is not None)
    row["of"] = sum(points for points in asked.values() if points is not None)
    by_hand = ", ".join(question for question, points in asked.items() if points is None)
    lines += [
        f"Tested so far: {row['points']:g} of {row['of']:g} points. Marked by hand: {by_hand}.",
        "",
    ]
    row |= {"note": note, "seconds": round(time.perf_counter() - began, 1)}
    return row, "\n".join(lines + ([note, ""] if note else []))


def _run(submission: Path, autograder: Path, out: Path, seconds: int) -> str:
    """Run the autograder in a process of its own; says what went wrong, or nothing."""
    if submission.stat().st_size == 0:
        return "the file is empty"
    command = [*_otter("run"), "-a", str(autograder), "-o", str(out), str(submission)]
    with (out / "said").open("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            command, cwd=out, env=_environment(), stdout=said, stderr=said, start_new_session=True
        )
        try:
            if process.wait(seconds) == 0:
                return ""
        except subprocess.TimeoutExpired:
            _stop(process)
            return f"still running after {seconds} seconds"
        said.seek(0)
        return f"it cannot be graded: {_last_line(said.read())}"


def _stop(process: subprocess.Popen) -> None:
    """Stop a process and its kernel, which ends when its parent has gone."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _messages(output: str) -> list[str]:
    """What the failed tests of a question say."""
    said = [line.strip() for line in output.splitlines()]
    found = [line.removeprefix("AssertionError: ") for line in said if "Error: " in line]
    found = list(dict.fromkeys(found))
    return found or [said[0] if said else "no output"]


def _otter(command: str) -> list[str]:
    return [sys.executable, "-m", "otter", command]


def _environment() -> dict[str, str]:
    """This Python's programs first, since otter starts `jupyter` by its name."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | {"PATH": path}


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(WARNING)]
    return lines[-1].strip() if lines else "no message"


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:  # Excel begins with a mark
        return list(csv.DictReader(file))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build")
    handing_out = commands.add_parser("hand-out")
    handing_out.add_argument("names", type=Path, help="text file with a name on each line")
    handing_out.add_argument("out", type=Path, help="folder to fill")
    handing_out.add_argument("--seed", required=True, help="any text that students cannot guess")
    grading = commands.add_parser("grade")
    grading.add_argument("number", help="of the assignment")
    grading.add_argument("folder", type=Path, help="with the notebooks that were handed in")
    grading.add_argument("--seconds", type=int, default=120, help="limit for one notebook")
    grading.add_argument("--seed", help="of hand-out, if the notebooks are variants")
    options = parser.parse_args()
    if options.command == "build":
        build()
        return
    if options.command == "hand-out":
        hand_out(options.names, options.out, options.seed)
        return
    if not (found := sources(options.number)):
        raise SystemExit(f"there is no assignment {options.number}")
    grade(found[0], options.folder, options.seconds, options.seed)


if __name__ == "__main__":
    main()
