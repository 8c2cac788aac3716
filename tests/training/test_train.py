from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, make_squares

from agman_lib import course
from agman_lib.base.errors import AgmanError
from agman_lib.cli.commands import main
from agman_lib.search.gallery import Gallery
from agman_lib.training.batches import EpochBatches
from agman_lib.training.config import TrainConfig
from agman_lib.training.log import read_log
from agman_lib.training.loop import averaged_model, train
from agman_lib.training.losses import TrainingStep
from agman_lib.training.run import evaluate_run

# Runs are made in processes of their own, forked before this one has computed anything with
# several threads: a run must not depend on what the process did before it.
FORK = multiprocessing.get_context("fork")


def run_in_child(config: TrainConfig, resume: bool = False) -> None:
    child = FORK.Process(target=train, args=(config, resume))
    child.start()
    child.join()
    assert child.exitcode == 0


def weights(config: TrainConfig) -> dict[str, bytes]:
    folder = Path(config.out)
    return {name: (folder / f"{name}.safetensors").read_bytes() for name in ("best", "last")}


def metrics(config: TrainConfig) -> dict:
    return json.loads((Path(config.out) / "report.json").read_text())["metrics"]


def assert_same_run(one: TrainConfig, other: TrainConfig) -> None:
    assert weights(one) == weights(other)
    assert metrics(one) == metrics(other)
    log, other_log = ((Path(c.out) / "log.csv").read_text() for c in (one, other))
    assert log == other_log


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("trained") / "run"


@pytest.fixture
def finished(tiny, trained) -> TrainConfig:
    """A copy of a run, with the class branch, that is trained once."""
    tiny = tiny.changed(class_branch=None)
    if not trained.exists():
        run_in_child(tiny.changed(out=str(trained)))
    shutil.copytree(trained, tiny.out)
    return tiny


@pytest.mark.slow
def test_the_same_config_gives_the_same_run_whatever_the_workers(finished, tmp_path):
    again = finished.changed(out=str(tmp_path / "again"))
    run_in_child(again)
    assert_same_run(finished, again)
    loaders = finished.changed(out=str(tmp_path / "loaders"), workers=2, cache=True)
    run_in_child(loaders)
    assert weights(finished) == weights(loaders)
    assert metrics(finished) == metrics(loaders)
    seed = finished.changed(out=str(tmp_path / "seed"), seed=1)
    run_in_child(seed)
    assert weights(seed) != weights(finished)


@pytest.mark.slow
def test_what_looks_on_after_each_epoch_may_stop_the_run(finished, tmp_path, capsys):
    watched, seen = finished.changed(out=str(tmp_path / "watched")), []

    def look(log):
        seen.append(log)
        if len(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(watched, after_epoch=look)
    train(watched, resume=True, after_epoch=look)
    assert [log["epoch"].max() for log in seen] == [1, 2]
    assert seen[0]["valid"].notna().sum() == 1
    assert metrics(watched) == metrics(finished)
    assert capsys.readouterr().out.count(", classification ") == 2  # a line an epoch


def test_proxies_are_trained_resumed_exported_and_searched_as_any_other_network(tiny, tmp_path):
    with pytest.raises(AgmanError, match="--model proxies needs --sampler batch or labels"):
        train(tiny.changed(model="proxies"))
    straight = tiny.changed(model="proxies", sampler="labels", average=0.9)
    broken = straight.changed(out=str(tmp_path / "broken"))
    run_in_child(straight)

    def stop(_: pd.DataFrame) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(broken, after_epoch=stop)
    train(broken, resume=True)
    assert_same_run(straight, broken)
    report = json.loads((Path(straight.out) / "report.json").read_text())
    assert report["images_seen"] == 2 * 4 * 12
    exported = str(tmp_path / "proxies.safetensors")
    assert main(["export", straight.out, exported]) == 0
    assert main(["index", exported, straight.data, "--out", str(tmp_path / "gallery")]) == 0
    gallery = Gallery.load(tmp_path / "gallery")
    found = gallery.search(0, gallery.attribute_names[0], 3)
    assert len(found) == 3
    assert found["score"].between(-1, 1).all()


def test_the_weights_that_are_kept_are_the_running_mean(tiny, tmp_path):
    tiny = tiny.changed(steps_per_epoch=1)
    runs = {
        name: tiny.changed(out=str(tmp_path / name), epochs=epochs, average=average)
        for name, epochs, average in (("one", 1, 0.0), ("two", 2, 0.0), ("mean", 2, 0.75))
    }
    one, two, mean = (train(config).model("last").state_dict() for config in runs.values())
    for name, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * one[name] + 0.25 * two[name], msg=name)
    changed = [name for name in one if not one[name].equal(two[name])]
    assert "attribute_head.project.weight" in changed
    with pytest.raises(AgmanError, match="--average"):
        train(tiny.changed(average=1.0))


