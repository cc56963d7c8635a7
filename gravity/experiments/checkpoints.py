"""Unfinished runs: what their last finished epochs left, and who is training them."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from gravity.experiments.experiment import Experiment
from gravity.experiments.runs import (
    METRICS,
    RunStoreError,
    retried,
    sync_folder,
    write_durably,
)

# What a checkpoint file holds and how; a change of either needs a new number.
_FORMAT = "checkpoint format 1"

# How often a waiting process looks whether the other one is done.
_POLL_SECONDS = 0.5


class CheckpointError(RuntimeError):
    """A checkpoint is whole, but going on from it would not give the same numbers."""


@dataclass
class Progress:
    """How far a run has come, but for its weights.

    Attributes:
        started: when its first epoch began, in ISO 8601.
        environments: with what it was made, the latest last; more than one where
            it was continued elsewhere.
        history: the `METRICS`, one value for every finished epoch.
        seconds: what the finished epochs took, over all processes.
        resumed: how often a new process went on with it and finished an epoch.
    """

    started: str
    environments: list[dict[str, Any]]
    history: dict[str, list[float]] = field(
        default_factory=lambda: {metric: [] for metric in METRICS}
    )
    seconds: float = 0.0
    resumed: int = 0

    @property
    def epochs(self) -> int:
        """The number of finished epochs."""
        return len(self.history[METRICS[0]])


def _folder(root: Path, run_id: str) -> Path:
    return root / ".unfinished" / run_id


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*-*.npz"))


def kept_epochs(root: Path, run_id: str) -> int:
    """Return how many finished epochs are kept of a run that isn't stored in `root`."""
    files = _files(_folder(root, run_id))
    return int(files[-1].name.partition("-")[0]) if files else 0


class Checkpoints:
    """The last two finished epochs of one unfinished run.

    They are `<root>/.unfinished/<run_id>/<epoch>-<sha256>.npz`: one file an epoch,
    named by the SHA-256 of its content, so that damage shows. A file gets this name
    when it is complete and on the disk; until then the one before it is the latest.
    The entry `progress` is a `Progress` as JSON, with format and experiment;
    `arr_0`, `arr_1` and so on are the arrays.

    Args:
        root: the folder that the finished run will be stored in.
        experiment: what is run.
    """

    def __init__(self, root: Path, experiment: Experiment) -> None:
        self.experiment = experiment
        self.folder = _folder(root, experiment.run_id)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from training the same run; wait for one that does.

        The kernel frees the lock when a process ends, however it ends. On NFS, Linux
        has the server keep the lock, so that it holds between hosts too; there it
        outlives a crashed host until the server gives that host up, and a mount with
        `nolock` or `local_lock` keeps it within one host. Without a lock nothing is
        damaged, as every file appears complete: the same epochs are computed twice.

        Raises:
            RunStoreError: the folder can't be written to.
        """
        path = self.folder.with_name(f"{self.folder.name}.lock")
        try:
            retried(lambda: self._create(path))
        except OSError as error:
            raise RunStoreError(
                f"No run can be stored in {path.parents[1]}: {error}. Nothing was "
                "trained. The environment variable GRAVITY_RUNS names another folder."
            ) from error
        lock = FileLock(path, poll_interval=_POLL_SECONDS)
        try:
            _wait(lock, path, self.experiment)
            yield
        finally:
            lock.release()

    def _create(self, lock: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(lock, os.O_RDWR | os.O_CREAT, 0o666))

    def load(
        self, environment: dict[str, Any]
    ) -> tuple[Progress, list[np.ndarray]] | None:
        """Return the latest progress and the arrays saved with it, if there are any.

        A damaged file is deleted with a warning, and the one before it counts. What a
        process left that was killed while writing is deleted too.

        Args:
            environment: of this process, as `gravity.experiments.environment.current`
            has it.

        Raises:
            CheckpointError: the file is of another format, or was made with another
                backend or with other versions of it, Keras, NumPy or gravity.
        """
        for partial in self.folder.glob("*.partial"):
            partial.unlink()
        for path in reversed(_files(self.folder)):
            content = retried(path.read_bytes)
            if hashlib.sha256(content).hexdigest() == path.stem.partition("-")[2]:
                return self._parse(path, content, environment)
            warnings.warn(
                f"{path} is damaged and not used: its content doesn't have the "
                "SHA-256 in its name",
                RuntimeWarning,
                stacklevel=4,
            )
            path.unlink()
        return None

    def save(self, progress: Progress, arrays: Sequence[np.ndarray]) -> None:
        """Keep what a finished epoch left.

        Raises:
            OSError: it couldn't be written, and the epoch kept before is the latest.
        """
        state = {
            "format": _FORMAT,
            "experiment": self.experiment.describe(),
            **asdict(progress),
        }
        buffer = io.BytesIO()
        np.savez(buffer, *arrays, progress=np.array(json.dumps(state)))
        content = buffer.getbuffer()
        name = f"{progress.epochs:06}-{hashlib.sha256(content).hexdigest()}.npz"
        retried(lambda: self._write(name, content))

    def _write(self, name: str, content: memoryview) -> None:
        # Deleted before and not after, so that the disk never has to hold three.
        for old in _files(self.folder)[:-1]:
            _delete(old)
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{os.getpid()}.partial"
        try:
            write_durably(partial, content)
            os.replace(partial, self.folder / name)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(self.folder)

    def delete(self) -> None:
        """Delete all that is kept of the run, which is stored by now."""
        for path in _files(self.folder):
            with contextlib.suppress(OSError):
                _delete(path)
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.with_name(f"{self.folder.name}.lock").unlink()

    def _parse(
        self, path: Path, content: bytes, environment: dict[str, Any]
    ) -> tuple[Progress, list[np.ndarray]]:
        with np.load(io.BytesIO(content), allow_pickle=False) as entries:
            state = json.loads(str(entries["progress"]))
            made, here = state.pop("format"), _FORMAT
            if made == here:
                made = _decisive(state["environments"][-1])
                here = _decisive(environment)
            if made != here:
                raise CheckpointError(
                    f"{path} can't be continued: it was made with {made}, and this is "
                    f"{here}. The run would be neither one's. Continue it with what "
                    f"it was made with, or delete {self.folder} to start it again."
                )
            del state["experiment"]
            arrays = [entries[f"arr_{index}"] for index in range(len(entries) - 1)]
        return Progress(**state), arrays


def _delete(path: Path) -> None:
    # A mounted Google Drive moves what is deleted to its bin, which counts against its
    # quota; so nothing is left to be moved.
    os.truncate(path, 0)
    path.unlink()


def _decisive(environment: dict[str, Any]) -> str:
    """Return what must be the same for a run to go on."""
    versions = {"gravity": environment["gravity"], **environment["versions"]}
    del versions["python"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{packages} on the backend {environment['backend']}"


def _wait(lock: FileLock, path: Path, experiment: Experiment) -> None:
    """Take the lock, waiting for a process that holds it."""
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            holder = "Another process"
            # Windows lets nobody read what is locked.
            with contextlib.suppress(OSError):
                holder = path.read_text() or holder
            print(
                f"{holder} is training {experiment.run_id}; waiting until it is done.",
                file=sys.stderr,
                flush=True,
            )
            lock.acquire()
    except OSError as error:
        warnings.warn(
            f"The file system has no locks ({error}): another process that trains "
            f"{experiment.run_id} now would do the same work again",
            RuntimeWarning,
            stacklevel=5,
        )
        return
    # For the message alone: a full disk may have no room for it.
    with contextlib.suppress(OSError):
        path.write_text(f"Process {os.getpid()} on {socket.gethostname()}")
