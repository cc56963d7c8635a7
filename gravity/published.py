"""The histories of the paper's 30 runs, as its authors published them.

They are not part of this package. `load` downloads them, one small archive a run, from
the authors' public repository at one commit, and checks each against its SHA-256. Or it
reads them from the folder that the environment variable `GRAVITY_PUBLISHED` names.
"""

import csv
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gravity import datasets
from gravity.runs import METRICS

COMMIT = "9c12068752097a9336d74c89d841781188c8b9d6"
"""The commit of dariush-bahrami/gravity.optimizer that the histories are taken from."""

_URLS = (
    f"https://raw.githubusercontent.com/dariush-bahrami/gravity.optimizer/{COMMIT}/",
    f"https://github.com/dariush-bahrami/gravity.optimizer/raw/{COMMIT}/",
)


class PublishedError(RuntimeError):
    """A published history can't be had, or isn't as it should be."""


@dataclass(frozen=True)
class Published:
    """One of the authors' runs.

    Attributes:
        dataset: the dataset of Table 3 that it stands for, a key of
            `gravity.datasets.DATASETS`.
        architecture: `vgg16` or `vgg19`.
        optimizer: `gravity`, `adam` or `rmsprop`.
        history: the `METRICS` of `gravity.runs`, one value an epoch. Accuracies are
            fractions.
        settings: what was stored beside the history, under the names that it has
            there; empty if nothing was. From an archive: the optimizer's configuration
            (the authors' program rounded some of its values to four decimals). From a
            folder: the run's row of `summary.csv`.
        output_units: outputs of the network's last layer, `None` if nothing says so.
            It need not be the number of classes of `dataset`.
        declared_dataset: the dataset as the authors called it, "" if nothing says so.
        source: the address or the file that it was read from.
    """

    dataset: str
    architecture: str
    optimizer: str
    history: Mapping[str, list[float]]
    settings: Mapping[str, float | str]
    output_units: int | None
    declared_dataset: str
    source: str

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return len(self.history["loss"])


def load(
    dataset: str, architecture: str, optimizer: str, *, cache: Path | None = None
) -> Published:
    """Return one of the authors' 30 histories, downloading it first if need be.

    An archive holds, by the authors' program that wrote it, `history.csv` (columns
    `epochs`, `loss`, `accuracy`, `val_loss`, `val_accuracy`), `dataset.txt`,
    `optimizer_config.json` and `model_config.json`. Here the history is required, and
    the others are used where they are found; all in whatever folder of the archive.
    Nothing is unpacked to disk.

    The environment variable `GRAVITY_PUBLISHED` may name a folder with a file
    `<dataset>_<architecture>_<optimizer>.csv` for each run (columns `epoch` and
    `METRICS`) and `summary.csv` (columns `dataset`, `architecture`, `optimizer` and any
    others). It is then read instead, without checksums.

    Args:
        dataset: one of the five datasets of Table 3, as in `SOURCES`.
        architecture: `vgg16` or `vgg19`.
        optimizer: `gravity`, `adam` or `rmsprop`.
        cache: the folder that keeps downloaded files. Defaults to that of
            `gravity.datasets.load`.

    Raises:
        ValueError: the paper has no such run.
        PublishedError: the history can't be had or isn't one. The message says why, and
            what to do.
    """
    run = (dataset, architecture, optimizer)
    if run not in SOURCES:
        names = (
            " or ".join(dict.fromkeys(parts)) for parts in zip(*SOURCES, strict=True)
        )
        raise ValueError(
            "Arguments `dataset`, `architecture` and `optimizer` must be "
            f"{', '.join(names)}. Received: {', '.join(map(repr, run))}"
        )
    if folder := os.environ.get("GRAVITY_PUBLISHED"):
        return _read_folder(run, Path(folder).expanduser())
    return _read_archive(run, cache)


def load_all(*, cache: Path | None = None) -> dict[tuple[str, str, str], Published]:
    """Return all 30 of the authors' histories, by dataset, architecture and optimizer.

    Args:
        cache: as in `load`.

    Raises:
        PublishedError: as `load`, of the first that can't be had.
    """
    return {run: load(*run, cache=cache) for run in SOURCES}


def _file(run: tuple[str, str, str]) -> datasets.File:
    _, architecture, optimizer = run
    stem, sha256 = SOURCES[run]
    path = f"results/{optimizer}_benchmarks/{architecture}/{stem}.zip"
    return datasets.File(
        path=f"published/{'_'.join(run)}.zip",
        urls=tuple(base + quote(path) for base in _URLS),
        sha256=sha256,
    )


def _read_archive(run: tuple[str, str, str], cache: Path | None) -> Published:
    file = _file(run)
    source = file.urls[0]
    title = f"The authors' history {'_'.join(run)}"
    try:
        (content,) = datasets.obtain([file], title, cache=cache)
    except datasets.DatasetError as error:
        raise PublishedError(
            f"{error}\nOr set the environment variable GRAVITY_PUBLISHED to a folder "
            f"with {'_'.join(run)}.csv and summary.csv."
        ) from error
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
        *run,
        history=_history(members["history.csv"], source),
        settings=_settings(members.get("optimizer_config.json", "{}"), source),
        output_units=int(units[-1]) if units else None,
        declared_dataset=members.get("dataset.txt", "").strip(),
        source=source,
    )


