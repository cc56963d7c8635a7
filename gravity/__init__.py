"""The Gravity optimizer for Keras 3, and what the book about it runs on.

`gravity.Gravity` is the optimizer; `gravity.torch` and `gravity.optax` are the same for
PyTorch and for JAX. Importing the package loads none of these frameworks; the first use
of an optimizer loads its own.

References:
    - [Bahrami and Pouriyan Zadeh, Gravity Optimizer: a Kinematic Approach on
      Optimization in Deep Learning](https://arxiv.org/abs/2101.09192)
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from gravity._moved import Signpost

if TYPE_CHECKING:
    from gravity.optimizer import Gravity

__version__ = "0.2.0"

__all__ = ["Gravity", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Gravity":
        try:
            from gravity.optimizer import Gravity
        except ModuleNotFoundError as error:
            if error.name != "keras":
                raise
            raise ModuleNotFoundError(
                "gravity.Gravity needs Keras. Install it with: "
                'pip install "gravity-optimizer[tensorflow]"',
                name="keras",
            ) from error
        return Gravity
    if name in ("optax", "torch"):
        return importlib.import_module(f"gravity.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Asked last, after everything that might find a module of that name.
if not any(isinstance(finder, Signpost) for finder in sys.meta_path):
    sys.meta_path.append(Signpost())
