"""`gravity.experiments.experiment` against the paper's Table 5 and section 3.3."""

import dataclasses
import html
import json
import re
import subprocess
import sys

import make_datasets
import pytest

from gravity.book import tables
from gravity.experiments import datasets
from gravity.experiments.experiment import Experiment, grid, paper_experiment, tries

SMALL = {"dataset": "digits", "architecture": "vgg16", "optimizer": "gravity"}

# Table 5 as printed, row by row: VGG16 Adam, RMSProp, VGG19 Adam, RMSProp.
TABLE_5 = """
mnist            2.50e-04  1.00e-04  2.50e-04  2.50e-05
fashion_mnist    2.50e-04  5.00e-05  1.00e-05  5.00e-05
cifar10          1.00e-04  5.00e-05  1.00e-04  2.50e-05
cifar100_coarse  1.00e-04  2.50e-04  7.50e-05  1.00e-04
cifar100_fine    1.00e-04  1.00e-04  5.00e-05  1.00e-04
"""


def test_learning_rates_are_those_of_table_5():
    from gravity.experiments.paper import PAPER_LEARNING_RATES

    printed = {}
    for row in TABLE_5.split("\n")[1:-1]:
        dataset, *rates = row.split()
        for column, rate in zip(
            [(a, o) for a in ("vgg16", "vgg19") for o in ("adam", "rmsprop")],
            rates,
            strict=True,
        ):
            printed[dataset, *column] = float(rate)
    ours = {
        (*pair, optimizer): rate
        for pair, rates in PAPER_LEARNING_RATES.items()
        for optimizer, rate in rates.items()
    }
    assert ours == printed


def test_paper_settings_are_those_of_section_3_3():
    adam = paper_experiment("fashion_mnist", "vgg16", "adam")
    assert adam.arguments == {
        "learning_rate": 2.5e-4,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-7,
    }
    rmsprop = paper_experiment("fashion_mnist", "vgg19", "rmsprop")
    assert rmsprop.arguments == {
        "learning_rate": 5e-5,
        "rho": 0.9,
        "momentum": 0,
        "epsilon": 1e-7,
        "centered": False,
    }
    gravity = paper_experiment("fashion_mnist", "vgg16", "gravity")
    assert gravity.arguments == {
        "learning_rate": 0.1,
        "alpha": 0.01,
        "beta": 0.9,
        "first_step": 0,
    }
    assert (gravity.width, gravity.epochs, gravity.batch_size) == (1, 100, 128)
    assert gravity.train_size is None


def cells(shown):
    """The rows of a table of the book, as text."""
    plain = re.sub(r"</?span[^>]*>", "", shown.data)
    rows = re.findall(r"<tr>(.*?)</tr>", plain)[1:]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_book_shows_table_5_and_section_3_3():
    printed = [row.split() for row in TABLE_5.split("\n")[1:-1]]
    shown = cells(tables.settings_table())
    assert len(shown) == 10
    for row, (_, *rates) in zip(shown[::2], printed, strict=True):
        assert [float(rate) for rate in row[1:]] == [0.1, *map(float, rates[:2])]
    for row, (_, *rates) in zip(shown[1::2], printed, strict=True):
        assert [float(rate) for rate in row[1:]] == [0.1, *map(float, rates[2:])]
    common = [
        [html.unescape(cell).replace("\xa0", " ") for cell in row]
        for row in cells(tables.common_settings_table())
    ]
    assert common == [
        ["Epochs", "100"],
        ["Images in a step", "128"],
        ["Gravity", "learning_rate = 0.1, alpha = 0.01, beta = 0.9, first_step = 0"],
        ["Adam", "beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-07"],
        ["RMSprop", "rho = 0.9, momentum = 0, epsilon = 1e-07, centered = False"],
    ]


