"""What is handed in, read with suspicion. Nothing in it is ever run.

A submission is a folder::

    NAME/
      submission.json       images_seen, parameters, files: ["seed0.safetensors", ...]
      seed0.safetensors …   a file for each training: weights as `agman export` writes them, or
                            predictions as `write_predictions` does
      …                     code and a page, for people to read

Predictions are one safetensors file with ``pair`` (L,) int64, 0 … L - 1 in order, and ``embedding``
(L, D) float32 with rows of length 1; its metadata names the challenge.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from agman_lib.base.errors import AgmanError
from agman_lib.base.folders import write_json, write_whole
from agman_lib.challenge.handout import SPLIT, Challenge
from agman_lib.evaluation.protocol import pairs_to_embed

LARGEST = 200_000_000  # bytes of one file that is handed in
LONGEST = 100_000  # bytes of submission.json
LARGEST_IMAGE = 256  # pixels, of a network that is handed in
MANY = 1000  # attributes, or values of one, more than which are not believed
DISTINCT = 0.5  # share of the embeddings under an attribute that must differ from all others


@dataclass(frozen=True)
class Submission:
    """A submission that keeps the rules.

    Attributes:
        name: of its folder.
        images_seen: by one training, as declared.
        parameters: of the network: counted where weights are handed in, declared otherwise.
        embeddings: of each training, unit rows (L, D) in the order of `pairs_to_embed`.
    """

    name: str
    images_seen: int
    parameters: int
    embeddings: list[np.ndarray]


def write_predictions(path: str | Path, handout: str | Path, embedding: np.ndarray) -> None:
    """Write the embeddings of a handout's pairs.

    Args:
        path: file to write, ending in .safetensors.
        handout: the challenge's handout.
        embedding: (L, D), a row for each pair in the order of ``pairs.csv``; each is scaled to
            length 1.

    Raises:
        AgmanError: another number of rows, numbers that are not finite, or a row of zeros.
    """
    challenge = Challenge.load(handout)
    rows = np.asarray(embedding, np.float32)
    if rows.ndim != 2 or len(rows) != challenge.pairs:
        raise AgmanError(f"embeddings {rows.shape}, and there are {challenge.pairs} pairs")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(rows).all() and length.all()):
        raise AgmanError("an embedding is 0 or not finite, and cannot be scaled to length 1")
    content = {"pair": np.arange(len(rows)), "embedding": np.ascontiguousarray(rows / length)}
    write_whole(Path(path), serialize(content, metadata={"challenge": challenge.id}))


def write_submission(
    folder: str | Path, files: Sequence[str | Path], images_seen: int, parameters: int
) -> None:
    """Make a submission's folder of the trainings' files. Its page and code are for you to add.

    Args:
        folder: to make; it may exist. It should have your name.
        files: weights or predictions, one for each training.
        images_seen: by one training.
        parameters: of the network that retrieves.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"seed{k}.safetensors" for k in range(len(files))]
    for file, name in zip(files, names, strict=True):
        write_whole(folder / name, Path(file).read_bytes())
    about = {"images_seen": images_seen, "parameters": parameters, "files": names}
    write_json(folder / "submission.json", about)


def read_submission(folder: str | Path, challenge: Challenge) -> Submission:
    """Read and check a submission; weights are put to work on the key's photos.

    Args:
        challenge: a key.

    Raises:
        AgmanError: the first rule that it breaks, in one line.
    """
    folder, rules = Path(folder), challenge.rules
    about = _declared(folder)
    files = _files(folder, about, rules.seeds)
    seen = about["images_seen"]
    if seen > rules.images_seen:
        raise AgmanError(f"{seen:,} training images seen, and {rules.images_seen:,} are allowed")
    read = [_embeddings(file, challenge, seen) for file in files]
    parameters = max([about["parameters"], *(n for _, n in read)])
    if parameters > rules.parameters:
        raise AgmanError(f"{parameters:,} parameters, and {rules.parameters:,} are allowed")
    return Submission(folder.name, seen, parameters, [e for e, _ in read])


def _declared(folder: Path) -> dict[str, Any]:
    """``submission.json``, with what it must have."""
    file = folder / "submission.json"
    if not file.is_file() or file.is_symlink():
        raise AgmanError("it has no submission.json")
    if file.stat().st_size > LONGEST:
        raise AgmanError("its submission.json is too long")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise AgmanError("its submission.json is not JSON") from None
    if not isinstance(about, dict):
        raise AgmanError("its submission.json is not a JSON object")
    for name in ("images_seen", "parameters"):
        if type(about.get(name)) is not int or about[name] < 1:
            raise AgmanError(f"its submission.json has no whole number under {name!r}")
    return about


def _files(folder: Path, about: dict[str, Any], seeds: int) -> list[Path]:
    """The files of its trainings: inside the folder, of a size that can be read."""
    names = about.get("files")
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise AgmanError("its submission.json has no list of names under 'files'")
    if len(set(names)) != seeds:
        raise AgmanError(f"{len(set(names))} trainings, and {seeds} are asked for")
    files = []
    for name in names:
        file = folder / name
        if Path(name).name != name or file.is_symlink() or not file.is_file():
            raise AgmanError(f"{name[:60]!r} is not a file in its folder")
        if file.suffix != ".safetensors":
            raise AgmanError(f"{name[:60]!r} is not a safetensors file, and nothing else is opened")
        if file.stat().st_size > LARGEST:
            raise AgmanError(f"{name[:60]!r} is larger than {LARGEST // 1_000_000} MB")
        files.append(file)
    if len({file.read_bytes() for file in files}) < seeds:
        raise AgmanError("two of its trainings are the same file")
    return files


