"""Faithful to the published code: outputs for weights that anyone can make again.

`fixtures/agman_r50_a8_s0.npz` holds what the published AG-MAN code computes (its recipe is in the
docstrings below); the shapes of its state dict are in `fixtures/agman_state_shapes.json`.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import shared
from published_network import FIXTURES, drawn, published_weights

from agman_lib.base.errors import AgmanError
from agman_lib.networks.published_weights import from_official
from agman_lib.networks.weights import load_model, save_model


def reference_input() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(drawn("input", [2, 3, 224, 224])), torch.tensor([0, 7])


def check_against(model: torch.nn.Module, expected: dict[str, np.ndarray]) -> None:
    images, attributes = reference_input()
    with torch.no_grad():
        embedding = model(images, attributes).numpy()
        np.testing.assert_allclose(embedding, expected["embedding"], atol=1e-5, rtol=0)
        if "attention" in expected:  # the published heat map of AG-MAN is w1 * S
            spatial = getattr(model.attribute_head, "w1", 1.0) * model.attention_maps(
                images, attributes
            )
            np.testing.assert_allclose(spatial.numpy(), expected["attention"], atol=1e-6, rtol=0)
        if "attribute_logits" in expected:
            logits = model.attribute_logits(images).numpy()
            np.testing.assert_allclose(logits, expected["attribute_logits"], atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def agman_shapes() -> dict[str, list[int]]:
    return json.loads((FIXTURES / "agman_state_shapes.json").read_text())


def test_agman_computes_what_the_published_code_computes(agman_shapes):
    model = from_official(published_weights(agman_shapes))
    with np.load(FIXTURES / "agman_r50_a8_s0.npz") as expected:
        check_against(model, dict(expected))


@pytest.mark.parametrize("name", ["agman", "asen_v2", "asen", "csn"])
def test_shared_reference(name):
    shapes = json.loads(shared("reference/state_dict_shapes.json").read_text())[name]
    model = from_official(published_weights(shapes))
    with np.load(shared(f"reference/{name}_a8_s0.npz")) as expected:
        check_against(model, dict(expected))
    assert model.name == name
    assert (name == "agman") == ("attribute_logits" in expected.files)


def test_a_training_checkpoints_wrapper_is_stripped(agman_shapes, tmp_path):
    state = published_weights(agman_shapes)
    wrapped = {f"embeddingnet.{k}": v for k, v in state.items()}
    one, other = from_official(state), from_official(wrapped)
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key
    save_model(tmp_path / "agman.safetensors", one, {"source": "published"})
    loaded, about = load_model(tmp_path / "agman.safetensors")
    assert about == {"source": "published"}
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in one.state_dict().items())


def test_unknown_names_are_refused(agman_shapes):
    state = published_weights(agman_shapes)
    del state["masks.weight"]
    with pytest.raises(AgmanError, match=r"another network .*attribute_head.masks"):
        from_official(state)
    with pytest.raises(AgmanError, match="not those of a published"):
        from_official({"fc.weight": torch.zeros(2, 2)})
