from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from agman_lib.base.errors import AgmanError
from agman_lib.networks.attention import AttributeGuidedAttention, block_masks
from agman_lib.networks.backbones import BACKBONES, build_backbone
from agman_lib.networks.build import build_model
from agman_lib.networks.model import NETWORKS, NO_PARTS, Parts, from_description
from agman_lib.networks.weights import load_model, save_model


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def shaken(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every parameter and running statistic away from its start, so that nothing hides."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.copy_(torch.exp(0.1 * noise))
            elif value.ndim > 1:  # in keeping with its scale, so that activations stay ordinary
                value.add_(0.3 * value.std() * noise)
            elif value.is_floating_point():
                value.add_(0.1 * noise)
    return model.eval()


def stage_by_stage(attention: AttributeGuidedAttention, f: torch.Tensor, c: torch.Tensor):
    """The equations as published: every stage on the full (B, 512, h, w) map, no identity used."""
    e = attention.attribute_embedding(c)
    x = attention.project(attention.w * f)
    g = functional.silu(attention.spatial_transform(e))
    scores = (g[:, :, None, None] * torch.tanh(attention.norm(x))).sum(1) / 512**0.5
    s = torch.softmax(scores.flatten(1), dim=1).view_as(scores)
    x = x * attention.w1 * s[:, None]
    pooled = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], dim=1)
    x = torch.sigmoid(attention.gate_conv(pooled)) * x
    v = x.sum(dim=(2, 3))
    g2 = functional.silu(attention.channel_transform(e))
    m = torch.relu(attention.channel_fc1(torch.cat([v, g2], dim=1)))
    v = v * attention.w2 * torch.sigmoid(attention.channel_fc2(m))
    v = v * torch.relu(attention.masks(c))
    return v / v.norm(dim=1, keepdim=True), s


@pytest.mark.parametrize("w1", [1.3, -0.7])
@pytest.mark.parametrize("size", [(64, 64), (96, 64), (224, 224)])
def test_embed_all_equals_each_attribute_and_the_published_equations(w1, size):
    model = shaken(build_model("agman", 5, "resnet18"))
    with torch.no_grad():
        model.attribute_head.w1.fill_(w1)
        images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
        single = torch.stack([model(images, torch.full((2,), a)) for a in range(5)], dim=1)
        torch.testing.assert_close(model.embed_all(images), single, atol=1e-5, rtol=0)
        model, images = model.double(), images.double()
        every, f = model.embed_all(images), model.backbone(images)
        for a in range(5):
            attributes = torch.full((2,), a)
            expected, s = stage_by_stage(model.attribute_head, f, attributes)
            torch.testing.assert_close(every[:, a], expected, atol=1e-10, rtol=0)
            maps = model.attention_maps(images, attributes)
            torch.testing.assert_close(maps, s, atol=1e-12, rtol=0)
            torch.testing.assert_close(maps.sum(dim=(1, 2)), torch.ones(2).double())
        assert (every[:, 0] - every[:, 1]).abs().max() > 1e-3


