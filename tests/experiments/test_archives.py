"""`gravity.experiments.archives`: what goes in comes out, and nothing else comes in."""

import dataclasses
import hashlib
import json
import os
import random
import shutil
import stat
import zipfile

import pytest

from gravity.__main__ import main
from gravity.experiments.archives import ArchiveError, export_runs, import_runs
from gravity.experiments.experiment import Experiment
from gravity.experiments.runs import METRICS, RunStore, RunStoreError

EXPERIMENT = Experiment(
    dataset="digits", architecture="vgg16", optimizer="gravity", epochs=2
)
GENERATED = dataclasses.replace(EXPERIMENT, data="generated-0123456789ab")
OTHER = dataclasses.replace(EXPERIMENT, seed=1)
HISTORY = {metric: [0.1, float("nan")] for metric in METRICS}
PROVENANCE = {
    "started": "2026-01-01T00:00:00+00:00",
    "seconds": 1.5,
    "gravity": "0.1.0",
    "commit": None,
    "dirty": None,
    "versions": {"keras": "3.15"},
    "backend": "tensorflow",
    "device": "cpu:0",
}
RUN_JSON = f"{EXPERIMENT.run_id}/run.json"
HISTORY_CSV = f"{EXPERIMENT.run_id}/history.csv"


@pytest.fixture
def store(tmp_path):
    """Where the runs come from."""
    store = RunStore(tmp_path / "there")
    for experiment in (EXPERIMENT, OTHER):
        store.save(experiment, HISTORY, PROVENANCE)
    return store


@pytest.fixture
def here(tmp_path):
    """Where they go."""
    return RunStore(tmp_path / "here")


@pytest.fixture
def archive(store, tmp_path):
    export_runs(tmp_path / "runs.zip", store)
    return tmp_path / "runs.zip"


