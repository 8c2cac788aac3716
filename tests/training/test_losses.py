from __future__ import annotations

import copy
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional

from agman_lib.base.errors import AgmanError
from agman_lib.benchmark.straightforward import listed_triplets_loss
from agman_lib.networks.build import build_model
from agman_lib.training.losses import (
    LossWeighing,
    TrainingStep,
    all_triplets_loss,
    same_attribute_loss,
    supervised_contrast_loss,
    triplet_loss,
)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return functional.normalize(
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1
    )


def test_triplet_loss_equals_the_naive_loop():
    a, n, p = unit(3, 9, 6)
    expected = [
        max(0.0, float(torch.dot(a[i], n[i]) - torch.dot(a[i], p[i]) + 0.2)) for i in range(9)
    ]
    assert 0 < sum(e > 0 for e in expected) < 9
    assert float(triplet_loss(a, n, p, 0.2)) == pytest.approx(np.mean(expected), abs=1e-6)
    assert float(triplet_loss(a, n, p)) == float(triplet_loss(a, n, p, 0.2))


def test_all_triplets_loss_equals_the_naive_loop():
    embedding = unit(10, 6)
    relation = torch.from_numpy(np.random.default_rng(0).choice([-1, 0, 1], (10, 10)))
    relation.fill_diagonal_(0)
    hinges = []
    for a, p, n in product(range(10), repeat=3):
        if relation[a, p] == 1 and relation[a, n] == -1:
            loss = float(embedding[a] @ embedding[n] - embedding[a] @ embedding[p] + 0.2)
            hinges.append(max(0.0, loss))
    assert 20 < sum(h > 0 for h in hinges) < len(hinges)
    found = float(all_triplets_loss(embedding, relation, 0.2))
    assert found == pytest.approx(np.mean(hinges), abs=1e-6)
    assert float(all_triplets_loss(embedding, relation)) == found  # the published margin
    assert float(all_triplets_loss(embedding, torch.zeros(10, 10))) == 0


def test_all_triplets_loss_without_float64(monkeypatch):
    """As on Apple's GPUs: close cosines, whose differences are what the hinge is about."""
    embedding = functional.normalize(unit(96, 64) * 0.05 + unit(1, 64, seed=1), dim=1)
    relation = torch.from_numpy(np.random.default_rng(0).choice([-1, 0, 1], (96, 96)))
    exact = listed_triplets_loss(embedding.double(), relation)
    monkeypatch.setattr("agman_lib.training.losses._wide", lambda numbers: numbers.float())
    monkeypatch.setattr(torch.Tensor, "double", None)
    assert float(all_triplets_loss(embedding, relation)) == pytest.approx(float(exact), abs=1e-5)


@pytest.mark.parametrize(("n", "seed", "margin"), [(1, 0, 0.2), (2, 1, 0.2), (12, 2, 0.0)] + [
    (n, seed, margin) for n, seed in ((12, 3), (12, 4), (30, 5)) for margin in (0.05, 0.2, 3.0)
])  # fmt: skip
def test_the_gradient_over_all_triplets_is_that_of_the_listed_ones(n, seed, margin):
    relation = torch.from_numpy(np.random.default_rng(seed).choice([-1, 0, 1], (n, n)))
    relation.fill_diagonal_(0)
    relation[0] = 1  # an anchor without negatives, and one without positives
    relation[-1] = -1

    embedding = unit(n, 6).double().requires_grad_()
    found = all_triplets_loss(embedding, relation, margin)
    expected = listed_triplets_loss(embedding, relation, margin)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(loss, embedding)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
    single = embedding.detach().float().requires_grad_()
    loss = all_triplets_loss(single, relation, margin)
    torch.testing.assert_close(loss.double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad(loss, single)[0].double(), gradients[1], rtol=0, atol=1e-6
    )


def test_the_loss_over_all_triplets_lists_no_triplet():
    """3,000 images in twos: (N, N, N) would be 100 GB, and so would pairs of a value by N."""
    value = torch.arange(3000) // 1500
    relation = torch.where(value[:, None] == value, 1, -1).fill_diagonal_(0)
    embedding = unit(3000, 8).requires_grad_()
    loss = all_triplets_loss(embedding, relation)
    loss.backward()
    assert 0 < loss.item() < 1
    assert torch.isfinite(embedding.grad).all()


