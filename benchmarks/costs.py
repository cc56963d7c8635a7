"""Measures what Gravity and the book cost, for the chapter "What it costs".

    python benchmarks/costs.py gravity/book/costs.json

Each part runs in processes of its own with a time limit, and the file is written after
each. A part that fails or takes too long leaves what it has measured by then, and the
file says so. `--part NAME` measures one part anew and leaves the others as they are.
What is compared takes turns, so that a slow moment of the machine hits all of it, and
the smallest time of each counts.
"""

import argparse
import contextlib
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

TURNS = 7
PACKAGES = ("tensorflow", "keras", "numpy", "torch", "jax", "pytorch_optimizer")
# Seconds after which a part is stopped; together 15 minutes.
LIMITS = {
    "update": 70,
    "step": 485,
    "parallel": 80,
    "start": 90,
    "growth": 95,
    "store": 50,
    "memory": 20,
    "environment": 10,
}


class Results(dict):
    """What a part has measured; every change is written to its file at once."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def put(self, name: str, value: Any) -> None:
        self[name] = value
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(self))
        os.replace(draft, self.path)


def turns(
    steps: dict[str, Callable[[], object]],
    put: Callable[[str, Any], None],
    count: int = TURNS,
    seconds: float = math.inf,
) -> None:
    """Time each step, in turns, and put its smallest time and the number of turns.

    A step may return its own time in seconds. None begins a turn after `seconds`.
    """
    start = time.perf_counter()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(count):
        for name, step in steps.items():
            if time.perf_counter() - start > seconds and times[name]:
                continue
            clock = time.perf_counter()
            own = step()
            elapsed = time.perf_counter() - clock
            times[name].append(own if isinstance(own, float) else elapsed)
            put(name, {"seconds": min(times[name]), "turns": len(times[name])})


def update(results: Results) -> None:
    """One update of VGG16's variables by every optimizer there is."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    import keras
    import tensorflow as tf
    from update_frameworks import arrays

    from gravity import Gravity

    class OpByOp(Gravity):
        # A method of its own has no compiled form.
        def update_step(self, *arguments: Any) -> None:
            super().update_step(*arguments)

    weights, gradients = arrays(0.05, 0), arrays(0.01, 1)
    tensors = [tf.constant(G) for G in gradients]

    def keras_step(optimizer: keras.optimizers.Optimizer) -> Callable[[], object]:
        variables = [keras.Variable(W) for W in weights]
        optimizer.build(variables)
        # What `fit` compiles its step with.
        step = tf.function(
            lambda *grads: optimizer.apply(list(grads), variables),
            reduce_retracing=True,
        )
        return lambda: step(*tensors)

    kinds = keras.optimizers
    steps = {
        "Keras: Gravity": keras_step(Gravity(seed=0)),
        "Keras: Gravity, op by op": keras_step(OpByOp(seed=0)),
        "Keras: Adam": keras_step(kinds.Adam()),
        "Keras: RMSprop": keras_step(kinds.RMSprop()),
        "Keras: SGD, momentum": keras_step(kinds.SGD(0.01, momentum=0.9)),
        "Keras: Lion": keras_step(kinds.Lion()),
    }
    if importlib.util.find_spec("torch"):
        steps |= _torch_updates(weights, gradients)
    results.put("numbers", sum(W.size for W in weights))
    times: dict[str, Any] = {}

    def put(name: str, value: Any) -> None:
        times[name] = value
        results.put("times", times)

    absent = []
    if importlib.util.find_spec("pytorch_optimizer") is None:
        absent.append("pytorch_optimizer's Gravity: not installed")
    for name, step in list(steps.items()):
        try:
            step()  # Compiles, and draws the initial state.
        except Exception as error:
            absent.append(f"{name}: {type(error).__name__}")
            del steps[name]
            continue
        turns({name: step}, put, 1)
    results.put("absent", absent)
    turns(steps, put, 15, 60)


