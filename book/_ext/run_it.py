"""Says on every executed page how to run it: the panel, and the list of executions.

All of it is read from the notebooks: parameters by papermill's own inspection, times
from what papermill noted when it executed them.
"""

import functools
import math
import os
import re
import shlex
import zlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from gravity.book import contents, costs, execution, gate
from gravity.book.prose import duration
from gravity.experiments.paper import PAPER_LEARNING_RATES, PAPER_OPTIMIZERS

TPU = "notebooks/benchmark/tpu"
"""The chapter that explains `gravity.book.costs.run_bounds`."""

SOLUTION = "# @title Solution"
"""How a cell begins that solves an exercise; Colab shows it as the cell's title."""


@dataclass(frozen=True)
class Execution:
    """What an executed notebook says of its execution; `None` where it says nothing."""

    title: str
    started: datetime | None
    seconds: float | None
    runs: list[gate.ShownRun]

    @classmethod
    def read(cls, path: Path) -> "Execution":
        notebook = nbformat.read(path, as_version=4)
        noted = notebook.metadata.get("papermill", {})
        started = noted.get("start_time")
        return cls(
            title=notebook.cells[0].source.splitlines()[0].removeprefix("# "),
            started=started and datetime.fromisoformat(started),
            seconds=noted.get("duration"),
            runs=gate.shown_runs(notebook) or [],
        )

    @property
    def training(self) -> float:
        """How long the runs that the page shows were trained, in seconds."""
        return sum(run.seconds for run in self.runs)


def colab_address(app: Sphinx, page: str) -> str:
    """Return where a chapter's clean source opens in Colab."""
    options = app.config.html_theme_options
    repository = options["repository_url"].removeprefix("https://github.com/")
    branch = options["repository_branch"]
    return (
        f"{options['launch_buttons']['colab_url']}/github/{repository}/blob/{branch}/"
        f"{page}.ipynb"
    )


def panel(app: Sphinx, page: str) -> str:
    """Return a chapter's panel as MyST."""
    path = Path(app.srcdir, f"{page}.ipynb")
    known = execution.parameters(path)
    # The first two stand for all of them, at the values that they have anyway.
    example = "".join(
        f" -p {name} {shlex.quote(_literal(entry['default']))}"
        for name, entry in list(known.items())[:2]
    )
    mine = f"{path.stem}_mine.ipynb"
    lines = [
        "::::{dropdown} Run it your way",
        ":class-container: gravity-panel",
        "",
        f"**In Colab**: [open this chapter]({colab_address(app, page)}), change what "
        "you like and run all cells.",
        "",
        "**In a checkout**, with names and types checked:",
        "",
        "```bash",
        f"python -m gravity execute {page}.ipynb \\\n    -o {mine}{example}",
        "```",
        "",
        "**With papermill** itself:",
        "",
        "```bash",
        f"papermill {page}.ipynb \\\n    {mine}{example}",
        "```",
        "",
    ]
    if known:
        lines += ["| parameter | type | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{name}` | `{entry['inferred_type_name']}` | `{entry['default']}` | "
            f"{_cell(entry['help'])} |"
            for name, entry in known.items()
        ]
    else:
        lines.append("This chapter has no parameters.")
    lines += ["", f"**It takes** {times(app, page, Execution.read(path))}", "", "::::"]
    return "\n".join(lines)


def times(app: Sphinx, page: str, made: Execution) -> str:
    """Return how long a page takes on a CPU and on a TPU, as far as is known."""
    if made.seconds is None:
        return "a time that is not known: this page wasn't executed."
    text = f"{duration(made.seconds)} on the CPU that made this page"
    if made.runs:
        text += (
            f", and {duration(made.training)} once to train the {len(made.runs)} runs "
            "that it shows, which are stored"
        )
    dataset, _, architecture = Path(page).name.rpartition("_")
    if (dataset, architecture) in PAPER_LEARNING_RATES:
        bound = sum(
            costs.run_bounds(dataset, architecture, optimizer).counted
            for optimizer in PAPER_OPTIMIZERS
        )
        text += (
            f". At the paper's scale, its three runs take {duration(bound)} or more on "
            f"one TPU v5e chip, by [this bound](<{relative(TPU, page)}.ipynb>)"
        )
    elif not made.runs:
        text += ". It trains no network on a dataset, so a TPU would not shorten that"
    return f"{text}."


