"""The benchmark spread over a cluster, with the profiles in `book/cluster`."""

import contextlib
import html
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from one_node_slurm import missing, one_node_slurm
from pods import pods

from gravity.book import cards
from gravity.experiments.experiment import grid
from gravity.experiments.runs import RunStore

ROOT = Path(__file__).resolve().parents[2]
DATASETS = ["mnist", "fashion_mnist", "cifar10", "cifar100_coarse", "cifar100_fine"]


@contextlib.contextmanager
def started(folder, *arguments, environment=os.environ, stored=()):
    """Snakemake as a process, with everything that it writes in another folder."""
    roots = os.pathsep.join(map(str, [folder / "runs", *stored]))
    with (folder / "snakemake.log").open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--nolock", *arguments],
            cwd=ROOT,
            env={
                **environment,
                "GRAVITY_RUNS": roots,
                "GRAVITY_DATA": f"{folder}/data",
            },
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        # It then cancels its jobs; it would wait for them otherwise.
        process.send_signal(signal.SIGINT)
        process.wait()


def dry_run(folder, *arguments):
    """Return what Snakemake would do."""
    with started(folder, "--dry-run", *arguments) as process:
        status = process.wait()
    out = (folder / "snakemake.log").read_text()
    assert status == 0, out
    return out


def job_counts(out):
    """The table "Job stats", as a dictionary."""
    table = out.rpartition("Job stats:")[2].partition("total")[0]
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.M)}


CLUSTERS = {
    "slurm": ["--profile", "book/cluster/slurm"],
    # The profile names folders of a volume.
    "kubernetes": [
        *("--profile", "book/cluster/kubernetes"),
        *("--directory", str(ROOT), "--default-storage-prefix", "nowhere"),
    ],
}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_benchmark_is_one_job_a_run_and_one_download_a_set_of_files(cluster, tmp_path):
    out = dry_run(
        tmp_path,
        *CLUSTERS[cluster],
        # A dry run has one core, unless told otherwise.
        *("--printshellcmds", "--cores", "64"),
        *("--config", "profile=paper", f"build={tmp_path}", "--", "runs"),
    )
    runs = set(re.findall(r"training (\S+)-[0-9a-f]+$", out, re.M))
    assert runs == {
        "-".join(run)
        for run in itertools.product(
            DATASETS, ["vgg16", "vgg19"], ["gravity", "adam", "rmsprop"]
        )
    }
    assert job_counts(out)["run"] == 30
    fetched = re.findall(r"data (\w+)$", out, re.M)
    # CIFAR-100's coarse and fine labels are in one file.
    assert sorted(fetched) == sorted(DATASETS[:4])
    assert job_counts(out)["data"] == 4
    assert re.findall(r"TF_NUM_INTRAOP_THREADS=(\d+) ", out) == ["8"] * 30


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_job_that_ended_early_is_made_again_and_a_stored_run_is_kept(cluster):
    profile = yaml.safe_load((ROOT / f"book/cluster/{cluster}/config.yaml").read_text())
    assert profile["retries"] == 3
    assert profile["rerun-incomplete"] is True
    # A change of the rule does not make a run of the store anew.
    assert profile["rerun-triggers"] == "mtime"


def test_page_says_what_the_slurm_profile_asks_for():
    profile = yaml.safe_load((ROOT / "book/cluster/slurm/config.yaml").read_text())
    room = profile["set-resources"]["run"]
    page = (ROOT / "book/howto/cluster.md").read_text()
    assert (
        f"{profile['set-threads']['run']} cores, {room['mem_mb'] // 1000} GB and "
        f"{room['runtime'] // 60} hours a run"
    ) in page


def test_command_that_a_chapter_prints_plans_its_three_runs(tmp_path):
    printed = html.unescape(cards.ways_to_run("mnist", "vgg19", []).data)
    (command,) = re.findall(r"snakemake --profile [^<]*", printed)
    out = dry_run(tmp_path, *shlex.split(command)[1:])
    assert job_counts(out) | {"data": 1} == {
        "data": 1,
        "run": 3,
        "chapter": 1,
    }


needs_slurm = pytest.mark.skipif(
    bool(missing()), reason=f"Slurm isn't installed: no {', '.join(missing())}"
)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment of a cluster of this machine."""
    with one_node_slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def started_on_slurm(folder, environment, profile, *targets, stored=()):
    return started(
        folder,
        *("--profile", "book/cluster/slurm"),
        # There is no accounting here, and nobody else who asks.
        *("--slurm-status-command", "squeue"),
        *("--slurm-init-seconds-before-status-checks", "5"),
        *("--slurm-logdir", str(folder / "slurm")),
        *("--config", f"profile={profile}", f"build={folder}"),
        *("--", *targets),
        environment=environment,
        stored=stored,
    )


def wait_for(found, process, folder):
    """Return what `found` returns, as soon as it isn't empty."""
    while True:
        if result := found():
            return result
        log = (folder / "snakemake.log").read_text()
        assert process.poll() is None, f"Snakemake ended first:\n{log}"
        time.sleep(0.2)


def wait_for_an_epoch(process, folder):
    """With one epoch finished there is something to go on from."""
    unfinished = folder / "runs/.unfinished"
    wait_for(lambda: list(unfinished.glob("*/*.npz")), process, folder)


