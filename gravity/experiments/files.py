"""The files that datasets are made from: found, or downloaded, and always checked.

`obtain` looks for a file in the cache folder, then where a system package keeps it,
then downloads it. It uses none before its checksum matched.
"""

import gzip
import hashlib
import os
import sys
import tempfile
import uuid
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# How often an address is tried again before the next one, and how many seconds a
# connection may stay silent.
_RETRIES = 2
_TIMEOUT_SECONDS = 30.0


class DatasetError(RuntimeError):
    """A dataset's files are missing or damaged, or aren't what they should be."""


@dataclass(frozen=True)
class File:
    """One file of a dataset.

    Attributes:
        path: where the cache folder keeps it.
        urls: the addresses that serve it, the official one first.
        sha256: of the official file.
        content_sha256: of what is inside its gzip layer, for copies that were
            compressed again. Empty (the default) accepts the official file only.
        installed: where a system package keeps it. `None`, the default, for nowhere.
    """

    path: str
    urls: tuple[str, ...]
    sha256: str
    content_sha256: str = ""
    installed: Path | None = None


def obtain(
    files: Sequence[File], title: str, *, cache: Path | None = None
) -> list[bytes]:
    """Return the checked bytes of each of several files.

    Args:
        files: what is needed. What isn't on this machine is downloaded and kept.
        title: what the files are, for error messages.
        cache: the folder that keeps downloaded files. Defaults to `default_cache()`.

    Raises:
        DatasetError: a file can't be had undamaged. The message says why, and which
            files to put where.
    """
    folder = default_cache() if cache is None else cache
    contents = []
    # No comprehension: some versions of Python have a frame for one, and the warning of
    # a damaged file counts frames.
    for file in files:
        contents.append(_fetch(file, title, files, folder))
    return contents


def default_cache() -> Path:
    """Return the folder that keeps downloaded files.

    It is the one that the environment variable `GRAVITY_DATA` names, else `gravity` in
    the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`).
    """
    if named := os.environ.get("GRAVITY_DATA"):
        return Path(named).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "gravity"


def locate(file: File, cache: Path) -> Path | None:
    """Return where an undamaged copy is, `None` where none is."""
    for path in (cache / file.path, file.installed):
        if path and path.exists() and matches(path.read_bytes(), file):
            return path
    return None


def _fetch(file: File, title: str, files: Sequence[File], cache: Path) -> bytes:
    """Return the bytes of a file that are as they should be."""
    path = cache / file.path
    data = _read(path, file)
    if data is not None:
        return data
    if file.installed is not None:
        data = _read(file.installed, file)
    if data is None:
        data = _download(file, title, files, cache)
    elif not path.exists():
        return data
    write(path, data)
    return data


def _read(path: Path, file: File) -> bytes | None:
    """Return the bytes of a local copy, `None` if it is missing or damaged."""
    if not path.exists():
        return None
    data = path.read_bytes()
    if matches(data, file):
        return data
    _warn_of_damage(path, len(data), file, stacklevel=7)
    return None


def map_bytes(path: Path, file: File) -> np.ndarray | None:
    """Return a file as an array of its bytes, `None` if it is missing or damaged."""
    if not path.exists():
        return None
    size = path.stat().st_size
    # An empty file can't be mapped.
    rows = np.memmap(path, np.uint8, "r") if size else np.empty(0, np.uint8)
    if hashlib.sha256(rows.data).hexdigest() == file.sha256:
        return rows
    _warn_of_damage(path, size, file, stacklevel=5)
    return None


def _warn_of_damage(path: Path, size: int, file: File, stacklevel: int) -> None:
    warnings.warn(
        f"{path} is damaged and not used: its {size:,} bytes don't have the "
        f"official file's SHA-256 {file.sha256}",
        RuntimeWarning,
        stacklevel=stacklevel,
    )


def matches(data: bytes, file: File) -> bool:
    """Return whether bytes are a file's, or their content is where that counts."""
    if hashlib.sha256(data).hexdigest() == file.sha256:
        return True
    if not file.content_sha256:
        return False
    try:
        content = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return False
    return hashlib.sha256(content).hexdigest() == file.content_sha256


def write(path: Path, data: bytes | memoryview) -> None:
    """Publish a complete file at once; of two processes, the later one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _download(file: File, title: str, files: Sequence[File], cache: Path) -> bytes:
    failures = []
    for url in file.urls:
        try:
            data = _get(url, Path(file.path).name)
        except OSError as error:
            failures.append(f"  {url}: {error}")
            continue
        if matches(data, file):
            return data
        failures.append(f"  {url}: wrong SHA-256 ({len(data):,} bytes)")
    path = cache / file.path
    state = "damaged" if path.exists() else "missing"
    if not file.urls:
        raise DatasetError(
            f"{title}: {path} is {state}. It is not to be downloaded: make it again"
        )
    wanted = (
        f"  {cache / each.path}\n    from {each.urls[0]}\n    SHA-256 {each.sha256}"
        for each in files
    )
    raise DatasetError(
        f"{title}: {path} is {state} and could not be downloaded:\n"
        + "\n".join(failures)
        + "\nWithout a network, put these files there yourself:\n"
        + "\n".join(wanted)
    )


def _get(url: str, name: str) -> bytes:
    """Return what `url` serves; pooch tries again where that fails."""
    try:
        import pooch
    except ImportError as error:
        raise DatasetError(
            "Downloading needs pooch, which isn't installed. Install it with: "
            'pip install "gravity-optimizer[chapters]"'
        ) from error
    print(f"Downloading {url}", file=sys.stderr)
    # What pooch says names the temporary folder.
    pooch.get_logger().setLevel("WARNING")
    with tempfile.TemporaryDirectory() as folder:
        downloads = pooch.create(
            path=folder,
            base_url="",
            # `matches` checks it: pooch knows of no copies that were compressed again.
            registry={name: None},
            urls={name: url},
            retry_if_failed=_RETRIES,
        )
        downloader = pooch.HTTPDownloader(
            progressbar=sys.stderr.isatty(), timeout=_TIMEOUT_SECONDS
        )
        return Path(downloads.fetch(name, downloader=downloader)).read_bytes()