def test_scale_tells_a_reduced_run_from_the_papers():
    paper = paper_experiment("fashion_mnist", "vgg16", "gravity", seed=3)
    assert paper.scale == "paper"
    for change in (
        {"width": 0.25},
        {"epochs": 101},
        {"train_size": 1000},
        {"arguments": {"alpha": 0.02}},
    ):
        assert dataclasses.replace(paper, **change).scale == "reduced"
    for epochs in (1, 3, 99):
        assert dataclasses.replace(paper, epochs=epochs).scale == "begun"
    assert dataclasses.replace(paper, epochs=2, width=0.5).scale == "smoke"
    assert Experiment(**SMALL).scale == "reduced"


def test_run_id_names_the_description_and_nothing_else():
    same = [
        Experiment(**SMALL),
        Experiment(**SMALL, width=1, train_size=1437),
        Experiment(**SMALL, arguments={"alpha": 0.01, "learning_rate": 0.1}),
    ]
    assert len({e.run_id for e in same}) == 1
    changes = [
        {"width": 0.5},
        {"epochs": 101},
        {"batch_size": 127},
        {"seed": 1},
        {"train_size": 100},
        {"arguments": {"alpha": 0.02}},
        {"optimizer": "adam"},
        {"architecture": "vgg19"},
    ]
    ids = {Experiment(**{**SMALL, **change}).run_id for change in changes}
    assert len(ids) == len(changes)
    assert same[0].run_id not in ids
    assert same[0].run_id.startswith("digits-vgg16-gravity-")


def test_run_id_is_the_same_in_another_process():
    code = (
        "from gravity.experiments.experiment import Experiment;"
        f"print(Experiment(**{SMALL!r}, arguments={{'alpha': 0.02}}).run_id)"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    ours = Experiment(**SMALL, arguments={"alpha": 0.02}).run_id
    assert other.stdout.strip() == ours


def test_description_survives_json():
    experiment = Experiment(**SMALL, seed=7, train_size=100, arguments={"alpha": 0})
    read = json.loads(json.dumps(experiment.describe()))
    assert Experiment.from_description(read) == experiment


def test_description_of_other_training_rules_is_refused():
    description = Experiment(**SMALL).describe() | {"training_rules": 0}
    with pytest.raises(ValueError, match="training_rules=0"):
        Experiment.from_description(description)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "imagenet"}, "`dataset` must be one of .*digits.*imagenet"),
        ({"architecture": "vgg11"}, "`architecture` .* vgg16, vgg19.*vgg11"),
        ({"optimizer": "lion"}, "`optimizer` .*gravity, adam, rmsprop.*lion"),
        ({"arguments": {"momentum": 0.9}}, "alpha, beta, first_step.*momentum"),
        ({"arguments": {"alpha": "0.1"}}, "`alpha` .* float.*alpha='0.1'"),
        ({"arguments": {"alpha": True}}, "`alpha` .* float.*alpha=True"),
        ({"arguments": {"alpha": float("nan")}}, "`alpha` .*alpha=nan"),
        ({"arguments": {"first_step": 0.5}}, "`first_step` .* int.*first_step=0.5"),
        ({"optimizer": "rmsprop", "arguments": {"centered": 1}}, "centered=1"),
        ({"width": 0}, "`width` .*width=0"),
        ({"width": float("nan")}, "`width` .*width=nan"),
        ({"width": "1"}, "`width` .*width='1'"),
        ({"epochs": 0}, "`epochs` .*at least 1.*epochs=0"),
        ({"epochs": 2.0}, "`epochs` .*epochs=2.0"),
        ({"batch_size": True}, "`batch_size` .*batch_size=True"),
        ({"seed": -1}, "`seed` .*at least 0.*seed=-1"),
        ({"train_size": 1438}, "`train_size` .*at most 1437.*1438"),
        (
            {"train_size": 1338, "validation_size": 100},
            "`train_size` .*at most 1337.*held out.*1338",
        ),
        ({"validation_size": 1437}, "`validation_size` .*less than 1437.*=1437"),
        ({"validation_size": 0}, "`validation_size` .*at least 1.*=0"),
        ({"initial_weights": "zeros"}, "`initial_weights` .*glorot, he.*zeros"),
        ({"weight_noise": -0.1}, "`weight_noise` .*positive.*=-0.1"),
        ({"optimizer": "variant", "arguments": {"bound": 3}}, "`bound` .* str.*=3"),
        (
            {"architecture": "transformer"},
            "`architecture` .*takes images, as digits has: vgg16, vgg19.*transformer",
        ),
        (
            {"dataset": "topics"},
            "`architecture` .*sequences of 64 .* topics has: transformer.*'vgg16'",
        ),
        (
            {"dataset": "topics", "architecture": "transformer", "data": "official"},
            "`data` must be the fingerprint of a text, 'text-…'.*data='official'",
        ),
        ({"data": "text-000000000000"}, "`data` must be 'official'.*data='text-0"),
    ],
)
def test_bad_attribute_is_named_with_its_value(change, message):
    with pytest.raises(ValueError, match=message):
        Experiment(**{**SMALL, **change})