def test_cosines_are_not_rounded_under_mixed_precision():
    """In bfloat16 these cosines, all near 1, would be a handful of values 1/256 apart."""
    embedding = functional.normalize(torch.ones(12, 64) + 0.05 * unit(12, 64), dim=1)
    relation = torch.from_numpy(np.random.default_rng(0).choice([-1, 1], (12, 12)))
    relation.fill_diagonal_(0)
    exact = all_triplets_loss(embedding.double(), relation, 0.0).float()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(all_triplets_loss(embedding, relation, 0.0), exact)
        rounded = embedding @ embedding.T
    assert rounded.dtype == torch.bfloat16  # what the loss must not be made of
    assert len(rounded.unique()) < 20
    half = [e.bfloat16() for e in unit(3, 9, 64)]
    torch.testing.assert_close(triplet_loss(*half), triplet_loss(*(e.float() for e in half)))


def test_same_attribute_loss_is_binary_cross_entropy_against_the_attribute():
    logits, attributes = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]]), torch.tensor([2, 1])
    p = torch.sigmoid(logits)
    target = torch.tensor([[0.0, 0, 1], [0, 1, 0]])
    expected = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    torch.testing.assert_close(same_attribute_loss(logits, attributes), expected)


def test_fixed_weighing_is_the_sum_and_learned_weighing_is_bounded():
    losses = [torch.tensor(0.3), torch.tensor(0.5)]
    assert float(LossWeighing("fixed", 2)(losses)) == pytest.approx(0.8)
    learned = LossWeighing("learned", 2)
    assert learned(losses).item() == pytest.approx(0.4 + 2 * np.log(2), abs=1e-6)
    with torch.no_grad():
        learned.log_variance.copy_(torch.tensor([0.6, -0.4]))
    variance = np.exp([0.6, -0.4])
    expected = 0.3 / (2 * variance[0]) + 0.5 / (2 * variance[1]) + np.log(1 + variance).sum()
    assert learned(losses).item() == pytest.approx(expected, abs=1e-6)
    optimizer = torch.optim.SGD(learned.parameters(), lr=0.5)
    for _ in range(300):  # a hinge that has reached 0 must not pull the sum below 0
        total = learned([torch.tensor(0.0), torch.tensor(0.5)])
        assert total >= 0
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert learned.log_variance[0] < -4 < learned.log_variance[1]


def test_separate_passes_move_batch_norm_as_three_passes_do():
    torch.manual_seed(0)
    model = build_model("agman", 2, "resnet18")
    by_hand = copy.deepcopy(model)
    images, attributes = torch.randn(6, 3, 64, 64), torch.tensor([0, 1, 0, 1, 0, 1])
    step = TrainingStep(model, passes="separate").train()
    losses = step(images, attributes)
    by_hand.train()
    outputs = [
        by_hand.forward_train(i, a)
        for i, a in zip(images.chunk(3), attributes.chunk(3), strict=True)
    ]
    a, n, p = (embedding for embedding, _ in outputs)
    torch.testing.assert_close(losses.triplet, triplet_loss(a, n, p).detach())
    expected = torch.stack([same_attribute_loss(z, attributes[:2]) for _, z in outputs]).mean()
    torch.testing.assert_close(losses.classification, expected.detach())
    for (name, ours), theirs in zip(
        model.state_dict().items(), by_hand.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, msg=name)
    assert model.attribute_head.norm.num_batches_tracked == 3

    joint = TrainingStep(build_model("agman", 2, "resnet18"), passes="joint").train()
    joint(images, attributes)
    assert joint.model.attribute_head.norm.num_batches_tracked == 1


def test_a_choice_that_is_none_is_refused():
    with pytest.raises(AgmanError, match="unknown weighing 'learnd'; did you mean 'learned'"):
        LossWeighing("learnd", 2)
    with pytest.raises(AgmanError, match="unknown passes 'jiont'; did you mean 'joint'"):
        TrainingStep(build_model("csn", 2, "resnet18"), passes="jiont")


