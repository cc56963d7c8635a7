"""`gravity.torch.Gravity`: what PyTorch expects of its own optimizers.

That it follows the NumPy loop and the other frameworks is tested in test_parity.py.
"""

import copy
import doctest
import io
import math
import pickle

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import gravity.torch
from gravity import kinematics
from gravity._shared import initial_velocity
from gravity.torch import Gravity

SHAPES = [(), (3,), (4, 5), (2, 3, 1, 4)]


def parameters(dtype=torch.float32, shapes=SHAPES) -> list[nn.Parameter]:
    stream = np.random.default_rng(0)
    return [
        nn.Parameter(torch.tensor(stream.normal(size=shape), dtype=dtype))
        for shape in shapes
    ]


def gradients(shapes=SHAPES, steps=20, seed=1) -> list[list[torch.Tensor]]:
    """Gradients whose size differs by orders of magnitude between steps."""
    stream = np.random.default_rng(seed)
    return [
        [
            torch.tensor(stream.normal(size=shape) * size, dtype=torch.float32)
            for shape in shapes
        ]
        for size in 10 ** stream.uniform(-3, 1.5, steps)
    ]


def run(params, optimizer, grads, step=None) -> None:
    for each in grads:
        for W, G in zip(params, each, strict=True):
            W.grad = G.to(W.dtype)
        (step or optimizer.step)()


def values(params, optimizer) -> list[np.ndarray]:
    velocities = [optimizer.state[W]["velocity"] for W in params]
    return [x.detach().double().numpy() for x in [*params, *velocities]]


def outcome(dtype=torch.float32, **arguments) -> list[np.ndarray]:
    """Weights and velocities after twenty updates."""
    params = parameters(dtype)
    optimizer = Gravity(params, **{"seed": 3, **arguments})
    run(params, optimizer, gradients())
    return values(params, optimizer)


def assert_equal(one, other) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(one, other, tolerance=1e-6) -> None:
    for a, b in zip(one, other, strict=True):
        assert np.max(np.abs(a - b)) <= tolerance * np.max(np.abs(b))


# One update, by exact fractions: W - ½ · ½ · G / (1 + (7 G)²).


@pytest.mark.parametrize("foreach", [True, False])
def test_single_step(foreach):
    W = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    W.grad = torch.tensor([1.0, 6.0, 7.0, 2.0])
    Gravity([W], lr=0.5, alpha=0.0, foreach=foreach).step()
    expected = [199 / 200, 7057 / 3530, 28817 / 9608, 1575 / 394]
    np.testing.assert_allclose(W.detach().numpy(), expected, rtol=1e-7)


@pytest.mark.parametrize("size", [1e-38, 1e-20, 1e-8, 1e4, 1e12, 1e25, 3e38])
@pytest.mark.parametrize("foreach", [True, False])
def test_extreme_gradients_give_finite_steps(size, foreach):
    W = nn.Parameter(torch.ones(3))
    W.grad = torch.tensor([size, -size / 2, 0.0])
    Gravity([W], lr=1.0, alpha=0.0, foreach=foreach).step()
    steepness = 1.0 if size < 1 else 0.0
    expected = 1 - 0.5 * steepness * W.grad.numpy()
    np.testing.assert_allclose(W.detach().numpy(), expected, atol=1e-6)


def test_zero_gradients_and_empty_parameters():
    W, empty = nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.empty(0, 3))
    W.grad, empty.grad = torch.zeros(2), torch.zeros(0, 3)
    Gravity([empty, W], alpha=0.0).step()
    np.testing.assert_array_equal(W.detach().numpy(), [1.0, -2.0])


# One result, however it is computed.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "arguments", [{}, {"weight_decay": 0.1, "maximize": True, "first_step": 1}]
)
def test_foreach_and_for_loop_give_the_same(dtype, arguments):
    assert_equal(
        outcome(dtype, foreach=True, **arguments),
        outcome(dtype, foreach=False, **arguments),
    )