def _settings(text: str, source: str) -> dict[str, float | str]:
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise PublishedError(
            f"optimizer_config.json of {source} can't be read: {error}"
        ) from error
    return settings if isinstance(settings, dict) else {}


def _read_folder(run: tuple[str, str, str], folder: Path) -> Published:
    path = folder / f"{'_'.join(run)}.csv"
    try:
        history = _history(path.read_text(), str(path))
        with (folder / "summary.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise PublishedError(
            f"The environment variable GRAVITY_PUBLISHED must name a folder with "
            f"{path.name} and summary.csv, or be unset for a download. Received: "
            f"{folder}, where {error}"
        ) from error
    keys = ("dataset", "architecture", "optimizer")
    found = [row for row in rows if tuple(row.get(key) for key in keys) == run]
    if len(found) != 1:
        raise PublishedError(
            f"{folder / 'summary.csv'} must have one row of {'_'.join(run)}. "
            f"Received: {len(found)}"
        )
    row = {name: value for name, value in found[0].items() if name not in keys}
    units = row.pop("output_units", None)
    declared = row.pop("declared_dataset", None)
    return Published(
        *run,
        history=history,
        settings={name: _number(value) for name, value in row.items()},
        output_units=int(units) if units else None,
        declared_dataset=declared or "",
        source=str(path),
    )


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


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


