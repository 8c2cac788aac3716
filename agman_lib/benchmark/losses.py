"""The loss over all triplets of a batch: time and memory against its size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agman_lib.benchmark.rankings import fashionai_labels
from agman_lib.benchmark.straightforward import listed_triplets_loss
from agman_lib.benchmark.timing import Row, Setting, compared, peak_of_tensors, side_by_side
from agman_lib.data.triplets import LabelIndex
from agman_lib.training.losses import all_triplets_loss

LISTED = 384  # images, beyond which all triplets are too many to list
OURS, THEIRS = "the loss by sorting", "the loss with all N³ triplets listed"
PRODUCT = "the cosines alone"


def batch(n: int) -> tuple[Tensor, Tensor]:
    """Unit embeddings (n, 512) and the relation (n, n) of a batch that the training would draw."""
    index = LabelIndex(fashionai_labels())
    drawn = index.draw_batch(n // 16, 4, 4, np.random.default_rng(0))
    generator = torch.Generator().manual_seed(0)
    embedding = functional.normalize(torch.randn(n, 512, generator=generator), dim=1)
    return embedding, torch.from_numpy(index.relation(drawn))


def loss(setting: Setting) -> list[Row]:
    """The loss over all triplets of a batch, forward and backward, at several sizes."""
    sizes = (96, 192) if setting.quick else (96, 192, 384, 768, 1536, 4096)
    return [row for n in sizes for row in _of_size(n, setting)]


def _of_size(n: int, setting: Setting) -> list[Row]:
    embedding, relation = (tensor.to(setting.device) for tensor in batch(n))
    embedding.requires_grad_()
    losses: dict[str, Callable[[], Tensor]] = {
        OURS: lambda: all_triplets_loss(embedding, relation),
        PRODUCT: lambda: (embedding @ embedding.T).sum(),
    }
    if n <= LISTED:
        losses[THEIRS] = lambda: listed_triplets_loss(embedding, relation)

    def gradient(of: Callable[[], Tensor]) -> Tensor:
        return torch.autograd.grad(of(), embedding)[0]

    calls = {name: partial(gradient, of) for name, of in losses.items()}
    times = side_by_side(calls, setting)
    pairs = {(OURS, PRODUCT): ""}
    if n <= LISTED:
        far = (calls[OURS]() - calls[THEIRS]()).abs().max()
        note = f"gradients differ by at most {far:.0e}"
        pairs = {(OURS, THEIRS): note, (THEIRS, ""): ""} | pairs
    return [
        compared(
            "loss", setting, times, *names, size=n, note=note,
            memory=peak_of_tensors(calls[names[0]], setting.device),
        )
        for names, note in pairs.items()
    ]  # fmt: skip