def test_foreach_and_for_loop_give_the_same_in_low_precision():
    one, other = (outcome(torch.bfloat16, foreach=foreach) for foreach in (True, False))
    assert_equal(one, other)


@pytest.mark.parametrize("foreach", [True, False])
@pytest.mark.parametrize(
    "arguments",
    [
        {"capturable": True},
        {"lr": torch.tensor(0.1)},
        {"lr": torch.tensor([0.1])},
        {"lr": torch.tensor(0.1), "capturable": True, "weight_decay": 0.0},
    ],
)
def test_tensors_in_place_of_numbers_give_the_same(foreach, arguments):
    assert_close(outcome(foreach=foreach, **arguments), outcome(foreach=foreach))


def test_capturable_never_looks_into_a_tensor(monkeypatch):
    def refuse(self):
        raise AssertionError("a captured graph can't wait for a number")

    params = parameters()
    optimizer = Gravity(params, torch.tensor(0.1), weight_decay=0.1, capturable=True)
    monkeypatch.setattr(torch.Tensor, "item", refuse)
    run(params, optimizer, gradients(steps=2))


def test_maximize_is_minimizing_the_negative():
    params = parameters()
    optimizer = Gravity(params, seed=3)
    run(params, optimizer, [[-G for G in each] for each in gradients()])
    assert_equal(outcome(maximize=True), values(params, optimizer))


def test_weight_decay_is_decoupled():
    W, same = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    decaying = Gravity([W], 0.5, seed=0, weight_decay=0.1)
    plain = Gravity([same], 0.5, seed=0)
    W.grad = same.grad = torch.tensor([0.2, 0.4])
    decaying.step()
    plain.step()
    assert_equal([decaying.state[W]["velocity"]], [plain.state[same]["velocity"]])
    np.testing.assert_allclose(
        W.detach().numpy(), same.detach().numpy() - 0.05, rtol=1e-6
    )


def test_autograd_goes_through_a_differentiable_step():
    def weight_after(rate, W_0, G):
        W = W_0.clone()
        W.grad = G
        optimizer = Gravity([W], rate, seed=0, differentiable=True, weight_decay=0.1)
        for _ in range(3):
            optimizer.step()
        return W

    W_0, G = torch.tensor([[0.3, -0.7], [0.5, 0.2]], dtype=torch.float64)
    rate = torch.tensor(0.2, dtype=torch.float64)
    inputs = [x.clone().requires_grad_() for x in (rate, W_0, G)]
    (derivative,) = torch.autograd.grad(weight_after(*inputs).sum(), inputs[2])
    step = 1e-6
    for index in range(2):
        ahead, behind = G.clone(), G.clone()
        ahead[index] += step
        behind[index] -= step
        with torch.no_grad():
            slope = (
                weight_after(rate, W_0, ahead).sum()
                - weight_after(rate, W_0, behind).sum()
            ) / (2 * step)
        assert derivative[index] == pytest.approx(float(slope), rel=1e-6)