def test_a_running_mean_leaves_whole_numbers_whole():
    """0.9 x 3 + 0.1 x 3 is not always 3: which value belongs to which attribute is not averaged."""
    module = torch.nn.Linear(2, 2)
    module.register_buffer("owner", torch.arange(100), persistent=False)
    module.register_buffer("statistic", torch.zeros(3))
    averaged = averaged_model(module, 0.9)
    for step in range(1, 4):
        module.statistic.fill_(step)
        averaged.update_parameters(module)
        assert averaged.module.owner.equal(torch.arange(100))
    expected = 0.9 * (0.9 * 1 + 0.1 * 2) + 0.1 * 3
    torch.testing.assert_close(averaged.module.statistic, torch.full((3,), expected))


def test_a_checkpoint_that_cannot_be_written_whole_does_not_cost_the_good_one(
    finished, monkeypatch
):
    from agman_lib.base import folders

    file = Path(finished.out) / "last.pt"
    good = file.read_bytes()

    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders.os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        folders.write_whole(file, b"half")
    assert file.read_bytes() == good
    assert [p.name for p in file.parent.glob(".*")] == []


def test_a_damaged_checkpoint_is_named_not_loaded(finished):
    file = Path(finished.out) / "last.pt"
    (Path(finished.out) / "report.json").unlink()
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole[:100]):
        file.write_bytes(damaged)
        with pytest.raises(AgmanError, match=r"last\.pt: not a whole PyTorch file"):
            train(finished, resume=True)


def test_a_run_folder_is_not_written_over(finished, tmp_path):
    before = weights(finished)
    with pytest.raises(AgmanError, match="already holds a run; continue it with --resume"):
        train(finished)
    with pytest.raises(AgmanError, match=r"was started with --lr 0\.001, not 0\.1"):
        train(finished.changed(lr=0.1), resume=True)
    assert weights(finished) == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(AgmanError, match="is not empty and holds no run"):
        train(finished.changed(out=str(other)))
    assert [p.name for p in other.iterdir()] == ["mine.txt"]
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / ".config.json.partial").write_text("{")
    run_in_child(finished.changed(out=str(killed), epochs=1), resume=True)
    assert (killed / "report.json").exists()
    assert not (killed / ".config.json.partial").exists()


def break_off(config: TrainConfig, monkeypatch, after: int) -> None:
    """Train, and stop before the step after ``after`` steps of this process."""
    steps, real = iter(range(after)), TrainingStep.forward

    def stop_or_go(*inputs):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return real(*inputs)

    monkeypatch.setattr(TrainingStep, "forward", stop_or_go)
    with pytest.raises(KeyboardInterrupt):
        train(config, resume=True)
    monkeypatch.undo()


def saved(config: TrainConfig) -> dict:
    return torch.load(Path(config.out) / "last.pt", weights_only=True)


