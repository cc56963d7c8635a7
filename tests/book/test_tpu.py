"""What is stored of the steps compiled for a TPU, and the chapter's arithmetic."""

import json
import math
import os
import re
import subprocess
import sys
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parents[2]
STORED = json.loads((ROOT / "gravity/book/tpu.json").read_text())
STEPS = STORED["steps"]
CIFAR10 = {name for name in STEPS if name.startswith("cifar10-")}
NETWORKS = ("vgg16", "vgg19")
OPTIMIZERS = ("gravity", "adam", "rmsprop")
# The paper's Table 4: channels of the convolutions, 0 for pooling.
LAYERS = {
    "vgg16": "64 64 0 128 128 0 256 256 256 0 512 512 512 0 512 512 512 0",
    "vgg19": "64 64 0 128 128 0 256 256 256 256 0 512 512 512 512 0 512 512 512 512 0",
}
# The paper's Table 3.
IMAGES = {"MNIST": 60_000, "Fashion-MNIST": 60_000, "CIFAR-10": 50_000}
IMAGES |= {"CIFAR-100 (coarse)": 50_000, "CIFAR-100 (fine)": 50_000}


def layers(network, channels, classes):
    """Side, kernel, inputs and outputs of every layer with weights."""
    side = 32
    for outputs in map(int, LAYERS[network].split()):
        if outputs:
            yield side, 3, channels, outputs
            channels = outputs
        else:
            side //= 2
    for inputs, outputs in ((512, 4096), (4096, 4096), (4096, classes)):
        yield 1, 1, inputs, outputs


def operations(step):
    """Multiplications and additions of a step that no zero of a border takes part in.

    Forward, and back with respect to weights and, but for the first layer, inputs.
    """
    total = 0
    channels, classes = step["shape"][-1], step["classes"]
    for index, (side, kernel, inputs, outputs) in enumerate(
        layers(step["architecture"], channels, classes)
    ):
        reach = kernel // 2
        inside = sum(
            0 <= position + offset < side
            for position in range(side)
            for offset in range(-reach, reach + 1)
        )
        passes = 2 if index == 0 else 3
        total += passes * 2 * inside**2 * inputs * outputs
    return total * step["batch_size"]


@pytest.mark.parametrize("name", STEPS)
def test_compiler_counts_the_operations_of_the_network(name):
    step = STEPS[name]
    # Besides: bias, ReLU, pooling, loss, resizing, the optimizer.
    assert operations(step) < step["flops"] < 1.01 * operations(step)


@pytest.mark.parametrize("name", STEPS)
def test_step_holds_weights_optimizer_and_images(name):
    step = STEPS[name]
    weights = sum(
        kernel**2 * inputs * outputs + outputs
        for _, kernel, inputs, outputs in layers(
            step["architecture"], step["shape"][-1], step["classes"]
        )
    )
    tensors = {"gravity": 2, "adam": 3, "rmsprop": 2}[step["optimizer"]]
    state = 4 * weights * tensors
    assert state <= step["alias_bytes"] < 1.01 * state
    images = 4 * step["batch_size"] * math.prod(step["shape"])
    assert step["argument_bytes"] >= state + images


def test_cifar10_and_a_step_of_mnist_were_compiled_for_one_v5e():
    wanted = {f"cifar10-{n}-{o}" for n in NETWORKS for o in OPTIMIZERS}
    assert wanted == CIFAR10
    assert "mnist-vgg16-gravity" in STEPS
    assert {step["batch_size"] for step in STEPS.values()} == {128}
    made = STORED["provenance"]
    assert (made["topology"], made["device"]) == ("v5e:1x1", "TPU v5 lite")
    assert made["precision"] == "default"


