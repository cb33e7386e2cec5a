"""What a person sees of a run: a line when a job begins, and one for each cell that is done.

Snakemake writes some 15 lines for a job and knows nothing of cells. Both come from its log records,
whose fields are those of its interface for logger plugins (snakemake_interface_logger_plugins).
What it writes to its log file below .snakemake stays as it is.
"""

import json
import logging
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TextIO

from snakemake_interface_logger_plugins.common import LogEvent

from common.baselines import OF_MODELS
from common.cells import OF_DATASET

EVALUATIONS = ("eval_baseline", "eval_embedding", "eval_base", "eval_lora")
TRAINING = "train_lora"
TAIL_BYTES = 1 << 14  # of a log, which may be long
REASON_CHARACTERS = 500
# The scheduler announces each of its rounds; the rounds themselves are not of interest.
HIDDEN_EVENTS = (LogEvent.JOB_FINISHED, LogEvent.JOB_STARTED, LogEvent.SHELLCMD)
HIDDEN_MESSAGE = "Select jobs to execute..."


@dataclass(frozen=True)
class Job:
    """A job of a cell or baseline that is running.

    Attributes:
        rule: its name.
        cell: the directory of its cell below results/.
        outputs: the files and directories that it writes.
        started: in seconds since the epoch.
    """

    rule: str
    cell: Path
    outputs: tuple[Path, ...]
    started: float


class Progress(logging.Handler):
    """Writes a line for each cell or baseline that is done, and for each job that fails.

    The score is the first metric of the report on the validation rows: figures of the test rows are
    for the report, when every choice is made. The time left is estimated from the jobs of this run
    that are done, of the same rule and if possible of the same dataset and model; of a run on a
    cluster it is not, since jobs wait there for others.
    """

    def __init__(
        self, metrics: Iterable[str], metric: str, local: bool, stream: TextIO | None = None
    ) -> None:
        """Nothing is done so far.

        Args:
            metrics: the path of metrics.json of every cell and baseline.
            metric: the name of the score.
            local: whether the jobs run on this machine.
            stream: to write to; None for standard error.
        """
        super().__init__()
        self.cells = {Path(path).parent: Path(path) for path in metrics}
        self.metric, self.local, self.stream = metric, local, stream
        self.running: dict[int, Job] = {}
        self.seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self.planned: dict[str, int] = {}
        self.waiting: dict[str, set[Path | None]] = {}
        self.begun: float | None = None
        self.before = self.done = 0
        self.broken = self.silent = False

    def emit(self, record: logging.LogRecord) -> None:
        """Follow what a record says."""
        self.guarded(lambda: self.follow(record))

    def guarded(self, step: Callable[[], None]) -> None:
        """Take a step; a mistake in here is reported once and ends nothing."""
        if self.broken:
            return
        try:
            step()
        except Exception as error:
            self.broken = True
            self.write(f"warning: no progress is shown from here: {type(error).__name__}: {error}")

    def follow(self, record: logging.LogRecord) -> None:
        """Take in one record."""
        event, found = getattr(record, "event", None), record.__dict__
        if event == LogEvent.RUN_INFO:
            self.plan(found["stats"])
        elif event == LogEvent.JOB_INFO:
            self.start(found)
        elif event == LogEvent.JOB_FINISHED:
            self.finish(found["job_id"])
        elif event == LogEvent.JOB_STARTED:  # with --quiet, no job is said to be finished
            self.find_finished()
        elif event == LogEvent.JOB_ERROR:
            self.running.pop(found["jobid"], None)
            self.fail(found)
        elif event == LogEvent.GROUP_ERROR:
            for job in found["job_error_info"]:
                self.fail(job)

    def plan(self, stats: dict[str, int]) -> None:
        """Take in how many jobs of each rule there are to do."""
        self.planned = {rule: stats.get(rule, 0) for rule in (*EVALUATIONS, TRAINING)}
        there = {cell for cell, path in self.cells.items() if path.exists()}
        evaluations = sum(self.planned[rule] for rule in EVALUATIONS)
        # Some of those that are there may be evaluated anew, and some of the others not at all.
        self.before = min(len(there), max(0, len(self.cells) - evaluations))
        self.waiting = {rule: set() for rule in self.planned}
        for cell in self.cells.keys() - there:
            self.waiting[evaluation_of(cell)].add(cell)
            if evaluation_of(cell) == "eval_lora" and not (cell / "training.json").exists():
                self.waiting[TRAINING].add(cell)

    def start(self, found: dict[str, Any]) -> None:
        """Take in a job that begins, if it is one of a cell or baseline."""
        cell = next((Path(log).parent for log in found["log"]), None)
        if cell in self.cells and cell is not None and found["rule_name"] in self.planned:
            outputs = tuple(Path(path) for path in found["output"])
            self.running[found["jobid"]] = Job(found["rule_name"], cell, outputs, time.time())
            self.begun = self.begun or time.time()

    def end(self) -> None:
        """Tell of what was done last; called when the run is over."""
        self.guarded(self.find_finished)

    def find_finished(self) -> None:
        """Find the running jobs that are over, by what they wrote."""
        for number, job in [*self.running.items()]:
            if all(written_since(path, job.started) for path in job.outputs):
                self.finish(number)

    def finish(self, number: int) -> None:
        """Take in a job that is over; if it is the last one of its cell, tell."""
        job = self.running.pop(number, None)
        if job is None:
            return
        for kind in kinds(job.rule, job.cell):
            self.seconds[kind].append(time.time() - job.started)
        self.planned[job.rule] -= 1
        self.waiting[job.rule].discard(job.cell)
        if job.rule == TRAINING:
            return
        self.done += 1
        name = job.cell.relative_to(job.cell.parts[0])
        many = f"{self.before + self.done} of {len(self.cells)} cells and baselines done"
        if self.silent:
            return
        parts = [f"{many}: {name}, {self.score(self.cells[job.cell])}", self.time_left()]
        self.write("; ".join(filter(None, parts)))

    def obey(self, logger: logging.Logger) -> None:
        """Tell of failed jobs alone where nothing reaches a terminal (--quiet all)."""
        word = logging.LogRecord("", logging.INFO, "", 0, "a word", (), None)
        found = terminals(logger)
        self.silent = bool(found) and not any(handler.filter(word) for handler in found)

    def score(self, path: Path) -> str:
        """Return the score of a cell on the validation rows, in words."""
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
            value = float(metrics["validation"][self.metric])
        except (OSError, ValueError, LookupError, TypeError):
            return f"validation {self.metric} not on record"
        return f"validation {self.metric} {value:.4f}"

    def time_left(self) -> str:
        """Return about how long the other cells take, in words; "" if that is unknown."""
        if not self.local or self.begun is None:
            return ""
        now, left = time.time(), 0.0
        for job in self.running.values():
            left += most(0.0, self.expected(job.rule, job.cell) - (now - job.started))
        for rule, count in self.planned.items():
            running = [job.cell for job in self.running.values() if job.rule == rule]
            if count > len(running):
                cells = self.waiting[rule].difference(running) or {None}
                each = fmean(self.expected(rule, cell) for cell in cells)
                left += (count - len(running)) * each
        if not left or math.isnan(left):
            return ""
        spent = sum(sum(many) for kind, many in self.seconds.items() if len(kind) == 1)
        spent += sum(now - job.started for job in self.running.values())
        at_once = max(1.0, spent / max(now - self.begun, 1e-9))
        return f"about {duration(left / at_once)} left"

    def expected(self, rule: str, cell: Path | None) -> float:
        """Return the seconds that a job is expected to take; NaN if no such job is over."""
        known = [self.seconds.get(kind) for kind in (kinds(rule, cell) if cell else [(rule,)])]
        return next((fmean(seconds) for seconds in known if seconds), math.nan)

    def fail(self, found: dict[str, Any]) -> None:
        """Tell why a job failed: by the last line of its log, which is the error."""
        for log in found["log"][:1]:
            reason = last_line(Path(log)) or "its log is empty"
            self.write(f"{found['rule_name']} failed: {reason} ({log})")

    def write(self, line: str) -> None:
        """Write a line with the time of day."""
        stream = self.stream or sys.stderr
        print(time.strftime("%H:%M:%S"), line, file=stream, flush=True)


