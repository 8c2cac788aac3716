"""The command line; bad input gets one line and exit code 2, and leaves nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from published_network import FIXTURES, published_weights

import agman_lib
from agman_lib.base.cores import usable_cores
from agman_lib.base.errors import AgmanError
from agman_lib.cli.commands import main
from agman_lib.networks.build import build_model
from agman_lib.networks.weights import load_model, save_model
from agman_lib.training.config import TrainConfig

TRAIN = ["train", "--backbone", "resnet18", "--image-size", "32", "--epochs", "1",
         "--steps-per-epoch", "2", "--batch-size", "4", "--passes", "joint", "--threads", "1",
         "--device", "cpu", "--lr", "1e-3"]  # fmt: skip


@pytest.fixture
def refused(capsys):
    """Run a command that must be refused; returns its one line."""

    def run(*args: str) -> str:
        capsys.readouterr()
        assert main(list(args)) == 2
        said = capsys.readouterr().err.split("\r")[-1].strip()  # after a wiped progress bar
        assert said.startswith("error: ")
        assert "\n" not in said, said
        assert "Traceback" not in said
        return said

    return run


@pytest.fixture(scope="module")
def run_folder(squares_folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main([*TRAIN, "--data", str(squares_folder), "--out", str(out)]) == 0
    return out


@pytest.fixture
def folder(squares_folder, tmp_path) -> Path:
    """A copy of the data that a test may damage."""
    return Path(shutil.copytree(squares_folder, tmp_path / "squares"))


def test_train_evaluate_figures(run_folder, squares_folder, capsys):
    assert {p.name for p in run_folder.iterdir()} >= {
        "config.json", "log.csv", "last.pt", "last.safetensors", "best.safetensors", "report.json",
    }  # fmt: skip
    capsys.readouterr()
    assert main(["evaluate", str(run_folder)]) == 0
    out = capsys.readouterr().out
    report = json.loads((run_folder / "evaluate-test.json").read_text())
    table = report["metrics"]["table"]
    assert set(table) == {"colour", "side", "mean"}
    assert set(table["mean"]) >= {"MAP", "low", "high", "random", "recall@1", "untrained", "colour"}
    for row, values in table.items():
        line = next(x for x in out.splitlines() if x.startswith(f"| {row} "))
        assert f"{values['MAP']:.1f} [{values['low']:.1f}, {values['high']:.1f}]" in line
    # Colour histograms know colour perfectly and cannot know more of the side than chance.
    assert table["colour"]["colour"] > table["colour"]["random"] + 20
    assert main(["figures", str(run_folder)]) == 0
    for name in ("training_curve", "attention", "retrieval"):
        with Image.open(run_folder / "figures" / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 10
    weights = str(run_folder / "best.safetensors")
    assert main(["evaluate", weights, "--data", str(squares_folder), "--no-baselines"]) == 0
    assert f"{table['mean']['MAP']:.1f} [" in capsys.readouterr().out


@pytest.mark.parametrize("network", ["triplet", "csn"])
def test_figures_of_a_network_without_spatial_attention(network, squares_folder, tmp_path, capsys):
    run, data = str(tmp_path / "run"), ["--data", str(squares_folder)]
    assert main([*TRAIN, *data, "--out", run, "--model", network, "--steps-per-epoch", "1"]) == 0
    capsys.readouterr()
    assert main(["figures", run, "--out", str(tmp_path / "figures")]) == 0
    said = capsys.readouterr().out
    assert said.count(f"no attention.png: the network {network} has no spatial attention\n") == 1
    made = sorted(p.name for p in (tmp_path / "figures").iterdir())
    assert made == ["retrieval.png", "training_curve.png"]
    assert all(str(tmp_path / "figures" / name) in said for name in made)


def test_help_answers_at_once():
    """Without loading what takes seconds to load."""
    code = (
        "import sys; from agman_lib.cli.commands import main; main(['--help']); "
        "print('loaded:', [m for m in ('torch', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "quickstart" in done.stdout
    assert done.stdout.endswith("loaded: []\n")


@pytest.mark.parametrize(
    "command",
    [[], ["train"], ["evaluate"], ["prepare", "garments"], ["prepare", "fashion-products"],
     ["figures"], ["convert"], ["export"], ["quickstart"], ["prepare"]],
)  # fmt: skip
def test_every_command_has_help(command, capsys):
    assert main([*command, "--help"]) == 0
    # A command with commands of its own shows the one list of them all.
    name = "COMMAND" if command in ([], ["prepare"]) else " ".join(command)
    assert capsys.readouterr().out.startswith(f"usage: agman {name} ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["prepare", "garment"], "unknown command 'garment'; did you mean 'garments'?"),
        (["train", "--preset", "quik"], "unknown preset 'quik'; did you mean 'quick'?"),
        (["train", "--learning-rat", "1"], "Unrecognized options: --learning-rat"),
        (["train", "--epochs", "three"], "--epochs"),
        (["train", "--model", "agmn"], "invalid choice 'agmn'"),
        (["train", "--data", "nowhere", "--out", "x"], "nowhere: no such folder"),
        (["train", "--preset", "quick"], "--data and --out are needed"),
        (["export", "nowhere", "x.safetensors"], "nowhere: not a run folder"),
        (["evaluate", "nowhere"], "nowhere: no such run folder or weights file"),
        (["evaluate"], "RUN"),
        (["prepare", "fashion-products", "gone.zip", "--out", "x"], "gone.zip: no such file"),
        (["prepare", "garments", "--out", "x", "--size", "20"], "size 20"),
        (["convert", "gone.pth", "x.safetensors"], "gone.pth: no such weights file"),
        (["convert", "gone.pth", "x.pth"], "must end in .safetensors"),
    ],
)
def test_bad_arguments(args, said, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused(*args)
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_says_before_it_starts(squares_folder, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    assert main([*TRAIN, "--data", str(squares_folder), "--out", str(out), "--resume"]) == 0
    assert "there is no run to resume, so a new one begins" in capsys.readouterr().out
    assert main([*TRAIN, "--data", str(squares_folder), "--out", str(out), "--resume"]) == 0
    assert "is begun" not in capsys.readouterr().out
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert main(["train", "--data", "nowhere", "--out", "x"]) == 2
    assert "these 45,000,000 images a second; the presets quick" in capsys.readouterr().out


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"agman {agman_lib.__version__}\n"


def test_an_unknown_option_in_python_is_named():
    with pytest.raises(AgmanError, match="unknown option 'epoch'; did you mean 'epochs'"):
        TrainConfig().changed(epoch=3)


@pytest.mark.slow
def test_a_process_of_its_own_exits_with_2(tmp_path):
    command = [sys.executable, "-m", "agman_lib", "evaluate", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"error: nowhere: .*\n", done.stderr)


def test_labels_outside_the_schema(folder, refused, tmp_path):
    text = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(text.replace("i0,colour,red", "i0,colour,purple"))
    said = refused(*TRAIN, "--data", str(folder), "--out", str(tmp_path / "run"))
    assert "labels.csv, line 2: unknown value of colour 'purple'; it is one of: red, green" in said
    assert not (tmp_path / "run").exists()


def test_an_empty_split(folder, refused, tmp_path):
    text = (folder / "labels.csv").read_text().splitlines()
    images = (folder / "images.csv").read_text().splitlines()
    gone = {line.split(",")[0] for line in images if ",valid,query" in line}
    kept = [line for line in text if line.split(",")[0] not in gone]
    (folder / "labels.csv").write_text("\n".join(kept) + "\n")
    said = refused(*TRAIN, "--data", str(folder), "--out", str(tmp_path / "run"))
    assert "split 'valid' has no evaluated query labels" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", ["truncated", "text"])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_broken_image(folder, refused, tmp_path, damage, workers):
    for file in (folder / "images").iterdir():
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"no picture\n" * 9)
    args = ["--data", str(folder), "--out", str(tmp_path / "run"), "--workers", workers]
    assert re.search(r"images/\d+\.png: ", refused(*TRAIN, *args))


def test_a_zip_that_climbs_out_and_one_that_is_none(refused, tmp_path):
    climbing = tmp_path / "climbing.zip"
    with zipfile.ZipFile(climbing, "w") as archive:
        archive.writestr("styles.csv", "id,gender\n")
        archive.writestr("../escaped.jpg", "x")
    out = tmp_path / "out" / "data"
    said = refused("prepare", "fashion-products", str(climbing), "--out", str(out))
    assert "escaped.jpg" in said
    none = tmp_path / "none.zip"
    none.write_bytes(b"<html>please log in</html>")
    said = refused("prepare", "fashion-products", str(none), "--out", str(out))
    assert "not a zip archive; download it again" in said
    assert not out.exists()
    files = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    assert files == ["climbing.zip", "none.zip"]


def test_a_checkpoint_of_another_network(run_folder, squares_folder, refused, tmp_path):
    other = tmp_path / "other.safetensors"
    save_model(other, build_model("asen_v2", 2, "resnet18"))
    args = ["--data", str(squares_folder), "--out", str(tmp_path / "run")]
    said = refused(*TRAIN, *args, "--weights", str(other))
    assert "other.safetensors: a checkpoint of another network" in said
    more = tmp_path / "more.safetensors"
    save_model(more, build_model("agman", 3, "resnet18"))
    assert "another network" in refused(*TRAIN, *args, "--weights", str(more))
    assert not (tmp_path / "run").exists()
    said = refused("evaluate", str(more), "--data", str(squares_folder))
    assert "was trained on the attributes (unknown)" in said


def test_damaged_and_nameless_weights(run_folder, squares_folder, refused, tmp_path):
    half = tmp_path / "half.safetensors"
    whole = (run_folder / "best.safetensors").read_bytes()
    half.write_bytes(whole[: len(whole) // 2])
    said = refused("evaluate", str(half), "--data", str(squares_folder))
    assert "half.safetensors: not a whole safetensors file" in said
    torch.save({"a": torch.zeros(1)}, tmp_path / "plain.pth")
    said = refused("evaluate", str(tmp_path / "plain.pth"), "--data", str(squares_folder))
    assert "becomes one of ours with `agman convert`" in said


class Evil:
    def __reduce__(self):
        return (os.system, ("touch executed",))


def test_a_pickle_is_refused_and_never_run(refused, tmp_path, monkeypatch, squares_folder):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"w": torch.zeros(1)}, "more": Evil()}, "evil.pth.tar")
    Path("plain.pkl").write_bytes(pickle.dumps(Evil()))
    for file in ("evil.pth.tar", "plain.pkl"):
        assert "refused, it is a pickle" in refused("convert", file, "out.safetensors")
        args = ["--data", str(squares_folder), "--out", "run", "--weights", file]
        assert "refused, it is a pickle" in refused(*TRAIN, *args)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.pth.tar", "plain.pkl"]


@pytest.mark.slow
def test_no_network_for_imagenet_weights(squares_folder, tmp_path):
    """A proxy that refuses: what a machine without a network answers."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "agman_lib", *TRAIN, "--weights", "imagenet"]
    proxy = {"https_proxy": "http://127.0.0.1:9", "TORCH_HOME": str(tmp_path / "torch")}
    done = subprocess.run(
        [*command, "--data", str(squares_folder), "--out", str(out)],
        capture_output=True, text=True, env=os.environ | proxy,
    )  # fmt: skip
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Downloading:")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ImageNet weights of resnet18 could not be downloaded")
    assert "--weights none" in lines[0]
    assert not out.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB, where one can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(small_disk, squares_folder, folder, refused):
    said = refused("prepare", "garments", "--out", str(small_disk / "garments"), "--train", "700")
    assert "No space left on device" in said
    assert "free some space" in said
    assert list(small_disk.iterdir()) == []
    out = small_disk / "run"
    said = refused(*TRAIN, "--data", str(squares_folder), "--out", str(out))
    assert "No space left on device" in said
    assert {p.name for p in out.iterdir()} == {"begun.json", "config.json", "log.csv"}
    shutil.rmtree(out)
    data = Path(shutil.copytree(folder, small_disk / "data"))
    args = ["--data", str(data), "--out", str(folder / "run"), "--cache", "--image-size", "224"]
    assert "No space left on device" in refused(*TRAIN, *args)