def test_without_a_class_branch_the_loss_is_the_triplet_loss_alone():
    step = TrainingStep(build_model("asen_v2", 2, "resnet18"), weighing="learned").eval()
    losses = step(torch.randn(3, 3, 32, 32), torch.tensor([1, 1, 1]))
    assert float(losses.classification) == 0
    assert len(step.weighing.log_variance) == 1
    expected = losses.triplet / 2 + np.log(2)
    torch.testing.assert_close(losses.total.detach(), expected.to(torch.float32))


def test_supervised_contrast_equals_the_naive_loop():
    embedding, t = unit(9, 6), 0.1
    relation = torch.from_numpy(np.random.default_rng(1).choice([-1, 0, 1], (9, 9)))
    relation = torch.triu(relation, 1) + torch.triu(relation, 1).T
    relation[0] = relation[:, 0] = 0  # an anchor without positives
    relation[1] = relation[:, 1] = relation[1].clamp(min=0)  # and one without negatives
    relation[1, 2] = relation[2, 1] = 1
    losses = []
    for i in range(9):
        positives = [j for j in range(9) if relation[i, j] == 1]
        others = [j for j in range(9) if relation[i, j] != 0]
        if positives and len(others) > len(positives):
            total = sum(np.exp(float(embedding[i] @ embedding[j]) / t) for j in others)
            shares = [np.exp(float(embedding[i] @ embedding[p]) / t) / total for p in positives]
            losses.append(-np.mean(np.log(shares)))
    assert 4 < len(losses) <= 7
    found = supervised_contrast_loss(embedding, relation, t)
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(supervised_contrast_loss(embedding, torch.zeros(9, 9), t)) == 0
    embedding.requires_grad_()
    supervised_contrast_loss(embedding, relation, t).backward()
    assert embedding.grad.isfinite().all()


def small_step(**options) -> tuple[TrainingStep, tuple[torch.Tensor, ...]]:
    """A step on six images: its attributes, relation and values."""
    torch.manual_seed(0)
    name = options.pop("network", "agman")
    model = build_model(name, 2, "resnet18", n_values=[3, 2])
    attributes = torch.tensor([0, 0, 0, 1, 1, 1])
    values = torch.tensor([2, 2, 0, 0, 0, 1])
    same = attributes[:, None] == attributes
    relation = torch.where(values[:, None] == values, 1, -1) * same - torch.eye(6).int()
    return TrainingStep(model, **options), (torch.randn(6, 3, 64, 64), attributes, relation, values)


def test_the_branch_learns_the_classes_that_it_is_given_with_its_weight():
    step, (images, attributes, relation, values) = small_step(branch_weight=0.1)
    step.eval()
    published = step(images, attributes, relation, values)
    classes = 1 - attributes
    control = step(images, attributes, relation, values, classes)
    with torch.no_grad():
        logits = step.model.attribute_logits(images)
    for losses, targets in ((published, attributes), (control, classes)):
        torch.testing.assert_close(losses.classification, same_attribute_loss(logits, targets))
        expected = losses.triplet + 0.1 * losses.classification
        torch.testing.assert_close(losses.total.detach(), expected)
    assert control.triplet == published.triplet


def test_a_step_minimises_the_loss_that_it_is_asked_for():
    step, (images, *labels) = small_step(contrast=0.2, network="asen_v2")
    step.eval()
    embedding = step.model(images, labels[0])
    expected = supervised_contrast_loss(embedding, labels[1], 0.2)
    torch.testing.assert_close(step(images, *labels).total, expected)

    step, (images, attributes, relation, values) = small_step(network="softmax")
    step.eval()
    z = step.model.trunk(images)[0]
    second = functional.pad(z[:, 3:], (0, 1), value=-1e9)
    entries = torch.where(attributes[:, None] == 0, z[:, :3], second)
    expected = functional.cross_entropy(entries, values)
    torch.testing.assert_close(step(images, attributes, relation, values).total, expected)

    step, (images, attributes, relation, values) = small_step(network="proxies")
    step.eval()
    head = step.model.attribute_head
    e = head.attention(step.model.trunk(images), attributes[:, None]).embedding[:, 0]
    z = torch.cosine_similarity(e[:, None], head.proxies[None], dim=2) / 0.1
    second = functional.pad(z[:, 3:], (0, 1), value=-1e9)
    entries = torch.where(attributes[:, None] == 0, z[:, :3], second)
    expected = functional.cross_entropy(entries, values)
    torch.testing.assert_close(step(images, attributes, relation, values).total, expected)