class Tables(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.rows, self.cell = [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def shown():
    """The chapter's outputs: rows of its tables by their head, and its sentences."""
    notebook = nbformat.read(ROOT / "notebooks/benchmark/tpu.ipynb", as_version=4)
    notebook.cells = [
        cell for cell in notebook.cells if "setup" not in cell.metadata.get("tags", [])
    ]
    notebook.cells.append(
        new_code_cell(
            "import sys; print({'jax', 'keras', 'tensorflow'} & set(sys.modules))"
        )
    )
    NotebookClient(notebook, kernel_name="python3", timeout=None).execute()
    outputs = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    data = [output["data"] for output in outputs if "data" in output]
    rows = {}
    for table in (Tables(each["text/html"]) for each in data if "text/html" in each):
        for head, *cells in table.rows:
            rows.setdefault(head, []).append(cells)
    text = " ".join(each.get("text/markdown", "") for each in data)
    return rows, text, outputs[-1]["text"]


def as_shown(value, digits):
    return f"{float(value):.{digits}f}"


def bounds(name):
    """Seconds to compute, and to move what must be moved and what is counted."""
    sizes = ("flops", "bytes_accessed", "argument_bytes", "output_bytes")
    step = {key: Fraction(STEPS[name][key]) for key in sizes}
    peak, bandwidth = Fraction(197 * 10**12), Fraction(819 * 10**9)
    computing = step["flops"] / peak
    least = (step["argument_bytes"] + step["output_bytes"]) / bandwidth
    counted = step["bytes_accessed"] / bandwidth
    return computing, max(computing, least), max(computing, counted)


TITLES = {"vgg16": "VGG16", "vgg19": "VGG19", "gravity": "Gravity"}
TITLES |= {"adam": "Adam", "rmsprop": "RMSprop"}


@pytest.mark.parametrize("name", sorted(CIFAR10))
def test_chapter_shows_a_step_and_its_bounds(shown, name):
    _, network, optimizer = name.split("-")
    says, times = shown[0][f"{TITLES[network]} × {TITLES[optimizer]}"]
    step = STEPS[name]
    memory = sum(
        sign * step[f"{part}_bytes"]
        for part, sign in (
            *(("argument", 1), ("output", 1), ("alias", -1)),
            *(("temporary", 1), ("code", 1)),
        )
    )
    assert says == [
        as_shown(step["flops"] / 1e9, 1),
        as_shown(step["bytes_accessed"] / 1e9, 2),
        as_shown(memory / 1e9, 2),
    ]
    assert times == [as_shown(1000 * bound, 2) for bound in bounds(name)]


def test_chapter_adds_up_epochs_and_the_whole_benchmark(shown):
    rows, text, _ = shown
    least_hours = counted_hours = 0
    for title, images in IMAGES.items():
        for network in NETWORKS:
            full_steps = images // 128
            data = "mnist" if "MNIST" in title else "cifar10"
            _, least, counted = bounds(f"{data}-{network}-gravity")
            runs = [bounds(f"{data}-{network}-{each}") for each in OPTIMIZERS]
            minutes = [
                sum(run[index] for run in runs) * full_steps * 100 / 60
                for index in (1, 2)
            ]
            ((*cells,),) = rows[f"{title} × {TITLES[network]}"]
            assert cells == [
                as_shown(least * full_steps, 2),
                as_shown(minutes[0], 1),
                as_shown(counted * full_steps, 2),
                as_shown(minutes[1], 1),
            ]
            least_hours += minutes[0] / 60
            counted_hours += minutes[1] / 60
    assert re.findall(r"\*\*([\d.]+) hours\*\*", text) == [
        as_shown(least_hours, 1),
        as_shown(counted_hours, 1),
    ]


def test_chapter_loads_no_backend(shown):
    assert shown[2].strip() == "set()"


@pytest.mark.slow
def test_compiler_says_the_same_again(tmp_path):
    """Needs libtpu, in an environment whose other versions are the stored ones."""
    pytest.importorskip("libtpu", reason="libtpu isn't installed: the extra `tpu`")
    output = tmp_path / "tpu.json"
    subprocess.run(
        [sys.executable, ROOT / "benchmarks/tpu.py", output, "cifar10-vgg16-gravity"],
        check=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("KERAS")},
    )
    again = json.loads(output.read_text())
    if again["provenance"]["versions"] != STORED["provenance"]["versions"]:
        pytest.skip("the stored steps were compiled with other versions")
    assert again["steps"]["cifar10-vgg16-gravity"] == STEPS["cifar10-vgg16-gravity"]
