"""Imports that a notebook in the wild may have say where the module is now."""

import importlib
import subprocess
import sys

import pytest

from gravity._moved import MOVED


@pytest.mark.parametrize("name", [name for name in MOVED if name != "shared"])
@pytest.mark.parametrize(
    "statement",
    ["import gravity.{}", "from gravity import {}", "from gravity.{} import anything"],
)
def test_an_old_name_leads_to_the_new_one(statement, name):
    with pytest.raises(ModuleNotFoundError) as caught:
        exec(statement.format(name))
    assert f"gravity.{name} has moved: import {MOVED[name]} instead" in str(
        caught.value
    )


def test_every_new_name_exists():
    for name in MOVED.values():
        assert importlib.util.find_spec(name) is not None, name


def test_what_never_was_there_fails_as_ever():
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from gravity import nothing")
    with pytest.raises(
        ModuleNotFoundError, match=r"No module named 'gravity\.nothing'"
    ):
        importlib.import_module("gravity.nothing")


def test_reloading_leaves_one_signpost():
    code = (
        "import importlib, sys, gravity; importlib.reload(gravity);"
        "print([type(finder).__name__ for finder in sys.meta_path].count('Signpost'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stderr
