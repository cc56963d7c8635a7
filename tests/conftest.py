"""Chooses Keras's backend before any test imports Keras, and builds the book once."""

import os

import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder of a book at smoke scale, with `html` and `source` in it."""
    from smoke_book import built_once

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    return built_once(shared / "book")