def test_convert_makes_a_file_of_ours(tmp_path, monkeypatch, capsys):
    shapes = json.loads((FIXTURES / "agman_state_shapes.json").read_text())
    torch.save({"state_dict": published_weights(shapes), "epoch": 3}, tmp_path / "published.pth")
    target = tmp_path / "agman.safetensors"
    assert main(["convert", str(tmp_path / "published.pth"), str(target)]) == 0
    assert "resnet50, 8 attributes" in capsys.readouterr().out
    model, about = load_model(target)
    assert about == {"source": "published.pth"}
    assert model.n_attributes == 8


def test_the_papers_presets_are_the_published_settings():
    """Section by section: optimiser, schedule, batch, input, sampler, passes, epochs, branch."""
    from agman_lib.training.config import preset

    common = {
        "backbone": "resnet50", "weights": "imagenet", "image_size": 224, "fit": "crop",
        "flip": True, "lr": 1e-4, "lr_step": 3, "lr_gamma": 0.9, "batch_size": 16, "margin": 0.2,
        "weighing": "fixed", "passes": "separate", "sampler": "triplets", "negatives": "asen",
        "model": "agman",
    }  # fmt: skip
    triplets = {"fashionai": 100_000, "deepfashion": 100_000, "zappos50k": 200_000}
    epochs = {"fashionai": 150, "deepfashion": 50, "zappos50k": 50}
    for name in triplets:
        config = preset(f"paper-{name}").changed(data="x", out="y").check()
        assert {k: getattr(config, k) for k in common} == common
        assert config.steps_per_epoch * config.batch_size == triplets[name]
        assert config.epochs == epochs[name]
        assert config.class_branch is (False if name == "zappos50k" else None)
        assert config.allow_shared == (name == "deepfashion")


def test_a_quickstart_goes_on_with_the_threads_that_it_was_begun_with(tmp_path, monkeypatch):
    """Their number is part of what a run computes; another machine has another number of cores."""
    seen = []

    def stop(config, resume):
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("agman_lib.cli.commands.prepare_garments", lambda *_, **__: None)
    monkeypatch.setattr("agman_lib.cli.commands.train", stop)
    words = ["quickstart", "--out", str(tmp_path / "q")]
    assert main(words) == main([*words, "--threads", "7"]) == 130
    assert [c.threads for c in seen] == [usable_cores(), 7]
    run = tmp_path / "q" / "run"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(asdict(seen[1])))
    assert main(words) == 130
    assert seen[2] == seen[1]
