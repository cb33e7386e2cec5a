"""A run tells a line for each cell that is done, and the reason for each job that fails."""

import io
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from rules import terminal

CELLS = [f"news/bert/lora-r{rank}/seed0" for rank in (2, 4)] + ["news/bert/base/seed0"]
NAMES = [*CELLS, "news/baselines/tfidf"]
JOBS = {"train_lora": 2, "eval_lora": 2, "eval_base": 1, "eval_baseline": 1, "report": 1}


class Run:
    """A run of which the records are made here, with a clock that stands still between them."""

    def __init__(self, monkeypatch, local: bool = True) -> None:
        self.now, self.stream = time.time(), io.StringIO()
        monkeypatch.setattr(terminal.time, "time", lambda: self.now)
        metrics = [f"results/{name}/metrics.json" for name in NAMES]
        self.progress = terminal.Progress(metrics, "macro_f1", local, self.stream)

    def say(self, event: LogEvent | None, **fields: Any) -> None:
        record = logging.makeLogRecord({"event": event, **fields})
        self.progress.handle(record)

    def begin(self, number: int, rule: str, name: str) -> None:
        record = "training.json" if rule == "train_lora" else "metrics.json"
        self.say(
            LogEvent.JOB_INFO, jobid=number, rule_name=rule, log=[f"results/{name}/{rule}.log"],
            output=[f"results/{name}/{record}"],
        )  # fmt: skip

    def end(self, number: int, name: str, seconds: float, score: float | None = 0.5) -> None:
        self.now += seconds
        write(name, score)
        self.say(LogEvent.JOB_FINISHED, job_id=number)

    def lines(self) -> list[str]:
        """Return what was written since the last call, without the time of day."""
        lines = [line.partition(" ")[2] for line in self.stream.getvalue().splitlines()]
        self.stream.truncate(self.stream.seek(0))
        return lines


def write(name: str, score: float | None) -> None:
    """The metrics of a cell."""
    path = Path("results", name, "metrics.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    metrics = {"validation": {} if score is None else {"macro_f1": score}, "test": {"macro_f1": 1}}
    path.write_text(json.dumps({"metrics": metrics}))


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run(monkeypatch)


def test_a_cell_is_told_with_its_validation_score_and_the_time_left(run):
    run.say(LogEvent.RUN_INFO, stats=JOBS)
    run.begin(1, "eval_baseline", NAMES[3])
    run.end(1, NAMES[3], 2, 0.25)
    assert run.lines() == [
        "1 of 4 cells and baselines done: news/baselines/tfidf, validation macro_f1 0.2500"
    ]
    run.begin(2, "train_lora", NAMES[0])
    run.end(2, NAMES[0], 60)
    run.begin(3, "eval_lora", NAMES[0])
    run.end(3, NAMES[0], 10, 0.75)
    said = "2 of 4 cells and baselines done: news/bert/lora-r2/seed0, validation macro_f1 0.7500"
    assert run.lines() == [said]  # no eval_base is over, so nobody knows how long one takes
    run.begin(4, "eval_base", NAMES[2])
    run.end(4, NAMES[2], 5, None)
    assert run.lines() == [
        "3 of 4 cells and baselines done: news/bert/base/seed0, validation macro_f1 not on record; "
        "about 70 s left"
    ]
    run.begin(5, "train_lora", NAMES[1])
    run.end(5, NAMES[1], 60)
    run.begin(6, "eval_lora", NAMES[1])
    run.end(6, NAMES[1], 10, 1.0)
    assert run.lines() == [
        "4 of 4 cells and baselines done: news/bert/lora-r4/seed0, validation macro_f1 1.0000"
    ]


def test_jobs_side_by_side_share_the_time_left(run):
    run.say(LogEvent.RUN_INFO, stats={"eval_base": 4})
    names = [f"news/bert/base/seed{seed}" for seed in range(4)]
    run.progress.cells = {Path("results", n): Path("results", n, "metrics.json") for n in names}
    run.say(LogEvent.RUN_INFO, stats={"eval_base": 4})
    run.begin(1, "eval_base", names[0])
    run.begin(2, "eval_base", names[1])
    run.end(1, names[0], 40)
    (line,) = run.lines()
    assert line.endswith("about 40 s left")  # two more of 40 s, two at a time


def test_the_time_left_is_that_of_the_same_dataset_and_model(run):
    names = [f"{dataset}/base/seed{seed}" for dataset in ("a/x", "b/x") for seed in (0, 1)]
    run.progress.cells = {Path("results", n): Path("results", n, "metrics.json") for n in names}
    run.say(LogEvent.RUN_INFO, stats={"eval_base": 4})
    for number, (name, seconds) in enumerate(zip(names[::2], (10, 1000), strict=True)):
        run.begin(number, "eval_base", name)
        run.end(number, name, seconds)
    assert [line.rpartition("; ")[2] for line in run.lines()] == [
        "about 30 s left",
        "about 17 min left",
    ]


def test_cells_that_were_there_count_but_for_those_that_are_made_anew(run):
    for name in NAMES[:3]:
        write(name, 0.5)
    run.say(LogEvent.RUN_INFO, stats={"eval_base": 1, "eval_baseline": 1})
    run.begin(1, "eval_base", NAMES[2])
    run.end(1, NAMES[2], 1)
    assert run.lines()[0].startswith("3 of 4 cells and baselines done: ")


def test_of_a_part_of_a_run_no_more_counts_than_is_there(run):
    run.say(LogEvent.RUN_INFO, stats={"eval_base": 1})
    run.begin(1, "eval_base", NAMES[2])
    run.end(1, NAMES[2], 1)
    assert run.lines()[0].startswith("1 of 4 cells and baselines done: ")


def test_on_a_cluster_no_time_is_estimated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Run(monkeypatch, local=False)
    run.say(LogEvent.RUN_INFO, stats={"eval_base": 2})
    run.begin(1, "eval_base", NAMES[2])
    run.end(1, NAMES[2], 1)
    assert run.lines()[0].endswith("validation macro_f1 0.5000")


def test_without_the_word_of_snakemake_a_job_is_over_when_its_files_are_there(run):
    """With --quiet, it does not say that a job is finished."""
    write(NAMES[2], 0.5)
    os.utime(Path("results", NAMES[2], "metrics.json"), (0, 0))  # of an earlier run
    run.say(LogEvent.RUN_INFO, stats={"eval_base": 1})
    run.begin(1, "eval_base", NAMES[2])
    run.say(LogEvent.JOB_STARTED, jobs=[1])
    assert run.lines() == []
    os.utime(Path("results", NAMES[2], "metrics.json"), (run.now + 1, run.now + 1))
    run.progress.end()
    run.say(LogEvent.JOB_FINISHED, job_id=1)
    assert len(run.lines()) == 1


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("12:00:00 reading\nerror: no rows: bring some\n\n", "no rows: bring some"),
        ("Traceback (most recent call last):\n  ...\nKeyError: 'a'\n", "KeyError: 'a'"),
        ("", "its log is empty"),
        (None, "its log is empty"),
        ("x" * 100_000, "x" * 500),
    ],
)
def test_a_job_that_fails_tells_the_last_line_of_its_log(run, log, expected):
    if log is not None:
        Path("job.log").write_text(log)
    failed = {"jobid": 1, "rule_name": "prepare_data", "log": ["job.log"]}
    run.say(LogEvent.JOB_ERROR, **failed)
    assert run.lines() == [f"prepare_data failed: {expected} (job.log)"]
    run.say(LogEvent.GROUP_ERROR, job_error_info=[failed, failed])
    assert len(run.lines()) == 2