def trainings(folder):
    """The processes that train runs of this folder's store."""
    root = f"GRAVITY_RUNS={folder}/runs".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            variables = (process / "environ").read_bytes().split(b"\0")
            if words[1:4] == [b"-m", b"gravity", b"train"] and any(
                v.startswith(root) for v in variables
            ):
                found.append(int(process.name))
    return found


def submissions(folder):
    """The runs of the jobs that Slurm was given, by the jobs' numbers."""
    log = (folder / "snakemake.log").read_text()
    return dict(re.findall(r"SLURM jobid (\d+) \(log: \S*/rule_run/(\S+)/", log))


def finish(process, folder):
    status = process.wait()
    log = (folder / "snakemake.log").read_text()
    logs = "".join(f"\n{path}\n{path.read_text()}" for path in folder.rglob("*.log"))
    assert status == 0, logs
    return log


def first_quick_run():
    """The name of a run of 25 epochs, which take some seconds each."""
    profile = yaml.safe_load((ROOT / "book/profiles/quick.yaml").read_text())
    values = {name.lower(): value for name, value in profile["digits_vgg16"].items()}
    return grid("digits", "vgg16", **values)[0].run_id


def assert_went_on_once(folder, run_id):
    (run,) = RunStore(folder / "runs")
    assert run.experiment.run_id == run_id
    assert run.provenance["resumed"] == 1
    assert len(run.history["loss"]) == 25
    assert not list((folder / "runs/.unfinished").iterdir())


@pytest.mark.slow
@needs_slurm
def test_cancelled_job_is_submitted_again_and_its_run_goes_on(slurm, tmp_path):
    run_id = first_quick_run()
    target = tmp_path / "runs" / run_id / "run.json"
    with started_on_slurm(tmp_path, slurm, "quick", target) as process:
        wait_for_an_epoch(process, tmp_path)
        (job,) = submissions(tmp_path)
        subprocess.run(["scancel", job], env=slurm, check=True)
        log = finish(process, tmp_path)
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in log
    assert list(submissions(tmp_path).values()) == [run_id, run_id]
    assert_went_on_once(tmp_path, run_id)


@pytest.mark.slow
@needs_slurm
def test_smoke_sweep_is_complete_though_a_training_process_is_killed(slurm, tmp_path):
    stored = [ROOT / "book/results"]
    with started_on_slurm(tmp_path, slurm, "smoke", stored=stored) as process:
        (victim, *_) = wait_for(lambda: trainings(tmp_path), process, tmp_path)
        os.kill(victim, signal.SIGKILL)
        log = finish(process, tmp_path)
    assert "SLURM status is: 'FAILED'" in log
    submitted = list(submissions(tmp_path).values())
    assert len(submitted) == 37
    # The chapters of the studies train a few runs of their own.
    store = RunStore(tmp_path / "runs")
    runs = [store.get(run_id) for run_id in set(submitted)]
    datasets = sorted(run.experiment.dataset for run in runs)
    assert datasets == sorted([*DATASETS, "digits"] * 6)
    assert all(
        run.experiment.is_generated == (run.experiment.dataset != "digits")
        for run in runs
    )
    built = tmp_path / "smoke/html/notebooks/benchmark"
    for dataset, network in itertools.product(DATASETS, ["vgg16", "vgg19"]):
        assert (built / f"{dataset}_{network}.html").is_file()


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("rsync") is None, reason="rsync, which the storage needs, is missing"
)
def test_run_of_a_killed_pod_goes_on_in_another_pod(tmp_path):
    run_id = first_quick_run()
    # The executor has each pod install the storage, which is installed here.
    installer = tmp_path / "bin/pip"
    installer.parent.mkdir()
    installer.write_text("#!/bin/sh\n")
    installer.chmod(0o755)
    path = os.pathsep.join([str(installer.parent), str(Path(sys.executable).parent)])
    (tmp_path / "pods").mkdir()
    with (
        pods(tmp_path / "pods") as (server, environment),
        started(
            tmp_path,
            *CLUSTERS["kubernetes"],
            *("--default-storage-prefix", str(tmp_path / "storage")),
            *("--remote-job-local-storage-prefix", str(tmp_path / "pods/local")),
            *("--precommand", f"export PATH={path}:$PATH"),
            *("--seconds-between-status-checks", "1"),
            *("--config", "profile=quick", f"build={tmp_path}"),
            *("--", tmp_path / "runs" / run_id / "run.json"),
            environment=environment,
        ) as process,
    ):
        wait_for_an_epoch(process, tmp_path)
        (first,) = server.jobs
        server.kill(first)
        finish(process, tmp_path)
        jobs = list(server.jobs.values())
    assert_went_on_once(tmp_path, run_id)

    assert len(jobs) == 2
    for job in jobs:
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"] == "gravity-book"
        # The executor leaves a twentieth of each core to the node.
        assert container["resources"]["requests"]["cpu"] == "7600m"
        assert container["resources"]["requests"]["memory"] == "8000M"
        assert {"name": "gravity", "mountPath": "/gravity"} in container["volumeMounts"]
        (volume,) = (v for v in pod["volumes"] if v["name"] == "gravity")
        assert volume["persistentVolumeClaim"] == {"claimName": "gravity"}