def files(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def contents(archive):
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def rewrite(archive, entries):
    """Replace an archive by one of these entries, a mapping or pairs."""
    pairs = entries.items() if isinstance(entries, dict) else entries
    with zipfile.ZipFile(archive, "w") as opened:
        for name, content in pairs:
            opened.writestr(name, content)


def refused(archive, here, message):
    """The archive is refused for that reason, and the store is as it was."""
    before = files(here.roots[0])
    outside = sorted(os.listdir(here.roots[0].parent))
    with pytest.raises(ArchiveError, match=message):
        import_runs(archive, here)
    assert files(here.roots[0]) == before
    assert set(os.listdir(here.roots[0].parent)) - {"here"} == set(outside) - {"here"}


def test_runs_come_out_as_they_went_in(store, archive, here):
    imported, known = import_runs(archive, here)
    assert (
        [run.experiment for run in imported]
        == [run.experiment for run in here]
        == sorted([EXPERIMENT, OTHER], key=lambda experiment: experiment.run_id)
    )
    assert known == []
    assert files(here.roots[0]) == files(store.roots[0])
    modes = {stat.S_IMODE(path.stat().st_mode) for path in here.roots[0].iterdir()}
    assert modes == {0o755}


def test_same_runs_make_the_same_file(store, archive, tmp_path):
    export_runs(tmp_path / "again.zip", store)
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_some_runs_by_name(store, here, tmp_path):
    export_runs(tmp_path / "one.zip", store, [OTHER.run_id, OTHER.run_id])
    assert [run.experiment for run in import_runs(tmp_path / "one.zip", here)[0]] == [
        OTHER
    ]


def test_second_import_changes_nothing(archive, here):
    import_runs(archive, here)
    before = files(here.roots[0])
    imported, known = import_runs(archive, here)
    assert imported == []
    assert {run.experiment.run_id for run in known} == {
        EXPERIMENT.run_id,
        OTHER.run_id,
    }
    assert files(here.roots[0]) == before


def test_run_in_another_root_is_not_stored_twice(store, archive, here):
    both = RunStore(here.roots[0], store.roots[0])
    assert import_runs(archive, both)[0] == []
    assert os.listdir(here.roots[0]) == []


def test_other_results_of_a_stored_run_are_refused(archive, here):
    here.save(EXPERIMENT, HISTORY | {"loss": [0.2, 0.3]}, PROVENANCE)
    refused(archive, here, f"another history of {EXPERIMENT.run_id}")


def test_export_does_not_overwrite(store, archive):
    before = archive.read_bytes()
    with pytest.raises(FileExistsError, match=r"runs\.zip is there already"):
        export_runs(archive, store)
    assert archive.read_bytes() == before


@pytest.mark.parametrize("name", ["nobody", "../there", ""])
def test_export_of_an_unknown_run(store, tmp_path, name):
    with pytest.raises(ValueError, match="`run_id` must be the name of a run"):
        export_runs(tmp_path / "runs.zip", store, [name])
    assert not (tmp_path / "runs.zip").exists()


def test_export_of_no_runs(here, tmp_path):
    with pytest.raises(ValueError, match="No run on real data is stored"):
        export_runs(tmp_path / "runs.zip", here)


def test_generated_runs_stay_where_they_are(store, tmp_path):
    store.save(GENERATED, HISTORY, PROVENANCE)
    exported = export_runs(tmp_path / "real.zip", store)
    assert {run.experiment for run in exported} == {EXPERIMENT, OTHER}
    with pytest.raises(ValueError, match=f"real data.*{GENERATED.run_id}"):
        export_runs(tmp_path / "generated.zip", store, [GENERATED.run_id])
    assert not (tmp_path / "generated.zip").exists()


def test_generated_runs_are_not_taken_in(store, here, tmp_path):
    path = store.save(GENERATED, HISTORY, PROVENANCE).path
    with zipfile.ZipFile(tmp_path / "runs.zip", "w") as file:
        for name in ("run.json", "history.csv"):
            file.write(path / name, f"{path.name}/{name}")
    with pytest.raises(ArchiveError, match="generated data"):
        import_runs(tmp_path / "runs.zip", here)
    assert not list(here)


def test_damaged_run_is_not_exported(store, tmp_path):
    path = store.get(EXPERIMENT.run_id).path / "history.csv"
    path.write_bytes(path.read_bytes() + b"3,1,1,1,1\n")
    with pytest.raises(RunStoreError, match="SHA-256"):
        export_runs(tmp_path / "runs.zip", store)
    assert os.listdir(tmp_path) == ["there"]


@pytest.mark.parametrize(
    "name",
    [
        "../evil/run.json",
        "/evil/run.json",
        f"../{RUN_JSON}",
        f"{EXPERIMENT.run_id}/../run.json",
        f"{EXPERIMENT.run_id}/../../run.json",
        f"./{RUN_JSON}",
        f"{EXPERIMENT.run_id}\\run.json",
        f"{EXPERIMENT.run_id}/weights.npz",
        f"{EXPERIMENT.run_id}/",
        f".unfinished/{RUN_JSON}",
        ".hidden/run.json",
        "run.json",
        "x" * 300 + "/run.json",
    ],
)
def test_names_that_are_no_runs_are_refused(archive, here, name):
    inside = contents(archive)
    rewrite(archive, {**inside, name: inside[RUN_JSON]})
    refused(archive, here, "no file of a run")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packing_is_refused(archive, here, method):
    with zipfile.ZipFile(archive, "w", method) as opened:
        opened.writestr(RUN_JSON, "{}")
    refused(archive, here, "packed in another way")


def test_link_is_stored_as_no_link(archive, here):
    inside = contents(archive)
    link = zipfile.ZipInfo(HISTORY_CSV)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    rest = [(name, text) for name, text in inside.items() if name != HISTORY_CSV]
    rewrite(archive, [*rest, (link, "/etc/passwd")])
    refused(archive, here, "SHA-256")


def test_entry_twice_is_refused(archive, here):
    pairs = list(contents(archive).items())
    with pytest.warns(UserWarning, match="Duplicate name"):
        rewrite(archive, [*pairs, pairs[0]])
    refused(archive, here, "is there twice")


def test_archive_that_unpacks_to_too_much_is_refused(archive, here):
    with (
        zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened,
        opened.open(RUN_JSON, "w") as entry,
    ):
        for _ in range(257):
            entry.write(bytes(1 << 20))
    assert archive.stat().st_size < 1 << 20
    refused(archive, here, "larger than any archive of runs")


@pytest.mark.parametrize("name", [RUN_JSON, HISTORY_CSV])
def test_half_a_run_is_refused(archive, here, name):
    inside = contents(archive)
    del inside[name]
    rewrite(archive, inside)
    refused(archive, here, f"{EXPERIMENT.run_id} has no {name.partition('/')[2]}")


def test_no_runs_at_all_is_refused(archive, here):
    rewrite(archive, {})
    refused(archive, here, "it is empty")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.update(schema=2), "schema must be 1"),
        (lambda record: record["experiment"].update(seed=5), "it describes the run"),
        (lambda record: record["experiment"].update(epochs=0), "`epochs` must be"),
        (lambda record: record["experiment"].update(width=10**400), "too large"),
        (lambda record: record["experiment"].update(arguments=["beta"]), "attribute"),
        (lambda record: record["provenance"].pop("device"), "'nothing' as `device`"),
        (lambda record: record["provenance"].update(seconds="1"), "'1' as `seconds`"),
        (lambda record: record["provenance"].pop("history_sha256"), "history_sha256"),
        (lambda record: record.update(provenance=[]), "provenance must be an object"),
        (lambda record: record.pop("provenance"), "provenance"),
    ],
)
def test_record_that_is_no_runs_is_refused(archive, here, change, message):
    inside = contents(archive)
    record = json.loads(inside[RUN_JSON])
    change(record)
    rewrite(archive, inside | {RUN_JSON: json.dumps(record)})
    refused(archive, here, message)


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '"run"', b"\xff\xfe"])
def test_record_that_is_no_record_is_refused(archive, here, text):
    rewrite(archive, contents(archive) | {RUN_JSON: text})
    refused(archive, here, EXPERIMENT.run_id)


