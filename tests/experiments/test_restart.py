"""A run that is killed goes on, and ends with the numbers of one that wasn't.

Every run here is a process of its own, and every kill a real SIGKILL. The processes are
forked from one that has imported TensorFlow, which saves its import each time.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gravity.__main__ import main
from gravity.experiments import checkpoints, training
from gravity.experiments.checkpoints import CheckpointError, Checkpoints, Progress
from gravity.experiments.experiment import Experiment
from gravity.experiments.runs import METRICS, RunStore

EXPERIMENT = Experiment(
    dataset="digits",
    architecture="vgg16",
    optimizer="gravity",
    arguments={"alpha": 0.04},
    width=0.0625,
    epochs=8,
    batch_size=16,
    train_size=96,
)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tensorflow", "sklearn.datasets", "gravity.optimizer"])
PATIENCE_SECONDS = 600


class Place:
    """A store, and the processes that train one experiment into it."""

    def __init__(self, folder, experiment=EXPERIMENT):
        self.root = folder / "runs"
        self.log = folder / "log"
        self.log.touch()
        self.experiment = experiment
        self.unfinished = self.root / ".unfinished" / experiment.run_id

    def start(self, **limits):
        process = CONTEXT.Process(
            target=_train, args=(self.experiment, self.root, self.log), kwargs=limits
        )
        process.start()
        return process

    def finish(self):
        process = self.start()
        process.join(PATIENCE_SECONDS)
        assert process.exitcode == 0, self.log.read_text()
        return self.run

    @property
    def run(self):
        return RunStore(self.root).find(self.experiment)

    @property
    def kept(self):
        """The number of the last epoch that is kept, 0 for none."""
        names = (path.name for path in self.unfinished.glob("*-*.npz"))
        return max((int(name.partition("-")[0]) for name in names), default=0)

    @property
    def partial(self):
        """Whether a checkpoint is being written, or was when the process died."""
        return any(self.unfinished.glob("*.partial"))

    def said(self, text):
        return text in self.log.read_text()


def _train(experiment, root, log, file_size=None, threads=None):
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if file_size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    if threads:
        os.environ["TF_NUM_INTRAOP_THREADS"] = threads
    training.train(experiment, RunStore(root), progress=False)


def until(condition, *processes, pause=0.01):
    """Wait for a condition that has to come true while the processes run."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert all(process.is_alive() for process in processes), "ended too early"
        assert time.monotonic() < deadline, "took too long"
        time.sleep(pause)


def hold(process, place):
    """Stop a process where it is, but not while it writes a checkpoint."""
    while True:
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.1)
        if not place.partial:
            return
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.01)


def kill(process):
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def assert_same(run, reference):
    """The same history to the last bit, the same weights to the last bit."""
    assert (run.path / "history.csv").read_bytes() == (
        reference.path / "history.csv"
    ).read_bytes()
    for name in ("weights_sha256", "history_sha256"):
        assert run.provenance[name] == reference.provenance[name]


