"""What a run is made with: code, libraries, backend, machine."""

import contextlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

# How many threads share a sum decides the order of its terms, and so its last bits.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def processor() -> str:
    """Return the processor's name, or its kind where the system doesn't tell."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def processor_of(device: str) -> str:
    """Return the processor's name in a stored run's `device`, as in "cpu:0 (AMD EPYC)".

    Args:
        device: as `current` writes it; returned as it is where it names no processor.
    """
    _, bracket, name = device.partition(" (")
    return name.removesuffix(")") if bracket else device


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def code_version() -> dict[str, Any]:
    """Return the package's version and, in a checkout, its commit and whether dirty."""
    from gravity import __version__

    package = Path(__file__).parents[1]
    # Only a repository that tracks this very file says something about the code: an
    # installed copy may lie inside somebody else's.
    git = ["git", "-C", str(package)]
    tracked = [*git, "ls-files", "--error-unmatch", "experiments/environment.py"]
    head = [*git, "rev-parse", "HEAD"]
    status = [*git, "status", "--porcelain", "--", "."]
    try:
        subprocess.run(tracked, check=True, capture_output=True)
        commit, changes = (
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
            for command in (head, status)
        )
    except (OSError, subprocess.CalledProcessError):
        return {"gravity": __version__, "commit": None, "dirty": None}
    return {"gravity": __version__, "commit": commit.strip(), "dirty": bool(changes)}


def current() -> dict[str, Any]:
    """Return code, libraries, backend and device that a run made now would have."""
    import keras

    backend = keras.backend.backend()
    packages = ("keras", backend, "numpy")
    # Keras lists no devices for PyTorch; a new tensor is where the others will be.
    devices = (
        [str(keras.ops.zeros(()).device)]
        if backend == "torch"
        else keras.distribution.list_devices()
    )
    return {
        **code_version(),
        "versions": {
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in packages},
        },
        "backend": backend,
        "device": f"{', '.join(devices)} ({processor()})",
        "cores": cores(),
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
        "system": platform.platform(),
    }