SOURCES: Mapping[tuple[str, str, str], tuple[str, str]] = {
    ("mnist", "vgg16", "gravity"): (
        "MNIST_vgg16_099100_Gravity_20201208_230435",
        "d35bc33872db54c7b50a1cd1250ccf5b361e5f054aa294f52e06a90569fe90f9",
    ),
    ("mnist", "vgg16", "adam"): (
        "MNIST_vgg16_100100_Adam_20201217_184611",
        "a63db4172d065a490572ff7e4168823b7290d9ac666c78c51419f8bd1ca3cc36",
    ),
    ("mnist", "vgg16", "rmsprop"): (
        "MNIST_vgg16_100100_RMSprop_20201218_191807",
        "b1b1791d99281020c8d8e1255cd855c0deb0232518077746ce8386d83a8d0a9a",
    ),
    ("mnist", "vgg19", "gravity"): (
        "MNIST_vgg19_099100_Gravity_20201209_230915",
        "33cca48d935c8545f6816a08c0f409f7b797494048045ba374af5bb5cad89752",
    ),
    ("mnist", "vgg19", "adam"): (
        "MNIST_vgg19_100100_Adam_20201217_155355",
        "2bf9cd717dccd54359f1dfa52ff0722bb0a61e36de6da21de73d2b2bec5655b6",
    ),
    ("mnist", "vgg19", "rmsprop"): (
        "MNIST_vgg19_099100_RMSprop_20201218_203859",
        "f91a8f4409cd553c220fd5eaf1da8bf74bbfdbca6bf27c046cbce4c6f1189949",
    ),
    ("fashion_mnist", "vgg16", "gravity"): (
        "Fashion MNIST_vgg16_093100_Gravity_20201208_001802",
        "49447927de51bf46ee175a8af4a57006cb5081400ef0ce806000f421b73a159c",
    ),
    ("fashion_mnist", "vgg16", "adam"): (
        "Fashion MNIST_vgg16_093100_Adam_20201217_234601",
        "d35c5b3eca694d313c8a180b9acacb9d0375a9623e502d2c68b576ad5b9bfb5a",
    ),
    ("fashion_mnist", "vgg16", "rmsprop"): (
        "Fashion MNIST_vgg16_093100_RMSprop_20201218_202908",
        "ca8f68f43b2b2c7555821c1adcb14e00a6708c343a499392d38a0569a0bb97ba",
    ),
    ("fashion_mnist", "vgg19", "gravity"): (
        "Fashion MNIST_vgg19_093100_Gravity_20201210_002036",
        "1c1340df04507e253ed53222588980c51fe3d75fcc31abf30d9bbe085bb72632",
    ),
    ("fashion_mnist", "vgg19", "adam"): (
        "Fashion MNIST_vgg19_092099_Adam_20201217_212455",
        "447155ec0d8fd3c0fb6659f88c4f3888474c7d2bb2f381765b8ace23cb7b8ec4",
    ),
    ("fashion_mnist", "vgg19", "rmsprop"): (
        "Fashion MNIST_vgg19_093099_RMSprop_20201218_213801",
        "f61b9adb35e0777f21c73c2db69bc6fb1953f90122e1cebb177cd15e580d48f2",
    ),
    ("cifar10", "vgg16", "gravity"): (
        "CIFAR10_vgg16_080100_Gravity_20201207_231821",
        "15f523745ed4fe04ab63929e860983459db09f62d8935946cd78215ccdcb318b",
    ),
    ("cifar10", "vgg16", "adam"): (
        "CIFAR10_vgg16_079100_Adam_20201217_170222",
        "5efa1c7492f5af7428b9c1b4d1a07f5ae345905466d35ad89e2bb27568c1a65b",
    ),
    ("cifar10", "vgg16", "rmsprop"): (
        "CIFAR10_vgg16_073099_RMSprop_20201218_202309",
        "0ace09b4495bfd4dd4f08711e3c892cd1e81f61b39e0785103c13de26b9d9ad7",
    ),
    ("cifar10", "vgg19", "gravity"): (
        "CIFAR10_vgg19_080100_Gravity_20201216_195715",
        "79e211b8d21327e540c5aa972cd4aa8577ac0d4cc85acd57500aa4ee4e2bc1bc",
    ),
    ("cifar10", "vgg19", "adam"): (
        "CIFAR10_vgg19_078100_Adam_20201217_175542",
        "c33f29becf858b11f12d4bc60ea6af2b6d6b19e7b76a6420011fd8b91fef5fe6",
    ),
    ("cifar10", "vgg19", "rmsprop"): (
        "CIFAR10_vgg19_069099_RMSprop_20201218_212400",
        "350fb15cf0e16283eacaa5ea05139fc3312a475acc29657d5b3fe440b398e8b6",
    ),
    ("cifar100_coarse", "vgg16", "gravity"): (
        "CIFAR100 (Coarse)_vgg16_055100_Gravity_20201207_212359",
        "59f41d087334b9dd9251570edfd9fe26117010442ad5c5e002913b4604ddde1f",
    ),
    ("cifar100_coarse", "vgg16", "adam"): (
        "CIFAR100 (Coarse)_vgg16_057099_Adam_20201218_002202",
        "e68459da558974d8f77a1b03b1cdb0c20c4f6ad73e77e4108aab5a8aa93cb213",
    ),
    ("cifar100_coarse", "vgg16", "rmsprop"): (
        "CIFAR100 (Coarse)_vgg16_058096_RMSprop_20201218_202324",
        "02810b21ad63b1933d26f19e99e7b592d9cfc96383b16b2f68e1bfe392c9d325",
    ),
    ("cifar100_coarse", "vgg19", "gravity"): (
        "CIFAR100 (Coarse)_vgg19_056100_Gravity_20201216_212200",
        "4b67428de7f85da02910f05f8b456ae312d6b392f91d39695e4bb5d37eba9216",
    ),
    ("cifar100_coarse", "vgg19", "adam"): (
        "CIFAR100 (Coarse)_vgg19_053099_Adam_20201217_233911",
        "462833bd73809a0b2ff14c6a9c7300131c2145fbc689a6f9abf243ce7c8384cf",
    ),
    ("cifar100_coarse", "vgg19", "rmsprop"): (
        "CIFAR100 (Coarse)_vgg19_057098_RMSprop_20201218_203213",
        "091f3aaf0a802b5e6e5e4acab72bd2711ae15401e400be16b12d791356523ae3",
    ),
    ("cifar100_fine", "vgg16", "gravity"): (
        "CIFAR100 (Fine)_vgg16_041099_Gravity_20201207_222751",
        "3c0b03cce2eb5903a2fb12b3f87cc0702ee652f470330d9ee1b75321154b9592",
    ),
    ("cifar100_fine", "vgg16", "adam"): (
        "CIFAR100 (Fine)_vgg16_038099_Adam_20201218_012158",
        "c9b9450f27623f77cdbe28dacb025e6fe39da9e44477c3073215b49ebc75f7b5",
    ),
    ("cifar100_fine", "vgg16", "rmsprop"): (
        "CIFAR100 (Fine)_vgg16_038098_RMSprop_20201218_212320",
        "d894ae22855df70af63d670d0e8030ba89a0ef312b3b62e8807357e656c2bfe0",
    ),
    ("cifar100_fine", "vgg19", "gravity"): (
        "CIFAR100 (Fine)_vgg19_050099_Gravity_20201216_222052",
        "2ace6252471fe8034bf7c9a5cd01f8cb962b0cd0bf24bba6c787f8b05aa0b603",
    ),
    ("cifar100_fine", "vgg19", "adam"): (
        "CIFAR100 (Fine)_vgg19_032097_Adam_20201218_013818",
        "503a1f0d3b24df75fe9d3405ebb31386521267f9997b6f772bd34c7be102a7d0",
    ),
    ("cifar100_fine", "vgg19", "rmsprop"): (
        "CIFAR100 (Fine)_vgg19_038097_RMSprop_20201218_213753",
        "0253953f6f22ffb2061dd923d9ddd1b84563c10b5bd43e2af99db2306aca3376",
    ),
}
"""For each run the name of its archive in the authors' repository, whose numbers are
the best accuracies and the date, and the archive's SHA-256."""
