"""Parameters of PyTorch that several processes hold the pieces of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Layout: TypeAlias = tuple[Any, tuple[int, ...]]
"""A device mesh, and the dimensions of it over which a tensor is cut up."""


def check_whole(W: Tensor) -> None:
    """Refuse a piece of a tensor that doesn't know of the others.

    Raises:
        ValueError: FullyShardedDataParallel has made it.
    """
    merged = getattr(W, "_is_flat_param", False)
    cut = getattr(W, "_fsdp_flattened", False)
    if merged or (cut and torch.distributed.get_world_size() > 1):
        done = "merged with others" if merged else "cut up"
        raise ValueError(
            "Argument `params` must hold whole tensors or DTensors: the paper's max|G| "
            "goes over a whole tensor. Shard the model with "
            "`torch.distributed.fsdp.fully_shard`. Received: a parameter that "
            f"FullyShardedDataParallel has {done}"
        )


def layout(W: Any) -> Layout | None:
    """Return the layout of a DTensor, or None for any other tensor."""
    if type(W) in (Tensor, torch.nn.Parameter) or not hasattr(W, "device_mesh"):
        return None
    cut = [dim for dim, place in enumerate(W.placements) if not place.is_replicate()]
    return W.device_mesh, tuple(cut)


def laid_out(whole: Tensor, W: Any) -> Tensor:
    """Return a tensor that every process has as a DTensor that lies as another does.

    Nothing is sent: each process keeps its piece.
    """
    from torch.distributed.tensor import DTensor, Replicate

    mesh = W.device_mesh
    everywhere = DTensor.from_local(whole, mesh, [Replicate()] * mesh.ndim)
    return everywhere.redistribute(mesh, W.placements)


def pieces(
    params: Sequence[Tensor], grads: Sequence[Tensor], velocities: Sequence[Tensor]
) -> list[list[Tensor]]:
    """Return what this process holds of each tensor, in the layout of its parameter."""

    def piece(tensor: Any, W: Any) -> Tensor:
        if layout(W) is None:
            return tensor
        if tensor.placements != W.placements:
            tensor = tensor.redistribute(W.device_mesh, W.placements)
        return tensor.to_local()

    return [
        [piece(tensor, W) for tensor, W in zip(tensors, params, strict=True)]
        for tensors in (params, grads, velocities)
    ]


def maxima(here: Sequence[Tensor], layouts: Sequence[Layout | None]) -> list[Tensor]:
    """Return the maxima of whole tensors.

    Args:
        here: those of the pieces in this process: numbers, 0 or more, of shape ().
        layouts: the layout of each tensor, in an order that all processes share.
    """
    whole = list(here)
    together: dict[Any, list[int]] = {}
    for index, (place, found) in enumerate(zip(layouts, here, strict=True)):
        if place is not None:
            together.setdefault((*place, found.dtype), []).append(index)
    for (mesh, cut, dtype), indices in together.items():
        several = torch.stack([here[index] for index in indices])
        # A maximum over processes may lose a NaN, so it goes along as a 1.
        lost = several.isnan()
        sent = torch.stack([several.masked_fill(lost, 0), lost.to(dtype)])
        sent = sent.to(mesh.device_type)
        for dim in cut:
            torch.distributed.all_reduce(
                sent, torch.distributed.ReduceOp.MAX, mesh.get_group(dim)
            )
        found, lost = sent.to(several.device).unbind()
        found = found.masked_fill(lost > 0, math.nan)
        for index, maximum in zip(indices, found.unbind(), strict=True):
            whole[index] = maximum
    return whole