@pytest.mark.parametrize(
    "change",
    [{"validation_size": 100}, {"initial_weights": "he"}, {"weight_noise": 0.05}],
)
def test_what_the_paper_does_not_do_is_described_where_it_is_done(change):
    """And nowhere else, so that the names of other runs stay what they were."""
    plain = Experiment(**SMALL)
    other = Experiment(**SMALL, **change)
    assert not change.keys() & plain.describe().keys()
    assert change.items() <= other.describe().items()
    assert other.run_id != plain.run_id
    assert Experiment.from_description(other.describe()) == other
    words = other.command
    (name, value) = next(iter(change.items()))
    assert words[words.index("--" + name.replace("_", "-")) + 1] == str(value)
    paper = paper_experiment("fashion_mnist", "vgg16", "adam")
    assert not dataclasses.replace(paper, **change).is_papers


def test_grid_has_every_optimizer_and_seed():
    experiments = grid(
        "digits",
        "vgg16",
        optimizers=["gravity", "adam"],
        arguments={"adam": {"learning_rate": 0.5}},
        seeds=[0, 1],
        epochs=3,
    )
    assert [(e.optimizer, e.seed) for e in experiments] == [
        ("gravity", 0),
        ("gravity", 1),
        ("adam", 0),
        ("adam", 1),
    ]
    assert experiments[0].arguments["learning_rate"] == 0.1
    assert experiments[2].arguments["learning_rate"] == 0.5
    assert {e.epochs for e in experiments} == {3}


def test_grid_refuses_arguments_of_an_optimizer_it_does_not_run():
    with pytest.raises(ValueError, match=r"`arguments`.*gravity.*adam"):
        grid("digits", "vgg16", optimizers=["gravity"], arguments={"adam": {}})


