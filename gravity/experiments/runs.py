"""The run store: one folder a training run, named after what was run."""

import contextlib
import csv
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from gravity.experiments.experiment import Experiment
from gravity.experiments.optimizers import OPTIMIZERS

SCHEMA = 1
DRIVE = Path("/content/drive/MyDrive")
"""Where Colab mounts a Google Drive."""

# What a mounted Google Drive, or another file system behind a network, raises for a
# while. A full disk or a missing right doesn't pass.
_PASSING = frozenset(
    {
        errno.EIO,
        errno.EAGAIN,
        errno.EBUSY,
        errno.ENOTCONN,
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.ETIMEDOUT,
        errno.ESTALE,
    }
)
_TRIES = 5
# Before the second try; it doubles from there.
_PAUSE_SECONDS = 1.0

T = TypeVar("T")

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
"""A history's columns: training loss and accuracy, test loss and accuracy.

Training values are means over the epoch while the weights change, test values are taken
after the epoch, both as Keras reports them and the paper plots them.
"""

History = Mapping[str, Sequence[float]]


class RunStoreError(RuntimeError):
    """A stored run can't be read: its files contradict each other or are damaged."""


@dataclass(frozen=True)
class Run:
    """One finished training run.

    Attributes:
        experiment: what was run.
        provenance: with what it was run, and when and for how long.
        path: the folder it was read from.
    """

    experiment: Experiment
    provenance: Mapping[str, Any]
    path: Path

    @cached_property
    def history(self) -> dict[str, list[float]]:
        """The `METRICS`, one value an epoch; NaN where training diverged.

        Raises:
            RunStoreError: the file isn't the one that was stored with the run.
        """
        path = self.path / "history.csv"
        try:
            text = path.read_bytes()
            digest = hashlib.sha256(text).hexdigest()
            if digest != self.provenance["history_sha256"]:
                raise ValueError(
                    f"it has SHA-256 {digest}, but run.json expects "
                    f"{self.provenance['history_sha256']}"
                )
            rows = list(csv.DictReader(text.decode().splitlines()))
            if len(rows) != self.experiment.epochs:
                raise ValueError(f"it has {len(rows)} epochs")
            return {metric: [float(row[metric]) for row in rows] for metric in METRICS}
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise RunStoreError(
                f"{path} can't be read as the run's history: {error}. "
                "Delete the folder to make the run again."
            ) from error


def default_roots() -> list[Path]:
    """Return the folders that runs are looked for in; the first is also written to.

    The environment variable `GRAVITY_RUNS` (paths separated as in `PATH`) decides. Else
    a checkout of the book uses its `_build/runs` and reads `book/results` too. An
    installed package reads the copy of these that it brings along, and uses
    `gravity-runs`: in Colab on the Google Drive when it is mounted, so that runs
    outlive the machine, else in the working folder.
    """
    if named := os.environ.get("GRAVITY_RUNS"):
        return [Path(root) for root in named.split(os.pathsep) if root]
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "book" / "results").is_dir():
        return [checkout / "_build" / "runs", checkout / "book" / "results"]
    roots = [(DRIVE if DRIVE.is_dir() else Path()) / "gravity-runs"]
    brought = Path(__file__).resolve().parents[1] / "results"
    return [*roots, brought] if brought.is_dir() else roots