@pytest.mark.slow
def test_a_checkpoint_between_two_lines_of_the_log_changes_nothing(tiny, tmp_path, monkeypatch):
    config = tiny.changed(steps_per_epoch=8, log_every=3, checkpoint_every=2)
    whole = config.changed(out=str(tmp_path / "whole"))
    train(whole)
    break_off(config, monkeypatch, 5)
    assert (saved(config)["epoch"], saved(config)["step"]) == (0, 4)
    break_off(config, monkeypatch, 5)  # on to the second epoch, from step 4 of the first
    assert (saved(config)["epoch"], saved(config)["step"]) == (1, 0)
    train(config, resume=True)
    assert_same_run(whole, config)


def test_the_time_before_a_break_counts(tiny, monkeypatch):
    config = tiny.changed(epochs=1)
    break_off(config, monkeypatch, 3)
    file = Path(config.out) / "last.pt"
    state = saved(config)
    assert 0 < state["seconds"] < 100
    torch.save(state | {"seconds": 1000.0}, file)
    assert 1000 < train(config, resume=True).report["seconds"] < 1100


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 30])
def test_a_log_that_a_power_failure_cut_short_is_whole_again(tiny, tmp_path, monkeypatch, left):
    whole = tiny.changed(out=str(tmp_path / "whole"))
    train(whole)
    break_off(tiny, monkeypatch, 7)
    log = Path(tiny.out) / "log.csv"
    log.write_bytes(log.read_bytes()[:left])
    train(tiny, resume=True)
    assert_same_run(whole, tiny)


def test_a_run_goes_on_with_its_own_data_alone(tiny, tmp_path, monkeypatch, capsys):
    other = make_squares(tmp_path / "other", n_train=54)
    break_off(tiny, monkeypatch, 3)
    files = {p: p.read_bytes() for p in Path(tiny.out).rglob("*")}
    options = ["train", "--resume", *tiny.changed(data=str(other)).words]
    assert main(options) == 2
    assert "run: was started on squares" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in Path(tiny.out).rglob("*")} == files
    train(tiny, resume=True)
    with pytest.raises(AgmanError, match="was started on squares"):  # nor is it opened for them
        train(tiny.changed(data=str(other)), resume=True)
    moved = shutil.copytree(tiny.data, tmp_path / "moved")
    assert train(tiny.changed(data=str(moved)), resume=True).metrics == metrics(tiny)


def test_a_finished_run_finds_its_data_from_anywhere(tiny, tmp_path, monkeypatch, capsys):
    project = tmp_path / "project"
    shutil.copytree(tiny.data, project / "data")
    monkeypatch.chdir(project)
    train(tiny.changed(data="data", out="runs/a", epochs=1))
    expected = evaluate_run("runs/a", baselines=False)
    with pytest.raises(AgmanError, match="nowhere: no such folder; make it first"):
        evaluate_run("gone", out="nowhere/report.json")  # said before anything is read or scored
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    pd.testing.assert_frame_equal(evaluate_run(project / "runs/a", baselines=False), expected)
    moved = project.rename(tmp_path / "moved")
    pd.testing.assert_frame_equal(evaluate_run(moved / "runs/a", baselines=False), expected)
    labels = moved / "data" / "labels.csv"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(AgmanError, match="was started on squares"):
        evaluate_run(moved / "runs/a", baselines=False)
    shutil.rmtree(moved / "data")
    assert main(["evaluate", str(moved / "runs/a")]) == 2
    assert "is no longer there; put it back, or name its folder" in capsys.readouterr().err


def test_threads_and_processes_of_a_run(tiny, monkeypatch):
    """Both change what is computed; a finished run is opened all the same."""
    break_off(tiny, monkeypatch, 3)
    with pytest.raises(AgmanError, match="was started with --threads 1, not 2"):
        train(tiny.changed(threads=2), resume=True)
    file = Path(tiny.out) / "begun.json"
    begun = json.loads(file.read_text())
    assert begun["processes"] == 1
    for processes in (0, 2):
        file.write_text(json.dumps(begun | {"processes": processes}))
        with pytest.raises(AgmanError, match=rf"started with {processes} process\(es\), not 1"):
            train(tiny, resume=True)
    file.write_text(json.dumps(begun))
    train(tiny, resume=True)
    assert train(tiny.changed(threads=2), resume=True).metrics == metrics(tiny)


