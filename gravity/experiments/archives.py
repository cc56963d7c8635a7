"""Runs in one file: made somewhere else, checked, and stored here."""

import io
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gravity.experiments.runs import (
    Run,
    RunStore,
    RunStoreError,
    publish,
    read_run,
    write_durably,
)

FILES = ("run.json", "history.csv")
"""What a run's folder holds in a store and in an archive."""

# A run takes some 10 kB. More than this, unpacked, is no archive of runs.
_LARGEST_BYTES = 1 << 28

# What the book prints of every run's provenance.
_PROVENANCE: dict[str, Any] = {
    "started": str,
    "seconds": int | float,
    "gravity": str,
    "commit": str | None,
    "dirty": bool | None,
    "versions": dict,
    "backend": str,
    "device": str,
}


# What reading a damaged zip file raises, `RuntimeError` where it is encrypted.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class ArchiveError(RuntimeError):
    """A file isn't an archive of undamaged runs, or contradicts what is stored."""


def export_runs(
    file: str | os.PathLike[str], store: RunStore, run_ids: Sequence[str] = ()
) -> list[Run]:
    """Write stored runs to one zip file, which appears complete or not at all.

    Args:
        file: the zip file to make.
        store: where the runs are.
        run_ids: names of runs. Defaults to none, for all runs of the store but those
            on generated data.

    Returns:
        The runs in the file. Equal runs make equal files, byte for byte.

    Raises:
        ValueError: there is no run of that name, or none at all, or it is one on
            generated data, from which no result may be drawn.
        FileExistsError: `file` is there already.
        RunStoreError: a run is damaged.
    """
    file = Path(file)
    if file.exists():
        raise FileExistsError(f"{file} is there already. Nothing was exported.")
    runs = [store.get(run_id) for run_id in dict.fromkeys(run_ids)]
    for run in runs:
        if run.experiment.is_generated:
            raise ValueError(
                "Argument `run_ids` must name runs on real data. "
                f"Received: {run.experiment.run_id}, one on generated data"
            )
    runs = runs or [run for run in store if not run.experiment.is_generated]
    if not runs:
        raise ValueError(
            f"No run on real data is stored in {', '.join(map(str, store.roots))}"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for run in runs:
            _ = run.history
            for name in FILES:
                # Without the file's date, which says nothing about the run.
                entry = zipfile.ZipInfo(f"{run.path.name}/{name}")
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, (run.path / name).read_bytes())
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        write_durably(draft, buffer.getbuffer())
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)
    return runs


def import_runs(
    file: str | os.PathLike[str], store: RunStore
) -> tuple[list[Run], list[Run]]:
    """Store the runs of an archive, after all of them were checked.

    A run is taken if its folder is named after what it describes, its history is the
    one that it was stored with, complete, and its provenance says with what it was
    made. Nothing is stored if one run isn't, or differs from the stored run of the
    same name.

    Args:
        file: what `export_runs` made.
        store: where the runs go, the first of its folders.

    Returns:
        The runs that were stored, and those that were stored already.

    Raises:
        ArchiveError: as said above; the message names the run and what is wrong.
        FileNotFoundError: there is no such file.
    """
    file = Path(file)
    root = store.roots[0]
    root.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".", dir=root))
    try:
        runs = _unpack(file, draft)
        stored = {run.path.name: store.find(run.experiment) for run in runs}
        for run in runs:
            known = stored[run.path.name]
            key = "history_sha256"
            if known is not None and known.provenance[key] != run.provenance[key]:
                raise ArchiveError(
                    f"{file} has another history of {run.path.name} than "
                    f"{known.path}: the run was made twice, with different results. "
                    "Nothing was imported. Delete the one that isn't wanted."
                )
        new = [run for run in runs if stored[run.path.name] is None]
        for run in new:
            publish(run.path, root / run.path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return (
        [store.get(run.path.name) for run in new],
        [run for run in stored.values() if run is not None],
    )


def _unpack(file: Path, folder: Path) -> list[Run]:
    """Write the runs of an archive below `folder` and return them, all checked.

    A name in the archive becomes a path only when it can be a run's.
    """
    runs: dict[str, Path] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > _LARGEST_BYTES:
                raise ValueError("it is larger than any archive of runs, unpacked")
            for entry in entries:
                run_id, _, name = entry.filename.partition("/")
                path = folder / run_id / name
                if name not in FILES or not re.fullmatch("[a-z0-9_-]{1,99}", run_id):
                    raise ValueError(f"{entry.filename!r} is no file of a run")
                if entry.compress_type not in (
                    zipfile.ZIP_STORED,
                    zipfile.ZIP_DEFLATED,
                ):
                    raise ValueError(f"{entry.filename!r} is packed in another way")
                if path.exists():
                    raise ValueError(f"{entry.filename!r} is there twice")
                runs[run_id] = path.parent
                path.parent.mkdir(exist_ok=True)
                write_durably(path, archive.read(entry))
        if not runs:
            raise ValueError("it is empty")
        return [_check(path) for path in runs.values()]
    except _DAMAGED as error:
        raise ArchiveError(
            f"{file} is no archive of undamaged runs: {error}. Nothing was imported."
        ) from error


def _check(path: Path) -> Run:
    """Return an unpacked run that is as a stored run should be."""
    for name in FILES:
        if not (path / name).is_file():
            raise ValueError(f"{path.name} has no {name}")
    try:
        run = read_run(path)
        _ = run.history
    except RunStoreError as error:
        # Without the folder that it was unpacked to.
        raise ValueError(f"{path.name}: {error.__cause__}") from error
    if run.experiment.is_generated:
        raise ValueError(f"{path.name} is a run on generated data")
    for key, kind in _PROVENANCE.items():
        value = run.provenance.get(key, "nothing")
        if key not in run.provenance or not isinstance(value, kind):
            raise ValueError(f"{path.name}: its provenance has {value!r} as `{key}`")
    return run