# What these runs were called before generated data could be described.
NAMES = {
    "digits-vgg16-gravity-65b51550e551": Experiment(**SMALL),
    "fashion_mnist-vgg19-rmsprop-0b46f1bd15b7": paper_experiment(
        "fashion_mnist", "vgg19", "rmsprop", seed=3
    ),
    "fashion_mnist-vgg16-adam-55ae0e5d69b6": Experiment(
        dataset="fashion_mnist",
        architecture="vgg16",
        optimizer="adam",
        width=0.25,
        epochs=5,
        train_size=1000,
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_runs_on_official_data_keep_their_names(name):
    assert NAMES[name].run_id == name
    assert "data" not in NAMES[name].describe()
    assert not NAMES[name].is_generated


@pytest.fixture
def generated(tmp_path, monkeypatch):
    manifest = make_datasets.write(tmp_path / "generated")
    specs = datasets._with_generated(datasets.OFFICIAL_DATASETS, str(manifest))
    monkeypatch.setattr(datasets, "DATASETS", specs)
    return specs


def test_run_on_generated_data_passes_for_no_other(generated, monkeypatch):
    made = paper_experiment("mnist", "vgg16", "adam")
    assert made.is_generated
    assert (made.scale, made.is_papers) == ("generated", False)
    assert made.title == "MNIST (generated) × VGG16 × Adam"
    assert made.describe()["data"] == generated["mnist"].data
    assert made.run_id.startswith("generated-mnist-vgg16-adam-")
    other = dataclasses.replace(made, data="generated-000000000000")
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "DATASETS", datasets.OFFICIAL_DATASETS)
        real = paper_experiment("mnist", "vgg16", "adam")
        assert (real.scale, real.is_papers) == ("paper", True)
        # The rest of the name is another too.
        hashes = {run.run_id.split("-")[-1] for run in (real, made, other)}
        assert len(hashes) == 3
    # The digits are the real ones still.
    assert Experiment(**SMALL).run_id == "digits-vgg16-gravity-65b51550e551"
    for data in ("", made.data):
        assert dataclasses.replace(made, epochs=1, data=data).scale == "generated"


def test_descriptions_mean_the_same_with_and_without_a_manifest(generated, monkeypatch):
    made = Experiment(dataset="mnist", architecture="vgg16", optimizer="adam")
    assert Experiment.from_description(made.describe()) == made
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "DATASETS", datasets.OFFICIAL_DATASETS)
        elsewhere = Experiment.from_description(made.describe())
        assert elsewhere.run_id == made.run_id
        assert elsewhere.title == made.title
        assert elsewhere.scale == "generated"
        real = paper_experiment("mnist", "vgg16", "adam")
        reduced = dataclasses.replace(real, train_size=10_000)
        ids = real.run_id, reduced.run_id
    # More images than are here, of data that aren't here.
    for run, run_id in zip((real, reduced), ids, strict=True):
        here = Experiment.from_description(run.describe())
        assert (here.run_id, here.title) == (run_id, "MNIST × VGG16 × Adam")
        assert not here.is_generated
    assert Experiment.from_description(real.describe()).is_papers


def test_sizes_are_the_generated_ones(generated):
    whole = Experiment(dataset="mnist", architecture="vgg16", optimizer="adam")
    assert dataclasses.replace(whole, train_size=200) == whole
    with pytest.raises(ValueError, match="`train_size` must be at most 200"):
        dataclasses.replace(whole, train_size=201)


def test_data_must_be_official_or_generated():
    with pytest.raises(ValueError, match=r"`data` must be 'official'.*data='mine'"):
        Experiment(**SMALL, data="mine")


def test_runs_on_different_texts_have_different_names():
    text = {"dataset": "topics", "architecture": "transformer", "optimizer": "sgd"}
    here = Experiment(**text, epochs=6)
    assert here.data == datasets.DATASETS["topics"].data
    assert here.describe()["data"] == here.data
    assert (here.is_generated, here.scale) == (False, "reduced")
    assert here.run_id.startswith("topics-transformer-sgd-")
    other = dataclasses.replace(here, data="text-000000000000")
    assert other.run_id != here.run_id
    assert Experiment.from_description(other.describe()) == other
    assert other.title == "Python's help × Transformer × SGD with momentum"


def test_grid_takes_the_papers_optimizers_unless_told():
    assert [run.optimizer for run in grid("digits", "vgg16")] == [
        *("gravity", "adam", "rmsprop")
    ]
    (one,) = grid("digits", "vgg16", optimizers=["sgd"])
    assert one.arguments == {"learning_rate": 0.01, "momentum": 0.9}
    paper = Experiment(dataset="mnist", architecture="vgg16", optimizer="sgd")
    assert not paper.is_papers


def test_tries_differ_in_one_argument_of_each_optimizer():
    values = {"gravity": [0.1, 0.3], "sgd": [0.01]}
    made = tries("digits", "vgg16", values, seeds=[4], width=0.25)
    rates = [(one.optimizer, one.arguments["learning_rate"]) for one in made]
    assert rates == [("gravity", 0.1), ("gravity", 0.3), ("sgd", 0.01)]
    assert {(one.seed, one.width) for one in made} == {(4, 0.25)}
    (alone,) = tries("digits", "vgg16", {"gravity": [0.05]}, "alpha")
    assert alone.arguments["alpha"] == 0.05
