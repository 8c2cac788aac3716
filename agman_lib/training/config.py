"""Everything that a training run depends on, as one dataclass, and its presets.

Its fields are the options of ``agman train`` and the arguments in a notebook alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs, ErrorDetails

from agman_lib.base.cores import usable_cores
from agman_lib.base.errors import AgmanError, unknown

# Options that change no result. (Which data it is, a run checks by their fingerprint.)
WITHOUT_EFFECT = ("data", "out", "workers", "cache", "checkpoint_every")


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class TrainConfig:
    """The options of a training run.

    Every value is checked when a config is made: its type, and where there are choices that it is
    one of them. NumPy's numbers and paths are taken for plain ones; True is no number.

    Raises:
        AgmanError: naming the option and what it may be.
    """

    data: str = ""
    """Prepared folder (made by `agman prepare`)."""
    out: str = ""
    """Run folder to write."""

    model: Literal["agman", "asen_v2", "asen", "csn", "triplet", "softmax", "proxies"] = "agman"
    """Network. softmax and proxies are trained to classify each attribute's values, and need
    sampler batch or labels."""
    backbone: Literal["resnet18", "resnet34", "resnet50", "efficientnet_lite0", "convnext_tiny"] = (
        "resnet50"
    )
    """Image classifier under it."""
    weights: str = "none"
    """Starting weights: none, imagenet (those of efficientnet_lite0 are installed with the package,
    those of the others are downloaded once), or a file."""
    freeze_trunk: bool = False
    """Train the head alone. The maps of the stages up to stride 16 are computed once and kept in
    the prepared folder's cache; those of mirrored and distorted training photos, too."""
    class_branch: bool | None = None
    """AG-MAN's same-attribute classification, on or off (an ablation of agman, or a step from
    asen_v2 towards it); None, here and below, is the network's own."""
    multi_level: bool | None = None
    """AG-MAN's multi-level backbone."""
    masks: bool | None = None
    """AG-MAN's masks."""
    spatial_gate: bool | None = None
    """AG-MAN's spatial gate."""
    swish: bool | None = None
    """AG-MAN's g(z) = z sigmoid(z); off: tanh and ReLU."""
    projected_values: bool | None = None
    """AG-MAN's pooling of the 512-channel projection; off: of the backbone's output."""
    scalars: bool | None = None
    """AG-MAN's learned scalars w, w1, w2."""
    fine_level: bool | None = None
    """F2 beside F3, its four positions in one of F3 as channels (not AG-MAN's)."""
    coarse_level: bool | None = None
    """F4 beside F3, each position repeated for the four of F3 that lie in it (not AG-MAN's)."""

    image_size: int = 224
    """Pixels, a multiple of 32."""
    fit: Literal["crop", "pad"] = "crop"
    """crop: resize the shorter side, crop the centre (published); pad: keep all, pad with white."""
    flip: bool = True
    """Mirror training images at random."""
    distort: int = 0
    """How many distorted copies of each training image there are to draw from, as often each as the
    image itself: turned, moved, resized and of other colours, by a little (not AG-MAN's)."""
    cache: bool = False
    """Keep the resized pixels in the prepared folder, lossless."""

    sampler: Literal["triplets", "batch", "labels"] = "triplets"
    """triplets: anchor, negative, positive drawn anew each epoch (published); listed triplets where
    the data set has them. batch: P values x K images, the loss over all triplets in the batch.
    labels: the attribute uniform, then an image that is labelled for it; the same loss."""
    negatives: Literal["asen", "asen++"] = "asen"
    """Negatives uniform among images (asen) or the value first (asen++)."""
    allow_shared: bool = False
    """Let a negative share a value with the anchor where images have several, as published."""
    values_per_attribute: int = 4
    """P of sampler batch."""
    images_per_value: int = 4
    """K of sampler batch."""

    epochs: int = 150
    """Rounds; each ends with validation."""
    steps_per_epoch: int = 6250
    """Optimiser steps in a round."""
    batch_size: int = 16
    """Triplets in a step (3 images each), over all processes. Other samplers see as many images."""
    lr: float = 1e-4
    """Adam's learning rate."""
    schedule: Literal["steps", "cosine"] = "steps"
    """How the rate falls: by lr_gamma every lr_step epochs (published), or, after it has risen over
    the first twentieth of all steps, along half a cosine to 0 at the last."""
    lr_step: int = 3
    """Epochs after which the rate is multiplied by lr_gamma."""
    lr_gamma: float = 0.9
    """See lr_step."""
    loss: Literal["triplets", "contrast"] = "triplets"
    """The triplet loss (published), or supervised contrast in its place (needs sampler batch)."""
    margin: float = 0.2
    """Of the triplet loss."""
    temperature: float = 0.1
    """Of supervised contrast."""
    branch_classes: Literal["attribute", "kind", "shuffled"] = "attribute"
    """What the class branch tells apart: the attribute that an image is labelled for (published);
    as controls, the kind of product (kinds.csv), or those attributes dealt among the images."""
    branch_weight: float = 1.0
    """Of the classification loss, where the triplet loss has 1 (published)."""
    weighing: Literal["fixed", "learned"] = "fixed"
    """How triplet and classification loss are added."""
    average: float = 0.0
    """Validate and keep a running mean of the weights, in which this is the share of the former
    mean at each step (0.98: of about the last 50 steps); 0: the weights themselves."""
    passes: Literal["joint", "separate"] = "separate"
    """One pass over anchors, negatives and positives, or three (published batch norm)."""

    seed: int = 0
    """Of everything random: weights, triplets, mirroring."""
    threads: int = field(default_factory=usable_cores)
    """CPU threads; part of what makes a CPU run repeatable bit for bit."""
    workers: int = 0
    """Processes that load images; they do not change the result."""
    device: Literal["auto", "cpu"] = "auto"
    """auto takes an accelerator where there is one."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision."""
    log_every: int = 50
    """Steps between lines of log.csv."""
    checkpoint_every: int = 500
    """Steps between checkpoints to resume from (one is also written at each epoch's end)."""

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_line(cls, values: Any, validate: Callable[[Any], TrainConfig]) -> TrainConfig:
        if isinstance(values, ArgsKwargs):
            plain = {name: _plain(value) for name, value in (values.kwargs or {}).items()}
            values = ArgsKwargs(tuple(map(_plain, values.args)), plain)
        try:
            return validate(values)
        except ValidationError as error:
            known = [f.name for f in fields(cls)]
            raise _wrong_option(error.errors(include_url=False)[0], known) from None

    def check(self) -> TrainConfig:
        """This config, if its values make sense together.

        Raises:
            AgmanError: names the option and says how to fix it.
        """
        for name in ("epochs", "steps_per_epoch", "batch_size", "lr_step", "threads", "log_every"):
            if getattr(self, name) < 1:
                raise AgmanError(f"option --{name.replace('_', '-')} must be at least 1")
        if self.checkpoint_every < 1 or self.workers < 0 or self.distort < 0:
            raise AgmanError(
                "--checkpoint-every must be at least 1, --workers and --distort at least 0"
            )
        if self.image_size < 32 or self.image_size % 32:
            raise AgmanError(f"option --image-size must be a multiple of 32, not {self.image_size}")
        if self.sampler == "batch" and self.batch_groups < 1:
            raise AgmanError(
                f"option --batch-size {self.batch_size} gives {3 * self.batch_size} images a step, "
                "fewer than --values-per-attribute x --images-per-value; raise it"
            )
        if self.sampler == "batch" and min(self.values_per_attribute, self.images_per_value) < 2:
            raise AgmanError(
                "--values-per-attribute and --images-per-value must be 2 or more: "
                "a triplet needs two images of a value and one of another"
            )
        classifier = self.model in ("softmax", "proxies")
        if self.sampler == "triplets" and (self.loss == "contrast" or classifier):
            which = f"--model {self.model}" if classifier else "--loss contrast"
            raise AgmanError(
                f"{which} needs --sampler batch or labels, since it is no loss of single triplets"
            )
        if not self.temperature > 0 or self.branch_weight < 0:
            raise AgmanError("--temperature must be above 0 and --branch-weight at least 0")
        if not 0 <= self.average < 1:
            raise AgmanError("option --average must be from 0 and below 1")
        if not self.lr > 0:
            raise AgmanError("option --lr must be above 0")
        return self

    @property
    def batch_groups(self) -> int:
        """Attributes in a step of sampler batch."""
        return 3 * self.batch_size // (self.values_per_attribute * self.images_per_value)

    @property
    def result_options(self) -> dict[str, Any]:
        """The options that a result depends on: all but the folders and what saves or loads."""
        return {k: v for k, v in self.__dict__.items() if k not in WITHOUT_EFFECT}

    @property
    def words(self) -> list[str]:
        """This config as the options of ``agman train``: what follows that on a command line."""
        words: list[str] = []
        for f in fields(self):
            option, value = f"--{f.name.replace('_', '-')}", getattr(self, f.name)
            if isinstance(f.default, bool):
                words.append(option if value else option.replace("--", "--no-", 1))
            else:
                words += [option, str(value)]
        return words

    def changed(self, **changes: Any) -> TrainConfig:
        """A copy with other values. Raises AgmanError as the class does."""
        return replace(self, **changes)

    @classmethod
    def load(cls, file: Path) -> TrainConfig:
        """Read a run's config.json. Raises AgmanError for a damaged file or wrong options."""
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AgmanError(f"{file}: not a readable run config ({error})") from None
        try:
            return cls(**values)
        except AgmanError as error:
            raise AgmanError(f"{file}: {error}") from None


