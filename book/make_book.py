"""Makes the book with Snakemake, and says what it does. `make book` calls it.

    python book/make_book.py --profile quick --cores 2

Each step that ends is a line. On a terminal, each step that runs is a line too, with a
bar if it trains. `--verbose` shows Snakemake's own lines instead.
"""

import argparse
import contextlib
import fcntl
import logging
import os
import re
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from snakemake.cli import main as snakemake
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry
from tqdm import tqdm

BUILDS = Path(".snakemake/builds")
LOCKS = Path(".snakemake/locks")
# Lines of a failed step's log that are shown.
SHOWN = 15
# Seconds between two lines on one training where there is no terminal for a bar.
PAUSE = 60


def duration(seconds: float) -> str:
    """Return a duration as a reader would say it."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def free_locks() -> None:
    """Delete Snakemake's locks on the working folder, if no build is alive in it.

    A build that is killed leaves them, while the kernel frees what `announce` locks. A
    file system without such locks can't tell, and there nothing is deleted.
    """
    BUILDS.parent.mkdir(exist_ok=True)
    with BUILDS.open("a") as file, contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        for left in LOCKS.glob("*.lock"):
            left.unlink()


def announce() -> TextIO:
    """Note that this process builds in the working folder, until the file is closed.

    Returns:
        The file, with a line for each build. It must be kept open.
    """
    file = BUILDS.open("a")
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)
    file.write(f"{os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file


def others() -> str:
    """Name the other processes that build in the working folder."""
    found = []
    # A direct call of Snakemake in a call of this file would be named twice.
    for line in dict.fromkeys(BUILDS.read_text().splitlines()):
        number, _, host = line.partition(" on ")
        if int(number) == os.getpid():
            continue
        with contextlib.suppress(ProcessLookupError):
            if host == socket.gethostname():
                os.kill(int(number), 0)
            found.append(f"process {line}")
    return ", ".join(found) or "on another machine"


def last_lines(path: Path) -> list[str]:
    """Return the last lines of a log without colours and what a bar overwrote."""
    text = path.read_bytes().decode(errors="replace") if path.exists() else ""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [line.rstrip().rpartition("\r")[2] for line in text.split("\n")]
    return [line for line in lines if line.strip()][-SHOWN:]


@dataclass
class Step:
    """A step of the build that has been started.

    Attributes:
        name: what the rule calls it in its `message`.
        log: where its output goes, if anywhere.
        output: the first of the files that it makes, if any.
        epochs: how many a training has; 0 for any other step.
        started: when, in seconds.
        line: its line on the terminal.
        told: when the last line about it was printed, and which epoch that named.
    """

    name: str
    log: Path | None
    output: Path | None
    epochs: int
    started: float
    line: Any = None
    told: tuple[float, int] = (0.0, 1)

    @property
    def epoch(self) -> int:
        """The epoch that a training is in, from 1."""
        from gravity.experiments.checkpoints import kept_epochs

        assert self.output
        run = self.output.parent
        return min(kept_epochs(run.parent, run.name) + 1, self.epochs)


class LogHandler(LogHandlerBase):
    """What Snakemake calls with each of its events (its logger plugins' interface)."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    # Snakemake makes the handler itself, and keeps it.
    interrupted = threading.Event()

    def __post_init__(self) -> None:
        self.running: dict[int, Step] = {}
        self.done = self.total = 0
        self.ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a person what an event means to them; most mean nothing."""
        try:
            self._tell_of(record)
        except Exception:
            # Raised, it would end the thread that hands on the events.
            self.handleError(record)

    def _tell_of(self, record: logging.LogRecord) -> None:
        # An event's data are attributes of the record.
        event: Any = record
        match getattr(record, "event", None):
            case LogEvent.RUN_INFO:
                self.total = event.stats["total"]
            case LogEvent.JOB_INFO:
                self.running[event.jobid] = Step(
                    event.rule_msg or event.rule_name,
                    Path(event.log[0]).absolute() if event.log else None,
                    Path(event.output[0]) if event.output else None,
                    event.resources.get("epochs", 0),
                    record.created,
                )
            case LogEvent.JOB_FINISHED:
                self.done += 1
                step, took = self._end(event.job_id)
                self.say(f"[{self.done}/{self.total}] {step.name}, {duration(took)}")
            case LogEvent.JOB_ERROR if event.jobid in self.running:
                step, took = self._end(event.jobid)
                if not self.interrupted.is_set():
                    self.say(f"FAILED: {step.name}, after {duration(took)}")
                    if step.log:
                        lines = [f"    {line}" for line in last_lines(step.log)]
                        self.say("The last lines of its log:", *lines)
                        self.say(f"All of it: {step.log}")
            case LogEvent.ERROR if event.exception == "LockException":
                self.say(f"Another build is making these files: {others()}.")
            case LogEvent.ERROR if "At least one job did not complete" in event.msg:
                pass
            case LogEvent.ERROR if "CalledProcessError" in event.msg:
                # `JOB_ERROR` tells which step it was.
                pass
            case LogEvent.ERROR:
                self.say(record.getMessage())
            case None if "on user request" in record.getMessage():
                self.interrupted.set()

    def say(self, *lines: str) -> None:
        """Print lines, above those of the steps that run."""
        # A line of a step that has ended may have left the cursor anywhere.
        start = "\r" if sys.stdout.isatty() else ""
        for line in lines:
            tqdm.write(start + line, file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        """Leave nothing of the running steps on the terminal."""
        self.ended.set()
        with self.lock:
            for number in list(self.running):
                self._end(number)
        super().close()

    def _end(self, number: int) -> tuple[Step, float]:
        step = self.running.pop(number)
        if step.line is not None:
            step.line.close()
        return step, time.time() - step.started

    def _watch(self) -> None:
        """Keep what is shown of the running steps up to date."""
        show = self._draw if sys.stdout.isatty() else self._tell
        while not self.ended.wait(1):
            with self.lock:
                for step in self.running.values():
                    # A run that is stored loses its folder while this looks into it.
                    with contextlib.suppress(OSError):
                        show(step)

    def _draw(self, step: Step) -> None:
        """Draw a step's line on the terminal."""
        if step.line is None:
            step.line = tqdm(
                total=step.epochs or None,
                file=sys.stdout,
                leave=False,
                bar_format="{desc} {bar}" if step.epochs else "{desc}",
            )
        if step.epochs:
            step.line.n = step.epoch - 1
            what = f"epoch {step.epoch} of {step.epochs}"
        else:
            what = duration(time.time() - step.started)
        step.line.set_description_str(f"{step.name}, {what}")

    def _tell(self, step: Step) -> None:
        """Print which epoch a training is in, now and then."""
        now = time.time()
        last, epoch = step.told
        if step.epochs and now - max(last, step.started) >= PAUSE:
            if step.epoch > epoch:
                self.say(f"{step.name}, epoch {step.epoch} of {step.epochs}")
            step.told = (now, step.epoch)


def main() -> int:
    """Make what the command line asks for; the exit status is 0 when it is made."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", default="quick", help="default: quick")
    parser.add_argument("--cores", default="1", help="default: 1")
    parser.add_argument("--study", help="train the runs of this study instead")
    parser.add_argument(
        "--verbose", action="store_true", help="show Snakemake's own lines"
    )
    parser.add_argument("target", nargs="*", help="what to make; default: the book")
    options = parser.parse_args()
    if not re.fullmatch("0*[1-9][0-9]*", options.cores):
        sys.exit(
            f"CORES must be an integer, at least 1. Received: CORES={options.cores}"
        )
    config, targets = [f"profile={options.profile}"], options.target
    if options.study is not None:
        config.append(f"study={options.study}")
        targets = ["study"]

    started = time.time()
    # Snakemake looks for plugins among the installed packages only.
    module = sys.modules[__name__]
    LoggerPluginRegistry().register_plugin("snakemake_logger_plugin_steps", module)
    try:
        free_locks()
        builds = announce()
    except OSError as error:
        sys.exit(f"Nothing can be built in {Path.cwd()}: {error}")
    status: Any = 0
    with builds:
        try:
            snakemake(
                [
                    *("--cores", options.cores, "--rerun-incomplete"),
                    *("--rerun-triggers", "mtime"),
                    *([] if options.verbose else ["--logger", "steps"]),
                    *("--config", *config, "--", *targets),
                ]
            )
        except SystemExit as end:
            status = end.code
        except KeyboardInterrupt:
            LogHandler.interrupted.set()
    took = duration(time.time() - started)
    if LogHandler.interrupted.is_set():
        print(f"Stopped after {took}. What is finished is kept.", file=sys.stderr)
        return 130
    if status == 1:
        sys.exit(f"Not finished, after {took}: see above.")
    if status:
        sys.exit(status)
    if targets:
        print(f"Done in {took}.")
    else:
        page = Path("_build", options.profile, "html/index.html").absolute()
        print(f"The book is made, in {took}. Open {page.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