def test_epoch_batches_are_shared_out_among_processes(squares, tiny):
    from agman_lib.data.pixels import Pixels
    from agman_lib.data.triplets import LabelIndex

    pixels, index = Pixels(squares, 32), LabelIndex(squares.split_labels("train"))
    config = tiny.changed(flip=False)
    whole = EpochBatches(config, pixels, index, None, 0)[1]
    parts = [EpochBatches(config, pixels, index, None, 0, r, 2)[1] for r in range(2)]
    assert len(whole.images) == 12
    for k in range(3):
        anchors = whole.images[4 * k : 4 * k + 4]
        for rank, part in enumerate(parts):
            assert part.images[2 * k : 2 * k + 2].equal(anchors[rank::2])
    mirrored = EpochBatches(tiny, pixels, index, None, 0)[1].images
    same = [a.equal(b) for a, b in zip(mirrored, whole.images, strict=True)]
    back = [a.flip(2).equal(b) for a, b in zip(mirrored, whole.images, strict=True)]
    assert all(np.array(same) ^ np.array(back))
    assert any(back)
    assert any(same)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ""}, "--data and --out are needed"),
        ({"data": "nowhere"}, "nowhere: no such folder"),
        ({"image_size": 50}, "--image-size must be a multiple of 32, not 50"),
        ({"epochs": 0}, "--epochs must be at least 1"),
        ({"lr": 0.0}, "--lr must be above 0"),
        ({"sampler": "batch", "images_per_value": 40}, "--batch-size 4 gives 12 images"),
        ({"weights": "gone.safetensors"}, r"gone\.safetensors: no such weights file"),
    ],
)
def test_options_that_cannot_work_are_named_before_anything_is_written(tiny, changes, message):
    with pytest.raises(AgmanError, match=message):
        train(tiny.changed(**changes))
    assert not Path(tiny.out).exists()


def test_a_loss_that_is_not_finite_stops_the_run(tiny):
    with pytest.raises(AgmanError, match="the loss is not finite"):
        train(tiny.changed(lr=1e30))


def test_thread_count_and_determinism_are_put_back(tiny, monkeypatch):
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    train(tiny.changed(epochs=1, steps_per_epoch=1))
    after = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    assert after == before


def launch(*args: str, cwd: Path) -> str:
    """Two CPU processes, as a person starts them: Accelerate starts several processes under
    --multi_gpu alone; with --device cpu, or without a GPU, they are CPU processes."""
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"),
        *("--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"),
        *("--main_process_port=0", "-m", "agman_lib", *args),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_two_processes_train_and_evaluate(tiny, tmp_path):
    options = []
    for name in ("data", "out", "backbone", "image_size", "epochs", "steps_per_epoch", "batch_size",
                 "threads", "device", "log_every"):  # fmt: skip
        options += [f"--{name.replace('_', '-')}", str(getattr(tiny, name))]
    text = launch("train", *options, cwd=tmp_path)
    assert text.count("epoch 2/2: loss") == 1, "the main process alone speaks"
    report = json.loads((Path(tiny.out) / "report.json").read_text())
    assert report["processes"] == 2
    launch("evaluate", tiny.out, "--no-baselines", cwd=tmp_path)
    shared_out = json.loads((Path(tiny.out) / "evaluate-test.json").read_text())["metrics"]

    evaluate_run(tiny.out, baselines=False, out=tmp_path / "alone.json")
    alone = json.loads((tmp_path / "alone.json").read_text())["metrics"]
    for row, values in alone["table"].items():
        assert shared_out["table"][row] == pytest.approx(values, abs=1e-4), row
    # The weights that both trained are the ones that were validated.
    evaluate_run(tiny.out, split="valid", baselines=False, out=tmp_path / "valid.json")
    valid = json.loads((tmp_path / "valid.json").read_text())["metrics"]["table"]
    for row, values in valid.items():
        assert report["metrics"]["valid"][row] == pytest.approx(values, abs=1e-4), row