def _torch_updates(weights: Any, gradients: Any) -> dict[str, Callable[[], object]]:
    # Its compiler would fork helpers, which a process with TensorFlow's threads can't.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    import torch

    from gravity.torch import Gravity

    shared = [torch.tensor(G) for G in gradients]

    def step(kind: Callable, **arguments: Any) -> Callable[[], object]:
        params = [torch.nn.Parameter(torch.tensor(W)) for W in weights]
        for W, G in zip(params, shared, strict=True):
            W.grad = G
        return kind(params, **arguments).step

    optim = torch.optim
    a = torch.zeros(sum(W.size for W in weights))
    b = torch.ones_like(a)

    def limit() -> None:
        # 12 bytes for each element, twice: what an update has to move at least.
        a.add_(b, alpha=1e-9)
        a.add_(b, alpha=1e-9)

    steps = {
        "limit": limit,
        "torch: Gravity": step(Gravity, seed=0),
        "torch: Adam, foreach": step(optim.Adam, foreach=True),
        "torch: Adam, fused": step(optim.Adam, fused=True),
        "torch: SGD, foreach": step(optim.SGD, lr=0.01, momentum=0.9, foreach=True),
        "torch: SGD, fused": step(optim.SGD, lr=0.01, momentum=0.9, fused=True),
    }
    if importlib.util.find_spec("pytorch_optimizer"):
        from pytorch_optimizer import Gravity as Other

        steps["pytorch_optimizer: Gravity"] = step(Other, lr=0.1)
    # The last, as it takes the longest to prepare.
    steps["torch: Gravity, compiled"] = torch.compile(step(Gravity, seed=0))
    return steps


def step(results: Results) -> None:
    """A training step of VGG16, in TensorFlow and elsewhere."""
    import steps

    deadline = time.perf_counter() + LIMITS["step"] - 15
    cases: dict[str, Any] = {}
    configurations = [(w, t) for w in (0.125, 0.25, 1.0) for t in (2, 1)]
    share = {0.125: LIMITS["step"] / 12, 0.25: LIMITS["step"] / 8}
    # The largest network takes its share of what the others leave.
    for number, (width, threads) in enumerate(configurations):
        left = deadline - time.perf_counter()
        seconds = share.get(width, left / (len(configurations) - number))
        name = f"width {width:g}, {threads} thread{'s' * (threads > 1)}"
        cases[name] = {"width": width, "threads": threads, "times": {}, "absent": {}}

        def put(peer: str, value: Any, case: dict[str, Any] = cases[name]) -> None:
            case["absent" if isinstance(value, str) else "times"][peer] = value
            results.put("cases", cases)

        steps.compare(width, threads, put, seconds)


def parallel(results: Results) -> None:
    """Two runs of a small network side by side, or one after the other."""
    import steps

    widths = (0.125, 0.25)
    for width in widths if (os.cpu_count() or 1) > 1 else ():
        times: dict[str, Any] = {}

        def put(
            way: str, value: Any, times: dict[str, Any] = times, width: float = width
        ) -> None:
            times[way] = value
            results.put(f"width {width:g}", times)

        steps.side_by_side(width, put, (LIMITS["parallel"] - 10) / len(widths))