def compiled_outcome(**arguments) -> list[np.ndarray]:
    torch._dynamo.reset()
    params = parameters()
    optimizer = Gravity(params, **{"seed": 3, **arguments})
    step = torch.compile(optimizer.step)
    run(params, optimizer, gradients(), step)
    assert int(optimizer.param_groups[0]["step"]) == 20
    return values(params, optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("foreach", [True, False])
def test_compiled_step_gives_the_same(foreach):
    assert_close(compiled_outcome(foreach=foreach), outcome(foreach=foreach))


def test_traced_step_gives_the_same_and_is_traced_once():
    """What `torch.compile` does but for generating machine code."""
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    params = parameters()
    optimizer = Gravity(params, torch.tensor(0.1), seed=3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 1.0)
    step = torch.compile(optimizer.step, backend=counter)
    first, *others = gradients()
    run(params, optimizer, [first], step)
    frames = counter.frame_count
    assert frames > 0
    for each in others:
        scheduler.step()
        run(params, optimizer, [each], step)
    # One more: the first found no velocities.
    assert counter.frame_count <= frames + 1
    assert_close(values(params, optimizer), outcome())


# Gradients of other kinds.


def test_a_sparse_gradient_is_its_dense_one():
    words = torch.tensor([1, 4, 1, 0, 1])
    results = []
    for sparse in (True, False):
        torch.manual_seed(0)
        table = nn.Embedding(6, 2, sparse=sparse)
        optimizer = Gravity(table.parameters(), seed=0)
        for _ in range(3):
            optimizer.zero_grad()
            (table(words) ** 2).sum().backward()
            assert table.weight.grad.is_sparse == sparse
            optimizer.step()
        results.append(values([table.weight], optimizer))
    assert_close(*results)


def test_complex_parameters_are_refused():
    with pytest.raises(ValueError, match=r"real tensors; .* Received: torch.complex64"):
        Gravity([nn.Parameter(torch.zeros(2, dtype=torch.complex64))])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(dtype):
    W = nn.Parameter(torch.ones(3, dtype=dtype))
    W.grad = torch.tensor([100.0, 5.0, 0.01], dtype=dtype)
    optimizer = Gravity([W], lr=1.0, alpha=0.0)
    optimizer.step()
    V = optimizer.state[W]["velocity"]
    assert V.dtype == dtype
    # The squares that ζ needs overflow float16.
    zeta = [100 / (1 + 1e8), 5 / (1 + 25e4), 0.01 / 2]
    np.testing.assert_allclose(
        V.float().numpy(), np.array(zeta) / 2, rtol=0.01, atol=1e-7
    )


def test_grad_scaler_divides_its_scale_out_and_skips_an_overflow():
    results = []
    for scale in (None, 1024.0):
        W = nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer = Gravity([W], seed=0)
        scaler = torch.amp.GradScaler(
            "cpu", enabled=scale is not None, init_scale=scale or 1.0
        )
        for factor in (1.0, 3.0, math.inf, 0.1):
            if scale is None and factor == math.inf:
                continue
            optimizer.zero_grad()
            scaler.scale((factor * W**2).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        assert int(optimizer.param_groups[0]["step"]) == 3
        results.append(values([W], optimizer))
    assert_equal(*results)


def test_parameters_without_a_gradient_stay_as_they_are():
    W, still = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = Gravity([still, W], seed=0)
    W.grad = torch.ones(2)
    optimizer.step()
    assert still not in optimizer.state
    assert_equal([still.detach()], [np.ones(2)])
    optimizer.zero_grad()
    optimizer.step()
    assert int(optimizer.param_groups[0]["step"]) == 1
    still.grad = torch.zeros(2)
    optimizer.step()
    V_0 = initial_velocity((2,), 0, index=0)
    V = optimizer.state[still]["velocity"].numpy()
    np.testing.assert_allclose(V, V_0 * kinematics.effective_beta(1), rtol=1e-6)


# The initial velocity.


def drawn(*args, **arguments) -> list[np.ndarray]:
    params = parameters(shapes=[(50,), (50,)])
    optimizer = Gravity(params, *args, **arguments)
    run(params, optimizer, [[torch.zeros(50)] * 2])
    return [2 * optimizer.state[W]["velocity"].numpy() for W in params]


def test_initial_velocity_is_that_of_every_framework():
    stream = [np.random.default_rng(s) for s in np.random.SeedSequence(7).spawn(2)]
    for V_0, numbers in zip(drawn(0.2, 0.03, seed=7), stream, strict=True):
        expected = 0.03 / 0.2 * numbers.standard_normal(50, np.float32)
        np.testing.assert_allclose(V_0, expected, rtol=1e-6)


def test_without_a_seed_noise_is_drawn_and_torchs_global_seed_reproduces_it():
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append([drawn()[0], drawn()[0]])
    assert_equal(draws[0], draws[1])
    # Two optimizers differ, and so do two global seeds.
    different = [*draws[0], *draws[2]]
    for index, one in enumerate(different):
        for other in different[index + 1 :]:
            assert not np.intersect1d(one, other).size


def test_no_global_random_stream_is_disturbed_where_a_seed_is_given():
    torch.manual_seed(1)
    undisturbed = torch.rand(3)
    torch.manual_seed(1)
    drawn(seed=0)
    assert_equal([torch.rand(3)], [undisturbed])


@pytest.mark.parametrize("seed", [None, 3])
def test_the_default_device_does_not_matter(seed):
    torch.manual_seed(1)
    expected = drawn(seed=seed)
    W = parameters(shapes=[(50,), (50,)])
    torch.manual_seed(1)
    with torch.device("meta"):
        optimizer = Gravity(W, seed=seed)
        W[0].grad = W[1].grad = torch.zeros(50, device="cpu")
        optimizer.step()
        abstract = nn.Linear(3, 2)
        abstract.weight.grad = torch.zeros(2, 3)
        Gravity(abstract.parameters(), seed=seed).step()
    assert_equal([2 * optimizer.state[w]["velocity"] for w in W], expected)


def test_memory_can_be_estimated_without_values():
    with FakeTensorMode():
        model = nn.Linear(3, 2)
        optimizer = Gravity(model.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.ones(4, 3)).sum().backward()
            optimizer.step()
        assert optimizer.state[model.weight]["velocity"].shape == (2, 3)


def test_groups_have_their_own_rates_and_widths():
    W = parameters(shapes=[(50,), (50,), (50,)])
    groups = [
        {"params": W[:1]},
        {"params": W[1:2], "lr": 0.5},
        {"params": W[2:], "lr": 0.5, "initial_learning_rate": 0.25, "alpha": 0.04},
    ]
    optimizer = Gravity(groups, lr=0.1, seed=2)
    before = [w.detach().clone().numpy() for w in W]
    run(W, optimizer, [[torch.zeros(50)] * 3])
    for index, (l_0, alpha, rate) in enumerate(
        [(0.1, 0.01, 0.1), (0.5, 0.01, 0.5), (0.25, 0.04, 0.5)]
    ):
        V_0 = initial_velocity((50,), 2, index, alpha, l_0)
        V = optimizer.state[W[index]]["velocity"].numpy()
        np.testing.assert_allclose(V, V_0 / 2, rtol=1e-6)
        after = W[index].detach().numpy()
        np.testing.assert_allclose(after, before[index] - rate * V_0 / 2, rtol=1e-5)


def test_a_group_added_later_starts_its_own_count():
    W, late = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = Gravity([W], seed=0)
    run([W], optimizer, [[torch.ones(2)]] * 5)
    optimizer.add_param_group({"params": [late], "lr": 0.2})
    late.grad = torch.zeros(2)
    optimizer.step()
    V_0 = initial_velocity((2,), 0, index=1, learning_rate=0.2)
    V = optimizer.state[late]["velocity"].numpy()
    np.testing.assert_allclose(V, V_0 / 2, rtol=1e-6)
    with pytest.raises(ValueError, match="`alpha`"):
        optimizer.add_param_group({"params": parameters(), "alpha": -1})
    assert len(optimizer.param_groups) == 2


# Schedulers, closures, saving.


def test_a_scheduler_sets_the_rates_and_leaves_the_width():
    W = nn.Parameter(torch.tensor([1.0, -1.0]))
    optimizer = Gravity([W], lr=0.5, seed=6)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3)
    start, G = W.detach().numpy().astype("float64"), gradients([(2,)], steps=6)
    rates = []
    for each in G:
        rates.append(optimizer.param_groups[0]["lr"])
        run([W], optimizer, [each])
        warm_up.step()
    assert rates[0] == pytest.approx(0.05)
    assert rates[-1] == 0.5
    V_0 = initial_velocity((2,), 6, learning_rate=0.5).astype("float64")
    weights, _ = kinematics.trajectory(start, V_0, np.array([g[0] for g in G]), rates)
    assert_close([W.detach().numpy()], [weights[-1]])


def test_a_closure_is_called_and_its_loss_returned():
    W = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = Gravity([W], lr=0.1, alpha=0.0)

    def closure():
        optimizer.zero_grad()
        loss = (W**2).sum() / 2
        loss.backward()
        return loss.detach()

    assert float(optimizer.step(closure)) == 2.5
    np.testing.assert_allclose(W.detach().numpy(), [1 - 0.01, -2 + 0.1 / 17])


@pytest.mark.parametrize("carry", ["file", "pickle", "deepcopy"])
@pytest.mark.parametrize("capturable", [False, True])
def test_a_saved_optimizer_continues_bit_for_bit(carry, capturable):
    def start():
        params = parameters()
        groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.3}]
        return params, Gravity(groups, capturable=capturable, weight_decay=0.01)

    early, late = gradients()[:7], gradients()[7:]
    params, optimizer = start()
    run(params, optimizer, early)
    if carry == "file":
        file = io.BytesIO()
        torch.save((params, optimizer.state_dict()), file)
        file.seek(0)
        saved, state = torch.load(file, weights_only=True)
        again, other = start()
        with torch.no_grad():
            for W, value in zip(again, saved, strict=True):
                W.copy_(value)
        other.load_state_dict(state)
    else:
        both = params, optimizer
        again, other = (
            pickle.loads(pickle.dumps(both))
            if carry == "pickle"
            else copy.deepcopy(both)
        )
    run(params, optimizer, late)
    run(again, other, late)
    assert_equal(values(again, other), values(params, optimizer))
    assert int(other.param_groups[0]["step"]) == 20


