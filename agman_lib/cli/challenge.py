"""``agman challenge`` and ``agman score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

Out = Annotated[Positional[str], arg(metavar="OUT")]
Key = Annotated[Positional[str], arg(metavar="KEY")]
Submissions = Annotated[Positional[str], arg(metavar="SUBMISSIONS")]


def challenge(
    out: Out,
    data: str | None = None,
    queries: int = 100,
    candidates: int = 300,
    images_seen: int = 7680,
    parameters: int = 5_000_000,
    dimensions: int = 512,
    seeds: int = 3,
) -> None:
    """Make a test set whose labels you keep: OUT/handout for everybody, OUT/key for you.

    Args:
        out: Folder to make.
        data: Prepared folder whose test split is hidden. Without it, garments are drawn from a
            secret seed, in the hard look, and changed as by a camera that nobody has seen.
        queries: Drawn queries of each attribute.
        candidates: Drawn candidates of each attribute.
        images_seen: Training images that one training may see, each time counted.
        parameters: That the network may need for retrieval.
        dimensions: That an embedding may have.
        seeds: Trainings that are handed in.
    """
    import secrets
    import tempfile

    from agman_lib.challenge import Rules, make_challenge
    from agman_lib.data.dataset import PreparedDataset
    from data_prep import garments

    rules = Rules(images_seen, parameters, dimensions, seeds)
    with tempfile.TemporaryDirectory() as drawn:
        if data is None:
            seed = secrets.randbits(128)
            folder = Path(drawn) / "garments"
            garments.prepare(
                folder,
                train=1,
                valid_queries=1,
                valid_candidates=1,
                test_queries=queries,
                test_candidates=candidates,
                seed=seed,
                look="hard",
            )
            garments.another_camera(folder / "images", seed)
        made = make_challenge(out, PreparedDataset.load(data or folder), rules)
    print(f"{out}/handout: {made.pairs} pairs of a photo and an attribute, for everybody")
    print(f"{out}/key: the labels; keep this folder to yourself")


def score(key: Key, submissions: Submissions, baseline: str, out: str, points: float = 10) -> None:
    """Score submissions on the hidden labels, and write a leaderboard.

    Args:
        key: The challenge's key.
        submissions: Folder of folders, each of which bears the name of its author.
        baseline: The submission that the others are compared with.
        out: Folder for leaderboard.md, .html and .csv.
        points: Most points for a gain; each point of MAP earns one.
    """
    from agman_lib.challenge import leaderboard

    board = leaderboard(key, submissions, baseline, points)
    board.write(out)
    print(board.markdown())
