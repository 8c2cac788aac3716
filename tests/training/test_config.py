"""A config says no to what it does not know, from Python as from the command line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from agman_lib.base.errors import AgmanError
from agman_lib.cli.commands import main
from agman_lib.training.config import PRESETS, TrainConfig, preset


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "triplet"}, "option sampler 'triplet'; did you mean 'triplets'"),
        ({"negatives": "asen+"}, r"option negatives 'asen\+'; did you mean 'asen\+\+'"),
        ({"passes": "jiont"}, "option passes 'jiont'; did you mean 'joint'"),
        ({"fit": "padd"}, "option fit 'padd'; did you mean 'pad'"),
        ({"weighing": "learnd"}, "option weighing 'learnd'; did you mean 'learned'"),
        ({"precision": None}, "option precision None; it is one of: no, bf16, fp16"),
        ({"smapler": "batch"}, "unknown option 'smapler'; did you mean 'sampler'"),
        ({"epochs": True}, "option epochs must be a valid integer, not True"),
        ({"epochs": 1.5}, "option epochs must be a valid integer, not 1.5"),
        ({"epochs": "3"}, "option epochs must be a valid integer, not '3'"),
        ({"lr": "1e-3"}, "option lr must be a valid number, not '1e-3'"),
        ({"lr": float("nan")}, "option lr must be a finite number, not nan"),
        ({"flip": 1}, "option flip must be a valid boolean, not 1"),
        ({"masks": "off"}, "option masks must be a valid boolean, not 'off'"),
    ],
)
def test_a_typo_is_refused_wherever_a_config_is_made(options, message, tmp_path):
    with pytest.raises(AgmanError, match=message):
        TrainConfig(**options)
    with pytest.raises(AgmanError, match=message):
        preset("quick").changed(**options)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(asdict(preset("quick")) | options))
    with pytest.raises(AgmanError, match=rf"config\.json: .*{message}"):
        TrainConfig.load(file)


def test_numpy_numbers_and_paths_become_plain_ones(tmp_path):
    config = TrainConfig(
        data=Path("a/b"), seed=np.int64(3), epochs=np.uint8(2), lr=np.float32(0.5), margin=1,
        flip=np.bool_(False), threads=1,
    )  # fmt: skip
    assert config == TrainConfig(
        data=str(Path("a/b")), seed=3, epochs=2, lr=0.5, margin=1.0, flip=False, threads=1
    )
    file = tmp_path / "config.json"
    file.write_text(json.dumps(asdict(config)))
    assert TrainConfig.load(file) == config


@pytest.mark.parametrize("name", PRESETS)
def test_the_command_line_starts_from_a_preset(name, monkeypatch):
    seen = []
    monkeypatch.setattr("agman_lib.cli.commands.train", lambda config, resume: seen.append(config))
    assert main(["train", "--preset", name, "--seed", "7", "--masks", "False"]) == 0
    assert seen == [preset(name).changed(seed=7, masks=False)]


@pytest.mark.parametrize("name", PRESETS)
def test_a_config_as_words_is_that_config(name, monkeypatch):
    seen = []
    monkeypatch.setattr("agman_lib.cli.commands.train", lambda config, resume: seen.append(config))
    config = preset(name).changed(data="a b", flip=False, masks=False, swish=True, lr=3e-5)
    assert main(["train", *config.words]) == 0
    assert seen == [config]


def test_paper_presets_load_in_processes_of_their_own_from_the_lossless_cache():
    for name in ("paper-fashionai", "paper-deepfashion", "paper-zappos50k"):
        assert preset(name).cache
        assert preset(name).workers >= 1
        assert not {"cache", "workers"} & set(preset(name).result_options)