def test_a_checkpoint_from_another_device_is_taken_where_the_parameters_are():
    def start(device):
        W = nn.Parameter(torch.ones(2, device=device))
        W.grad = torch.ones_like(W)
        return W, Gravity([W], capturable=True)

    _, saved = start("cpu")
    saved.step()
    # A GPU stands for it elsewhere; this device has no values, but it is another one.
    W, optimizer = start("meta")
    optimizer.load_state_dict(saved.state_dict())
    assert optimizer.param_groups[0]["step"].device.type == "meta"
    assert optimizer.state[W]["velocity"].device.type == "meta"
    optimizer.step()


@pytest.mark.parametrize("capturable", [False, True])
def test_a_group_may_be_empty(capturable):
    W, same = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    W.grad = same.grad = torch.tensor([0.3, -2.0])
    groups = [{"params": []}, {"params": [W]}]
    optimizer = Gravity(groups, seed=0, capturable=capturable)
    optimizer.load_state_dict(copy.deepcopy(optimizer).state_dict())
    optimizer.step()
    Gravity([same], seed=0).step()
    assert_close([W.detach().numpy()], [same.detach().numpy()])


def test_a_gradient_may_be_of_another_type_than_its_parameter():
    W, same = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    W.grad_dtype = torch.bfloat16
    W.grad = torch.tensor([0.5, -2.0], dtype=torch.bfloat16)
    same.grad = torch.tensor([0.5, -2.0])
    Gravity([W], seed=0).step()
    Gravity([same], seed=0).step()
    assert_equal([W.detach()], [same.detach()])