def _plain(value: Any) -> Any:
    """NumPy's numbers and paths as Python's own, which is how config.json keeps them."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def _wrong_option(first: ErrorDetails, known: list[str]) -> AgmanError:
    """The first thing that pydantic found, as the rest of the library says such things."""
    place, kind = first["loc"][0], first["type"]
    name = known[place] if isinstance(place, int) and place < len(known) else str(place)
    if kind == "unexpected_keyword_argument":
        return unknown("option", name, known)
    if kind == "literal_error":
        choices = [c.strip("'") for c in re.split(", | or ", first["ctx"]["expected"])]
        return unknown(f"value of option {name}", first["input"], choices)
    wanted = first["msg"].removeprefix("Input should be ")
    return AgmanError(f"option {name} must be {wanted}, not {first['input']!r}")


# The published settings are the fields' defaults. Loading in processes of their own from the
# lossless cache changes no result: 48 photos decoded in turn would cost more than the step.
PAPER = TrainConfig(weights="imagenet", workers=min(8, usable_cores()), cache=True)
SMALL = TrainConfig(
    backbone="efficientnet_lite0",
    weights="imagenet",
    image_size=96,
    cache=True,
    sampler="batch",
    epochs=5,
    steps_per_epoch=40,
    batch_size=32,
    lr=1e-3,
    lr_step=1,
    lr_gamma=0.8,
    passes="joint",
    log_every=10,
    checkpoint_every=20,
)
PRESETS: dict[str, TrainConfig] = {
    "paper-fashionai": PAPER,
    # The published sampler takes negatives that share a value where images have several.
    "paper-deepfashion": replace(PAPER, epochs=50, allow_shared=True),
    # One list of 200,000 triplets, reshuffled each epoch; the triplet loss alone.
    "paper-zappos50k": replace(PAPER, epochs=50, steps_per_epoch=12_500, class_branch=False),
    # Built-in garments on a laptop's CPU in minutes. The backbone's weights come with the package.
    # With --backbone resnet18 --weights none it starts from nothing: slower, and for less.
    "quick": SMALL,
    # Fashion Product Images: small real photos (3:4, so padded), on a CPU in a quarter of an hour.
    # docs/experiment.md has the choice of the rate.
    "photos": replace(SMALL, fit="pad", steps_per_epoch=100, lr=2e-3),
    # The proxies of RESULTS.md, section 9: the head alone, in a few minutes of one core once the
    # trunk's maps are kept. They are ahead of AG-MAN on photos, where --fit pad --coarse-level True
    # --lr 0.002 belongs to them.
    "beyond": replace(
        SMALL,
        model="proxies",
        sampler="labels",
        freeze_trunk=True,
        epochs=6,
        steps_per_epoch=200,
        schedule="cosine",
    ),
}


def preset(name: str) -> TrainConfig:
    """A preset by name. Raises AgmanError for an unknown one."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]