def test_a_mistake_in_here_is_told_once_and_ends_nothing(run):
    run.say(LogEvent.JOB_INFO, jobid=1)  # without the other fields
    run.say(LogEvent.JOB_INFO, jobid=1)
    run.progress.end()
    assert run.lines() == ["warning: no progress is shown from here: KeyError: 'log'"]


@pytest.fixture
def logger(tmp_path):
    """A logger as Snakemake sets it up: a terminal and a file."""
    logger = logging.Logger("run", logging.INFO)
    stream = io.StringIO()
    for handler in (logging.StreamHandler(stream), logging.FileHandler(tmp_path / "run.log")):
        handler.setFormatter(logging.Formatter("[long] %(message)s"))
        logger.addHandler(handler)
    return logger, stream, tmp_path / "run.log"


def record_of(event: LogEvent | None, text: str, **fields: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"levelno": logging.INFO, "msg": text, "event": event, **fields})


def test_the_lines_of_snakemake_are_few_on_a_terminal_and_all_in_its_file(logger):
    log, stream, file = logger
    terminal.shorten(log, local=False)
    words = {"dataset": "news", "model": "bert", "seed": "3"}
    job = {"rule_name": "eval_base", "wildcards": words}
    for record in [
        record_of(LogEvent.JOB_INFO, "job", **job, local=False),
        record_of(LogEvent.JOB_INFO, "job", **job, local=True),
        record_of(LogEvent.JOB_FINISHED, "over"),
        record_of(None, "Select jobs to execute..."),
        record_of(LogEvent.JOB_ERROR, "error"),
        record_of(None, "else"),
    ]:
        log.handle(record)
    lines = [line for line in stream.getvalue().splitlines() if line]
    assert lines[0].endswith(" eval_base news/bert/seed3")
    assert lines[1].endswith(" localrule eval_base news/bert/seed3")
    assert lines[2:] == ["[long] error", "[long] else"]
    assert len(file.read_text().splitlines()) == 6


@pytest.mark.parametrize(("draw", "line"), [("", "news/tfidf"), ("/seed3", "news/tfidf/seed3")])
def test_a_baseline_has_a_seed_where_that_draws_its_rows(draw, line):
    job = {"rule_name": "eval_baseline", "local": False,
           "wildcards": {"dataset": "news", "baseline": "tfidf", "draw": draw}}  # fmt: skip
    record = record_of(LogEvent.JOB_INFO, "job", **job)
    said = terminal.Brief(logging.Formatter(), local=True).format(record)
    assert said.endswith(f" eval_baseline {line}")


@pytest.mark.parametrize(
    ("cell", "rule"),
    [
        ("news/baselines/tfidf", "eval_baseline"),
        ("news/baselines/tfidf/seed0", "eval_baseline"),
        ("news/bert/embedding", "eval_embedding"),
        ("news/bert/embedding/seed0", "eval_embedding"),
        ("news/bert/base/seed0", "eval_base"),
        ("news/bert/lora/seed0", "eval_lora"),
    ],
)
def test_the_rule_that_evaluates_a_cell(cell, rule):
    assert terminal.evaluation_of(Path("results", cell)) == rule


def test_what_is_asked_for_is_obeyed(logger, run):
    log, _, _ = logger
    run.progress.obey(log)
    assert not run.progress.silent
    terminal.terminals(log)[0].addFilter(lambda _: False)  # as --quiet all does
    run.progress.obey(log)
    assert run.progress.silent
    log.setLevel(logging.DEBUG)  # --verbose
    terminal.shorten(log, local=True)
    assert not isinstance(terminal.terminals(log)[0].formatter, terminal.Brief)


@pytest.mark.parametrize(("seconds", "expected"), [(7.4, "7 s"), (100, "2 min"), (9000, "2.5 h")])
def test_a_length_of_time(seconds, expected):
    assert terminal.duration(seconds) == expected
