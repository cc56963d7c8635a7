"""The histories of the paper's 30 runs, as its authors published them.

The numbers are in `published.json` beside this module, whose head names their source
and thanks the authors. `verify` downloads the authors' archives, one small file a run,
and compares them with it.
"""

import csv
import functools
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from gravity.experiments import files
from gravity.experiments.runs import METRICS

Pair = tuple[str, str]
"""A dataset and an architecture."""

Key = tuple[str, str, str]
"""A dataset, an architecture and an optimizer."""


class PublishedError(RuntimeError):
    """An archive of the authors can't be had, or isn't as it should be."""


@dataclass(frozen=True)
class Published:
    """One of the authors' runs.

    Attributes:
        dataset: the dataset of Table 3 that it stands for, a key of
            `gravity.experiments.datasets.DATASETS`.
        architecture: `vgg16` or `vgg19`.
        optimizer: `gravity`, `adam` or `rmsprop`.
        history: the `METRICS` of `gravity.experiments.runs`, one value an epoch.
            Accuracies are fractions.
        settings: arguments of the optimizer that were stored beside the history, by
            name. The authors' program rounded some of them to four decimals.
        output_units: outputs of the network's last layer, `None` if nothing says so.
            It need not be the number of classes of `dataset`.
        declared_dataset: the dataset as the authors called it, "" if nothing says so.
        path: the archive's place in the authors' repository.
        sha256: of that archive.
    """

    dataset: str
    architecture: str
    optimizer: str
    history: Mapping[str, list[float]]
    settings: Mapping[str, float | str]
    output_units: int | None
    declared_dataset: str
    path: str
    sha256: str

    @property
    def key(self) -> Key:
        """Dataset, architecture and optimizer."""
        return self.dataset, self.architecture, self.optimizer

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return len(self.history["loss"])


@functools.cache
def _content() -> Mapping[str, Any]:
    return json.loads(Path(__file__).with_name("published.json").read_bytes())


def source() -> str:
    """Return the address of the authors' repository at the commit that was read."""
    return f"{_content()['source']}/tree/{_content()['commit']}"


@functools.cache
def _runs() -> Mapping[Key, Published]:
    runs = {}
    for fields in _content()["runs"]:
        # As in the archives: numbers in single precision.
        history = {
            metric: np.float32(values).astype(float).tolist()
            for metric, values in fields["history"].items()
        }
        run = Published(**{**fields, "history": history})
        runs[run.key] = run
    return runs


def load(dataset: str, architecture: str, optimizer: str) -> Published:
    """Return one of the authors' 30 runs.

    Args:
        dataset: one of the five datasets of Table 3.
        architecture: `vgg16` or `vgg19`.
        optimizer: `gravity`, `adam` or `rmsprop`.

    Raises:
        ValueError: the paper has no such run.
    """
    key = (dataset, architecture, optimizer)
    runs = _runs()
    if key not in runs:
        names = (" or ".join(dict.fromkeys(parts)) for parts in zip(*runs, strict=True))
        raise ValueError(
            "Arguments `dataset`, `architecture` and `optimizer` must be "
            f"{', '.join(names)}. Received: {', '.join(map(repr, key))}"
        )
    return runs[key]


def load_all() -> dict[Key, Published]:
    """Return all 30 of the authors' runs, by dataset, architecture and optimizer."""
    return dict(_runs())


def verify(*, cache: Path | None = None) -> Iterator[tuple[Published, list[str]]]:
    """Download each of the authors' archives and compare the book's numbers with it.

    Args:
        cache: the folder that keeps downloaded files. Defaults to that of
            `gravity.experiments.datasets.load`.

    Yields:
        A run, and what of it differs from its archive: names of `METRICS`, of settings,
        `output_units` or `declared_dataset`.

    Raises:
        PublishedError: an archive can't be had or holds no history. The message says
            why.
    """
    for run in load_all().values():
        archived = read_archive(run, cache=cache)
        yield run, _differences(run, archived)


def _differences(run: Published, archived: Published) -> list[str]:
    found = [
        metric for metric in METRICS if run.history[metric] != archived.history[metric]
    ]
    found += [
        name
        for name, value in run.settings.items()
        if value != archived.settings.get(name)
    ]
    found += [
        name
        for name in ("output_units", "declared_dataset")
        if getattr(run, name) != getattr(archived, name)
    ]
    return found


def read_archive(run: Published, *, cache: Path | None = None) -> Published:
    """Return one of the authors' runs as their archive has it, downloading it first.

    An archive holds, by the authors' program that wrote it, `history.csv` (columns
    `epochs`, `loss`, `accuracy`, `val_loss`, `val_accuracy`), `dataset.txt`,
    `optimizer_config.json` and `model_config.json`. Here the history is required, and
    the others are used where they are found; all in whatever folder of the archive.
    Nothing is unpacked to disk.

    Args:
        run: which of them.
        cache: as in `verify`.

    Raises:
        PublishedError: as `verify`.
    """
    file = _file(run)
    source = file.urls[0]
    title = f"The authors' history {'_'.join(run.key)}"
    try:
        (content,) = files.obtain([file], title, cache=cache)
    except files.DatasetError as error:
        raise PublishedError(str(error)) from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {
                name.rsplit("/", 1)[-1]: archive.read(name).decode()
                for name in archive.namelist()
                if name.endswith((".csv", ".json", ".txt"))
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise PublishedError(f"{source} can't be read: {error}") from error
    if "history.csv" not in members:
        raise PublishedError(
            f"{source} must hold history.csv. Received: {', '.join(members) or '–'}"
        )
    units = re.findall(r"units\W+(\d+)", members.get("model_config.json", ""))
    return Published(
        *run.key,
        history=_history(members["history.csv"], source),
        settings=_settings(members.get("optimizer_config.json", "{}"), source),
        output_units=int(units[-1]) if units else None,
        declared_dataset=members.get("dataset.txt", "").strip(),
        path=run.path,
        sha256=run.sha256,
    )


def _file(run: Published) -> files.File:
    repository, commit = _content()["source"], _content()["commit"]
    raw = repository.replace("github.com", "raw.githubusercontent.com")
    path = quote(run.path)
    return files.File(
        path=f"published/{'_'.join(run.key)}.zip",
        urls=(f"{raw}/{commit}/{path}", f"{repository}/raw/{commit}/{path}"),
        sha256=run.sha256,
    )


def _settings(text: str, source: str) -> dict[str, float | str]:
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise PublishedError(
            f"optimizer_config.json of {source} can't be read: {error}"
        ) from error
    return settings if isinstance(settings, dict) else {}


def _history(text: str, source: str) -> dict[str, list[float]]:
    rows = list(csv.DictReader(text.splitlines()))
    try:
        history = {metric: [float(row[metric]) for row in rows] for metric in METRICS}
        epochs = [int(row["epochs" if "epochs" in row else "epoch"]) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise PublishedError(
            f"{source} must have the columns epoch, {', '.join(METRICS)} of numbers. "
            f"Received: {error!r}"
        ) from error
    if not rows or epochs != list(range(1, len(rows) + 1)):
        raise PublishedError(
            f"{source} must have one row for each epoch from 1. Received: {epochs}"
        )
    return history