def start(results: Results) -> None:
    """How long imports, a run of one step and a chapter take to start."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        empty = _notebook(folder / "empty.ipynb", "1 + 1")
        heavy = _notebook(folder / "heavy.ipynb", "import tensorflow")
        runs = iter(range(1000))

        def timed_import(module: str) -> Callable[[], float]:
            code = (
                "import time; clock = time.perf_counter(); "
                f"import {module}; print(time.perf_counter() - clock)"
            )
            return lambda: float(_python("-c", code).stdout.split()[-1])

        def train() -> None:
            words = "--dataset digits --architecture vgg16 --optimizer gravity"
            words += " --width 0.0625 --epochs 1 --train-size 128"
            store = {"GRAVITY_RUNS": str(folder / f"runs-{next(runs)}")}
            _python("-m", "gravity", "train", *words.split(), **store)

        def chapter(path: Path) -> Callable[[], object]:
            output = str(folder / "out.ipynb")
            words = ("-m", "gravity", "execute", str(path), "-o", output)
            return lambda: _python(*words)

        turns(
            {
                "Python": lambda: _python("-c", "pass"),
                "import gravity": timed_import("gravity"),
                "import numpy": timed_import("numpy"),
            },
            results.put,
        )
        turns(
            {
                "import tensorflow": timed_import("tensorflow"),
                "train: one step and the test": train,
                "chapter: empty": chapter(empty),
                "chapter: imports TensorFlow": chapter(heavy),
            },
            results.put,
            TURNS,
            LIMITS["start"] - 25,
        )


def _notebook(path: Path, source: str) -> Path:
    import nbformat

    cells = [
        nbformat.v4.new_code_cell(source),
        nbformat.v4.new_code_cell("from gravity.book import cards; cards.colophon()"),
    ]
    # As every chapter does, it says what runs it.
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec})
    nbformat.write(notebook, path)
    return path


def _python(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.getenv("PYTHONPATH")])])
    settings = {**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, *words],
        check=True,
        capture_output=True,
        text=True,
        env=settings | variables,
    )


GROWTH = {
    "width": [{"width": w} for w in (0.03125, 0.0625, 0.125, 0.25)],
    # Of the paper's width, one step: what it holds is held by then.
    "full width": [{"width": 1.0, "train_size": 128, "epochs": 1}],
    "depth": [{"architecture": a} for a in ("vgg16", "vgg19")],
    "images": [{"train_size": n} for n in (359, 718, 1437)],
    "seeds": [{"seeds": n} for n in (1, 2, 4)],
}
TRAIN = """
import json, sys
from gravity.experiments.experiment import Experiment
from gravity.experiments.training import train_all
settings, seeds = json.loads(sys.argv[1])
kinds = [Experiment(**settings, seed=seed) for seed in range(seeds)]
made = [run.provenance for run in train_all(kinds, progress=False)]
seconds = sum(run["seconds"] for run in made)
# The process's until then.
print(json.dumps([seconds, made[-1].get("peak_memory")]))
"""


def growth(results: Results) -> None:
    """Time and memory of whole runs on the digits; each is trained once."""
    trained: dict[str, list[Any]] = {}
    base = {"dataset": "digits", "architecture": "vgg16", "optimizer": "gravity"}
    base |= {"width": 0.0625, "train_size": 1437, "epochs": 3}
    with tempfile.TemporaryDirectory() as scratch:
        for name, changes in GROWTH.items():
            rows: list[Any] = []
            for change in changes:
                settings = base | change
                seeds = settings.pop("seeds", 1)
                words = json.dumps([settings, seeds])
                if words not in trained:
                    # A store of its own has it trained, whatever was trained before.
                    runs = str(Path(scratch) / str(len(trained)))
                    clock = time.perf_counter()
                    done = _python("-c", TRAIN, words, GRAVITY_RUNS=runs)
                    whole = time.perf_counter() - clock
                    trained[words] = [whole, *json.loads(done.stdout.splitlines()[-1])]
                whole, seconds, peak = trained[words]
                measured = {"epochs_seconds": seconds, "whole_seconds": whole}
                measured |= {"seeds": seeds, "peak_memory": peak}
                rows.append(settings | measured)
                results.put(name, rows)


def store(results: Results) -> None:
    """What listing the store takes, and finding one chapter's runs in it."""
    from gravity.experiments.experiment import Experiment
    from gravity.experiments.runs import METRICS, RunStore

    history = "epoch," + ",".join(METRICS) + "\n"
    history += "".join(f"{epoch},2.25,0.1,2.25,0.1\n" for epoch in range(1, 31))
    # What the chapter that shows every run asks of one.
    here = about()
    made = here | {
        "started": here["made"],
        "seconds": 1.0,
        "device": "CPU",
        "history_sha256": _sha256(history),
    }
    for count in (30, 300, 3000):
        with tempfile.TemporaryDirectory() as scratch:
            experiments = [
                Experiment(
                    dataset="digits",
                    architecture="vgg16",
                    optimizer="gravity",
                    epochs=30,
                    seed=seed,
                )
                for seed in range(count)
            ]
            for experiment in experiments:
                folder = Path(scratch) / experiment.run_id
                folder.mkdir()
                record = {
                    "schema": 1,
                    "experiment": experiment.describe(),
                    "provenance": made,
                }
                (folder / "run.json").write_text(json.dumps(record, indent=2))
                (folder / "history.csv").write_text(history)
            runs = RunStore(scratch)
            few = experiments[:30]
            steps = {
                "list": lambda runs=runs: len(list(runs)),
                "find 30": lambda runs=runs, few=few: runs.find_all(few),
                "load": lambda runs=runs: [run.history for run in runs],
            }
            times: dict[str, Any] = {}
            turns(steps, times.__setitem__)
            results.put(str(count), times)
            words = ["-m", "gravity", "execute", "notebooks/benchmark/overview.ipynb"]
            words += ["-o", str(Path(scratch) / "overview.ipynb")]
            # The chapter that shows every run there is.
            show = {"show": lambda w=words, s=scratch: _python(*w, GRAVITY_RUNS=s)}
            turns(show, times.__setitem__, TURNS, (LIMITS["store"] - 10) / 3)
            results.put(str(count), times)


