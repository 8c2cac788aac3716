"""What AG-MAN's embeddings and training step cost, beside plain classifiers and plain steps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from agman_lib.benchmark.photos import drawn_photos
from agman_lib.benchmark.straightforward import one_pass_an_attribute
from agman_lib.benchmark.timing import Row, Setting, compared, side_by_side
from agman_lib.data.pixels import Pixels
from agman_lib.data.triplets import LabelIndex
from agman_lib.networks.build import build_model
from agman_lib.networks.model import RetrievalModel
from agman_lib.training.batches import EpochBatches
from agman_lib.training.config import TrainConfig
from agman_lib.training.losses import TrainingStep

A = 8
MEASURES = ("joint batch", "channels-last", "fused optimiser", "bfloat16", "torch.compile")
STRAIGHTFORWARD = "three passes, float32, NCHW"


def classifier(backbone: str) -> nn.Module:
    """The plain classifier that a backbone is made of, of torchvision or timm, random weights."""
    if backbone == "efficientnet_lite0":
        import timm

        return timm.create_model("tf_efficientnet_lite0", drop_rate=0.0, drop_path_rate=0.0)
    import torchvision

    return torchvision.models.get_model(backbone, weights=None)


def pair(backbone: str, device: str) -> tuple[RetrievalModel, nn.Module]:
    """AG-MAN and the classifier in it, with the same weights there, channels-last."""
    torch.manual_seed(0)
    plain, model = classifier(backbone), build_model("agman", A, backbone)
    model.backbone.load_pretrained(plain.state_dict(), backbone)
    layout = {"device": device, "memory_format": torch.channels_last}
    return model.to(**layout), plain.to(**layout)  # type: ignore[call-overload]


def precision(device: str, name: str) -> torch.autocast | nullcontext[None]:
    """The block in which a device computes in float32 or bfloat16."""
    return torch.autocast(device, torch.bfloat16) if name == "bfloat16" else nullcontext()


def embedding(setting: Setting) -> list[Row]:
    """The embeddings of every attribute, beside a classifier's forward and a pass an attribute."""
    sizes = [("resnet50", 224, 8), ("resnet18", 224, 16), ("efficientnet_lite0", 96, 32)]
    sizes = [("resnet18", 64, 8)] if setting.quick else sizes
    names = ("float32", "bfloat16") if setting.gpu else ("float32",)
    return [row for each in sizes for name in names for row in _embedding(setting, *each, name)]


def _embedding(setting: Setting, backbone: str, size: int, n: int, name: str) -> list[Row]:
    n = 64 if setting.gpu else n
    model, plain = pair(backbone, setting.device)
    model.eval()
    plain.eval()
    images = torch.randn(n, 3, size, size, device=setting.device)
    images = images.contiguous(memory_format=torch.channels_last)
    what = f"all {A} attributes, {backbone}, {size} px, {name}"
    forward, passes = "a plain forward", "a pass an attribute"
    calls = {
        what: lambda: model.embed_all(images),
        forward: lambda: plain(images),
        passes: lambda: one_pass_an_attribute(model, images),
    }
    with torch.inference_mode(), precision(setting.device, name):
        times = side_by_side(calls, setting)
        far = (calls[what]() - calls[passes]()).abs().max()
    note = f"embeddings differ by at most {far:.0e}"
    return [
        compared("embedding", setting, times, what, forward, size=n),
        compared("embedding", setting, times, what, passes, size=n, note=note),
    ]


def _step(setting: Setting, backbone: str, size: int, measures: tuple[str, ...]) -> Callable:
    """A whole training step on 16 triplets with some of `MEASURES`."""
    device = setting.device
    channels_last = "channels-last" in measures
    layout = torch.channels_last if channels_last else torch.contiguous_format
    passes = "joint" if "joint batch" in measures else "separate"
    torch.manual_seed(0)
    step = TrainingStep(build_model("agman", A, backbone), passes=passes)  # type: ignore[arg-type]
    step = step.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(step.parameters(), lr=1e-4, fused="fused optimiser" in measures)
    images = torch.randn(48, 3, size, size, device=device).contiguous(memory_format=layout)
    attributes = (torch.arange(16, device=device) % A).repeat(3)
    forward = torch.compile(step) if "torch.compile" in measures else step
    name = "bfloat16" if "bfloat16" in measures else "float32"

    def call() -> None:
        with precision(device, name):
            total = forward(images, attributes).total
        total.backward()
        optimizer.step()
        optimizer.zero_grad()

    return call


def _skipped(setting: Setting, measure: str) -> str:
    """Why a measure is not switched on here; empty where it is."""
    if measure == "torch.compile" and not setting.gpu:
        return "compiling takes minutes of a CPU and is measured on a GPU only"
    in_hardware = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    bfloat16 = setting.gpu or in_hardware()
    return "" if measure != "bfloat16" or bfloat16 else "this CPU does not compute in bfloat16"


def step(setting: Setting) -> list[Row]:
    """A training step of 16 triplets, with one measure more in each row."""
    rows: list[Row] = []
    cpu = [("resnet18", 96), ("efficientnet_lite0", 96)]
    sizes = [("resnet18", 64)] if setting.quick else cpu
    for backbone, size in [("resnet50", 224)] if setting.gpu and not setting.quick else sizes:
        beside = f"{backbone}, {size} px: {STRAIGHTFORWARD}"
        calls = {beside: _step(setting, backbone, size, ())}
        on: tuple[str, ...] = ()
        left_out = []
        for measure in MEASURES:
            why = _skipped(setting, measure)
            if not why:
                try:
                    call = _step(setting, backbone, size, (*on, measure))
                    call()
                except Exception as error:  # no compiler, or one that does not know a call
                    why = f"{type(error).__name__}: {error}".splitlines()[0]
            if why:
                left_out.append(f"{measure} left out: {why}")
                continue
            on = (*on, measure)
            calls[f"{backbone}, {size} px: {', '.join(on)}"] = call
        times = side_by_side(calls, setting)
        *others, last = (what for what in calls if what != beside)
        rows += [compared("step", setting, times, what, beside) for what in others]
        rows.append(compared("step", setting, times, last, beside, note="; ".join(left_out)))
        rows += _data(setting, calls[last], size)
    return rows


def _data(setting: Setting, step: Callable, size: int) -> list[Row]:
    """How long the quickest step waits for its photos, where no other process loads them."""
    rows = []
    with drawn_photos(256 if not setting.quick else 64, 512 if not setting.quick else 128) as drawn:
        index = LabelIndex(drawn.split_labels("train"))
        config = TrainConfig(steps_per_epoch=64, batch_size=16, image_size=size)
        for how, cache in (("decoded", False), ("from the cache", True)):
            batches = EpochBatches(config, Pixels(drawn, size, cache=cache), index, None, 0)
            rng = np.random.default_rng(0)

            def wait(batches: EpochBatches = batches, rng: np.random.Generator = rng) -> object:
                return batches[int(rng.integers(64))]

            def both(wait: Callable[[], object] = wait) -> None:
                wait()
                step()

            what = f"waiting for a step's photos ({size} px), {how}"
            beside = "the wait and the step"
            calls: dict[str, Callable[[], object]] = {what: wait, beside: both}
            rows.append(compared("step", setting, side_by_side(calls, setting), what, beside))
    return rows
