"""Notebook 05: count triplets, the loss over all of them, the learning rate, and a snapshot."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agman_lib.course.answers import Check, compared
from agman_lib.training.losses import all_triplets_loss


def count(attributes: int, values: int, images: int) -> int:
    """The triplets of a batch: of each attribute so many values, with so many images each."""
    return attributes * values * images * (images - 1) * (values - 1) * images


def loss(cosine: Tensor, relation: Tensor, margin: float) -> Tensor:
    """The mean hinge over all triplets of cosines (N, N) and relations (N, N)."""
    positive, negative = relation == 1, relation == -1
    triplets = positive[:, :, None] & negative[:, None, :]
    hinge = (cosine[:, None, :] - cosine[:, :, None] + margin).clamp(min=0)
    return hinge[triplets].mean()


def rate(lr: float, lr_gamma: float, lr_step: int, epoch: int) -> float:
    """The learning rate of an epoch, counted from 1."""
    return lr * lr_gamma ** ((epoch - 1) // lr_step)


def snapshot(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> dict[str, Any]:
    """All that a resumed run needs, as it is now."""
    return copy.deepcopy(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    )


def _batches(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Cosines and relations of batches in which pairs of other attributes cannot be compared."""
    cases = []
    for attributes, margin in ((1, 0.2), (2, 0.2), (3, 0.5)):
        attribute = np.repeat(np.arange(attributes), 9)
        value = np.tile([0, 0, 0, 0, 1, 1, 1, 2, 2], attributes)
        e = torch.tensor(rng.normal(size=(len(value), 6)), dtype=torch.float32)
        e = nn.functional.normalize(e + 0.8, dim=1)
        same = value[:, None] == value[None, :]
        relation = np.where(same, 1, -1) * (attribute[:, None] == attribute[None, :])
        np.fill_diagonal(relation, 0)
        torch.testing.assert_close(
            loss(e @ e.T, torch.tensor(relation), margin),
            all_triplets_loss(e, torch.tensor(relation), margin),
        )
        cases.append((e @ e.T, torch.tensor(relation), margin))
    return cases


def _triplets(cosine: Tensor, relation: Tensor) -> Tensor:
    """cos(a, n) - cos(a, p) of every triplet."""
    triplets = (relation == 1)[:, :, None] & (relation == -1)[:, None, :]
    return (cosine[:, None, :] - cosine[:, :, None])[triplets]


def _active_only(cosine: Tensor, relation: Tensor, margin: float) -> Tensor:
    hinge = (_triplets(cosine, relation) + margin).clamp(min=0)
    return hinge[hinge > 0].mean()


def _of_anchors(cosine: Tensor, relation: Tensor, margin: float) -> Tensor:
    means = []
    for a in range(len(cosine)):
        p, n = relation[a] == 1, relation[a] == -1
        means.append((cosine[a, n][:, None] - cosine[a, p] + margin).clamp(min=0).mean())
    return torch.stack(means).mean()


def _any_pair(cosine: Tensor, relation: Tensor, margin: float) -> Tensor:
    return loss(cosine, torch.where(relation == 0, -1, relation), margin)


def _with_itself(cosine: Tensor, relation: Tensor, margin: float) -> Tensor:
    return loss(cosine, relation + torch.eye(len(relation), dtype=relation.dtype), margin)


