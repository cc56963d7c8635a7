"""Says where a module is now that had another name up to version 0.1."""

from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_ROOMS = {
    "experiments": (
        *("archives", "datasets", "experiment", "models", "runs", "training"),
        *("checkpoints", "variants"),
    ),
    "evidence": (
        *("audit", "claims", "findings", "ledger"),
        *("published", "studies"),
    ),
    "book": (*("costs", "dark", "execution", "explorer", "frameworks", "peers"),),
}

MOVED = {name: f"gravity.{room}.{name}" for room in _ROOMS for name in _ROOMS[room]} | {
    "comparison": "gravity.evidence.statistics",
    "evaluation": "gravity.evidence.statistics",
    # Each of these two became several modules: the new name is the one with most of it.
    "chapters": "gravity.book.tables",
    "plots": "gravity.book.run_plots",
    "machine": "gravity.experiments.environment",
    "publication": "gravity.book.gate",
    "shared": "gravity._shared",
}
"""The full name of each module, by its old name in `gravity`."""


class Signpost(MetaPathFinder):
    """Fails the import of a module that moved with its new name; finds nothing else."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package == "gravity" and name in MOVED:
            # Had the error the module's name, `from gravity import …` would hide it.
            raise ModuleNotFoundError(
                f"{fullname} has moved: import {MOVED[name]} instead"
            )
        return None