def test_gradients_equal_those_of_the_published_equations():
    torch.manual_seed(0)
    attention = shaken(AttributeGuidedAttention(64, 3)).double()
    with torch.no_grad():
        attention.w1.fill_(-0.8)
    f = torch.randn(2, 64, 4, 4, dtype=torch.double, requires_grad=True)
    target, c = torch.randn(2, 512, dtype=torch.double), torch.tensor([2, 0])
    ours = (attention(attention.features(f), c[:, None]).embedding[:, 0] * target).sum()
    theirs = (stage_by_stage(attention, f, c)[0] * target).sum()
    wanted = [f, *attention.parameters()]
    for a, b in zip(
        torch.autograd.grad(ours, wanted), torch.autograd.grad(theirs, wanted), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_and_interface(name, backbone):
    model = build_model(name, 3, backbone).eval()
    c3 = 256 if backbone == "resnet18" else 1024
    size = 512 if name == "agman" else c3
    spatial = name not in ("triplet", "csn")
    images, attributes = torch.randn(2, 3, 64, 96), torch.tensor([0, 2])
    with torch.no_grad():
        embedding, logits = model.forward_train(images, attributes)
        assert embedding.shape == (2, size)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
        every = model.embed_all(images)
        assert every.shape == (2, 3, size)
        torch.testing.assert_close(every[[0, 1], attributes], embedding, atol=1e-5, rtol=0)
        assert every[:, 0].equal(every[:, 1]) == (name == "triplet")
        if spatial:
            maps = model.attention_maps(images, attributes)
            assert maps.shape == (2, 4, 6)
            torch.testing.assert_close(maps.sum(dim=(1, 2)), torch.ones(2))
        else:
            with pytest.raises(AgmanError, match="has no spatial attention"):
                model.attention_maps(images, attributes)
        features = model.trunk(images)
        torch.testing.assert_close(model.head(features, attributes), embedding)
        if name == "agman":
            torch.testing.assert_close(logits, model.attribute_logits(images))
            assert logits.shape == (2, 3)
        else:
            assert logits is None
            with pytest.raises(AgmanError, match="without the class branch"):
                model.attribute_logits(images)


def test_the_class_branch_is_not_computed_for_retrieval():
    model = build_model("agman", 2, "resnet18").eval()

    def refuse(*_):
        raise AssertionError("layer4 was computed")

    model.backbone.layer4.register_forward_hook(refuse)
    model.embed_all(torch.zeros(1, 3, 32, 32))
    with pytest.raises(AssertionError, match="layer4"):
        model.attribute_logits(torch.zeros(1, 3, 32, 32))


def test_a_part_that_is_off_has_no_parameters():
    full = sum(p.numel() for p in build_model("agman", 4, "resnet50").parameters())
    for field in fields(Parts):
        parts = replace(Parts(), **{field.name: False})
        model = build_model("agman", 4, "resnet50", parts=parts)
        count = sum(p.numel() for p in model.parameters())
        # Swish has none of its own; pooling F in place of the projection widens what follows.
        same = field.name in ("swish", "fine_level", "coarse_level")  # the levels are off anyway
        assert (count == full) == same, field.name
        assert from_description(model.description).parts == parts
        images, attributes = torch.randn(2, 3, 32, 32), torch.tensor([0, 3])
        embedding, logits = model.forward_train(images, attributes)
        (embedding.sum() + (0 if logits is None else logits.sum())).backward()
        unused = [n for n, p in model.named_parameters() if p.grad is None]
        assert not unused, (field.name, unused)


def test_masks_start_as_published():
    masks = block_masks(8, 512)
    assert masks.shape == (8, 512)
    assert masks[3, 192:256].eq(1).all()
    assert masks[3].eq(1).sum() == 64
    assert masks[3, :192].eq(0.1).all()
    uneven = block_masks(5, 512)
    assert uneven[4, 408:510].eq(1).all()
    assert uneven[:, 510:].eq(0.1).all()


def test_backbone_output_is_f3_beside_f3_plus_low_level():
    backbone = build_backbone("resnet18", 2).eval()
    images = torch.randn(1, 3, 64, 64)
    f, x = backbone.stages(images)
    f2 = backbone.layer2(backbone.layer1(backbone.stem(images)))
    f3 = backbone.layer3(f2)
    low = backbone.low_level(functional.max_pool2d(f2, 3, stride=2, padding=1))
    torch.testing.assert_close(f, torch.cat([f3, f3 + low], dim=1))
    torch.testing.assert_close(x, f3 + low)


@pytest.mark.parametrize("counters", [True, False])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_resnet_weights_reach_the_backbone(tmp_path, counters, ending):
    """With batch norm's counters, and without: files of the first torchvision models lack them."""
    import torchvision

    resnet = shaken(torchvision.models.resnet18(weights=None))
    state = {k: v for k, v in resnet.state_dict().items() if counters or "num_batches" not in k}
    assert len(state) == len(resnet.state_dict()) - (0 if counters else 20)
    torchvision.models.resnet18(weights=None).load_state_dict(state)  # torchvision takes both
    file = tmp_path / f"resnet18.{ending}"
    torch.save(state, file) if ending == "pth" else save_file(state, file)
    backbone = build_model("agman", 2, "resnet18", str(file)).backbone.eval()
    images = torch.randn(2, 3, 64, 64)
    f2 = resnet.layer2(resnet.layer1(resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(images))))))
    f3 = resnet.layer3(f2)
    torch.testing.assert_close(backbone(images)[:, :256], f3)
    torch.testing.assert_close(backbone.layer4(f3), resnet.layer4(f3))
    with pytest.raises(AgmanError, match="not the weights of this backbone"):
        build_model("agman", 2, "resnet34", str(file))
    del state["layer2.0.bn1.running_mean"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(AgmanError, match=r"layer2\.0\.bn1\.running_mean is missing"):
        build_model("agman", 2, "resnet18", str(tmp_path / "cut.pth"))


ABOUT = {"attributes": [{"name": n, "values": ["x"]} for n in ("neckline", "lapel", "sleeves")]}
NAMES = ["sleeves", "skirt", "neckline"]


@pytest.mark.parametrize("name", ["agman", "asen", "csn", "asen_v2"])
def test_weights_are_copied_to_the_attribute_of_the_same_name(tmp_path, name):
    file, said = tmp_path / "old.safetensors", []
    old = shaken(build_model(name, 3, "resnet18"))
    save_model(file, old, ABOUT)
    new = build_model(name, 3, "resnet18", str(file), attributes=NAMES, say=said.append).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before, after = old.embed_all(images), new.embed_all(images)
        torch.testing.assert_close(after[:, 0], before[:, 2])
        torch.testing.assert_close(after[:, 2], before[:, 0])
        assert not torch.allclose(after[:, 1], before[:, 1], atol=1e-3)
        if name == "agman":
            ours, theirs = new.attribute_logits(images), old.attribute_logits(images)
            torch.testing.assert_close(ours[:, [0, 2]], theirs[:, [2, 0]])
    assert said == [
        f"{file}: skirt: not among its attributes, so new at the start; "
        "lapel: known to it and not used"
    ]
    said.clear()
    same = [a["name"] for a in ABOUT["attributes"]]
    again = build_model(name, 3, "resnet18", str(file), attributes=same, say=said.append)
    assert all(v.equal(again.state_dict()[k]) for k, v in old.state_dict().items())
    assert said == []
    two = build_model(name, 2, "resnet18", str(file), attributes=NAMES[1:], say=said.append).eval()
    with torch.no_grad():
        torch.testing.assert_close(two.embed_all(images)[:, 1], before[:, 0])
    save_model(file, old)
    build_model(name, 3, "resnet18", str(file), attributes=NAMES, say=said.append)
    assert said[-1].endswith("does not name its attributes, so they were matched by number")


def test_a_file_of_another_format_is_not_guessed_at(tmp_path, monkeypatch):
    file = tmp_path / "newer.safetensors"
    monkeypatch.setattr("agman_lib.networks.weights.FORMAT", "agman-3")
    save_model(file, build_model("csn", 2, "resnet18"))
    monkeypatch.undo()
    with pytest.raises(AgmanError, match="of format 'agman-3', and this version reads 'agman-2'"):
        load_model(file)


def test_a_file_of_the_first_format_still_loads(tmp_path):
    """It calls the head ``attention``."""
    model, file = build_model("agman", 2, "resnet18"), tmp_path / "older.safetensors"
    header = {"format": "agman-1", "network": model.description, "about": {"image_size": 96}}
    renamed = {k.replace("attribute_head.", "attention."): v for k, v in model.state_dict().items()}
    assert renamed.keys() != model.state_dict().keys()
    save_file({k: v.contiguous() for k, v in renamed.items()}, file, {"agman": json.dumps(header)})
    again, about = load_model(file)
    assert about == {"image_size": 96}
    assert all(v.equal(again.state_dict()[k]) for k, v in model.state_dict().items())


def test_a_forward_does_not_wait_for_the_device():
    """Reading an index back would stop a GPU at each forward; a meta tensor cannot be read."""
    model = build_model("agman", 2, "resnet18").to("meta").eval()
    images, attributes = torch.empty(2, 3, 32, 32, device="meta"), torch.zeros(2, device="meta")
    assert model(images, attributes.long()).shape == (2, 512)
    embedding, logits = model.forward_train(images, attributes.long())
    assert (embedding.shape, logits.shape) == ((2, 512), (2, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build_model("agmn", 2), "unknown network 'agmn'; did you mean 'agman'"),
        (lambda: build_model("agman", 2, "vgg"), "unknown backbone 'vgg'"),
        (lambda: build_model("csn", 2, parts=Parts()), "'csn' has none of AG-MAN's parts"),
        (
            lambda: build_model("agman", 2, "resnet18")(torch.zeros(1, 3, 50, 64), torch.zeros(1)),
            "multiples of 32",
        ),
        (
            lambda: build_model("agman", 2, "resnet18")(
                torch.zeros(1, 3, 32, 32), torch.tensor([2])
            ),
            "attribute indices must be 0 to 1",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(AgmanError, match=message):
        call()


def test_an_all_closed_mask_gives_zeros_not_nan():
    model = build_model("agman", 2, "resnet18").eval()
    with torch.no_grad():
        model.attribute_head.masks.weight[1].fill_(-1)
        embedding = model(torch.randn(1, 3, 32, 32), torch.tensor([1]))
    assert torch.equal(embedding, torch.zeros(1, 512))


def test_the_softmax_network_embeds_a_photo_as_what_its_values_are(tmp_path):
    model = shaken(build_model("softmax", 3, "resnet18", n_values=[2, 4, 3]))
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        every = model.embed_all(images)
        z = model.backbone(images).mean((2, 3)) @ model.attribute_head.values.weight.T
        z = z + model.attribute_head.values.bias
        expected = torch.zeros(4, 3, 9)
        for attribute, (start, end) in enumerate([(0, 2), (2, 6), (6, 9)]):
            p = z[:, start:end].softmax(1)
            expected[:, attribute, start:end] = p / p.norm(dim=1, keepdim=True)
        torch.testing.assert_close(every, expected)
        attributes = torch.tensor([2, 0, 1, 2])
        assert model(images, attributes).equal(every[torch.arange(4), attributes])
    save_model(tmp_path / "softmax.safetensors", model, {"attributes": ABOUT["attributes"]})
    again, _ = load_model(tmp_path / "softmax.safetensors")
    with torch.no_grad():
        assert again.embed_all(images).equal(every)
    with pytest.raises(AgmanError, match=r"a classifier of other attributes \(neckline, lapel"):
        build_model(
            "softmax", 3, "resnet18", str(tmp_path / "softmax.safetensors"),
            attributes=NAMES, n_values=[2, 4, 3],
        )  # fmt: skip
    with pytest.raises(AgmanError, match="needs n_values"):
        build_model("softmax", 3, "resnet18")


def test_proxies_embed_a_photo_as_its_values_and_as_a_place(tmp_path):
    model = shaken(build_model("proxies", 3, "resnet18", n_values=[2, 4, 3]))
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        features = model.trunk(images)
        e = model.attribute_head.attention(features, torch.arange(3)[None]).embedding
        assert e.norm(dim=2).allclose(torch.ones(4, 3))
        w = model.attribute_head.proxies
        cosines = torch.cosine_similarity(e[:, :, None], w[None, None], dim=3)
        expected = torch.zeros(4, 3, 9 + 512)
        for attribute, (start, end) in enumerate([(0, 2), (2, 6), (6, 9)]):
            p = (cosines[:, attribute, start:end] / 0.1).softmax(1)
            expected[:, attribute, start:end] = p / p.norm(dim=1, keepdim=True)
        expected[:, :, 9:] = 0.5 * e
        expected = functional.normalize(expected, dim=2)
        torch.testing.assert_close(model.embed_all(images), expected)
        assert model.embedding_size == 521
        s = model.attention_maps(images, torch.tensor([0, 1, 2, 0]))
    assert s.sum((1, 2)).allclose(torch.ones(4))
    save_model(tmp_path / "proxies.safetensors", model, {"attributes": ABOUT["attributes"]})
    again, _ = load_model(tmp_path / "proxies.safetensors")
    with torch.no_grad():
        assert again.embed_all(images).equal(model.embed_all(images))


@pytest.mark.parametrize("multi_level", [False, True])
@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_lite0"])
def test_the_fine_level_is_f2_beside_the_rest(backbone, multi_level):
    parts = replace(NO_PARTS, fine_level=True, multi_level=multi_level)
    model = build_model("asen_v2", 2, backbone, parts=parts).eval()
    without = build_backbone(backbone, 2, multi_level, class_branch=False).eval()
    without.load_state_dict(model.backbone.state_dict())
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        f2, _ = without.levels(images)
        f = model.backbone(images)
        torch.testing.assert_close(f[:, : without.out_channels], without(images))
    fine = f[:, without.out_channels :].unflatten(1, (-1, 2, 2))  # (B, C2, row, column, h, w)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert fine[:, :, row, column].equal(f2[:, :, row::2, column::2])


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_coarse_level_is_the_last_stages_map_beside_the_rest(backbone):
    parts = replace(NO_PARTS, coarse_level=True)
    model = build_model("asen_v2", 2, backbone, parts=parts).eval()
    classifier = build_backbone(backbone, 2, multi_level=False).eval()
    own = model.backbone.state_dict()
    classifier.load_state_dict(classifier.state_dict() | own)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        f3, x = classifier.stages(images)
        for stage in classifier.rest:
            if stage != "conv_head":  # of EfficientNet: it only widens
                x = classifier.run((stage,), x)
        f = model.backbone(images)
    assert f[:, : f3.shape[1]].equal(f3)
    coarse = f[:, f3.shape[1] :]
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert coarse[:, :, row::2, column::2].equal(x)
    assert not any(name.startswith("conv_head") for name in own)
    with pytest.raises(AgmanError, match="switch one off"):
        build_model("agman", 2, backbone, parts=replace(Parts(), coarse_level=True))