@pytest.mark.parametrize(
    "text",
    [
        "epoch,loss,accuracy,val_loss,val_accuracy\n1,1,1,1,1\n",
        "epoch,loss,accuracy,val_loss\n1,1,1,1\n2,1,1,1\n",
        "epoch,loss,accuracy,val_loss,val_accuracy\n1,1,1,1,x\n2,1,1,1,1\n",
        "epoch,loss,accuracy,val_loss,val_accuracy\n1,1,1,1\n2,1,1,1,1\n",
        b"\xff\n\xff\n\xff",
    ],
)
def test_history_with_the_right_digest_and_the_wrong_content(archive, here, text):
    inside = contents(archive)
    content = text if isinstance(text, bytes) else text.encode()
    record = json.loads(inside[RUN_JSON])
    record["provenance"]["history_sha256"] = hashlib.sha256(content).hexdigest()
    changed = {RUN_JSON: json.dumps(record), HISTORY_CSV: content}
    rewrite(archive, inside | changed)
    refused(archive, here, EXPERIMENT.run_id)


def test_cut_archive_is_refused(archive, here):
    content = archive.read_bytes()
    for length in range(0, len(content), 37):
        archive.write_bytes(content[:length])
        refused(archive, here, "no archive of undamaged runs")


def test_damage_anywhere_is_refused_or_harmless(archive, store, tmp_path):
    """One wrong byte, three hundred times: in a name, a size, a date, the content."""
    content = archive.read_bytes()
    chance = random.Random(0)
    harmless = 0
    for trial in range(300):
        damaged = bytearray(content)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        archive.write_bytes(damaged)
        here = RunStore(tmp_path / "fuzz" / str(trial))
        try:
            import_runs(archive, here)
        except ArchiveError:
            assert os.listdir(here.roots[0]) == []
            continue
        harmless += 1
        assert files(here.roots[0]).items() <= files(store.roots[0]).items()
        assert all(run.history for run in here)
    assert harmless < 75


def test_command_line(store, here, tmp_path, monkeypatch, capsys):
    archive = str(tmp_path / "runs.zip")
    monkeypatch.setenv("GRAVITY_RUNS", str(store.roots[0]))
    assert main(["runs", "export", archive, EXPERIMENT.run_id]) == 0
    monkeypatch.setenv("GRAVITY_RUNS", str(here.roots[0]))
    capsys.readouterr()
    assert main(["runs", "import", archive]) == 0
    assert capsys.readouterr().out.startswith(EXPERIMENT.run_id)
    assert main(["runs", "import", archive]) == 0
    assert capsys.readouterr().out == "0 imported, 1 stored already\n"
    assert main(["runs"]) == 0
    assert capsys.readouterr().out.startswith(EXPERIMENT.run_id)
    assert main(["runs", "import", str(tmp_path / "absent.zip")]) == 1
    assert "absent.zip" in capsys.readouterr().err


def test_command_line_exports_own_runs_and_not_the_books(store, tmp_path, monkeypatch):
    own = RunStore(tmp_path / "own")
    run = store.get(EXPERIMENT.run_id)
    shutil.copytree(run.path, own.roots[0] / run.path.name)
    other = dataclasses.replace(EXPERIMENT, seed=EXPERIMENT.seed + 1)
    store.save(other, run.history, run.provenance)
    roots = [own.roots[0], store.roots[0]]
    monkeypatch.setenv("GRAVITY_RUNS", os.pathsep.join(map(str, roots)))
    assert len(list(RunStore())) == 2
    assert main(["runs", "export", str(tmp_path / "own.zip")]) == 0
    with zipfile.ZipFile(tmp_path / "own.zip") as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {
            EXPERIMENT.run_id
        }
