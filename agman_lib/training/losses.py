"""The losses, how they are weighed, and the training step as one module."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from agman_lib.base.errors import check_choice
from agman_lib.networks.model import RetrievalModel

Passes = Literal["joint", "separate"]
Weighing = Literal["fixed", "learned"]


def triplet_loss(anchor: Tensor, negative: Tensor, positive: Tensor, margin: float = 0.2) -> Tensor:
    """``mean max(0, cos(a, n) - cos(a, p) + margin)`` of unit embeddings (B, D)."""
    anchor, negative, positive = (_unrounded(e) for e in (anchor, negative, positive))
    hardness = (anchor * negative).sum(1) - (anchor * positive).sum(1)
    return functional.relu(hardness + margin).mean()


def _unrounded(embedding: Tensor) -> Tensor:
    """At least float32, so that cosines are not rounded to half precision's few values."""
    half = embedding.dtype in (torch.bfloat16, torch.float16)
    return embedding.float() if half else embedding


def all_triplets_loss(embedding: Tensor, relation: Tensor, margin: float = 0.2) -> Tensor:
    """The same hinge, averaged over every valid triplet of a batch; 0 where there is none.

    In float32 whatever the precision around it: in bfloat16 cosines near 1 would be rounded to
    steps of 1/256, which is the size of the differences that the hinge is about.

    Args:
        embedding: (N, D), unit length.
        relation: (N, N), 1 for positive pairs, -1 for negative ones (`LabelIndex.relation`).
    """
    with torch.autocast(embedding.device.type, enabled=False):
        embedding = _unrounded(embedding)
        similarity = embedding @ embedding.T
    # [anchor, positive, negative]
    hinge = functional.relu(similarity[:, None, :] - similarity[:, :, None] + margin)
    valid = (relation == 1)[:, :, None] & (relation == -1)[:, None, :]
    return (hinge * valid).sum() / valid.sum().clamp(min=1)


def same_attribute_loss(logits: Tensor, attributes: Tensor) -> Tensor:
    """Binary cross-entropy of logits (B, A) against the one-hot attribute (B,): paper's L_cls."""
    target = functional.one_hot(attributes, logits.shape[1]).to(logits.dtype)
    return functional.binary_cross_entropy_with_logits(logits, target)


class LossWeighing(nn.Module):
    """One number from several losses.

    "fixed": the plain sum. The published form ``sum exp(s)/2 * L + s`` never hands ``s`` to its
    optimiser, so its weights stay equal, and Adam ignores a common scale.
    "learned": Liebel and Körner's ``sum L / (2 sigma^2) + ln(1 + sigma^2)``, which is bounded below
    (the published form, trained, is not). Held as ``s = ln sigma^2``, which starts at 0.
    """

    def __init__(self, how: Weighing, n_losses: int) -> None:
        super().__init__()
        check_choice("weighing", how, Weighing)
        self.log_variance = nn.Parameter(torch.zeros(n_losses)) if how == "learned" else None

    def forward(self, losses: list[Tensor]) -> Tensor:
        """The weighed sum of scalar losses."""
        stacked = torch.stack(losses)
        s = self.log_variance
        if s is None:
            return stacked.sum()
        return (stacked * torch.exp(-s) / 2 + functional.softplus(s)).sum()


class StepLosses(NamedTuple):
    """What a training step returns: scalars."""

    total: Tensor
    triplet: Tensor
    classification: Tensor  # 0 without a class branch


class TrainingStep(nn.Module):
    """The network and its losses as ONE module call, so that several processes can share a step.

    Args:
        model: the network.
        margin: of the triplet loss.
        weighing: "fixed" or "learned".
        passes: "joint", one batch of 3B images; or "separate", three batches of B, which is what
            the published code does: batch norm then sees B images at a time, and its running
            statistics move three times a step.
    """

    def __init__(
        self,
        model: RetrievalModel,
        margin: float = 0.2,
        weighing: Weighing = "fixed",
        passes: Passes = "joint",
    ) -> None:
        super().__init__()
        check_choice("passes", passes, Passes)
        self.model, self.margin, self.passes = model, margin, passes
        self.weighing = LossWeighing(weighing, 2 if model.parts.class_branch else 1)

    def forward(
        self, images: Tensor, attributes: Tensor, relation: Tensor | None = None
    ) -> StepLosses:
        """Losses of a step.

        Args:
            images: (3B, 3, H, W), anchors, then negatives, then positives; or (N, 3, H, W) with a
                relation.
            attributes: (3B,) or (N,).
            relation: (N, N) for the loss over all triplets of the batch; None for listed triplets.
        """
        chunks = 3 if self.passes == "separate" and relation is None else 1
        outputs = [
            self.model.forward_train(i, a)
            for i, a in zip(images.chunk(chunks), attributes.chunk(chunks), strict=True)
        ]
        embedding = torch.cat([e for e, _ in outputs])
        if relation is None:
            anchor, negative, positive = embedding.chunk(3)
            triplet = triplet_loss(anchor, negative, positive, self.margin)
        else:
            triplet = all_triplets_loss(embedding, relation, self.margin)
        losses, classification = [triplet], torch.zeros_like(triplet)
        if outputs[0][1] is not None:
            logits = torch.cat([z for _, z in outputs if z is not None])
            classification = same_attribute_loss(logits, attributes)
            losses.append(classification)
        return StepLosses(self.weighing(losses), triplet.detach(), classification.detach())