def test_listed_triplets_are_trained_and_scored(squares_folder, tiny, tmp_path, capsys):
    """The protocol of Zappos50k: one list of triplets, reshuffled; accuracy instead of MAP."""
    import shutil

    import pandas as pd

    folder = Path(shutil.copytree(squares_folder, tmp_path / "listed"))
    about = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(about | {"protocol": "triplets"}))
    images = pd.read_csv(folder / "images.csv")
    labels = pd.read_csv(folder / "labels.csv").merge(images, on="image")
    rows = []
    for (split, attribute), group in labels.groupby(["split", "attribute"]):
        for value, same in group.groupby("value"):
            others = group[group["value"] != value]["image"].tolist()
            pairs = zip(same["image"], same["image"].iloc[1:], others, strict=False)
            rows += [(a, n, p, attribute, split) for a, p, n in pairs]
    columns = ["anchor", "negative", "positive", "attribute", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "triplets.csv", index=False)

    run = train(tiny.changed(data=str(folder)))
    assert run.metrics["valid"]["mean"]["random"] == 50
    table = evaluate_run(run.folder, baselines=True)
    listed = [r for r in rows if r[4] == "test"]
    assert table.loc["mean", "triplets"] == len(listed)
    assert set(table.index) == {"colour", "side", "mean"}
    assert {"accuracy", "random", "untrained", "colour"} <= set(table.columns)
    assert "accuracy" in capsys.readouterr().out

    from agman_lib.data.dataset import PreparedDataset
    from agman_lib.data.pixels import Pixels
    from agman_lib.evaluation.embedding import embed

    dataset, model = PreparedDataset.load(folder), run.model("best")
    index = {image: i for i, image in enumerate(dataset.images["image"])}
    right: dict[str, list[bool]] = {"colour": [], "side": [], "mean": []}
    for anchor, negative, positive, attribute, _ in listed:
        triple = np.array([index[anchor], index[negative], index[positive]])
        where = np.full(3, dataset.attribute_index(attribute))
        a, n, p = embed(model, Pixels(dataset, 32), triple, where)
        for row in (attribute, "mean"):
            right[row].append(a @ p > a @ n)
    for row, found in right.items():
        assert table.loc[row, "accuracy"] == pytest.approx(100 * np.mean(found))


@pytest.mark.slow
def test_notebook_05_shares_a_run_among_gpus_after_using_one(tiny, tmp_path, monkeypatch):
    """The notebook's cell, as if there were two GPUs; the processes then are CPU processes."""
    notebook = nbformat.read(ROOT / "notebooks" / "05_training.ipynb", as_version=4)
    (cell,) = (c.source for c in notebook.cells if "--multi_gpu" in c.source and "sys" in c.source)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("AGMAN_WORK", str(tmp_path / "work"))
    train(tiny.changed(epochs=1))  # the notebook has trained before it comes here
    names = {"config": tiny.changed(epochs=1), "course": course, "torch": torch, "train": train}
    exec(cell, names)
    report = json.loads((tmp_path / "work" / "several" / "report.json").read_text())
    assert report["processes"] == 2
    exec(cell, names)  # "Run all" once more


def test_the_cosine_schedule_rises_and_falls_over_the_whole_run_though_it_is_resumed(tiny):
    tiny = tiny.changed(schedule="cosine", lr=0.01, epochs=2, steps_per_epoch=20, log_every=1)

    def stop(_: pd.DataFrame) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, after_epoch=stop)
    rates = read_log(train(tiny, resume=True).folder)["lr"].to_numpy()
    expected = 0.005 * (1 + np.cos(np.pi * np.arange(40) / 40))
    expected[0] /= 2  # the rise takes two of forty steps
    np.testing.assert_allclose(rates, expected)
