"""`gravity.torch.Gravity` in several processes: training must be that of one."""

import os

import numpy as np
import pytest
import torch
from torch import distributed, nn

from gravity.torch import Gravity

pytestmark = pytest.mark.skipif(
    not distributed.is_available(), reason="PyTorch is built without it"
)


def processes(function, count: int, folder) -> list:
    """Return what `function(rank, count)` returns in each of several processes."""
    # They meet in a file: a port may be taken by another test before they do.
    meeting = (folder / "meeting").as_uri()
    context = torch.multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    started = [
        context.Process(target=_process, args=(function, rank, count, meeting, results))
        for rank in range(count)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
        process.kill()
        assert process.exitcode == 0
    found = dict(results.get() for _ in range(count))
    return [found[rank] for rank in range(count)]


def _process(function, rank: int, count: int, meeting: str, results) -> None:
    distributed.init_process_group("gloo", meeting, rank=rank, world_size=count)
    results.put((rank, function(rank, count)))
    distributed.barrier()
    # To take the group apart may hang: the thread that PyTorch waits for may wait for
    # Python's lock (pytorch/pytorch#56297).
    os._exit(0)


def model(seed: int = 0) -> nn.Module:
    """The last layer has one row: where rows are dealt out, only one process has it."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))


def train(network, optimizer, rank=0, count=1, steps=5) -> None:
    """Train on this process's share of eight examples."""
    stream = np.random.default_rng(1)
    x, y = (torch.tensor(stream.normal(size=(8, n)), dtype=torch.float) for n in (3, 1))
    mine = slice(8 // count * rank, 8 // count * (rank + 1))
    for _ in range(steps):
        optimizer.zero_grad()
        # Steep enough for max|G| to count.
        (3 * (network(x[mine]) - y[mine]) ** 2).mean().backward()
        optimizer.step()


def weights(network) -> list[list]:
    """Return whole weights as lists: a tensor's memory would go with its process."""
    return [
        (W.full_tensor() if hasattr(W, "full_tensor") else W).tolist()
        for W in network.parameters()
    ]


def alone(**arguments) -> list[list]:
    network = model()
    train(network, Gravity(network.parameters(), **arguments))
    return weights(network)


def assert_close(one, other) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def _replica(rank: int, count: int) -> list:
    states = []
    for seed in (None, 5):
        # Replicas usually have seeds of their own, for dropout and shuffling.
        torch.manual_seed(rank)
        network = nn.parallel.DistributedDataParallel(nn.Linear(3, 2))
        optimizer = Gravity(network.parameters(), seed=seed)
        for _ in range(3):
            optimizer.zero_grad()
            network(torch.randn(4, 3)).square().sum().backward()
            optimizer.step()
        velocities = [optimizer.state[W]["velocity"] for W in network.parameters()]
        states.append([x.tolist() for x in [*network.parameters(), *velocities]])
    return states


def test_replicas_stay_alike(tmp_path):
    one, other = processes(_replica, 2, tmp_path)
    assert one == other
    assert one[0] != one[1]


SETTINGS = {
    "no noise": {"alpha": 0.0},
    "noise": {"seed": 3},
    "one by one": {"seed": 3, "foreach": False},
    "tensors": {"seed": 3, "capturable": True, "weight_decay": 0.1},
}


def _mesh(count: int, **arguments):
    return distributed.device_mesh.init_device_mesh("cpu", (count,), **arguments)


def _fully_sharded(rank: int, count: int) -> dict:
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    found = {}
    for name, settings in {**SETTINGS, "unseeded": {}}.items():
        network = model()
        fully_shard(network, mesh=_mesh(count))
        torch.manual_seed(rank)
        optimizer = Gravity(network.parameters(), **settings)
        train(network, optimizer, rank, count)
        found[name] = weights(network), optimizer.defaults["seed"]
        for W in network.parameters():
            V = optimizer.state[W]["velocity"]
            assert isinstance(V, DTensor)
            assert V.placements == W.placements
    # A NaN in the piece of one process.
    W = next(iter(network.parameters()))
    W.grad = W.detach().clone()
    if rank == 0:
        W.grad.to_local()[0, 0] = torch.nan
    optimizer.step()
    assert torch.all(torch.isnan(W.to_local()))
    return found


def test_fully_sharded_parameters_train_as_in_one_process(tmp_path):
    one, other = processes(_fully_sharded, 2, tmp_path)
    assert one == other
    for name, settings in SETTINGS.items():
        assert_close(one[name][0], alone(**settings))
    found, seed = one["unseeded"]
    assert_close(found, alone(seed=seed))


def _tensor_parallel(rank: int, count: int) -> list:
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
    )

    network = model()
    plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    parallelize_module(network, _mesh(count), plan)
    train(network, Gravity(network.parameters(), seed=3))
    return weights(network)


def test_tensor_parallel_parameters_train_as_in_one_process(tmp_path):
    for found in processes(_tensor_parallel, 2, tmp_path):
        assert_close(found, alone(seed=3))


def _both(rank: int, count: int) -> list:
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
    )

    mesh = distributed.device_mesh.init_device_mesh(
        "cpu", (2, 2), mesh_dim_names=("data", "model")
    )
    network = model()
    plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    parallelize_module(network, mesh["model"], plan)
    fully_shard(network, mesh=mesh["data"])
    train(network, Gravity(network.parameters(), seed=3), rank // 2, 2)
    return weights(network)


@pytest.mark.slow
def test_parameters_that_are_cut_up_in_two_ways_train_as_in_one_process(tmp_path):
    for found in processes(_both, 4, tmp_path):
        assert_close(found, alone(seed=3))


def _checkpoint(rank: int, count: int) -> tuple[list, list]:
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
    from torch.distributed.fsdp import fully_shard

    def start(seed):
        network = model(seed)
        fully_shard(network, mesh=_mesh(count))
        return network, Gravity(network.parameters(), seed=seed)

    network, optimizer = start(3)
    train(network, optimizer, rank, count, steps=3)
    names = ("model", "optimizer")
    saved = dict(zip(names, get_state_dict(network, optimizer), strict=True))
    folder = os.environ["GRAVITY_TEST_FOLDER"]
    checkpoint.save(saved, checkpoint_id=folder)
    train(network, optimizer, rank, count, steps=2)

    again, other = start(4)
    loaded = dict(zip(names, get_state_dict(again, other), strict=True))
    checkpoint.load(loaded, checkpoint_id=folder)
    set_state_dict(
        again,
        other,
        model_state_dict=loaded["model"],
        optim_state_dict=loaded["optimizer"],
    )
    train(again, other, rank, count, steps=2)
    return weights(again), weights(network)


def test_a_distributed_checkpoint_continues_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAVITY_TEST_FOLDER", str(tmp_path / "checkpoint"))
    for found, expected in processes(_checkpoint, 2, tmp_path):
        assert found == expected


def _flattened(rank: int, count: int) -> list[str]:
    from torch.distributed.fsdp import FullyShardedDataParallel

    def wrapped(network, whole):
        return FullyShardedDataParallel(
            network, use_orig_params=whole, device_id=torch.device("cpu")
        )

    def before() -> None:
        network = model()
        optimizer = Gravity(network.parameters(), seed=0)
        train(wrapped(network, True), optimizer, rank, count)

    refused = []
    for attempt in (
        lambda: Gravity(wrapped(model(), True).parameters()),
        lambda: Gravity(wrapped(model(), False).parameters()),
        before,
    ):
        try:
            attempt()
        except ValueError as error:
            refused.append(str(error))
    return refused


def test_pieces_that_do_not_know_of_each_other_are_refused(tmp_path):
    for refused in processes(_flattened, 2, tmp_path):
        assert len(refused) == 3
        for message in refused:
            assert message.startswith("Argument `params` must hold whole tensors or")
            assert "fully_shard" in message
        assert refused[0].endswith("FullyShardedDataParallel has cut up")
        assert refused[1].endswith("FullyShardedDataParallel has merged with others")


def _one_process(rank: int, count: int) -> list:
    from torch.distributed.fsdp import FullyShardedDataParallel

    network = FullyShardedDataParallel(
        model(), use_orig_params=True, device_id=torch.device("cpu")
    )
    train(network, Gravity(network.parameters(), seed=3))
    return weights(network)


def test_one_process_alone_has_whole_parameters(tmp_path):
    (found,) = processes(_one_process, 1, tmp_path)
    assert_close(found, alone(seed=3))


def test_autograd_does_not_go_through_pieces(tmp_path):
    (message,) = processes(_differentiable, 1, tmp_path)
    assert message.endswith("a DTensor. Received: differentiable=True")


def _differentiable(rank: int, count: int) -> str:
    from torch.distributed.fsdp import fully_shard

    network = model()
    fully_shard(network, mesh=_mesh(count))
    try:
        Gravity(network.parameters(), differentiable=True)
    except ValueError as error:
        return str(error)
    return "not refused"


def _dealt_out_examples(rank: int, count: int) -> tuple[bool, list]:
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = _mesh(count)
    stream = np.random.default_rng(1)
    start, x = stream.normal(size=(3, 1)), stream.normal(size=(8, 3))
    W = nn.Parameter(distribute_tensor(torch.tensor(start), mesh, [Replicate()]))
    x = distribute_tensor(torch.tensor(x), mesh, [Shard(0)])
    optimizer = Gravity([W], seed=3)
    for _ in range(3):
        optimizer.zero_grad()
        (x @ W).square().sum().backward()
        partial = W.grad.placements != W.placements
        optimizer.step()
    return partial, W.to_local().tolist()


def test_gradients_that_are_not_added_up_yet_are(tmp_path):
    stream = np.random.default_rng(1)
    start, x = stream.normal(size=(3, 1)), stream.normal(size=(8, 3))
    W, x = nn.Parameter(torch.tensor(start)), torch.tensor(x)
    optimizer = Gravity([W], seed=3)
    for _ in range(3):
        optimizer.zero_grad()
        (x @ W).square().sum().backward()
        optimizer.step()
    for partial, found in processes(_dealt_out_examples, 2, tmp_path):
        assert partial
        np.testing.assert_allclose(found, W.tolist(), rtol=1e-12)