@pytest.mark.parametrize("foreach", [True, False])
def test_one_nan_takes_its_whole_parameter_along(foreach):
    W, other = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(1))
    W.grad, other.grad = torch.tensor([0.1, math.nan, 0.0]), torch.ones(1)
    Gravity([W, other], seed=0, foreach=foreach).step()
    assert torch.all(torch.isnan(W))
    assert torch.all(torch.isfinite(other))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only CUDA has such graphs")
def test_a_graph_that_would_repeat_one_t_is_refused():
    W = nn.Parameter(torch.ones(2, device="cuda"))
    W.grad = torch.ones_like(W)
    optimizer = Gravity([W], seed=0)
    optimizer.step()
    captured = torch.cuda.graph(torch.cuda.CUDAGraph())
    with pytest.raises(RuntimeError, match="capturable is False"), captured:
        optimizer.step()


def test_an_optimizer_saved_before_its_first_step_draws_the_same():
    one = Gravity(parameters())
    params = parameters()
    other = Gravity(params, seed=99)
    other.load_state_dict(one.state_dict())
    run(params, other, gradients(steps=1))
    assert other.param_groups[0]["seed"] == one.defaults["seed"] != 99


# Arguments.

NUMBERS = [-1.0, math.nan, math.inf, "0.1", [0.1], True, 1j, None]


