"""What changed between two directories of results."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import f1_score

import diff
from common.cells import Cell
from common.cli import InputError
from common.report import settings
from common.report.difference import Difference, corrected

ROWS = 200
LABELS = np.arange(ROWS) % 2
NAMES = ["ham", "spam"]
CELL = "sms/bert/lora-r4/seed0"
ROOT = Path(__file__).parents[1]


def record(probabilities: np.ndarray, labels: np.ndarray, **run: Any) -> dict[str, Any]:
    """Return a metrics.json of a cell that answered so."""
    given = probabilities.argmax(axis=1)
    test = {
        "accuracy": float((given == labels).mean()),
        "macro_f1": float(f1_score(labels, given, average="macro")),
        "f1": None,
        "loss": float(-np.log(probabilities[np.arange(len(labels)), labels]).mean()),
        "rows": len(labels),
        "confusion_matrix": [[int(((labels == i) & (given == j)).sum()) for j in range(2)]
                             for i in range(2)],
        "eval_seconds": 1.5,
    }  # fmt: skip
    return {
        "run_info": {"train_config": {"max_steps": 100}, "peft_config": {"r": 4}, **run},
        "train_info": {},
        "meta_info": {
            "dataset_info": {"labels": NAMES, "source": {"kind": "path", "name": "rows.csv"}},
            "model_info": {"name": "bert", "weights_sha256": {"model.safetensors": "a" * 64}},
            "package_info": {"peft-version": "0.21.2"},
            "system_info": {"processor": "A Processor", "release": "6.1"},
        },
        "metrics": {"validation": test, "test": test},
    }


@pytest.fixture
def add(tmp_path) -> Callable[..., Path]:
    """Add a cell to a results directory; `wrong` are the numbers of the rows that it gets wrong."""

    def write(root: str, cell: str, wrong=range(0), sure=0.9, first=0, **run: Any) -> Path:
        labels = LABELS[first:]
        given = labels ^ np.isin(np.arange(len(labels)), list(wrong))
        probabilities = np.where(given[:, None] == np.arange(2), sure, 1 - sure)
        directory = tmp_path / root / cell
        directory.mkdir(parents=True, exist_ok=True)
        made = record(probabilities, labels, **run)
        (directory / "metrics.json").write_text(json.dumps(made))
        names = np.array(NAMES)
        columns = {f"probability_{name}": probabilities[:, i] for i, name in enumerate(NAMES)}
        ids = [f"row {number}" for number in range(first, ROWS)]
        frame = pd.DataFrame(
            {"id": ids, "label": names[labels], "prediction": names[given], **columns}
        )
        frame.to_parquet(directory / "predictions.parquet", index=False)
        return directory

    return write


@pytest.fixture
def run(tmp_path, capsys) -> Callable[..., tuple[int, str]]:
    """Compare the directories a and b; returns the status and what was printed."""

    def compare(*words: str) -> tuple[int, str]:
        status = diff.main(["--a", str(tmp_path / "a"), "--b", str(tmp_path / "b"), *words])
        return status, capsys.readouterr().out

    return compare


def lines(text: str) -> list[list[str]]:
    """Return the lines of all tables as cells, headers and rules left out."""
    rows = [re.split(r" \| ", line[2:-2]) for line in text.splitlines() if line.startswith("| ")]
    return [
        [part.strip() for part in row] for row in rows if row[0] not in ("---", "dataset", "cell")
    ]


def test_equal_results_differ_in_nothing(add, run):
    for root in "ab":
        add(root, CELL, range(5))
    status, text = run()
    assert status == 0
    assert "0 added, 0 gone, 0 changed, 1 with the same figures" in text
    assert "##" not in text


def test_times_are_no_figures(add, run):
    add("a", CELL)
    file = add("b", CELL) / "metrics.json"
    changed = json.loads(file.read_text())
    changed["metrics"]["test"]["eval_seconds"] = 9.0
    changed["train_info"]["train_time"] = 9.0
    file.write_text(json.dumps(changed))
    assert run()[0] == 0


def test_cells_that_came_and_went_are_named_by_variant(add, run):
    for seed in (0, 1):
        add("a", f"sms/bert/full/seed{seed}")
        add("b", f"sms/bert/head/seed{seed}")
    add("b", "sms/baselines/tfidf")
    status, text = run()
    assert status == 1
    assert "3 added, 2 gone, 0 changed" in text
    assert "## Added\n\n- sms/baselines/tfidf\n- sms/bert/head, seeds 0, 1\n" in text
    assert "## Gone\n\n- sms/bert/full, seeds 0, 1\n" in text


def test_a_changed_cell_has_both_tests(add, run):
    """A gets 20 rows wrong, B five others; expected by hand and by scipy."""
    add("a", CELL, range(20))
    add("b", CELL, range(20, 25))
    status, text = run("--metrics", "accuracy")
    assert status == 1
    variant, cell = lines(text)
    assert variant[:7] == ["sms", "bert", "lora-r4", "0", "accuracy", "0.9000", "0.9750"]
    # An interval of half a width of 0.045 supports two decimals.
    assert re.fullmatch(r"\+0\.0\d \(\+0\.0\d to \+0\.1\d\)", variant[7])
    shift, low, high = map(float, re.findall(r"[-+]\d\.\d+", variant[7]))
    # All of B's errors are other rows: the variance of the difference of shares is (n - d^2)/N.
    error = np.sqrt((25 / ROWS - 0.075**2) / ROWS)
    assert shift == pytest.approx(0.075, abs=5e-3)
    assert [low, high] == pytest.approx([0.075 - 1.96 * error, 0.075 + 1.96 * error], abs=0.01)
    # Of single models McNemar's test is the stricter one.
    mcnemar = stats.binomtest(5, 25).pvalue - stats.binom.pmf(5, 25, 0.5)
    assert mcnemar > 2 * stats.norm.sf(0.075 / error)
    assert float(variant[8]) == pytest.approx(mcnemar, abs=0.001)
    assert variant[9] == "better; one seed: of these trained models alone"
    assert cell == [CELL, "0.9000", "0.9750", "5", "20", f"{mcnemar:.3f}", "better"]


def test_the_mean_is_over_the_seeds_that_both_have(add, run):
    for seed, wrong in ((0, 10), (1, 30), (2, 90)):
        add("a", f"sms/bert/lora-r4/seed{seed}", range(wrong))
    for seed, wrong in ((0, 10), (1, 32)):
        add("b", f"sms/bert/lora-r4/seed{seed}", range(wrong))
    _, text = run("--metrics", "accuracy")
    variant, cell = lines(text)
    assert variant[3:7] == ["0, 1", "accuracy", "0.9000", "0.8950"]
    assert variant[9] == "no difference shown"
    assert cell[0] == "sms/bert/lora-r4/seed1"  # seed 0 is as it was
    assert "## Gone\n\n- sms/bert/lora-r4, seed 2\n" in text


def test_a_lower_loss_is_better(add, run):
    for root, sure in (("a", 0.6), ("b", 0.9)):
        add(root, CELL, range(10), sure=sure)
    variant, cell = lines(run("--metrics", "loss")[1])
    assert variant[9].startswith("better")
    assert cell[3:] == ["0", "0", "1.000", "no difference shown"]  # no answer is another


def test_a_figure_that_there_is_not_is_not_tested(add, run):
    add("a", CELL, range(5))
    add("b", CELL, range(9))
    _, text = run("--metrics", "f1")
    assert lines(text)[0][4:] == ["f1", "", "", "", "", "not tested"]
    assert "- Not tested, all cells that both have: no such figure." in text


def test_other_test_rows_have_no_p_value(add, run):
    add("a", CELL, range(5))
    add("b", CELL, range(9), first=40)
    status, text = run("--metrics", "accuracy")
    assert status == 1
    assert "the test rows differ: 160 are common, of 200 in A and 160 in B" in text
    variant, cell = lines(text)
    assert variant[7:] == ["-0.0312", "", "not tested"]
    assert cell[3:] == ["", "", "", "not tested"]


def test_rows_in_another_order_are_the_same_rows(add, run):
    add("a", CELL, range(20))
    file = add("b", CELL, range(20, 25)) / "predictions.parquet"
    expected = run()[1]
    pd.read_parquet(file).sample(frac=1, random_state=0).to_parquet(file, index=False)
    assert run()[1] == expected


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda file: file.unlink(), "B has no predictions.parquet"),
        (lambda file: relabel(file), "the test rows differ: 199 are common"),
        (lambda file: rename_class(file), "the classes differ"),
    ],
)
def test_answers_that_cannot_be_compared_are_said_to_be(add, run, damage, complaint):
    add("a", CELL, range(5))
    damage(add("b", CELL, range(9)) / "predictions.parquet")
    _, text = run()
    assert complaint in text
    assert {row[-1] for row in lines(text)} == {"not tested"}


def relabel(file: Path) -> None:
    """Give the first row another label."""
    frame = pd.read_parquet(file)
    frame.loc[0, "label"] = "spam"
    frame.to_parquet(file, index=False)


def rename_class(file: Path) -> None:
    """Give a class another name."""
    metrics = file.with_name("metrics.json")
    metrics.write_text(metrics.read_text().replace('"spam"', '"eggs"'))


def test_texts_that_changed_under_the_same_ids_are_other_rows(add, run, tmp_path):
    for root, digest, wrong in (("a", "1" * 64, 5), ("b", "2" * 64, 9)):
        add(root, CELL, range(wrong))
        passport = {"splits": {"test": {"sha256": digest}}}
        (tmp_path / root / "sms/passport.json").write_text(json.dumps(passport))
    _, text = run()
    assert "the texts of the test rows differ" in text
    assert "data.test.sha256 111111111111 → 222222222222" in text


def test_p_is_corrected_for_all_tests_of_a_table():
    single = [Difference((Cell("d", "m", "v", seed),), "accuracy", 0.1, 0.2, p=p)
              for seed, p in enumerate((0.01, None, 0.04, 0.03))]  # fmt: skip
    assert [each.p_holm for each in corrected(single)] == [0.03, None, 0.06, 0.06]


def test_settings_are_told_once_for_the_cells_that_they_changed_for(add, run):
    for root, version in (("a", "0.21.2"), ("b", "0.22.0")):
        for rank in (4, 8):
            steps = 100 if root == "a" or rank == 8 else 200
            config = {"train_config": {"max_steps": steps}, "peft_config": {"r": rank}}
            directory = add(root, f"sms/bert/lora-r{rank}/seed0", range(steps // 20), **config)
            file = directory / "metrics.json"
            file.write_text(file.read_text().replace("0.21.2", version))
    _, text = run()
    told = [line for line in text.splitlines() if "→" in line]
    assert told == [
        "- **sms/bert/lora-r4, seed 0** (1 of 1 with other figures): "
        "train_config.max_steps 100 → 200",
        "- **all cells that both have** (1 of 2 with other figures): peft 0.21.2 → 0.22.0",
    ]


def test_the_cells_of_a_whole_dataset_go_by_its_name():
    sms = Cell("sms", "bert", "r4", 0)
    news = [Cell("news", "bert", variant, 0) for variant in ("r4", "r8")]
    known = [sms, *news]
    assert diff.in_short(known, known) == "all cells that both have"
    assert diff.in_short(news, known) == "all of news"
    assert diff.in_short([news[1], sms], known) == "all of sms; news/bert/r8, seed 0"


def test_a_setting_that_came_is_told():
    changed = settings.changes({"a.b": 1, "gone": "x"}, {"a.b": 1, "new": [1, None]})
    assert changed == [("new", "none", "[1, null]"), ("gone", "x", "none")]
    assert settings.flat("a", {"b": {"c": 1}, "d": None}) == {"a.b.c": 1, "a.d": None}
    assert settings.written("ab" * 32) == "abababababab"
    assert settings.written("xy" * 32) == "xy" * 32


def test_settings_alone_are_no_difference(add, run):
    add("a", CELL, kind="adapter")
    add("b", CELL, kind="full")
    status, text = run()
    assert status == 0
    assert "(0 of 1 with other figures): kind adapter → full" in text


def test_the_text_is_written_too_and_is_always_the_same(add, run, tmp_path):
    for root, wrong in (("a", 5), ("b", 20)):
        for seed in range(3):
            add(root, f"sms/bert/lora-r4/seed{seed}", range(seed, wrong + seed))
    printed = [run("--output", str(tmp_path / f"{number}.md"))[1] for number in range(2)]
    assert printed[0] == printed[1] == (tmp_path / "0.md").read_text()


def test_names_are_shown_as_they_are(add, run):
    add("a", "sms/a*b*/lora/seed0")
    add("b", "sms/bert/lora/seed0")
    assert r"- sms/a\*b\*/lora, seed 0" in run()[1]


def test_results_of_a_revision(add, run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add("results", CELL, range(5))
    who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "Results"]):
        subprocess.run(["git", *words], check=True)
    assert run_script("diff", "--a", "HEAD").returncode == 0
    add("results", CELL, range(9))
    done = run_script("diff", "--a", "HEAD")
    assert done.returncode == 1
    assert "A is HEAD, of 1 cells and baselines; B is results" in done.stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--a", "nothing"], "error: 'nothing' is neither a directory nor a git revision"),
        (["--a", ".", "--metrics", "f2"], "error: --metrics: there is no 'f2'; known are macro_f1"),
        (["--a", ".", "--b", "."], "error: . holds no cell with metrics.json"),
    ],
)
def test_trouble_is_one_line_and_another_status(
    run_script, tmp_path, monkeypatch, words, complaint
):
    monkeypatch.chdir(tmp_path)
    done = run_script("diff", *words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(complaint)
    assert "Traceback" not in done.stderr


def test_a_difference_that_no_resample_moves_has_an_interval_with_a_width(add, run):
    """A is right on all rows and B on none."""
    add("a", CELL)
    add("b", CELL, range(ROWS))
    variant, _ = lines(run("--metrics", "accuracy")[1])
    shift, low, high = map(float, re.findall(r"[-+]\d\.\d+", variant[7]))
    assert shift == low == -1.0
    assert -1.0 < high < -0.9
    assert variant[9].startswith("worse")


METRICS, PREDICTIONS = "metrics.json", "predictions.parquet"


def edited(**columns: Any) -> Callable[[Path], None]:
    """How to put other values in some columns of predictions.parquet."""

    def damage(file: Path) -> None:
        pd.read_parquet(file).assign(**columns).to_parquet(file, index=False)

    return damage


def replaced(old: str, new: str) -> Callable[[Path], Any]:
    """How to put another text into metrics.json."""
    return lambda file: file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("name", "damage", "complaint"),
    [
        (METRICS, lambda file: file.write_text('{"run_in'), "is no whole JSON file"),
        (METRICS, lambda file: file.write_text("[]"), "lacks figures"),
        (METRICS, lambda file: file.write_text("3"), "lacks figures"),
        (METRICS, replaced('"accuracy"', '"exactness"'), "lacks figures ('accuracy')"),
        (METRICS, replaced('"validation": {', '"validation": 1, "more": {'), "lacks figures"),
        (METRICS, replaced('"package_info": {', '"package_info": 1, "more": {'), "lacks figures"),
        (METRICS, replaced('"macro_f1": ', '"macro_f1": "high", "more": '), "lacks figures"),
        (METRICS, replaced('"macro_f1": 0', '"macro_f1": "0.9", "mcc": 0'), "'0.9' is no number"),
        (METRICS, replaced('"accuracy": 0', '"accuracy": NaN, "mcc": 0'), "nan is no number"),
        (METRICS, replaced('"accuracy": 0', '"accuracy": true, "mcc": 0'), "True is no number"),
        (METRICS, replaced('"accuracy": 0', '"accuracy": 1e999, "mcc": 0'), "inf is no number"),
        (METRICS, replaced('["ham", "spam"]', "null"), "labels are no list of texts"),
        (METRICS, replaced('["ham", "spam"]', "[0, 1]"), "labels are no list of texts"),
        (METRICS, replaced('["ham", "spam"]', '"ham"'), "labels are no list of texts"),
        (METRICS, replaced('["ham", "spam"]', '["ham", "ham"]'), "one of them is there twice"),
        (METRICS, replaced('{"r": 4}', '{}, "options": {"positive_label": "x"}'), "'x', no class"),
        (METRICS, replaced('"confusion_matrix": [', '"confusion_matrix": [[1], '), "2 lines of 2"),
        (PREDICTIONS, lambda file: file.write_bytes(b""), "has no predictions of these classes"),
        (PREDICTIONS, edited(id=[["row", str(row)] for row in range(ROWS)]), "no texts as 'id'"),
        (PREDICTIONS, edited(label=[["ham"]] * ROWS), "holds no texts as 'label'"),
        (PREDICTIONS, edited(id=range(ROWS)), "holds no texts as 'id'"),
        (PREDICTIONS, lambda file: file.write_bytes(file.read_bytes()[:999]), "has no predictions"),
        (PREDICTIONS, lambda file: pd.DataFrame({"id": [1]}).to_parquet(file), "no predictions"),
        (PREDICTIONS, edited(probability_ham="much"), "has no predictions of these classes"),
        (PREDICTIONS, edited(probability_ham=None), "has empty places"),
        (PREDICTIONS, edited(id="row 1"), "has the row 'row 1' twice"),
        (PREDICTIONS, edited(probability_ham=0.0, probability_spam=1.0),
         "metrics.json is not of the rows in"),
        ("../../../passport.json", lambda file: file.write_text('{"splits": 3}'), "is no passport"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_line_and_trouble(add, run_script, tmp_path, name, damage, complaint):
    add("a", CELL, range(5))
    file = add("b", CELL, range(9)) / name
    damage(file)
    done = run_script("diff", "--a", str(tmp_path / "a"), "--b", str(tmp_path / "b"))
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert complaint in last
    assert str(file.resolve().parent) in last
    assert "run" in last
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_damaged_file_in_a_revision_goes_by_its_name(add, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add("results", CELL)
    (tmp_path / "results" / CELL / METRICS).write_text("{")
    who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "Results"]):
        subprocess.run(["git", *words], check=True)
    add("results", CELL)
    with pytest.raises(InputError, match=f"^HEAD: {CELL}/metrics.json is no whole JSON file"):
        diff.main(["--a", "HEAD"])


def test_an_error_of_the_program_is_no_difference(monkeypatch, capsys):
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(diff, "main", broken)
    with pytest.raises(SystemExit) as end:
        diff.command()
    assert end.value.code == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (1, 0), (2, 2)])
def test_make_fails_where_there_was_trouble_alone(tmp_path, status, expected):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexit {status}\n")
    python.chmod(0o755)
    words = ["make", "--old-file=.venv/run.stamp", "diff", "A=a", f"BIN={tmp_path}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stderr


def test_a_record_of_another_version_is_refused(add, tmp_path):
    (add("a", CELL) / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match=r"lacks figures .*'run_info'"):
        diff.main(["--a", str(tmp_path / "a"), "--b", str(tmp_path / "a")])
