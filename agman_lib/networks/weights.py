"""Weights in and out: safetensors files of ours, and what else holds weights.

Nothing here unpickles objects: ``.pth``/``.pt``/``.tar`` files are read with
``torch.load(weights_only=True)``, and one that needs more is refused.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from agman_lib.base.errors import AgmanError
from agman_lib.base.folders import write_whole
from agman_lib.networks.model import RetrievalModel, from_description

FORMAT = "agman-2"


def save_model(
    path: str | Path,
    model: RetrievalModel,
    about: dict[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Save a network as one safetensors file that says how to build it again.

    Args:
        about: facts that travel with the weights (attribute names, image size, …); JSON-able.
        half: round to float16, half the size; loaded, they are float32 again.
    """
    header = {"format": FORMAT, "network": model.description, "about": about or {}}
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    metadata = {"agman": json.dumps(header)}
    write_whole(Path(path), serialize(state, metadata=metadata))


def load_model(path: str | Path) -> tuple[RetrievalModel, dict[str, Any]]:
    """A network saved by `save_model`, in evaluation mode, and its ``about``.

    Raises:
        AgmanError: no such file, damaged, or not one of ours (a published checkpoint goes through
            ``agman convert`` first).
    """
    state, header = read_weights(path)
    if header is None:
        raise AgmanError(
            f"{path}: holds weights but does not say of which network; "
            "a published checkpoint becomes one of ours with `agman convert`"
        )
    model = from_description(header["network"])
    load_exactly(model, state, str(path))
    return model.eval(), header["about"]


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Named tensors of a weights file, and our header where it has one.

    Args:
        path: ``.safetensors``, or a PyTorch file that holds tensors alone.

    Raises:
        AgmanError: missing, damaged, or a pickle that holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise AgmanError(f"{path}: no such weights file")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                written = (file.metadata() or {}).get("agman")
                state = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise AgmanError(
                f"{path}: not a whole safetensors file ({error}); copy it again"
            ) from None
        header = json.loads(written) if written else None
        if header is not None and header.get("format") == "agman-1":  # the head's former name
            state = {re.sub(r"^attention\.", "attribute_head.", k): v for k, v in state.items()}
        elif header is not None and header.get("format") != FORMAT:
            raise AgmanError(
                f"{path}: of format {header.get('format')!r}, and this version reads {FORMAT!r}; "
                "update agman-lib, or write the file again with this version"
            )
        return state, header
    state = load_tensors(path)
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise AgmanError(f"{path}: holds no named weights (a state dict)")
    return state, None


def load_tensors(path: Path) -> Any:
    """``torch.load`` of tensors and plain containers only.

    Raises:
        AgmanError: the file is damaged or would run code when it is loaded.
    """
    try:
        with warnings.catch_warnings():  # of an unusual protocol: refused or read all the same
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise AgmanError(
            f"{path}: refused, it is a pickle that holds more than tensors and could run code; "
            "ask its author for the state dict or a safetensors file"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AgmanError(f"{path}: not a whole PyTorch file ({reason}); copy it again") from None


# What belongs to an attribute in our networks' weights, and along which axis.
_BY_ATTRIBUTE = {
    "backbone.attribute_classifier.weight": 0,
    "backbone.attribute_classifier.bias": 0,
    "attribute_head.attribute_embedding.weight": 0,
    "attribute_head.masks.weight": 0,
    "attribute_head.spatial_attribute.weight": 1,
    "attribute_head.channel_attribute.weight": 1,
}


def load_weights_into(
    model: RetrievalModel, path: str | Path, attributes: Sequence[str] | None = None
) -> str:
    """Load a pre-trained classifier into the backbone, or a whole network of the same shape.

    Args:
        attributes: the model's, by name. What belongs to an attribute is copied to the attribute of
            the same name; one that the file does not know keeps its random start.

    Returns:
        A sentence on the attributes that could not be matched by name; empty when all were.

    Raises:
        AgmanError: the weights are of another network.
    """
    state, header = read_weights(path)
    if header is None and not any(key.startswith("backbone.") for key in state):
        model.backbone.load_pretrained(state, str(path))
        return ""
    note, theirs = "", [a["name"] for a in (header or {}).get("about", {}).get("attributes", [])]
    if model.n_values and attributes is not None and theirs != list(attributes):
        raise AgmanError(f"{path}: a classifier of other attributes ({', '.join(theirs)})")
    if attributes is not None and theirs:
        state, note = _matched_by_name(model, state, theirs, list(attributes))
    elif attributes is not None:
        note = "it does not name its attributes, so they were matched by number"
    load_exactly(model, state, str(path))
    return note and f"{path}: {note}"


def _matched_by_name(
    model: RetrievalModel, state: dict[str, Tensor], theirs: list[str], ours: list[str]
) -> tuple[dict[str, Tensor], str]:
    """The state with each attribute's rows where the model has that attribute, and what is new."""
    state = dict(state)
    for key, axis in _BY_ATTRIBUTE.items():
        own = model.state_dict().get(key)
        if own is None or key not in state:
            continue
        rows = own.clone()
        for number, name in enumerate(ours):
            if name in theirs:
                rows.select(axis, number).copy_(state[key].select(axis, theirs.index(name)))
        state[key] = rows
    new, unused = ([n for n in a if n not in b] for a, b in ((ours, theirs), (theirs, ours)))
    notes = [f"{', '.join(new)}: not among its attributes, so new at the start"] * bool(new)
    notes += [f"{', '.join(unused)}: known to it and not used"] * bool(unused)
    return state, "; ".join(notes)


def load_exactly(model: RetrievalModel, state: dict[str, Tensor], where: str) -> None:
    """Load a state dict that has every weight of the network and no other.

    Raises:
        AgmanError: one is missing, unexpected or of another shape; it is named.
    """
    own = model.state_dict()
    wrong = [k for k in own if k not in state] or [k for k in state if k not in own]
    wrong = wrong or [k for k in own if own[k].shape != state[k].shape]
    if wrong:
        raise AgmanError(
            f"{where}: a checkpoint of another network ({wrong[0]!r} is missing, unexpected or of "
            "another shape); the network, backbone, parts and number of attributes must agree"
        )
    model.load_state_dict(state)
