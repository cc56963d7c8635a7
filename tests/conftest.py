"""Chooses Keras's backend before any test imports Keras, and builds the book once."""

import os

import pytest

from gravity.experiments import environment

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
environment.prepare()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Run side by side what can be: a file to a process, and the book's pages in one.

    The book takes longest to build, so it comes first; the others need not wait for it.
    """

    def needs_the_book(item):
        return "built" in item.fixturenames

    for item in items:
        group = "book" if needs_the_book(item) else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=needs_the_book, reverse=True)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder of a book at smoke scale, with `html` and `source` in it."""
    from smoke_book import built_once

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    return built_once(shared / "book")