def relative(page: str, start: str) -> str:
    return os.path.relpath(page, os.path.dirname(start))


def _literal(default: str) -> str:
    """A default as one types it on the command line: without a text's quotes."""
    return default[1:-1] if default[:1] in "'\"" else default


def _cell(text: str) -> str:
    # A pipe would end the cell, and a dollar begin a formula. What stands in braces is
    # code, whose quotation marks must stay as they are.
    text = text.replace("|", "\\|").replace("$", "\\$")
    return re.sub(r"\{.*\}", r"`\g<0>`", text)


def add_panel(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the panel below a notebook's first cell, and name what hides a solution."""
    if not Path(app.srcdir, f"{docname}.ipynb").exists():
        return
    notebook = nbformat.reads(source[0], as_version=4)
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(panel(app, docname)))
    for cell in notebook.cells:
        if cell.source.startswith(SOLUTION):
            cell.metadata.setdefault("mystnb", {}).update(
                code_prompt_show="Show the solution",
                code_prompt_hide="Hide the solution",
            )
    source[0] = nbformat.writes(notebook, version=4)


class Executions(SphinxDirective):
    """Renders the list of all chapters with when and how they were executed."""

    def run(self) -> list[nodes.Node]:
        lines = [
            "| Chapter | Executed | Took | Runs shown | Their training | Scale |",
            "|---|---|---|---|---|---|",
        ]
        total = 0.0
        # Several pages may show a run, which was trained once.
        trained: dict[str, float] = {}
        for _, page in contents.pages(Path(self.env.srcdir, "_toc.yml")):
            path = Path(self.env.srcdir, f"{page}.ipynb")
            if not path.exists():
                continue
            self.env.note_dependency(str(path))
            made = Execution.read(path)
            total += made.seconds or 0
            trained |= {run.run_id: run.seconds for run in made.runs}
            lines.append(self.row(page, made))
        lines.append(
            f"| **Together** | | {duration(total)} | {len(trained)} | "
            f"{duration(sum(trained.values()))} | |"
        )
        table = nodes.container(classes=["gravity-executions"])
        self.state.nested_parse(StringList(lines, ""), self.content_offset, table)
        return [table]

    def row(self, page: str, made: Execution) -> str:
        link = f"[{made.title}](<{relative(page, self.env.docname)}.ipynb>)"
        when = f"{made.started:%Y-%m-%d %H:%M}" if made.started else "not executed"
        took = duration(made.seconds or math.nan) if made.seconds else ""
        training = duration(made.training) if made.runs else ""
        scales = ", ".join(sorted({run.scale for run in made.runs}))
        return (
            f"| {link} | {when} | {took} | {len(made.runs) or ''} | {training} | "
            f"{scales} |"
        )


def add_addresses(app: Sphinx, config: Any) -> None:
    """Let the front page name addresses that follow from the configuration."""
    first = "notebooks/derivation/inclined_plane"
    address = functools.partial(colab_address, app)
    config.myst_substitutions["first_in_colab"] = (
        f"[first chapter in Colab]({address(first)})"
    )


def setup(app: Sphinx) -> dict[str, int]:
    app.connect("config-inited", add_addresses)
    app.connect("source-read", add_panel)
    app.add_directive("executions", Executions)
    return {
        "parallel_read_safe": True,
        "parallel_write_safe": True,
        # Pages are read again when what is put into them changes.
        "env_version": zlib.crc32(Path(__file__).read_bytes()),
    }
