"""`gravity.book.costs` and the benchmark that fills its file."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gravity.book import costs
from gravity.experiments import models

ROOT = Path(__file__).resolve().parents[2]


COSTS = ROOT / "benchmarks/costs.py"


def benchmark():
    spec = importlib.util.spec_from_file_location("costs_benchmark", COSTS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("width", [1.0, 0.25, 0.03])
def test_step_bytes_count_every_layer_of_the_network(width):
    model = models.build("vgg16", (32, 32, 3), 10, width)
    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    kernels = [layer.kernel.shape.num_elements() for layer in layers]
    tensors = sum(
        tensor.shape[1:][-1] * (tensor.shape[1] ** 2 if len(tensor.shape) == 4 else 1)
        for layer in layers
        for tensor in (layer.input, layer.output)
    )
    expected = 12 * (5 * tensors + sum(kernels)) + 24 * sum(kernels)
    assert costs.step_bytes(width, batch=5) == expected


def test_the_stored_file_has_every_part():
    measured = costs.stored()
    assert set(measured["parts"]) == set(benchmark().PARTS)
    assert measured["about"]["processor"]
    times = costs.seconds(measured["parts"]["update"]["results"]["times"])
    assert {"limit", "Keras: Gravity", "Keras: Adam"} <= set(times)
    for part in measured["parts"].values():
        assert part["results"]


def test_turns_alternate_and_keep_the_smallest_time():
    calls = []
    values = iter([3.0, 30.0, 1.0, 10.0, 2.0, 20.0])

    def step(name):
        calls.append(name)
        return next(values)

    kept = {}
    steps = {name: lambda name=name: step(name) for name in "ab"}
    benchmark().turns(steps, kept.__setitem__, 3)
    assert calls == list("ababab")
    assert kept == {
        "a": {"seconds": 1.0, "turns": 3},
        "b": {"seconds": 10.0, "turns": 3},
    }


def test_a_part_that_fails_or_hangs_leaves_what_it_measured(tmp_path):
    code = f"""
import runpy, sys, time
module = runpy.run_path({str(COSTS)!r})

def fails(results):
    results.put("one", 1)
    raise RuntimeError("no more")

def hangs(results):
    results.put("one", 1)
    time.sleep(600)

module["PARTS"].update(store=fails, memory=hangs)
sys.exit(module["main"]())
"""
    broken = tmp_path / "broken.py"
    broken.write_text(code)
    module = benchmark()
    module.__file__ = str(broken)
    for name, state in (("store", "failed"), ("memory", "stopped at its time limit")):
        part = module.measure(name, 20 if name == "memory" else 60, 1.0)
        assert part["state"] == state
        assert part["results"] == {"one": 1}


def test_one_part_is_measured_anew_and_the_others_stay(tmp_path):
    file = tmp_path / "costs.json"
    file.write_text(json.dumps({"about": {}, "parts": {"update": {"state": "kept"}}}))
    command = [sys.executable, str(COSTS), str(file), "--part", "environment"]
    subprocess.run(command, check=True, cwd=ROOT)
    parts = json.loads(file.read_text())["parts"]
    assert parts["update"] == {"state": "kept"}
    packages = parts["environment"]["results"]["packages"]
    assert next(iter(packages)) == "tensorflow"
    assert packages["numpy"] > 1e7
