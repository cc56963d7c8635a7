"""Executes a chapter with papermill, with checked parameters and a checked end."""

import ast
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gravity.chapters import COMPLETE


class ChapterError(RuntimeError):
    """A chapter didn't run to its end."""


def parameters(notebook: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Return a chapter's parameters as papermill finds them.

    Returns:
        For each name a dictionary with `inferred_type_name`, `default` (as source
        code) and `help` (the comment).
    """
    import papermill

    return papermill.inspect_notebook(str(notebook))


def parse(value: str, kind: str) -> Any:
    """Return the value that a text of the command line stands for.

    Args:
        value: the text: a Python literal, or bare text for a `str`.
        kind: the parameter's declared type.

    Raises:
        ValueError: the text isn't a literal of that type.
    """
    if kind == "str":
        return value
    try:
        literal = ast.literal_eval(
            value.capitalize() if kind == "bool" else value.strip()
        )
        fits = type(literal).__name__ == kind.partition("[")[0]
        if kind == "float":
            return float(literal)
    except (ValueError, SyntaxError, TypeError):
        fits = False
    if not fits:
        raise ValueError(f"must be of type {kind}. Received: {value}")
    return literal


def execute(
    notebook: str | os.PathLike[str],
    output: str | os.PathLike[str],
    values: Mapping[str, Any] | None = None,
    *,
    progress: bool = True,
) -> Path:
    """Execute a chapter from top to bottom in a fresh kernel.

    `output` appears only when the chapter ran to its end. What a failed one had
    computed is kept beside it, as `<name>.failed.ipynb`.

    Args:
        notebook: the chapter.
        output: where the executed copy goes; its folder is made.
        values: parameters to set, by name; a string is read as the declared type.
        progress: whether to show a bar with a step a cell. Defaults to `True`.

    Returns:
        The path of the executed chapter.

    Raises:
        ValueError: an unknown parameter or one of the wrong type, before anything ran.
        ChapterError: a cell failed, the kernel died, or the chapter ended early.
    """
    import nbformat
    import papermill

    known = parameters(notebook)
    accepted = ", ".join(
        f"{name} ({entry['inferred_type_name']})" for name, entry in known.items()
    )
    checked = {}
    for name, value in (values or {}).items():
        if name not in known:
            raise ValueError(
                f"Unknown parameter {name} of {notebook}. "
                f"Accepted are: {accepted or 'none'}."
            )
        try:
            kind = known[name]["inferred_type_name"]
            checked[name] = parse(value, kind) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(
                f"Parameter {name} {error}. Accepted are: {accepted}."
            ) from None
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_suffix(".failed.ipynb")
    try:
        papermill.execute_notebook(
            str(notebook), str(draft), checked, progress_bar=progress
        )
    except Exception as error:
        raise ChapterError(
            f"{notebook} failed: {error}\nWhat it had computed is in {draft}."
        ) from error
    executed = nbformat.read(draft, as_version=4)
    outputs = [
        entry
        for cell in executed.cells
        if cell.cell_type == "code"
        for entry in cell.outputs
    ]
    if not outputs or not COMPLETE.items() <= outputs[-1].get("metadata", {}).items():
        raise ChapterError(
            f"{notebook} ended before its last cell was complete. "
            f"What it had computed is in {draft}."
        )
    os.replace(draft, output)
    return output