def _sizes(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Batches as the notebook has them, and unequal numbers."""
    return [(1, 2, 2), (3, 4, 4), *[tuple(int(x) for x in rng.integers(2, 7, 3)) for _ in range(4)]]


def _epochs(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Epochs around the steps."""
    lr = float(rng.uniform(1e-4, 1e-2))
    return [(lr, 0.9, 3, epoch) for epoch in (1, 2, 3, 4, 6, 7, 30)] + [(lr, 0.8, 1, 5)]


def _toy() -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """A small network with running statistics, and an optimiser with a memory."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 1))
    return model, torch.optim.Adam(model.parameters(), lr=0.05)


def _train(model: nn.Module, optimizer: Any, seed: int, start: int, end: int) -> None:
    for step in range(start, end):
        batch = torch.tensor(np.random.default_rng((seed, step)).normal(size=(8, 4))).float()
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def _judge_snapshot(answer: Callable[..., Any], rng: np.random.Generator) -> str | None:
    """Takes a snapshot after 3 steps, trains on, goes back, and trains to step 6."""
    seed = int(rng.integers(1 << 30))
    straight, optimizer = _toy()
    _train(straight, optimizer, seed, 0, 6)
    model, optimizer = _toy()
    _train(model, optimizer, seed, 0, 3)
    try:
        saved = answer(model, optimizer, 3)
    except Exception as error:  # whatever a student's function raises
        return f"it raises {type(error).__name__}: {error}"
    if not isinstance(saved, dict) or set(saved) != {"model", "optimizer", "step"}:
        return "a dictionary with the keys 'model', 'optimizer' and 'step' is asked for"
    if saved["step"] != 3:
        return f"3 steps are done, and it says {saved['step']!r}"
    whole, memory = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    now = _states(saved)
    if isinstance(now, str):
        return now
    if set(now[0]) != set(whole):
        return (
            "running statistics of the batch normalisation are missing"
            if set(now[0]) < set(whole)
            else "'model' holds other names than the model's state"
        )
    if not now[1].get("state"):
        return "the optimiser's memory is missing: what has it kept of the steps so far?"
    _train(model, optimizer, seed, 3, 5)  # the run goes on, and the snapshot must not
    try:
        model, optimizer = _toy()
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(copy.deepcopy(saved["optimizer"]))
    except Exception as error:
        return f"it cannot be loaded again: {error}"
    old = all(torch.equal(value, whole[name]) for name, value in model.state_dict().items())
    if not old:
        return "the snapshot has moved on with the run: is it a copy?"
    if str(optimizer.state_dict()) != str(memory):
        return "the optimiser's part of the snapshot has moved on with the run: is it a copy?"
    _train(model, optimizer, seed, saved["step"], 6)
    same = all(
        torch.equal(value, straight.state_dict()[name])
        for name, value in model.state_dict().items()
    )
    return None if same else "the resumed run is not the straight one"


def _states(saved: dict[str, Any]) -> tuple[dict, dict] | str:
    for name in ("model", "optimizer"):
        if not isinstance(saved[name], dict):
            return f"the {name}'s state is asked for, and it gives {type(saved[name]).__name__}"
    return dict(saved["model"]), dict(saved["optimizer"])


def _snapshot_but(**changes: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    def answer(model: nn.Module, optimizer: Any, step: int) -> dict[str, Any]:
        saved = snapshot(model, optimizer, step)
        return saved | {name: change(model, optimizer) for name, change in changes.items()}

    return answer


CHECKS = {
    "triplets of a batch": compared(
        count,
        _sizes,
        {
            "an image is no positive of itself": lambda a, v, i: a * v * i * i * (v - 1) * i,
            "a negative has another value than the anchor": (
                lambda a, v, i: a * v * i * (i - 1) * v * i
            ),
            "an image of another attribute is no negative": lambda a, v, i: (
                a * v * i * (i - 1) * (a * v - 1) * i
            ),
            "these are the triplets of one attribute": lambda a, v, i: (
                v * i * (i - 1) * (v - 1) * i
            ),
            "there are several images of each other value": (
                lambda a, v, i: a * v * i * (i - 1) * (v - 1)
            ),
            "anchor and positive may change places: that is another triplet": (
                lambda a, v, i: a * v * i * (i - 1) * (v - 1) * i // 2
            ),
        },
        tolerance=0,
    ),
    "loss over all triplets": compared(
        loss,
        _batches,
        {
            "the mean goes over all triplets, and this leaves out those that ask for nothing": (
                _active_only
            ),
            "the sign: a near negative is bad, and a near positive is good": (
                lambda c, r, m: (m - _triplets(c, r)).clamp(min=0).mean()
            ),
            "a triplet that asks for nothing has the loss 0, not a negative one": (
                lambda c, r, m: (_triplets(c, r) + m).mean()
            ),
            "this is a sum, and a mean is asked for": (
                lambda c, r, m: (_triplets(c, r) + m).clamp(min=0).sum()
            ),
            "pairs with relation 0 cannot be compared: they are no negatives": _any_pair,
            "each triplet counts the same, not each anchor": _of_anchors,
            "an image is no positive of itself": _with_itself,
        },
    ),
    "learning rate": compared(
        rate,
        _epochs,
        {
            "the first epoch has the whole rate: do you count from 1?": (
                lambda lr, g, s, e: lr * g ** (e // s)
            ),
            "it falls at every epoch, and it should fall in steps": (
                lambda lr, g, s, e: lr * g ** (e - 1)
            ),
            "it falls a little at every epoch, and it should fall in steps": (
                lambda lr, g, s, e: lr * g ** ((e - 1) / s)
            ),
            "it multiplies by lr_gamma once only": (lambda lr, g, s, e: lr * (g if e > s else 1)),
            "it multiplies with the number of steps; each step is a factor": (
                lambda lr, g, s, e: lr * (1 - (1 - g) * ((e - 1) // s))
            ),
        },
        tolerance=1e-9,
    ),
    "snapshot": Check(
        snapshot,
        _judge_snapshot,
        {
            "is it a copy?": lambda model, optimizer, step: {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
            },
            "the optimiser's part of the snapshot has moved on": _snapshot_but(
                optimizer=lambda model, optimizer: optimizer.state_dict()
            ),
            "running statistics of the batch normalisation are missing": _snapshot_but(
                model=lambda model, optimizer: dict(copy.deepcopy(model).named_parameters())
            ),
            "the optimiser's memory is missing": _snapshot_but(
                optimizer=lambda model, optimizer: {
                    "state": {},
                    "param_groups": optimizer.state_dict()["param_groups"],
                }
            ),
            "3 steps are done": _snapshot_but(step=lambda model, optimizer: 2),
            "the model's state is asked for": _snapshot_but(model=lambda model, optimizer: model),
        },
    ),
}