def _embeddings(file: Path, challenge: Challenge, images_seen: int) -> tuple[np.ndarray, int]:
    """Embeddings (L, D) in the protocol's order, and the parameters of weights (0 without)."""
    try:
        with safe_open(file, framework="np") as opened:
            metadata = opened.metadata() or {}
            if "agman" in metadata:
                return _of_weights(file, metadata["agman"], challenge, images_seen)
            names = set(opened.keys())
            if names != {"pair", "embedding"}:
                raise AgmanError(f"{file.name}: holds neither weights of ours nor predictions")
            shapes = {n: tuple(opened.get_slice(n).get_shape()) for n in names}
            _check_shapes(file.name, shapes, challenge)
            pair, rows = opened.get_tensor("pair"), opened.get_tensor("embedding")
    except SafetensorError as error:
        raise AgmanError(f"{file.name}: not a whole safetensors file ({error})") from None
    if metadata.get("challenge") != challenge.id:
        raise AgmanError(f"{file.name}: made for another challenge")
    if not np.array_equal(pair, np.arange(challenge.pairs)):
        raise AgmanError(f"{file.name}: the pairs are not in the order of pairs.csv")
    in_order = _checked(file.name, rows, challenge)[challenge.rows]
    return in_order, 0


def _check_shapes(name: str, shapes: dict[str, tuple[int, ...]], challenge: Challenge) -> None:
    n, most = challenge.pairs, challenge.rules.dimensions
    if shapes["pair"] != (n,) or len(shapes["embedding"]) != 2 or shapes["embedding"][0] != n:
        raise AgmanError(
            f"{name}: {n} rows are expected, and it has pair {shapes['pair']} and embedding "
            f"{shapes['embedding']}"
        )
    if not 1 <= shapes["embedding"][1] <= most:
        raise AgmanError(f"{name}: {shapes['embedding'][1]} dimensions, and {most} are allowed")


def _checked(name: str, rows: np.ndarray, challenge: Challenge) -> np.ndarray:
    """Rows (pairs, D) as float32, if they are unit vectors and more than labels."""
    if rows.dtype not in (np.float32, np.float16, np.float64):
        raise AgmanError(f"{name}: embeddings of the type {rows.dtype}; float32 is expected")
    rows = rows.astype(np.float32)
    if not np.isfinite(rows).all():
        raise AgmanError(f"{name}: an embedding holds NaN or infinity")
    off = np.abs(np.linalg.norm(rows.astype(np.float64), axis=1) - 1)
    if off.max() > 1e-3:
        raise AgmanError(f"{name}: an embedding is not of length 1 (off by {off.max():.2g})")
    attribute = pairs_to_embed(challenge.dataset, SPLIT)[1]
    by_protocol = rows[challenge.rows]
    for a, called in enumerate(challenge.attributes):
        of = by_protocol[attribute == a]
        distinct = len(np.unique(of.round(3), axis=0)) if len(of) else 1
        if distinct < DISTINCT * len(of):
            raise AgmanError(
                f"{name}: only {distinct} different embeddings of {len(of)} under {called}; "
                "these are labels, and embeddings are asked for"
            )
    return rows


def _of_weights(
    file: Path, header: str, challenge: Challenge, images_seen: int
) -> tuple[np.ndarray, int]:
    """Embeddings of the key's photos by a network of ours, and its parameters."""
    from agman_lib.data.pixels import Pixels
    from agman_lib.evaluation.embedding import embed
    from agman_lib.networks.model import without_class_branch
    from agman_lib.networks.weights import load_model

    try:
        announced = json.loads(header)
        network, about = announced["network"], announced["about"]
        theirs = [attribute["name"] for attribute in about["attributes"]]
        n_values = network.get("n_values") or ()
        if network["n_attributes"] != len(theirs) or max(len(theirs), *n_values, 0) > MANY:
            raise AgmanError(f"{file.name}: its network and its list of attributes do not agree")
        parameters = _parameters(network)
        size, fit, noted = int(about["image_size"]), about["fit"], about.get("images_seen", 0)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AgmanError(f"{file.name}: its description is damaged ({error})") from None
    if parameters > challenge.rules.parameters:
        raise AgmanError(
            f"{parameters:,} parameters, and {challenge.rules.parameters:,} are allowed"
        )
    if not 32 <= size <= LARGEST_IMAGE:
        raise AgmanError(f"{file.name}: photos of {size} pixels; 32 to {LARGEST_IMAGE} are allowed")
    if noted > images_seen:
        raise AgmanError(
            f"{file.name}: saw {noted:,} training images, and submission.json says {images_seen:,}"
        )
    missing = [name for name in challenge.attributes if name not in theirs]
    if missing:
        raise AgmanError(f"{file.name}: does not know the attribute {missing[0]}")
    model = without_class_branch(load_model(file)[0])
    if model.embedding_size > challenge.rules.dimensions:
        raise AgmanError(
            f"{file.name}: {model.embedding_size} dimensions, and {challenge.rules.dimensions} are "
            "allowed"
        )
    dataset = challenge.dataset
    image, attribute = pairs_to_embed(dataset, SPLIT)
    number = np.array([theirs.index(name) for name in dataset.attribute_names])
    rows = embed(model, Pixels(dataset, size, fit), image, number[attribute])
    if not np.isfinite(rows).all():
        raise AgmanError(f"{file.name}: its embeddings hold NaN or infinity")
    return rows, parameters


def _parameters(network: dict[str, Any]) -> int:
    """Parameters of the network that a header describes, which is not built for this.

    A header can announce a network of any size, so they are counted before memory is given to them.
    """
    import torch

    from agman_lib.networks.model import from_description

    parts = network["parts"] | {"class_branch": False}
    with torch.device("meta"):
        return sum(p.numel() for p in from_description(network | {"parts": parts}).parameters())