class RunStore:
    """Runs on disk: atomic to write, named by content, each with its provenance.

    Args:
        roots: the folders to read; runs are written to the first. Defaults to
            `default_roots`.
    """

    def __init__(self, *roots: str | os.PathLike[str]) -> None:
        self.roots = [Path(root) for root in roots] or default_roots()

    def find(self, experiment: Experiment) -> Run | None:
        """Return the stored run of `experiment`, or `None`.

        Raises:
            RunStoreError: a folder of that name holds something else.
        """
        return self._find(experiment.run_id)

    def get(self, run_id: str) -> Run:
        """Return the stored run of that name.

        Raises:
            ValueError: there is none.
            RunStoreError: as `find`.
        """
        run = self._find(run_id)
        if run is None:
            raise ValueError(
                f"Argument `run_id` must be the name of a run that is stored in "
                f"{', '.join(map(str, self.roots))}. Received: run_id={run_id!r}"
            )
        return run

    def _find(self, run_id: str) -> Run | None:
        for root in self.roots:
            path = root / run_id
            if (path / "run.json").is_file():
                return read_run(path)
        return None

    def find_all(self, experiments: Iterable[Experiment]) -> list[Run]:
        """Return those of several runs that are stored."""
        found = (self.find(experiment) for experiment in experiments)
        return [run for run in found if run is not None]

    def __iter__(self) -> Iterator[Run]:
        """Yield every stored run once, by name."""
        paths = {
            path.parent.name: path.parent
            for root in reversed(self.roots)
            for path in root.glob("[!.]*/run.json")
        }
        for name in sorted(paths):
            yield read_run(paths[name])

    def save(
        self, experiment: Experiment, history: History, provenance: Mapping[str, Any]
    ) -> Run:
        """Store a finished run and return it as a reader finds it.

        The folder appears complete or not at all. A run that is stored already is
        left as it is. Errors that pass are waited for; see `retried`.

        Raises:
            ValueError: `history` doesn't hold one number per epoch for every metric.
            OSError: the folder can't be written to.
        """
        for metric in METRICS:
            length = len(history.get(metric, ()))
            if length != experiment.epochs:
                raise ValueError(
                    f"Argument `history` must hold {experiment.epochs} values of "
                    f"{metric}, one an epoch. Received: {length}"
                )
        return retried(lambda: self._save(experiment, history, provenance))

    def _save(
        self, experiment: Experiment, history: History, provenance: Mapping[str, Any]
    ) -> Run:
        root = self.roots[0]
        root.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".", dir=root))
        try:
            digest = _write_history(draft / "history.csv", history)
            record = {
                "schema": SCHEMA,
                "experiment": experiment.describe(),
                "provenance": {**provenance, "history_sha256": digest},
            }
            text = json.dumps(record, indent=2).encode() + b"\n"
            write_durably(draft / "run.json", text)
            draft.chmod(0o755)
            publish(draft, root / experiment.run_id)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return read_run(root / experiment.run_id)


def in_order(runs: Iterable[Run]) -> list[Run]:
    """Return the runs by optimizer in the order of `OPTIMIZERS`, arguments and seed."""
    order = list(OPTIMIZERS)
    return sorted(
        runs,
        key=lambda run: (
            order.index(run.experiment.optimizer),
            tuple(run.experiment.arguments.values()),
            run.experiment.seed,
            run.experiment.run_id,
        ),
    )


def by_optimizer(runs: Iterable[Run]) -> dict[str, list[History]]:
    """Return the histories of each optimizer's runs, ordered as by `in_order`."""
    histories: dict[str, list[History]] = {}
    for run in in_order(runs):
        histories.setdefault(run.experiment.optimizer, []).append(run.history)
    return histories


def read_run(path: Path) -> Run:
    """Return the run that a folder holds; its history is read when it is asked for.

    Raises:
        RunStoreError: the folder doesn't hold the run that it is named after.
    """
    try:
        record = json.loads((path / "run.json").read_bytes())
        if record["schema"] != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}, not {record['schema']!r}")
        experiment = Experiment.from_description(record["experiment"])
        if experiment.run_id != path.name:
            raise ValueError(f"it describes the run {experiment.run_id}")
        if not isinstance(record["provenance"], dict):
            raise ValueError("the provenance must be an object")
        return Run(experiment, record["provenance"], path)
    except (
        AttributeError,
        KeyError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise RunStoreError(
            f"{path / 'run.json'} can't be read as a run: {error}. "
            "Delete the folder to make the run again."
        ) from error


def retried(action: Callable[[], T]) -> T:
    """Return what `action` returns, tried again where it fails with a passing error.

    A Google Drive that Colab has mounted is away for seconds now and then. Five tries
    take 15 seconds in all. `action` must leave nothing half done when it fails.

    Raises:
        OSError: it isn't one that passes, or all tries failed.
    """
    pause = _PAUSE_SECONDS
    for attempt in range(1, _TRIES):
        try:
            return action()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            warnings.warn(
                f"Try {attempt} of {_TRIES} failed: {error}. The next one is in "
                f"{pause:g} seconds",
                RuntimeWarning,
                stacklevel=3,
            )
            time.sleep(pause)
            pause *= 2
    return action()


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """Write a file and return when it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do so."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_history(path: Path, history: History) -> str:
    lines = [",".join(("epoch", *METRICS))]
    for epoch, values in enumerate(
        zip(*(history[metric] for metric in METRICS), strict=True), start=1
    ):
        lines.append(",".join([str(epoch), *(repr(float(value)) for value in values)]))
    content = ("\n".join(lines) + "\n").encode()
    write_durably(path, content)
    return hashlib.sha256(content).hexdigest()


def publish(draft: Path, final: Path) -> None:
    """Rename a run's folder into place for good, unless another process was first."""
    try:
        os.rename(draft, final)
    except OSError:
        if not (final / "run.json").is_file():
            raise
    sync_folder(final.parent)
