"""What a run is made with: code, libraries, backend, machine."""

import contextlib
import importlib.util
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

# How many threads share a sum decides the order of its terms, and so its last bits.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def prepare() -> None:
    """Set what TensorFlow and Keras read from the environment when they are imported.

    Call it before either is. What is set already stays. Where TensorFlow isn't
    installed, as in a Colab runtime with a TPU, Keras is told to take JAX, else
    PyTorch.
    """
    # Off by default on AMD processors, where it makes training VGG about four times
    # faster.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if os.environ.get("KERAS_BACKEND") or importlib.util.find_spec("tensorflow"):
        return
    # Keras takes TensorFlow unless told otherwise, and writes that into `keras.json`
    # the first time; so a name there counts if it is one that can be imported.
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    named = []
    with contextlib.suppress(OSError, ValueError, AttributeError):
        named = [json.loads((home / "keras.json").read_text()).get("backend")]
    for name in (*named, "jax", "torch"):
        if name in ("jax", "torch") and importlib.util.find_spec(name):
            os.environ["KERAS_BACKEND"] = name
            return


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