class Brief(logging.Formatter):
    """Snakemake's own lines, with one in the place of 15 for a job that begins."""

    def __init__(self, own: logging.Formatter, local: bool) -> None:
        """Shorten what another formatter writes.

        Args:
            own: that of Snakemake.
            local: whether the jobs run on this machine; else those that do are marked.
        """
        super().__init__()
        self.own, self.local = own, local

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text; nothing for one that tells a person nothing."""
        event, found = getattr(record, "event", None), record.__dict__
        if event == LogEvent.JOB_INFO:
            where = "localrule " if found["local"] and not self.local else ""
            words = {key: f"{key * (key == 'seed')}{v}" for key, v in found["wildcards"].items()}
            names = "/".join(word.strip("/") for word in words.values() if word)
            return f"{time.strftime('%H:%M:%S')} {where}{found['rule_name']} {names}".rstrip()
        if event in HIDDEN_EVENTS or record.msg == HIDDEN_MESSAGE:
            return ""
        return self.own.format(record)


def shorten(logger: logging.Logger, local: bool) -> None:
    """Let Snakemake write less to the terminal, unless everything is asked for (--verbose)."""
    if logger.isEnabledFor(logging.DEBUG):
        return
    for handler in terminals(logger):
        if handler.formatter is not None and not isinstance(handler.formatter, Brief):
            handler.setFormatter(Brief(handler.formatter, local))


def terminals(logger: logging.Logger) -> list[logging.Handler]:
    """Return the handlers of a logger that write to a stream, and not to a file."""
    return [
        handler
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler)
        and not isinstance(handler, logging.FileHandler)
    ]


def evaluation_of(cell: Path) -> str:
    """Return the rule that writes the metrics in a directory below results/."""
    _, _, model, variant, *_ = cell.parts
    if model == OF_DATASET:
        return "eval_baseline"
    if variant in OF_MODELS:
        return "eval_embedding"
    return "eval_base" if variant == "base" else "eval_lora"


def kinds(rule: str, cell: Path) -> list[tuple[str, ...]]:
    """Return what the jobs that take about as long have in common, the closest first.

    The name of a rule alone comes last, so that every job is counted there once.
    """
    return [(rule, *cell.parts[1:-1]), (rule, *cell.parts[1:3]), (rule,)]


def most(*numbers: float) -> float:
    """Return the largest number; NaN if one of them is."""
    return math.nan if any(map(math.isnan, numbers)) else max(numbers)


def written_since(path: Path, started: float) -> bool:
    """Return whether there is a file or directory that was written after a moment."""
    try:
        return path.stat().st_mtime >= started
    except OSError:
        return False


def last_line(log: Path) -> str:
    """Return the last line of a log that is not blank, without the word "error".

    "" if there is none.
    """
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return last.removeprefix("error: ")[:REASON_CHARACTERS]


def duration(seconds: float) -> str:
    """Return a length of time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