def _sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def memory(results: Results) -> None:
    """How much more memory training on images of CIFAR's size takes than they do."""
    import resource

    import numpy as np

    from gravity.experiments import datasets, environment, training
    from gravity.experiments.checkpoints import Checkpoints, Progress
    from gravity.experiments.experiment import Experiment

    environment.prepare()

    def peak() -> int:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    experiment = Experiment(
        dataset="cifar10",
        architecture="vgg16",
        optimizer="gravity",
        width=0.015625,
        epochs=1,
        batch_size=1000,
    )
    stream = np.random.default_rng(0)

    def images(count: int) -> datasets.Dataset:
        x = stream.random((count, 32, 32, 3), "float32")
        y = stream.integers(0, 10, count, "int32")
        test = max(1, count // 5)
        return datasets.Dataset("cifar10", x, y, x[:test], y[:test], 10)

    with tempfile.TemporaryDirectory() as scratch:
        for count in (1000, 50_000):
            data = images(count)
            before = peak()
            model = training.create_model(experiment)
            model.optimizer.build(model.trainable_variables)
            progress = Progress("", [environment.current()])
            checkpoints = Checkpoints(Path(scratch) / str(count), experiment)
            training._fit(model, experiment, data, progress, checkpoints, False)
            results.put(
                str(count),
                {"data": data.x_train.nbytes, "before": before, "peak": peak()},
            )


def environment(results: Results) -> None:
    """The size of what the book's environment has installed."""
    from packaging.requirements import Requirement

    sizes: dict[str, int] = {}

    def visit(name: str, extras: set[str]) -> None:
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            return
        key = found.metadata["Name"].lower().replace("_", "-")
        if key in sizes and not extras:
            return
        if key not in sizes:
            files = (Path(file.locate()) for file in found.files or ())
            sizes[key] = sum(path.stat().st_size for path in files if path.is_file())
        for text in found.requires or ():
            needed = Requirement(text)
            asked = [{"extra": extra} for extra in extras or {""}]
            if needed.marker is None or any(map(needed.marker.evaluate, asked)):
                if needed.name.lower() in sizes and not needed.extras:
                    continue
                visit(needed.name, set(needed.extras))

    visit("gravity-optimizer", {"book"})
    results.put("packages", dict(sorted(sizes.items(), key=lambda item: -item[1])))


PARTS: dict[str, Callable[[Results], None]] = {
    "update": update,
    "step": step,
    "parallel": parallel,
    "start": start,
    "growth": growth,
    "store": store,
    "memory": memory,
    "environment": environment,
}


def measure(name: str, seconds: float, patience: float) -> dict[str, Any]:
    """Return what a part measures within a time, run as a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "results.json"
        words = [sys.executable, __file__, str(file), "--run", name]
        words += ["--patience", str(patience)]
        clock = time.perf_counter()
        with (Path(scratch) / "log").open("w+") as log:
            part = subprocess.Popen(
                words, stdout=log, stderr=log, cwd=ROOT, start_new_session=True
            )
            try:
                state = "complete" if part.wait(seconds * patience) == 0 else "failed"
            except subprocess.TimeoutExpired:
                state = "stopped at its time limit"
            # It leads a process group: nothing that it started outlives it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(part.pid, signal.SIGKILL)
            part.wait()
            log.seek(0)
            lines = log.read().splitlines()
        if state == "failed":
            print("\n".join(lines[-20:]), file=sys.stderr)
        measured = json.loads(file.read_text()) if file.exists() else {}
    return {
        "state": state,
        "took": round(time.perf_counter() - clock, 1),
        "load": round(os.getloadavg()[0], 1),
        "results": measured,
    }


def about() -> dict[str, Any]:
    """Return the machine and the versions that everything is measured with."""
    from gravity.experiments.environment import code_version, processor

    return {
        **code_version(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "versions": dict(_versions()),
    }


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", ".".join(map(str, sys.version_info[:3]))
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="the JSON file to write or complete")
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    parser.add_argument(
        "--patience", type=float, default=1.0, help="multiplies all limits; default: 1"
    )
    parser.add_argument("--run", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        for name in LIMITS:
            LIMITS[name] *= options.patience
        PARTS[options.run](Results(options.output))
        return 0
    parts: dict[str, Any] = {}
    if options.part and options.output.exists():
        parts = json.loads(options.output.read_text())["parts"]
    report = {"about": about(), "parts": parts}
    for name in options.part or PARTS:
        parts[name] = measure(name, LIMITS[name], options.patience)
        print(f"{name:12} {parts[name]['took']:6.0f} s  {parts[name]['state']}")
        draft = options.output.with_name(f".{options.output.name}")
        draft.write_text(json.dumps(report, indent=1) + "\n")
        os.replace(draft, options.output)
    return int(any(part["state"] == "failed" for part in parts.values()))


if __name__ == "__main__":
    sys.exit(main())