def assert_nothing_left(place):
    assert list((place.root / ".unfinished").iterdir()) == []
    assert [run.experiment for run in RunStore(place.root)] == [place.experiment]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The run that nobody stopped."""
    return Place(tmp_path_factory.mktemp("reference")).finish()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@contextlib.contextmanager
def mounted(path, options):
    """A file system in memory at `path`."""
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_uninterrupted_run_keeps_nothing_but_itself(reference):
    assert reference.provenance["resumed"] == 0
    assert os.listdir(reference.path.parent / ".unfinished") == []
    assert sorted(os.listdir(reference.path)) == ["history.csv", "run.json"]


def test_digest_is_of_the_weights_that_the_history_ends_with(reference):
    """The same training without any checkpoint, in this process."""
    import hashlib

    data = training.datasets.load("digits")
    model = training.create_model(EXPERIMENT)
    subset = training.training_subset(EXPERIMENT, len(data.x_train))
    for epoch in range(EXPERIMENT.epochs):
        order = subset[training.epoch_order(EXPERIMENT, epoch, len(subset))]
        x, y = data.x_train[order], data.y_train[order]
        logs = model.fit(x, y, batch_size=16, shuffle=False, verbose=0).history
        assert logs["loss"][0] == reference.history["loss"][epoch]
    weights = b"".join(np.asarray(weight).tobytes() for weight in model.weights)
    digest = hashlib.sha256(weights).hexdigest()
    assert digest == reference.provenance["weights_sha256"]


def test_killed_three_times_and_damaged_once(place, reference):
    process = place.start()
    until(lambda: place.kept >= 1, process)
    kill(process)
    process = place.start()
    until(lambda: place.partial, process, pause=0)
    kill(process)
    assert list(RunStore(place.root)) == []
    process = place.start()
    until(lambda: place.kept >= 3, process)
    kill(process)
    latest = max(place.unfinished.glob("*-*.npz"))
    os.truncate(latest, latest.stat().st_size // 2)
    run = place.finish()
    assert_same(run, reference)
    # Either the kill while writing or the damage undid what one of the three had added.
    assert run.provenance["resumed"] == 2
    assert place.said(f"{latest} is damaged and not used")
    assert_nothing_left(place)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["gravity", "adam", "rmsprop"])
def test_killed_at_random_moments(tmp_path, optimizer):
    """Twelve kills a run: in an epoch, in the first step, in the middle of writing."""
    experiment = dataclasses.replace(
        EXPERIMENT, optimizer=optimizer, arguments={}, epochs=40
    )
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    reference = Place(tmp_path / "whole", experiment).finish()
    place = Place(tmp_path / "killed", experiment)
    chance = random.Random(optimizer)
    torn = 0
    for moment in 4 * ["epoch", "writing", "start"]:
        before = place.kept
        process = place.start()
        if moment == "start":
            end = time.monotonic() + chance.uniform(0, 5)
            until(
                lambda known=before, end=end: (
                    place.kept > known or time.monotonic() > end
                ),
                process,
            )
        elif moment == "epoch":
            until(lambda known=before: place.kept > known, process)
            time.sleep(chance.uniform(0, 0.1))
        else:
            until(lambda: place.partial, process, pause=0)
        kill(process)
        assert place.kept >= before
        torn += moment == "writing" and place.partial
        assert list(RunStore(place.root)) == []
    assert torn > 0, "no kill hit a checkpoint that was being written"
    process = place.start()
    # The last window: the run is complete and is being stored.
    until(lambda: len(os.listdir(place.root)) > 1 or not process.is_alive(), pause=0)
    process.kill()
    process.join()
    run = place.finish()
    assert_same(run, reference)
    assert 1 <= run.provenance["resumed"] <= 13
    assert run.provenance["seconds"] > 0.5
    assert_nothing_left(place)


def test_waiting_process_takes_over_from_a_killed_one(place, reference):
    first = place.start()
    until(lambda: place.kept >= 1, first)
    hold(first, place)
    second = place.start()
    until(lambda: place.said("is training"), first, second)
    assert place.said(f"Process {first.pid} on ")
    kill(first)
    second.join(PATIENCE_SECONDS)
    assert second.exitcode == 0
    assert_same(place.run, reference)
    assert place.run.provenance["resumed"] == 1
    assert_nothing_left(place)


def test_waiting_process_loads_what_the_other_stored(place, reference):
    with Checkpoints(place.root, EXPERIMENT).lock():
        # Had it trained, it would have said that it can't write its checkpoints.
        process = place.start(file_size=100_000)
        until(lambda: place.said("is training"), process)
        shutil.copytree(reference.path, place.root / EXPERIMENT.run_id)
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == 0
    assert place.run.provenance == reference.provenance
    assert not place.said("could not be kept")


def test_interrupt_says_how_to_go_on_and_that_works(place, reference):
    command = [sys.executable, *EXPERIMENT.command]
    environment = os.environ | {"GRAVITY_RUNS": str(place.root)}
    with place.log.open("w") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=log,
            stderr=log,
            # What a script starts in the background, tests too, doesn't hear of Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    until(lambda: place.kept >= 1 or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 130, place.log.read_text()
    assert place.run is None
    printed = place.log.read_text()
    assert "Traceback" not in printed
    _, _, how = printed.partition("Finished epochs are kept; the next ones are ")
    line = how.splitlines()[1].strip()
    assert f"GRAVITY_RUNS={place.root} " in line
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Continuing after epoch " in done.stderr
    assert_same(place.run, reference)
    assert_nothing_left(place)


def test_training_outlives_a_full_disk_and_can_be_continued(tmp_path, reference):
    """Room for one checkpoint of 1.1 MB, not for two, and in the end for nothing."""
    with mounted(tmp_path / "disk", "size=2m") as disk:
        place = Place(disk)
        place.log = tmp_path / "log"
        process = place.start()
        until(lambda: place.kept >= 1, process)
        hold(process, place)
        filler = (disk / "filler").open("wb", buffering=0)
        with contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
        os.kill(process.pid, signal.SIGCONT)
        process.join(PATIENCE_SECONDS)
        assert process.exitcode == 1
        assert place.said("Epoch 8 of 8 could not be kept: [Errno 28] No space left")
        assert place.said("it would continue after epoch 1. Make room in")
        assert place.said("Finished epochs are kept; the next ones are computed by")
        assert (place.run, place.kept, place.partial) == (None, 1, False)
        filler.truncate(0)
        run = place.finish()
        assert_same(run, reference)
        assert run.provenance["resumed"] == 1
        assert_nothing_left(place)
        filler.close()


def test_no_checkpoint_can_be_written_at_all(place, reference):
    process = place.start(file_size=100_000)
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == 0
    assert place.said("Epoch 8 of 8 could not be kept: [Errno 27] File too large")
    assert place.said("it would continue after epoch 0.")
    assert_same(place.run, reference)
    assert_nothing_left(place)


def test_read_only_store_is_noticed_before_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GRAVITY_RUNS", str(tmp_path / "disk"))
    monkeypatch.setattr(training, "_train", lambda *_: pytest.fail("trained"))
    with mounted(tmp_path / "disk", "ro"):
        assert main(EXPERIMENT.command[2:]) == 1
    message = capsys.readouterr().err
    assert f"No run can be stored in {tmp_path / 'disk'}: " in message
    assert "Read-only file system" in message
    assert "Nothing was trained" in message


def test_store_below_a_file_is_noticed_before_training(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRAVITY_RUNS", str(tmp_path / "file"))
    assert main(EXPERIMENT.command[2:]) == 1
    assert "Nothing was trained" in capsys.readouterr().err


@pytest.mark.slow
def test_run_that_goes_on_with_other_threads_says_so(place):
    process = place.start()
    until(lambda: place.kept >= 1, process)
    kill(process)
    process = place.start(threads="1")
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == 0
    assert place.said("The run was begun with threads {} and goes on with")
    made = place.run.provenance
    assert made["threads"] == {"TF_NUM_INTRAOP_THREADS": "1"}
    assert [before["threads"] for before in made["earlier_environments"]] == [{}]


ENVIRONMENT = {
    "gravity": "1.0",
    "commit": "a" * 40,
    "versions": {"python": "3.11", "keras": "3.15", "tensorflow": "2.21", "numpy": "2"},
    "backend": "tensorflow",
}
ARRAYS = [
    np.array([0.1, np.nan, np.inf, 1e-45], np.float32),
    np.arange(6, dtype=np.int64).reshape(2, 3),
    np.float32(3.0),
    *(np.full((1,), index, np.float32) for index in range(9)),
]


def progress(epochs, environment=ENVIRONMENT):
    history = {metric: [0.1 + epoch for epoch in range(epochs)] for metric in METRICS}
    return Progress("2026-01-01T00:00:00+00:00", [environment], history, 1.5, 2)


@pytest.fixture
def folder(tmp_path):
    """Three epochs were saved."""
    made = Checkpoints(tmp_path, EXPERIMENT)
    for epoch in (1, 2, 3):
        made.save(progress(epoch), ARRAYS)
    return made


def test_number_of_kept_epochs_is_known_without_reading_them(folder, tmp_path):
    assert checkpoints.kept_epochs(tmp_path, EXPERIMENT.run_id) == 3
    for path in folder.folder.iterdir():
        path.write_bytes(b"")
    assert checkpoints.kept_epochs(tmp_path, EXPERIMENT.run_id) == 3
    folder.delete()
    assert checkpoints.kept_epochs(tmp_path, EXPERIMENT.run_id) == 0


def test_checkpoint_comes_back_as_it_was(folder):
    found, arrays = folder.load(ENVIRONMENT)
    assert found == progress(3)
    for read, written in zip(arrays, ARRAYS, strict=True):
        assert read.dtype == np.asarray(written).dtype
        assert read.shape == np.shape(written)
        assert read.tobytes() == np.asarray(written).tobytes()


def test_two_epochs_are_kept_and_readers_of_the_store_see_none(folder):
    assert sorted(path.name[:7] for path in folder.folder.iterdir()) == [
        "000002-",
        "000003-",
    ]
    assert list(RunStore(folder.folder.parents[1])) == []


def test_diverged_progress_comes_back(tmp_path):
    made = Checkpoints(tmp_path, EXPERIMENT)
    diverged = progress(2)
    diverged.history["loss"] = [float("inf"), float("nan")]
    made.save(diverged, ARRAYS)
    loss = made.load(ENVIRONMENT)[0].history["loss"]
    assert loss[0] == float("inf")
    assert np.isnan(loss[1])


@pytest.mark.parametrize("damage", ["empty", "cut by a byte", "one bit", "zeros"])
def test_damaged_checkpoint_gives_way_to_the_one_before(folder, damage):
    latest = max(folder.folder.iterdir())
    content = bytearray(latest.read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 1
    kept = {"empty": 0, "cut by a byte": -1}.get(damage, len(content))
    latest.write_bytes(bytes(len(content)) if damage == "zeros" else content[:kept])
    with pytest.warns(RuntimeWarning, match=r"000003-.* is damaged and not used"):
        found, _ = folder.load(ENVIRONMENT)
    assert found.epochs == 2
    folder.save(progress(3), ARRAYS)
    assert folder.load(ENVIRONMENT)[0].epochs == 3


def test_without_an_undamaged_checkpoint_the_run_starts_again(folder):
    for path in folder.folder.iterdir():
        os.truncate(path, 100)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert folder.load(ENVIRONMENT) is None


@pytest.mark.parametrize("name", ["gravity", "backend", "keras", "tensorflow", "numpy"])
def test_checkpoint_of_another_version_is_refused_and_kept(tmp_path, name):
    other = ENVIRONMENT | {"versions": dict(ENVIRONMENT["versions"])}
    (other if name in other else other["versions"])[name] = "0.7-older"
    made = Checkpoints(tmp_path, EXPERIMENT)
    made.save(progress(3, other), ARRAYS)
    with pytest.raises(CheckpointError, match=r"made with .*0\.7-older") as refused:
        made.load(ENVIRONMENT)
    assert f"delete {made.folder} to start it again" in str(refused.value)
    assert made.load(other)[0].epochs == 3


def test_checkpoint_of_another_format_is_refused(folder, monkeypatch):
    monkeypatch.setattr(checkpoints, "_FORMAT", "checkpoint format 2")
    with pytest.raises(CheckpointError, match="format 1, and this is checkpoint for"):
        folder.load(ENVIRONMENT)


def test_python_and_commit_may_change(folder):
    versions = ENVIRONMENT["versions"] | {"python": "3.13"}
    other = ENVIRONMENT | {"versions": versions, "commit": "b" * 40}
    assert folder.load(other)[0].epochs == 3


def test_lock_is_free_again_after_an_error(tmp_path):
    made = Checkpoints(tmp_path, EXPERIMENT)
    with pytest.raises(ZeroDivisionError), made.lock():
        raise ZeroDivisionError
    with made.lock():
        pass


def test_command_describes_the_run_completely(monkeypatch):
    asked = []
    monkeypatch.setattr(training, "train", lambda wanted: asked.append(wanted))
    other = dataclasses.replace(
        EXPERIMENT,
        optimizer="rmsprop",
        arguments={"learning_rate": 1e-7, "centered": True},
        width=1 / 3,
        seed=7,
        train_size=None,
    )
    for experiment in (EXPERIMENT, other):
        with contextlib.suppress(AttributeError):
            main(experiment.command[2:])
    assert asked == [EXPERIMENT, other]
    assert Path(sys.executable).exists()
