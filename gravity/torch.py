"""The Gravity optimizer for PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError(
        "gravity.torch needs PyTorch, which isn't installed. Install it with: "
        'pip install "gravity-optimizer[torch]"'
    ) from error

from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT, _use_grad_for_differentiable
from torch.utils._python_dispatch import _disable_current_modes

from gravity import _sharded
from gravity._shared import checked, initial_velocity


class Gravity(Optimizer):
    r"""Optimizer that implements the Gravity algorithm.

    For every parameter $W$ with gradient $G$, at update $t = 0, 1, 2, \dots$:

    $$\hat\beta = \frac{\beta t + 1}{t + 2}, \qquad
    \zeta = \frac{G}{1 + (G \max|G|)^2}, \qquad
    V \leftarrow \hat\beta V + (1 - \hat\beta) \zeta, \qquad
    W \leftarrow W - l V$$

    with $V_0 \sim \mathcal{N}(0, \alpha / l_0)$. The maximum goes over the whole
    tensor; a gradient of zero is no special case. One NaN in a gradient makes the whole
    parameter NaN, because the maximum takes it to every element; Adam would lose that
    element alone. `torch.amp.GradScaler` skips a step with such a gradient.

    Example:

    >>> import torch
    >>> from gravity.torch import Gravity
    >>> W = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Gravity([W], lr=0.1, alpha=0.0)
    >>> loss = (W**2).sum() / 2
    >>> loss.backward()
    >>> optimizer.step()
    >>> print(W.detach())
    tensor([ 0.9900, -1.9941])

    Args:
        params: The parameters, their named kind, or dictionaries of parameter groups;
            a group may have its own value of every argument below but `seed`.
        lr: The learning rate l, a positive number or a tensor with one element.
            Defaults to `0.1`.
        alpha: The scale of the first, random displacement: it is about half of this,
            whatever the learning rate is. A number, 0 or more; 0 starts without noise.
            Defaults to `0.01`.
        beta: What the parameter of the moving average grows to, from 0 to 1. The
            average goes over about 1 / (1 - beta) updates. Defaults to `0.9`.
        weight_decay: How much of each weight, times the learning rate, an update takes
            off, a number, 0 or more. It is decoupled from the gradient, as in AdamW.
            Defaults to `0.0`.
        seed: What the initial velocities are drawn from, an integer, 0 or more. Each
            parameter's follow from the seed and the parameter's place among all those
            of the optimizer, and are those of `gravity.Gravity`, on all devices.
            Defaults to `None`, for one drawn from PyTorch's global generator, as its
            layers draw their weights: two optimizers start with different noise, and
            `torch.manual_seed` makes both reproducible. Where `torch.distributed` is
            initialized, it is the one of rank 0, so that replicas stay alike; every
            rank has to make the optimizer then, or to give a seed.
        first_step: The t of the first update, 0 or 1. Defaults to `0`, as in the
            paper's Eq. 28 and Table 2 and in the authors' experiments; 1 is its
            Algorithm 1 as printed.
        initial_learning_rate: The learning rate l₀ that sets the width of the initial
            velocity, a number, 0 or more. Defaults to `None`, for `lr` at the time the
            group is made; what a scheduler does later doesn't change it. An `lr` of 0
            is accepted only beside it. At 0 the velocity starts at 0.
        foreach: Whether to update all parameters of a group by one call for each
            operation, which is faster and needs memory for one more copy of the
            gradients. The result is the same. Defaults to `None`, for doing so unless
            `differentiable` is set or a parameter is of a tensor subclass.
        maximize: Whether to go up and not down. Defaults to `False`.
        capturable: Whether to keep t, and what follows from it, in tensors on the
            parameters' device, so that a step can be captured in a graph. A step under
            `torch.compile` always does. Defaults to `False`.
        differentiable: Whether autograd goes through the update. Defaults to `False`.

    Raises:
        ValueError: An argument is not as said above, a parameter is complex, or it is
            a piece that FullyShardedDataParallel has cut. A complex gradient has no one
            size that the paper's Eq. 21 could bend it by. The message has the
            argument's name, its value and what is accepted.

    The update is computed in float32, for float64 parameters in float64. The velocity
    is kept in the parameter's own type, and drawn when the parameter has its first
    gradient. t counts the updates of a group: the calls of `step` in which any of its
    parameters has a gradient. A sparse gradient is made dense, because the velocity
    moves every row in every update. `torch.amp.GradScaler` removes its loss scale
    before the update, which isn't proportional to the gradient.

    A parameter may be a DTensor, as `torch.distributed.fsdp.fully_shard` makes it: the
    maximum goes over its pieces in all processes, and training is that of one process.
    FullyShardedDataParallel cuts parameters into pieces that don't know of each other,
    which is refused. Pieces that another library hands over as tensors can't be told
    from whole ones: there, the result depends on the number of processes.

    References:
        - [Bahrami and Pouriyan Zadeh, Gravity Optimizer: a Kinematic Approach on
          Optimization in Deep Learning](https://arxiv.org/abs/2101.09192), Algorithm 1
          and Eq. 20, 22, 23, 26 and 27
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.1,
        alpha: float = 0.01,
        beta: float = 0.9,
        weight_decay: float = 0.0,
        *,
        seed: int | None = None,
        first_step: int = 0,
        initial_learning_rate: float | None = None,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        if seed is None:
            seed = _next_seed()
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "beta": beta,
            "weight_decay": weight_decay,
            "seed": checked(int, "seed", seed, "an integer, 0 or more, or None"),
            "first_step": first_step,
            "initial_learning_rate": initial_learning_rate,
            "foreach": foreach,
            "maximize": maximize,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, as every PyTorch optimizer does.

        Its t counts from its own first update.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            _check_group(group)
        except ValueError:
            self.param_groups.pop()
            raise
        group["step"] = torch.tensor(0, device="cpu")
        _place_step(group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a state, as `load_state_dict` and `pickle` ask every optimizer to.

        A checkpoint may come from another device.
        """
        super().__setstate__(state)
        for group in self.param_groups:
            _place_step(group)

    # The compiler of PyTorch calls a method of this name without tracing it.
    def _init_group(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        velocities: list[Tensor],
    ) -> None:
        """Collect what has a gradient, and draw the velocities that are missing."""
        first = 0
        for other in self.param_groups:
            if other is group:
                break
            first += len(other["params"])
        for index, W in enumerate(group["params"], first):
            if W.grad is None or not W.numel():
                continue
            if not self.state[W]:
                # A model may be sharded or moved once its optimizer is there.
                _sharded.check_whole(W)
                _place_step(group)
                self.state[W]["velocity"] = _first_velocity(W, group, index)
            params.append(W)
            grads.append(W.grad)
            velocities.append(self.state[W]["velocity"])

    def _check_capture(self) -> None:
        """Refuse to be captured in a graph that would repeat one t for ever."""
        # PyTorch has renamed it.
        check = getattr(self, "_accelerator_graph_capture_health_check", None)
        (check or self._cuda_graph_capture_health_check)()

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters with their gradients.

        Args:
            closure: A function that computes the loss and its gradients again, called
                before the update. Defaults to `None`.

        Returns:
            What `closure` returns, or `None`.
        """
        self._check_capture()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params: list[Tensor] = []
            grads: list[Tensor] = []
            velocities: list[Tensor] = []
            self._init_group(group, params, grads, velocities)
            if params:
                _update_group(group, params, grads, velocities)
        return loss


def _first_velocity(W: Tensor, group: dict[str, Any], index: int) -> Tensor:
    """Draw the velocity of one parameter; a DTensor's is laid out as that is."""
    alpha, rate = group["alpha"], group["initial_learning_rate"]
    noise = torch.from_numpy(
        initial_velocity(W.shape, group["seed"], index, alpha, rate)
    )
    with torch.no_grad():
        V = torch.empty_like(W, memory_format=torch.preserve_format)
        if _sharded.layout(W) is not None:
            noise = _sharded.laid_out(noise, W)
        return V.copy_(noise).detach()


def _update_group(
    group: dict[str, Any],
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
) -> None:
    """Update the parameters of a group that have a gradient."""
    grads = [G.to_dense() if G.is_sparse else G for G in grads]
    in_tensors = group["capturable"] or torch.compiler.is_compiling()
    rate, t = group["lr"], group["step"] + group["first_step"]
    if isinstance(rate, Tensor):
        rate = rate.squeeze()
        if not in_tensors and not group["differentiable"]:
            rate = rate.item()
    if not in_tensors:
        t = t.item()
    group["step"].add_(1)

    shared = None
    plain = _are_plain(params)
    if not plain and any(layouts := [_sharded.layout(W) for W in params]):
        # Each process updates the pieces that it holds.
        params, grads, velocities = _sharded.pieces(params, grads, velocities)
        here = [_steepest([G])[0] if G.numel() else G.sum() for G in grads]
        shared = _sharded.maxima([_computed(m) for m in here], layouts)
        plain = _are_plain(params)
    foreach = group["foreach"]
    if foreach is None:
        foreach = plain and not group["differentiable"]
    update = _update_together if foreach else _update_each
    sign = -1.0 if group["maximize"] else 1.0
    lists = cast(Any, [params, grads, velocities])
    by_kind = cast(Any, Optimizer._group_tensors_by_device_and_dtype(lists, True))
    for (Ws, Gs, Vs), indices in by_kind.values():
        device = Ws[0].device
        if in_tensors:
            double = any(V.dtype == torch.float64 for V in Vs)
            t = t.to(device, torch.float64 if double else torch.float32)
        if isinstance(rate, Tensor):
            rate = rate.to(device)
        beta_hat = (group["beta"] * t + 1) / (t + 2)
        steepest = [shared[index] for index in indices] if shared else None
        update(Ws, Gs, Vs, steepest, rate, beta_hat, group["weight_decay"], sign)


def _are_plain(params: list[Tensor]) -> bool:
    return all(type(W) in (Tensor, torch.nn.Parameter) for W in params)


def _computed(tensor: Tensor) -> Tensor:
    """Return a tensor in the precision of the update: float32, or float64 as it is."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _steepest(grads: list[Tensor]) -> list[Tensor]:
    """Return max|G| of each gradient."""
    if grads[0].is_cuda:
        return list(torch._foreach_norm(grads, math.inf))
    # On a CPU the norm takes several times as long as these.
    return [torch.maximum(G.max(), -G.min()) for G in grads]


# The two functions round alike, operation by operation, so their results are the same.
# t is a tensor only where a graph is captured; what needs a number is then spelt out.


def _update_each(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
    steepest: list[Tensor] | None,
    rate: float | Tensor,
    beta_hat: float | Tensor,
    weight_decay: float,
    sign: float,
) -> None:
    """Update one parameter after the other, in a way that autograd can follow."""
    tensors = zip(params, map(_computed, grads), velocities, strict=True)
    for index, (W, G, V) in enumerate(tensors):
        m = steepest[index] if steepest else _steepest([G])[0]
        steepness = 1 + torch.square(G * m)
        V_t = beta_hat * _computed(V)
        if isinstance(beta_hat, Tensor):
            V_t = V_t.addcdiv(G, steepness / (1 - beta_hat), value=sign)
        else:
            V_t = V_t.addcdiv(G, steepness, value=sign * (1 - beta_hat))
        V.copy_(V_t)
        if weight_decay:
            W.mul_(1 - rate * weight_decay)
        if isinstance(rate, Tensor):
            W.sub_(rate * V_t)
        else:
            W.add_(V_t, alpha=-rate)


def _update_together(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
    steepest: list[Tensor] | None,
    rate: float | Tensor,
    beta_hat: float | Tensor,
    weight_decay: float,
    sign: float,
) -> None:
    """Update all parameters by one call for each operation."""
    Gs, Vs = [[_computed(x) for x in xs] for xs in (grads, velocities)]
    steepness = torch._foreach_mul(Gs, steepest or _steepest(Gs))
    torch._foreach_mul_(steepness, steepness)
    torch._foreach_add_(steepness, 1)
    torch._foreach_mul_(Vs, beta_hat)
    if isinstance(beta_hat, Tensor):
        torch._foreach_div_(steepness, 1 - beta_hat)
        torch._foreach_addcdiv_(Vs, Gs, steepness, value=sign)
    else:
        torch._foreach_addcdiv_(Vs, Gs, steepness, value=sign * (1 - beta_hat))
    if Vs[0] is not velocities[0]:
        torch._foreach_copy_(velocities, Vs)
    if weight_decay:
        torch._foreach_mul_(params, 1 - rate * weight_decay)
    if isinstance(rate, Tensor):
        torch._foreach_sub_(params, torch._foreach_mul(Vs, rate))
    else:
        torch._foreach_add_(params, Vs, alpha=-rate)


def _check_group(group: dict[str, Any]) -> None:
    """Check a group's arguments, and set its initial learning rate where none is."""
    finite = "a finite number, 0 or more"
    for name, accepted, most in (
        ("alpha", finite, math.inf),
        ("beta", "a number from 0 to 1", 1),
        ("weight_decay", finite, math.inf),
    ):
        group[name] = checked(float, name, group[name], accepted, most)
    group["first_step"] = checked(int, "first_step", group["first_step"], "0 or 1", 1)
    given, rate = group["initial_learning_rate"], group["lr"]
    number = rate
    if isinstance(rate, Tensor) and rate.numel() == 1:
        number = rate.item()
    try:
        first = checked(float, "lr", number, "")
    except ValueError:
        first = -1.0
    if first < 0 or (first == 0 and given is None):
        raise ValueError(
            "Argument `lr` must be a positive finite number or a tensor with one, or 0 "
            f"beside an `initial_learning_rate`. Received: lr={rate!r}"
        )
    group["initial_learning_rate"] = checked(
        float,
        "initial_learning_rate",
        first if given is None else given,
        f"{finite}, or None",
    )
    if group["foreach"] and group["differentiable"]:
        raise ValueError(
            "Argument `foreach` must be False or None where `differentiable` is set. "
            f"Received: foreach={group['foreach']!r}"
        )
    for W in group["params"]:
        _sharded.check_whole(W)
        if group["differentiable"] and _sharded.layout(W) is not None:
            raise ValueError(
                "Argument `differentiable` must be False where a parameter is a "
                f"DTensor. Received: differentiable={group['differentiable']!r}"
            )
        if W.is_complex():
            raise ValueError(
                "Argument `params` must hold real tensors; train the "
                f"`torch.view_as_real` of a complex one. Received: {W.dtype}"
            )


def _place_step(group: dict[str, Any]) -> None:
    """Move a group's t to where its updates need it."""
    on_device = group["capturable"] and group["params"]
    device = group["params"][0].device if on_device else "cpu"
    group["step"] = group["step"].to(device)


def _next_seed() -> int:
    """Draw a seed from PyTorch's global generator, the same one in all processes."""
    # Whatever the default device is, and under modes that keep no values: the same.
    with _disable_current_modes():
        seeds = [int(torch.randint(2**32, (), device="cpu"))]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(seeds, src=0)
    return seeds[0]
