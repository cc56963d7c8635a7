"""`gravity.optax` on several devices: a velocity lies where its parameter lies.

JAX makes eight devices of a processor only if told so before it starts, so what is
tested runs in a process of its own.
"""

import contextlib
import json
import os
import subprocess
import sys
import traceback

import pytest

SPECS = {"cut twice": ("x", "y"), "cut once": ("x",), "whole": ()}
CASES = {
    f"{kind}, {spec}, {way}{entered}": (kind, spec, way, bool(entered))
    for kind in ("Auto", "Explicit")
    for spec in SPECS
    for way in ("init", "jit")
    for entered in ("", ", in the mesh")
}


def lies(kind: str, spec: str, way: str, entered: bool) -> None:
    """Train a parameter that lies on a mesh, and compare with one that doesn't."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    from gravity.optax import gravity

    start = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")

    def train(W, key):
        optimizer = gravity(0.3, key=key, weight_decay=0.1)
        state = (jax.jit(optimizer.init) if way == "jit" else optimizer.init)(W)
        velocities = [optax.tree.get(state, "velocity")]

        @jax.jit
        def step(W, state):
            updates, state = optimizer.update(3 * W, state, W)
            return optax.apply_updates(W, updates), state

        for _ in range(3):
            W, state = step(W, state)
            velocities.append(optax.tree.get(state, "velocity"))
        return W, velocities

    expected, alone = train(jnp.asarray(start), jax.random.key(1))
    kinds = (AxisType[kind],) * 2
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=kinds)
    W = jax.device_put(start, NamedSharding(mesh, PartitionSpec(*SPECS[spec])))
    with jax.set_mesh(mesh) if entered else contextlib.nullcontext():
        after, velocities = train(W, jax.random.key(1))
    for V, one in zip(velocities, alone, strict=True):
        assert V.sharding.is_equivalent_to(W.sharding, 2), V.sharding
        np.testing.assert_allclose(V, one, rtol=1e-5)
    np.testing.assert_allclose(after, expected, rtol=1e-5)


def another_device() -> None:
    import jax
    import jax.numpy as jnp
    import optax

    from gravity.optax import gravity

    optimizer = gravity(key=0)
    W = jax.device_put(jnp.ones(3), jax.devices()[3])
    for init in (optimizer.init, jax.jit(optimizer.init)):
        V = optax.tree.get(init(W), "velocity")
        assert V.devices() == W.devices(), V.devices()
    # What may still be moved stays so.
    V = optax.tree.get(optimizer.init(jnp.ones(3)), "velocity")
    assert not V.committed


def pieces() -> None:
    """Within shard_map a step can be scanned, as with Adam."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from jax.sharding import NamedSharding, PartitionSpec

    from gravity.optax import gravity

    optimizer = gravity(0.3, key=0)

    def train(W):
        def step(held, _):
            W, state = held
            updates, state = optimizer.update(W, state, W)
            return (optax.apply_updates(W, updates), state), None

        return jax.lax.scan(step, (W, optimizer.init(W)), None, length=3)[0][0]

    mesh, rows = jax.make_mesh((8,), ("x",)), PartitionSpec("x")
    mapped = jax.shard_map(train, mesh=mesh, in_specs=rows, out_specs=rows)
    W = jnp.arange(1.0, 17.0).reshape(8, 2)
    # Each device takes its row for the array, as the docstring says.
    one_by_one = jnp.concatenate([train(row[None]) for row in W])
    W = jax.device_put(W, NamedSharding(mesh, rows))
    np.testing.assert_allclose(jax.jit(mapped)(W), one_by_one, rtol=1e-5)


def main() -> None:
    report = {}
    tasks = {name: lambda case=case: lies(*case) for name, case in CASES.items()}
    for name, task in {**tasks, "device": another_device, "pieces": pieces}.items():
        try:
            task()
            report[name] = "as it should"
        except Exception:
            report[name] = traceback.format_exc()
    print(json.dumps(report))


@pytest.fixture(scope="module")
def report():
    code = f"import runpy; runpy.run_path({__file__!r}, run_name='__main__')"
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | flags,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", CASES)
def test_a_velocity_lies_where_its_parameter_lies(report, name):
    assert report[name] == "as it should", report[name]


def test_a_velocity_is_on_its_parameters_device(report):
    assert report["device"] == "as it should", report["device"]


def test_a_step_can_be_scanned_within_shard_map(report):
    assert report["pieces"] == "as it should", report["pieces"]


if __name__ == "__main__":
    main()