@pytest.mark.parametrize(
    ("name", "accepted", "values"),
    [
        ("alpha", "a finite number, 0 or more", NUMBERS),
        ("beta", "a number from 0 to 1", [*NUMBERS, 1.001]),
        ("weight_decay", "a finite number, 0 or more", NUMBERS),
        ("seed", "an integer, 0 or more, or None", [*NUMBERS[:-1], 1.0]),
        ("first_step", "0 or 1", [*NUMBERS, 2, 0.0]),
        (
            "initial_learning_rate",
            "a finite number, 0 or more, or None",
            NUMBERS[:-1],
        ),
    ],
)
def test_bad_arguments_are_named(name, accepted, values):
    for value in values:
        with pytest.raises(ValueError, match="Received") as caught:
            Gravity(parameters(), **{name: value})
        received = f"Received: {name}={value!r}"
        assert str(caught.value) == f"Argument `{name}` must be {accepted}. {received}"


@pytest.mark.parametrize("rate", [*NUMBERS, 0.0, torch.zeros(()), torch.ones(2)])
def test_bad_learning_rates_are_named(rate):
    with pytest.raises(ValueError, match="Argument `lr` must be a positive"):
        Gravity(parameters(), rate)


def test_a_rate_of_zero_is_accepted_beside_an_initial_one():
    first, *_ = drawn(0.0, initial_learning_rate=0.1, seed=0)
    np.testing.assert_allclose(first, initial_velocity((50,), 0), rtol=1e-6)
    assert not np.any(drawn(0.0, initial_learning_rate=0.0)[0])


def test_foreach_and_differentiable_exclude_each_other():
    with pytest.raises(ValueError, match="`foreach` must be False or None"):
        Gravity(parameters(), foreach=True, differentiable=True)


def test_the_docstrings_example_runs():
    failed, attempted = doctest.testmod(gravity.torch)
    assert attempted > 0
    assert failed == 0


# Convergence, on functions scaled so that their slopes at the start are about 1, as far
# as Gravity follows a slope before it bends it back.


def parabola(W):
    return 0.1 * ((W - torch.tensor([1.0, -1.0, 1.0])) ** 2).sum()


def rosenbrock(W):
    return ((1 - W[0]) ** 2 + 100 * (W[1] - W[0] ** 2) ** 2) / 50


@pytest.mark.parametrize(
    ("height", "start", "minimum", "rate", "steps", "distance"),
    [
        (parabola, [-1.0, 10.0, 1.0], [1.0, -1.0, 1.0], 0.5, 500, 1e-5),
        (rosenbrock, [-1.2, 1.0], [1.0, 1.0], 0.5, 2000, 1e-3),
    ],
)
def test_convergence(height, start, minimum, rate, steps, distance):
    W = nn.Parameter(torch.tensor(start))
    optimizer = Gravity([W], rate, seed=0)
    for _ in range(steps):
        optimizer.zero_grad()
        height(W).backward()
        optimizer.step()
    np.testing.assert_allclose(W.detach().numpy(), minimum, atol=distance)
