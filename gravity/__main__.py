"""The command line: `python -m gravity`."""

import argparse
import contextlib
import dataclasses
import inspect
import json
import re
import sys
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gravity import __version__
from gravity.experiments import datasets, environment, models
from gravity.experiments.experiment import Experiment
from gravity.experiments.optimizers import OPTIMIZERS
from gravity.experiments.paper import paper_arguments
from gravity.experiments.runs import RunStore

# What the options take that are one of several names.
_NAMES: Mapping[str, Iterable[str]] = {
    "dataset": datasets.OFFICIAL_DATASETS,
    "architecture": models.ARCHITECTURES,
    "optimizer": OPTIMIZERS,
    "initial_weights": models.INITIAL_WEIGHTS,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 when it did what was asked."""
    options = _parser().parse_args(argv)
    environment.prepare()
    try:
        options.command(options)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"gravity: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser that takes `-1e-3` for a number, which argparse takes for an option."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._negative_number_matcher = re.compile(r"-\.?\d|-inf$|-nan$")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m gravity", description="Train, list and execute.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train", help="train one run, unless it is stored already"
    )
    _add_experiment(train)
    train.set_defaults(command=_train)

    listing = commands.add_parser("runs", help="list, export or import stored runs")
    listing.set_defaults(command=_runs)
    actions = listing.add_subparsers(metavar="ACTION")
    export = actions.add_parser("export", help="write runs to one zip file")
    export.add_argument("file", metavar="FILE", help="the zip file to make")
    export.add_argument(
        "run_id",
        metavar="RUN_ID",
        nargs="*",
        help="which runs; default: all in the folder that new runs are stored in",
    )
    export.set_defaults(command=_export)
    importing = actions.add_parser("import", help="store the runs of such a file")
    importing.add_argument("file", metavar="FILE", help="the zip file")
    importing.set_defaults(command=_import)

    data = commands.add_parser("data", help="list, fetch or import datasets")
    data.set_defaults(command=_data)
    actions = data.add_subparsers(metavar="ACTION")
    fetch = actions.add_parser("fetch", help="have datasets in the cache")
    fetch.add_argument(
        "name", nargs="+", metavar="NAME", help=", ".join(datasets.DATASETS)
    )
    fetch.set_defaults(command=_fetch)
    bringing = actions.add_parser(
        "import", help="check a copy that is on this machine, and keep it in the cache"
    )
    bringing.add_argument("name", metavar="NAME", help=", ".join(datasets.DATASETS))
    bringing.add_argument(
        "folder",
        metavar="FOLDER",
        help="with the official files; of CIFAR also with train/<class>/<file>.png",
    )
    bringing.set_defaults(command=_import_data)

    authors = commands.add_parser(
        "published", help="list the authors' 30 runs, or compare them with their source"
    )
    authors.add_argument(
        "--verify",
        action="store_true",
        help="download the authors' archives and compare the book's numbers with them",
    )
    authors.set_defaults(command=_published)

    execute = commands.add_parser("execute", help="execute a chapter with papermill")
    execute.add_argument("chapter", metavar="CHAPTER", help="path of a notebook")
    execute.add_argument("-o", "--output", required=True, help="the executed copy")
    execute.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help='set a parameter, as in: -p EPOCHS 3 -p SEEDS "[0, 1]"',
    )
    execute.set_defaults(command=_execute)

    publishable = commands.add_parser(
        "publishable", help="fail if a built book shows runs of smoke scale"
    )
    publishable.add_argument("folder", metavar="FOLDER", help="with index.html")
    publishable.set_defaults(command=_publishable)
    return parser


def _add_experiment(train: argparse.ArgumentParser) -> None:
    """Add an option for each field of an experiment, with the help of its docstring."""
    about = _attributes(Experiment.__doc__ or "")
    for each in dataclasses.fields(Experiment):
        if each.name == "arguments":
            train.add_argument(
                "--argument",
                action="append",
                default=[],
                type=_assignment,
                metavar="NAME=VALUE",
                help="of the optimizer; what is not given is the paper's",
            )
        # What the dataset is made from here is no choice.
        elif each.name != "data":
            required = each.default is dataclasses.MISSING
            train.add_argument(
                f"--{each.name.replace('_', '-')}",
                required=required,
                default=None if required else each.default,
                # An option that isn't given is None; one that is given never is.
                type=(typing.get_args(each.type) or (each.type,))[0],
                help=", ".join(_NAMES.get(each.name, [about[each.name]])),
            )


def _attributes(docstring: str) -> dict[str, str]:
    """Return what a class's docstring says of each attribute."""
    _, _, text = inspect.cleandoc(docstring).partition("\nAttributes:\n")
    text, _, _ = text.partition("\n\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in entries}


def _assignment(text: str) -> tuple[str, float | bool | str]:
    name, _, value = text.partition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(
            f"must be NAME=VALUE, as in beta=0.9, not {text!r}"
        )
    # What is no number is a word, which the experiment checks.
    with contextlib.suppress(json.JSONDecodeError):
        return name, json.loads(value.lower())
    return name, value


def _train(options: argparse.Namespace) -> None:
    from gravity.experiments import training

    fields = {
        each.name: getattr(options, each.name)
        for each in dataclasses.fields(Experiment)
        if hasattr(options, each.name)
    }
    paper = paper_arguments(options.dataset, options.architecture, options.optimizer)
    arguments = {**paper, **dict(options.argument)}
    run = training.train(Experiment(**fields, arguments=arguments))
    print(_line(run))
    print(run.path)


def _runs(options: argparse.Namespace) -> None:
    for run in RunStore():
        print(_line(run))


def _export(options: argparse.Namespace) -> None:
    from gravity.experiments import archives

    store = RunStore()
    if not options.run_id:
        # What comes with the book is in every checkout.
        store = RunStore(store.roots[0])
    for run in archives.export_runs(options.file, store, options.run_id):
        print(_line(run))


def _import(options: argparse.Namespace) -> None:
    from gravity.experiments import archives

    imported, known = archives.import_runs(options.file, RunStore())
    for run in imported:
        print(_line(run))
    print(f"{len(imported)} imported, {len(known)} stored already")


def _line(run) -> str:  # type: ignore[no-untyped-def]
    each, accuracy = run.experiment, run.history["val_accuracy"][-1]
    return (
        f"{each.run_id:50} {each.scale:8} width {each.width:<7g} "
        f"{each.epochs:3} epochs  seed {each.seed:<3} "
        f"test accuracy {100 * accuracy:5.1f} %  {run.provenance['seconds']:9,.0f} s"
    )


def _data(options: argparse.Namespace) -> None:
    _list_data(datasets.DATASETS)


def _fetch(options: argparse.Namespace) -> None:
    for name in options.name:
        datasets.fetch(name)
    _list_data(options.name)


def _import_data(options: argparse.Namespace) -> None:
    datasets.import_copy(options.name, options.folder, progress=True)
    _list_data([options.name])


def _list_data(names: Iterable[str]) -> None:
    for name in names:
        paths = datasets.find(name)
        if paths is None:
            state = "missing"
        else:
            state = ", ".join(sorted({str(path.parent) for path in paths}))
        title = datasets.DATASETS[name].title
        print(f"{name:16} {title:30} {state or 'comes with a package'}")


def _published(options: argparse.Namespace) -> None:
    from gravity.evidence import published

    if not options.verify:
        for run in published.load_all().values():
            accuracy = run.history["val_accuracy"][-1]
            print(f"{'_'.join(run.key):35} test accuracy {100 * accuracy:5.1f} %")
        print(published.source())
        return
    wrong = []
    for run, differences in published.verify():
        name = "_".join(run.key)
        print(f"{name:35} {', '.join(differences) or 'as published'}", flush=True)
        wrong += [name] if differences else []
    if wrong:
        raise RuntimeError(f"{len(wrong)} of 30 runs differ: {', '.join(wrong)}")


def _execute(options: argparse.Namespace) -> None:
    try:
        from gravity.book import execution
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"{error}. Chapters run in the book's environment: `source "
            '.venv/bin/activate`, or `pip install "gravity-optimizer[book]"`'
        ) from error

    # In a log, each step of the bar would be a line.
    bar = sys.stderr.isatty()
    print(
        execution.execute(
            options.chapter, options.output, dict(options.p), progress=bar
        )
    )


def _publishable(options: argparse.Namespace) -> None:
    from gravity.book import gate

    print(f"{gate.check(options.folder)} executed pages may be published")


if __name__ == "__main__":
    sys.exit(main())
