"""The losses, how they are weighed, and the training step as one module."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from agman_lib.base.errors import check_choice
from agman_lib.networks.attention import Features
from agman_lib.networks.model import RetrievalModel
from agman_lib.networks.value_softmax import ValueClassifier

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


def _wide(numbers: Tensor) -> Tensor:
    """In float64, for running sums; in float32 on Apple's GPUs, which have no float64."""
    return numbers.float() if numbers.is_mps else numbers.double()


def all_triplets_loss(embedding: Tensor, relation: Tensor, margin: float = 0.2) -> Tensor:
    """The same hinge, averaged over every valid triplet of a batch; 0 where there is none.

    The triplets are not listed: memory grows as N², time as N² log N. In float32 whatever the
    precision around it: in bfloat16 cosines near 1 would be rounded to steps of 1/256, which is the
    size of the differences that the hinge is about.

    Args:
        embedding: (N, D), unit length.
        relation: (N, N), 1 for positive pairs, -1 for negative ones (`LabelIndex.relation`).
    """
    with torch.autocast(embedding.device.type, enabled=False):
        embedding = _unrounded(embedding)
        return _HingeOfAllTriplets.apply(embedding @ embedding.T, relation, margin)


class _HingeOfAllTriplets(torch.autograd.Function):
    """Mean of ``relu(s[a, n] - s[a, p] + margin)`` over the triplets that a relation allows.

    The negatives of an anchor are sorted once. Those that are active beside a positive, nearer than
    its similarity minus the margin, are then the end of the row: their number is a binary search,
    and their sum a difference of running sums.
    """

    @staticmethod
    def forward(ctx: Any, similarity: Tensor, relation: Tensor, margin: float) -> Tensor:
        n = len(similarity)
        positive, negative = relation == 1, relation == -1
        sorted_, order = similarity.masked_fill(~negative, -torch.inf).sort(dim=1)
        ends = _wide(sorted_).masked_fill(sorted_ == -torch.inf, 0).flip(1).cumsum(1).flip(1)
        ends = functional.pad(ends, (0, 1))  # (N, N + 1): the sum of the negatives from i on
        # To ask a GPU for the largest number of positives would mean to wait for it.
        most = n if similarity.is_cuda else int(positive.sum(1).amax())
        valid, which = positive.to(torch.uint8).topk(most, dim=1)  # (N, P): each anchor's positives
        near = similarity.gather(1, which)
        first = torch.searchsorted(sorted_, near - margin, right=True)  # the first that is active
        active = (n - first) * valid
        hinge = ends.gather(1, first) * valid + active * (margin - _wide(near))
        triplets = (positive.sum(1) * negative.sum(1)).sum().clamp(min=1)
        ctx.save_for_backward(order, which, first, valid, active, triplets)
        return (hinge.sum() / triplets).to(similarity.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        order, which, first, valid, active, triplets = ctx.saved_tensors
        gradient = gradients[0]
        per_triplet = gradient / triplets
        begun = torch.zeros(len(order), len(order) + 1, dtype=gradient.dtype, device=order.device)
        begun.scatter_add_(1, first, valid.to(gradient.dtype))
        counts = begun.cumsum(1)[:, :-1]  # for how many positives a sorted negative is active
        found = torch.zeros_like(counts).scatter_(1, order, counts)
        found.scatter_add_(1, which, -active.to(gradient.dtype))
        return found * per_triplet, None, None


def supervised_contrast_loss(
    embedding: Tensor, relation: Tensor, temperature: float = 0.1
) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, "out") within each attribute of a batch.

    For an anchor i with positives P(i) and negatives N(i):
    ``-mean over p in P(i) of log(exp(s_ip / t) / sum over P(i) and N(i) of exp(s / t))``, averaged
    over the anchors that have a positive and a negative; 0 where there is none.

    Args:
        embedding: (N, D), unit length; s are their cosines.
        relation: (N, N), 1 for positive pairs, -1 for negative ones (`LabelIndex.relation`).
        temperature: t.
    """
    with torch.autocast(embedding.device.type, enabled=False):
        embedding = _unrounded(embedding)
        similarity = embedding @ embedding.T / temperature
    positive, related = relation == 1, relation != 0
    anchors = positive.any(1) & (relation == -1).any(1)
    log_share = similarity - similarity.masked_fill(~related, float("-inf")).logsumexp(1)[:, None]
    each = (log_share * positive).sum(1) / positive.sum(1).clamp(min=1)
    return -each[anchors].sum() / anchors.sum().clamp(min=1)


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
    triplet: Tensor  # or the loss in its place
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
        branch_weight: of the classification loss, beside the other's 1.
        contrast: the temperature of the supervised contrastive loss in place of the triplets; None
            for the triplet loss. (A classifier of values has a loss of its own, cross-entropy.)
    """

    def __init__(
        self,
        model: RetrievalModel,
        margin: float = 0.2,
        weighing: Weighing = "fixed",
        passes: Passes = "joint",
        branch_weight: float = 1.0,
        contrast: float | None = None,
    ) -> None:
        super().__init__()
        check_choice("passes", passes, Passes)
        self.model, self.margin, self.passes = model, margin, passes
        self.branch_weight, self.contrast = branch_weight, contrast
        self.weighing = LossWeighing(weighing, 2 if model.parts.class_branch else 1)

    def forward(
        self,
        images: Tensor,
        attributes: Tensor,
        relation: Tensor | None = None,
        values: Tensor | None = None,
        classes: Tensor | None = None,
    ) -> StepLosses:
        """Losses of a step.

        Args:
            images: (3B, 3, H, W), anchors, then negatives, then positives; or (N, 3, H, W) with a
                relation.
            attributes: (3B,) or (N,).
            relation: (N, N) for the loss over all triplets of the batch; None for listed triplets.
            values: (N,) of a batch with a relation, each a number within its attribute.
            classes: (3B,) or (N,), what the class branch tells apart; None for the attributes.
        """
        chunks = 3 if self.passes == "separate" and relation is None else 1
        outputs = [self.model.features_train(i) for i in images.chunk(chunks)]
        loss = self._loss([f for f, _ in outputs], attributes, relation, values)
        losses, classification = [loss], torch.zeros_like(loss)
        if outputs[0][1] is not None:
            logits = torch.cat([z for _, z in outputs if z is not None])
            targets = attributes if classes is None else classes
            classification = same_attribute_loss(logits, targets)
            weight = self.branch_weight
            losses.append(classification if weight == 1 else weight * classification)
        return StepLosses(self.weighing(losses), loss.detach(), classification.detach())

    def _loss(
        self,
        features: list[Features],
        attributes: Tensor,
        relation: Tensor | None,
        values: Tensor | None,
    ) -> Tensor:
        """The retrieval loss of a step's passes."""
        head = self.model.attribute_head
        if isinstance(head, ValueClassifier):
            assert values is not None
            return head.loss(features[0], attributes, values)
        asked = attributes.chunk(len(features))
        embedding = torch.cat([self.model.head(*of) for of in zip(features, asked, strict=True)])
        if relation is None:
            anchor, negative, positive = embedding.chunk(3)
            return triplet_loss(anchor, negative, positive, self.margin)
        if self.contrast is not None:
            return supervised_contrast_loss(embedding, relation, self.contrast)
        return all_triplets_loss(embedding, relation, self.margin)
