"""What training promises of its optimiser, its learning rate and its best weights."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from agman_lib.networks.weights import load_tensors, read_weights
from agman_lib.training import loop as training
from agman_lib.training.config import TrainConfig
from agman_lib.training.loop import train


def state_of(config: TrainConfig) -> dict[str, torch.Tensor]:
    """What is trained, as the checkpoint to resume from holds it."""
    return load_tensors(Path(config.out) / "last.pt")["step_module"]


def trained(config: TrainConfig) -> list[dict[str, torch.Tensor]]:
    """What is trained, after each epoch."""
    after = []
    train(config, after_epoch=lambda log: after.append(state_of(config)))
    return after


def test_the_learned_weighing_learns(tiny):
    (after,) = trained(tiny.changed(class_branch=None, weighing="learned", epochs=1))
    weighing = [value for name, value in after.items() if name.startswith("weighing.")]
    assert sum(value.numel() for value in weighing) == 2
    # Four steps of Adam move a weight by up to four times the rate.
    assert all((value.abs() > tiny.lr).all() for value in weighing)


def test_the_learning_rate_decays_in_steps_as_the_log_says(tiny):
    config = tiny.changed(epochs=5, steps_per_epoch=2, log_every=1, lr_step=2, lr_gamma=0.5)
    log = train(config).log
    expected = 1e-3 * 0.5 ** ((log["epoch"] - 1) // 2)
    pd.testing.assert_series_equal(log["lr"], expected, check_names=False)
    assert log["lr"].nunique() == 3


def test_the_optimiser_uses_the_rate_that_is_logged(tiny):
    first, second, third = trained(tiny.changed(epochs=3, lr_step=2, lr_gamma=1e-9))
    weights = [name for name in first if name.endswith("weight") and ".norm" not in name]
    assert not any(first[name].equal(second[name]) for name in weights)
    for name in weights:
        torch.testing.assert_close(second[name], third[name], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("scores", "best"), [([30, 50, 40], 2), ([50, 20, 50], 1)])
def test_best_is_the_epoch_that_validates_best_and_the_earlier_of_equal_ones(
    tiny, monkeypatch, scores, best
):
    coming = iter(scores)

    def validated(*_, **__) -> pd.DataFrame:
        return pd.DataFrame({"MAP": [float(next(coming))], "random": [20.0]}, index=["mean"])

    monkeypatch.setattr(training, "evaluate_model", validated)
    after = trained(tiny.changed(epochs=3, steps_per_epoch=1))
    kept, _ = read_weights(Path(tiny.out) / "best.safetensors")
    for name, value in kept.items():
        assert value.equal(after[best - 1][f"model.{name}"]), name
    run = training.Run.load(tiny.out)
    assert run.metrics == {"best_epoch": best, "valid": {"mean": {"MAP": 50, "random": 20}}}
    assert run.log["valid"].tolist() == scores
