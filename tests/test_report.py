"""The comparison: which rows it has, what stands in them, how people read it."""

import csv
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

import report
import verdicts
from common import files
from common.cli import InputError
from common.report import comparison

IDENTITY = ["dataset", "model", "variant", "seed", "split"]


def metrics_json(
    correct: int, labels: list[str], train: dict, peft: dict | None, kind: str | None
) -> dict:
    """A record of 10 test rows per class, of which `correct` of the first class are right."""
    classes = len(labels)
    matrix = [[10 * (i == j) for j in range(classes)] for i in range(classes)]
    matrix[0][:2] = [correct, 10 - correct]
    accuracy = sum(matrix[i][i] for i in range(classes)) / (10 * classes)
    split: dict[str, object] = dict.fromkeys(report.METRICS, accuracy)
    if classes > 2:
        split |= dict.fromkeys(("f1", "precision", "recall"))
    split |= {"rows": 10 * classes, "eval_seconds": 0.5, "eval_samples_per_second": 40.0}
    split |= {"confusion_matrix": matrix, "collapsed": correct == 0 and kind is not None}
    return {
        "run_info": {"peft_config": peft, "kind": kind} if kind else {},
        "train_info": train,
        "meta_info": {"dataset_info": {"labels": labels, "source": SOURCE}, "model_info": None},
        "metrics": {"validation": split, "test": split},
    }


SOURCE = {"kind": "path", "name": "rows.csv"}
PREPARATION = {
    "settings": {
        "leakage": "drop", "near_duplicates": 0.8, "conflicting_labels": "drop", "group": None,
        "split_by": "stratified", "split_seed": 3,
    },
    "found": {"train": {"rows": 1234}},
    "rows_dropped": {"bad": 0, "exact": 30, "near": 4},
    "rows_marked": {"exact": 0},
    "splits": {
        "train": {"rows": 800, "classes": {"ham": 700, "spam": 100}},
        "test": {"rows": 20, "classes": {"ham": 10, "spam": 10}},
    },
}  # fmt: skip
TRAINED = {
    "num_adapter_params": 147_456,
    "num_head_params": 592_130,
    "num_trainable_params": 739_586,
    "num_total_params": 67_694_596,
    "train_time": 12.34,
    "train_samples_per_second": 64.8,
    "train_tokens_per_second": 1234.5,
    "peak_memory_bytes": 2**30,
    "file_size": 2_958_344,
}
BASE = {"num_trainable_params": 0, "num_total_params": 67_547_140}
FITTED = {"train_time": 0.8, "peak_memory_bytes": 2**28, "status": "success"}


def write_predictions(path: Path, correct: int, labels: list[str]) -> None:
    """The answers that the matrix of `metrics_json` counts."""
    true = [number for number in range(len(labels)) for _ in range(10)]
    given = [int(row >= correct) if number == 0 else number for row, number in enumerate(true)]
    frame: dict[str, list] = {"id": [f"train/{row}" for row in range(len(true))]}
    frame["label"] = [labels[number] for number in true]
    for number, name in enumerate(labels):
        frame[f"probability_{name}"] = [
            0.9 if answer == number else 0.1 / (len(labels) - 1) for answer in given
        ]
    pd.DataFrame(frame).to_parquet(path)


@pytest.fixture
def results(tmp_path):
    """Results of one dataset, one model, two ranks and two seeds; returns how to add more."""
    root = tmp_path / "results"

    def add(
        path: str, correct: int = 5, labels=("ham", "spam"), train=None, peft=None, kind=None
    ) -> Path:
        (root / path).mkdir(parents=True, exist_ok=True)
        record = metrics_json(
            correct, list(labels), train or BASE, peft, kind or (peft and "adapter")
        )
        (root / path / "metrics.json").write_text(json.dumps(record))
        write_predictions(root / path / "predictions.parquet", correct, list(labels))
        data = root / path.partition("/")[0] / "data/preparation.json"
        data.parent.mkdir(exist_ok=True)
        data.write_text(json.dumps(PREPARATION))
        return root

    for baseline, correct in (("majority", 0), ("tfidf", 9)):
        add(f"sms/baselines/{baseline}", correct, train=FITTED)
    for seed in (0, 1):
        add(f"sms/bert/base/seed{seed}", 4 * seed)
        for rank in (4, 16):
            peft = {"peft_type": "LORA", "r": rank, "lora_alpha": 16}
            add(f"sms/bert/lora-r{rank}/seed{seed}", 6 + 2 * seed, train=TRAINED, peft=peft)
    return add


OUTPUTS = {
    "verdicts": "v.json", "csv": "c.csv", "verdicts-csv": "v.csv",
    "markdown": "c.md", "latex": "c.tex", "methods": "m.md",
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """Write a report; returns the table as its strings, and the Markdown."""

    def write(
        *cells: str,
        baselines=("majority", "tfidf"),
        metrics=("macro_f1", "accuracy"),
        published=(),
        judge=True,
    ):
        compared = ["--results", tmp_path / "results", "--cells", *cells]
        compared += ["--baselines", *baselines]
        judged = [*compared, "--metric", metrics[0], "--output", tmp_path / "v.json"]
        if judge:
            verdicts.main(list(map(str, [*judged, "--resamples", 200])))
        words = [*compared, "--metrics", *metrics]
        for name, file in OUTPUTS.items():
            words += [f"--{name}", tmp_path / file]
        words += ["--published", json.dumps(published)] if published else []
        report.main(list(map(str, words)))
        table = pd.read_csv(tmp_path / "c.csv", dtype=str, keep_default_na=False)
        return table, (tmp_path / "c.md").read_text()

    return write


def table_lines(markdown: str) -> list[list[str]]:
    """Return the lines of all tables as cells: split at pipes that are not escaped."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def tables(markdown: str) -> list[list[list[str]]]:
    """The tables of one dataset: figures with verdicts, means over seeds, confusion matrices."""
    found = [table_lines(part) for part in re.split(r"\n\n+", markdown)]
    return [lines for lines in found if lines]


@pytest.mark.usefixtures("results")
def test_rows_are_the_named_cells_and_no_others(run):
    """The metrics of lora-r16 stay on the disk when it leaves the config."""
    table, text = run("sms/bert/base,lora-r4,lora-r16/0,1")
    assert len(table) == 2 * (2 + 3 * 2)
    table, text = run("sms/bert/base,lora-r4/0")
    found = table[table["split"] == "test"][["model", "variant", "seed"]].to_numpy().tolist()
    assert found == [
        ["", "majority", ""],
        ["", "tfidf", ""],
        ["bert", "base", "0"],
        ["bert", "lora-r4", "0"],
    ]
    assert "lora-r16" not in text


@pytest.mark.usefixtures("results")
def test_every_row_is_named_once(run):
    table, _ = run("sms/bert/base,lora-r4,lora-r16/0,1")
    assert list(table.columns[:5]) == IDENTITY
    assert not table.duplicated(IDENTITY).any()
    assert set(table["split"]) == {"validation", "test"}


COLUMNS = [
    *("dataset", "model", "variant", "seed", "split", "kind", "peft_type", "rank", "lora_alpha"),
    *("scale", "rows"),
    *("macro_f1", "accuracy", "balanced_accuracy", "macro_precision", "f1", "precision", "recall"),
    *("mcc", "loss", "collapsed", "eval_seconds", "eval_samples_per_second", "learned_nothing"),
    "clean_rows",
    *(f"clean_{metric}" for metric in report.METRICS),
    *("adapter_parameters",),
    *("head_parameters", "trainable_parameters", "total_parameters", "train_seconds"),
    *("train_samples_per_second", "train_tokens_per_second", "peak_memory_bytes", "file_bytes"),
    *(
        "trainable_share",
        "pretrained_head",
        "head_origin",
        "classes",
        "confusion_matrix",
        "published",
        "source",
    ),
    *("macro_f1_low", "macro_f1_high"),
]


@pytest.mark.parametrize("cells", ["sms/bert/base/0", "sms/bert/base,lora-r4/0"])
@pytest.mark.usefixtures("results")
def test_columns_do_not_depend_on_the_rows(run, cells):
    assert list(run(cells)[0].columns) == COLUMNS
    assert list(run(cells, baselines=())[0].columns) == COLUMNS


@pytest.mark.usefixtures("results")
def test_figures_of_a_trained_cell(run):
    table, _ = run("sms/bert/base,lora-r4/0,1")
    row = table[(table["variant"] == "lora-r4") & (table["split"] == "test")].iloc[1].to_dict()
    expected = {
        "seed": "1",
        "peft_type": "LORA",
        "rank": "4",
        "lora_alpha": "16",
        "scale": "4.0",
        "kind": "adapter",
        "collapsed": "False",
        "rows": "20",
        "accuracy": "0.9",
        "adapter_parameters": "147456",
        "head_parameters": "592130",
        "trainable_parameters": "739586",
        "total_parameters": "67694596",
        "train_seconds": "12.34",
        "peak_memory_bytes": str(2**30),
        "file_bytes": "2958344",
        "classes": '["ham", "spam"]',
        "confusion_matrix": "[[8, 2], [0, 10]]",
    }
    assert {key: row[key] for key in expected} == expected
    assert float(row["trainable_share"]) == pytest.approx(739_586 / 67_694_596)


@pytest.mark.usefixtures("results")
def test_places_without_a_figure_are_empty(run):
    table, _ = run("sms/bert/base,lora-r4/0")
    rows = table[table["split"] == "test"].set_index("variant")
    for column in ("model", "seed", "rank", "lora_alpha", "total_parameters", "trainable_share"):
        assert rows.loc["tfidf", column] == "", column
    for column in ("peft_type", "rank", "lora_alpha", "train_seconds", "file_bytes"):
        assert rows.loc["base", column] == "", column
    assert rows.loc["base", "trainable_parameters"] == "0"


@pytest.mark.parametrize(
    ("peft", "expected"),
    [
        ({"r": 16, "lora_alpha": 16}, 1.0),
        ({"r": 16, "lora_alpha": 16, "use_rslora": True}, 4.0),
        ({"r": None, "lora_alpha": 16}, None),
        ({"r": 8}, None),
        ({}, None),
    ],
)
def test_scale_of_an_update(peft, expected):
    assert report.scale(peft) == expected


@pytest.mark.parametrize("kind", ["head", "full"])
def test_kinds_that_are_no_adapters_have_no_peft_config(results, run, kind):
    results(f"sms/bert/{kind}/seed0", train=TRAINED, kind=kind)
    table, _ = run(f"sms/bert/base,{kind}/0")
    assert list(dict.fromkeys(table["kind"])) == ["baseline", "base", kind]
    assert set(table["scale"]) == {""}


def test_a_base_with_a_head_of_its_own_is_marked(results, run):
    """It is not drawn anew with every seed."""
    assert "(head of the model)" not in run("sms/bert/base,lora-r4/0,1")[1]
    for seed in (0, 1):
        results(f"sms/bert/base/seed{seed}", 5, train=BASE | {"pretrained_head": True})
    assert "| base (head of the model) |" in run("sms/bert/base,lora-r4/0,1")[1]


def test_a_collapsed_variant_is_marked(results, run):
    results("sms/bert/lora-r4/seed0", 0, train=TRAINED, peft={"r": 4})
    _, text = run("sms/bert/base,lora-r4/0,1")
    assert "lora-r4 (collapsed in 1 of 2 seeds)" in text
    assert "majority (collapsed" not in text


def test_a_broken_alpha_keeps_its_fraction(results, run):
    peft = {"peft_type": "LORA", "r": 4, "lora_alpha": 0.5}
    results("sms/bert/half/seed0", train=TRAINED, peft=peft)
    table, _ = run("sms/bert/base,half/0")
    assert list(table["lora_alpha"].unique()) == ["", "0.5"]


def test_f1_of_three_classes_is_empty(results, run, tmp_path):
    labels = ["ham", "spam", "other"]
    results("news/baselines/majority", labels=labels, train=FITTED)
    results("news/bert/base/seed0", labels=labels)
    table, text = run("news/bert/base/0", baselines=["majority"], metrics=["f1", "accuracy"])
    assert set(table["f1"]) == {""}
    assert json.loads((tmp_path / "v.json").read_text())["datasets"]["news"]["metric"] == "macro_f1"
    assert "macro_f1 stands in for f1, which is of two classes alone." in text
    header, _, majority, base = tables(text)[1]
    assert dict(zip(header, base, strict=True))["f1"] == ""
    assert dict(zip(header, majority, strict=True))["accuracy"] == "0.833"


@pytest.mark.usefixtures("results")
def test_markdown_gives_mean_and_deviation_over_seeds(run):
    _, text = run("sms/bert/base,lora-r4/0,1")
    rows = by_variant(tables(text)[1])
    # 16 and 18 of 20 rows; the standard deviation of a sample of two.
    assert rows["lora-r4"]["accuracy"] == "0.850 ± 0.071"
    assert rows["lora-r4"]["adapter parameters"] == "147,456"
    assert rows["lora-r4"]["train seconds"] == "12.3 ± 0.0"
    assert rows["base"]["accuracy"] == "0.600 ± 0.141"
    assert rows["base"]["adapter parameters"] == ""
    assert rows["tfidf"]["accuracy"] == "0.950"


def by_variant(table: list[list[str]]) -> dict[str, dict[str, str]]:
    """Return the lines of a table of one model, by variant."""
    header, _, *lines = table
    return {line[1]: dict(zip(header, line, strict=True)) for line in lines}


@pytest.mark.usefixtures("results")
def test_the_first_table_has_intervals_differences_and_costs(run, tmp_path):
    _, text = run("sms/bert/base,lora-r4/0,1")
    found = json.loads((tmp_path / "v.json").read_text())["datasets"]["sms"]
    shown = {v["variant"]: v["metrics"]["macro_f1"]["shown"] for v in found["variants"]}
    rows = by_variant(tables(text)[0])
    assert {name: row["macro_f1 (95 % interval)"] for name, row in rows.items()} == shown
    assert rows["lora-r4"]["seeds"] == "2"
    assert rows["lora-r4"]["trainable parameters"] == "739,586"
    assert rows["lora-r4"]["train seconds"] == "12.3"
    assert rows["lora-r4"]["peak memory, MiB"] == "1,024"
    # Of 20 rows and two seeds nothing can be said of one mistake in twenty.
    assert re.fullmatch(r"-0\.\d+, (open|at most as good)", rows["lora-r4"]["to tfidf"])
    assert re.fullmatch(r"\+0\.\d+, open", rows["lora-r4"]["to base"])
    assert re.fullmatch(r"-0\.\d+, worse", rows["majority"]["to tfidf"])
    assert rows["tfidf"]["to tfidf"] == rows["tfidf"]["seeds"] == ""
    assert rows["majority"]["to base"] == rows["base"]["to base"] == ""


@pytest.mark.usefixtures("results")
def test_the_verdict_stands_before_the_tables(run, tmp_path):
    _, text = run("sms/bert/base,lora-r4/0,1")
    section = text.split("## sms\n")[1]
    told = json.loads((tmp_path / "v.json").read_text())["datasets"]["sms"]["verdict"]
    assert section.split("|")[0].count("\n- ") == len(told)
    assert section.strip().splitlines()[0] == f"- {told[0]}"


@pytest.mark.usefixtures("results")
def test_a_difference_whose_test_is_not_assured_is_marked(run):
    _, text = run("sms/bert/base,lora-r4/0")
    assert re.search(r"better\?", by_variant(tables(text)[0])["lora-r4"]["to base"])
    assert "Marked *?*: one seed: this tells of these trained models alone" in text
    assert "Marked †: of one seed; the interval is of the test rows alone." in text
    rows = by_variant(tables(text)[0])
    marked = {name for name, row in rows.items() if "†" in row["macro_f1 (95 % interval)"]}
    assert marked == {"lora-r4"}  # an untrained head that was drawn once stands for itself


@pytest.mark.usefixtures("results")
def test_a_mark_that_is_not_in_the_table_is_not_explained(run):
    """Majority and lora-r4 differ by a test that is not assured; no column holds this pair."""
    _, text = run("sms/bert/lora-r4/0")
    assert "?" not in "".join(map("".join, tables(text)[0]))
    assert "Marked *?*" not in text


@pytest.mark.usefixtures("results")
def test_without_tfidf_no_difference_to_it(run):
    _, text = run("sms/bert/base,lora-r4/0,1", baselines=["majority"])
    assert {row["to tfidf"] for row in by_variant(tables(text)[0]).values()} == {""}


@pytest.mark.usefixtures("results")
def test_test_rows_have_the_interval_of_their_cell(run, tmp_path):
    table, _ = run("sms/bert/base,lora-r4/0,1", published=PUBLISHED)
    found = json.loads((tmp_path / "v.json").read_text())["datasets"]["sms"]["variants"]
    expected = {
        (v["model"] or "", v["variant"], "" if c["seed"] is None else str(c["seed"])):
        (c["low"], c["high"])
        for v in found for c in v["metrics"]["macro_f1"]["cells"]
    }  # fmt: skip
    ends = ["macro_f1_low", "macro_f1_high"]
    ours = table[(table["split"] == "test") & (table["published"] == "false")]
    told = ours.set_index(["model", "variant", "seed"])[ends].astype(float)
    assert {key: tuple(row) for key, *row in told.itertuples(name=None)} == expected
    assert set(table.drop(ours.index)[ends].to_numpy().ravel()) == {""}


def test_a_metric_that_stands_in_has_columns_of_its_own(results, run):
    results("news/bert/base/seed0", labels=["ham", "spam", "other"])
    table, _ = run("news/bert/base/0", "sms/bert/base/0", baselines=[], metrics=["f1"])
    test = table[table["split"] == "test"].set_index("dataset")
    assert list(table.columns[-4:]) == ["f1_low", "f1_high", "macro_f1_low", "macro_f1_high"]
    assert test.loc["news", "f1_low"] == ""
    assert test.loc["news", "macro_f1_low"] != "" != test.loc["sms", "f1_low"]


@pytest.mark.usefixtures("results")
def test_the_verdicts_are_a_table_of_variants(run, tmp_path):
    run("sms/bert/base,lora-r4,lora-r16/0,1", published=PUBLISHED)
    found = json.loads((tmp_path / "v.json").read_text())["datasets"]["sms"]
    table = pd.read_csv(tmp_path / "v.csv", dtype=str, keep_default_na=False)
    assert list(table["variant"]) == ["majority", "tfidf", "base", "lora-r4", "lora-r16"]
    row = table.set_index("variant").loc["lora-r4"].to_dict()
    variant = next(each for each in found["variants"] if each["variant"] == "lora-r4")
    macro_f1 = variant["metrics"]["macro_f1"]
    told = next(each for each in found["comparisons"]
                if (each["a"], each["b"]) == ("tfidf", "bert/lora-r4"))  # fmt: skip
    expected = {
        "dataset": "sms", "model": "bert", "kind": "adapter", "seeds": "2", "rows": "20",
        "metric": "macro_f1", "failed": "0", "position": str(variant["position"]),
        "recommended": str(variant["recommended"]), "to_tfidf_outcome": "open",
        "to_tfidf_caution": "", "share_of_gap": "", "trainable_parameters": "739586",
        "train_seconds": "12.34", "peak_memory_bytes": str(2**30), "file_bytes": "2958344",
    }  # fmt: skip
    assert {key: row[key] for key in expected} == expected
    numbers = {
        **{key: macro_f1[key] for key in ("value", "low", "high")},
        "to_tfidf": -told["difference"],
        "to_tfidf_low": -told["high"],
        "to_tfidf_high": -told["low"],
        "to_tfidf_p": told["p"],
        "to_tfidf_p_holm": told["p_holm"],
        **{key: variant["calibration"][key] for key in ("ece", "ece_floor", "brier")},
    }
    assert {key: float(row[key]) for key in numbers} == pytest.approx(numbers)


@pytest.mark.usefixtures("results")
def test_what_has_nothing_to_be_held_against_has_empty_places(run, tmp_path):
    run("sms/bert/base,lora-r4/0")
    with open(tmp_path / "v.csv", newline="") as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert {rows["tfidf"][name] for name in rows["tfidf"] if name.startswith("to_")} == {""}
    assert {rows["base"][name] for name in rows["base"] if name.startswith("to_base")} == {""}
    majority = [rows["majority"][name] for name in ("model", "seeds", "trainable_parameters")]
    assert majority == ["", "0", ""]
    assert rows["lora-r4"]["to_base_caution"].startswith("one seed: ")


@pytest.mark.usefixtures("results")
def test_more_in_the_verdicts_changes_nothing(run, tmp_path):
    run("sms/bert/base,lora-r4/0,1")
    before = {name: (tmp_path / name).read_bytes() for name in OUTPUTS.values()}
    path = tmp_path / "v.json"
    verdict = files.read_json(path)
    found = verdict["datasets"]["sms"]
    for block in (verdict, found, *found["variants"], *found["comparisons"]):
        block["later"] = [{"seed": 0, "more": None}]
    files.write_json(verdict, path)
    run("sms/bert/base,lora-r4/0,1", judge=False)
    del before["v.json"]
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


@pytest.mark.usefixtures("results")
def test_the_columns_of_the_verdicts_are_documented(run, tmp_path):
    run("sms/bert/base,lora-r4/0,1")
    reference = (Path(__file__).parents[1] / "docs/reference.md").read_text(encoding="utf-8")
    columns = pd.read_csv(tmp_path / "v.csv", nrows=0).columns
    named = [f"`{name.replace('to_base', 'to_tfidf')}`" for name in columns]
    assert [name for name in named if name not in reference] == []


@pytest.mark.parametrize("change", [("lora-r4", "lora-r8"), ("sms", "news")])
@pytest.mark.usefixtures("results")
def test_verdicts_of_another_comparison(run, tmp_path, change):
    run("sms/bert/base,lora-r4/0,1")
    path = tmp_path / "v.json"
    text = json.dumps(files.read_json(path))
    for before in ('"{}"', "bert/{}"):
        text = text.replace(before.format(change[0]), before.format(change[1]))
    files.write_json(json.loads(text), path)
    with pytest.raises(InputError, match=r"v\.json is of another comparison: run `verdicts`"):
        run("sms/bert/base,lora-r4/0,1", judge=False)


@pytest.mark.usefixtures("results")
def test_verdicts_of_other_seeds(run):
    run("sms/bert/base,lora-r4/0,1")
    with pytest.raises(InputError, match=r"v\.json is of another comparison: run `verdicts`"):
        run("sms/bert/base,lora-r4/0", judge=False)


@pytest.mark.usefixtures("results")
def test_equal_results_give_equal_files(run, tmp_path):
    def written():
        return {file: (tmp_path / file).read_bytes() for file in OUTPUTS.values()}

    run("sms/bert/base,lora-r4/0,1", published=PUBLISHED)
    before = written()
    run("sms/bert/base,lora-r4/0,1", published=PUBLISHED)
    assert written() == before


@pytest.mark.usefixtures("results")
def test_markdown_holds_confusion_matrices_summed_over_seeds(run):
    _, text = run("sms/bert/base,lora-r4/0,1")
    matrices = [line for line in table_lines(text) if len(line) == 5]
    assert matrices[0] == ["model", "variant", "true", "→ ham", "→ spam"]
    assert ["bert", "lora-r4", "ham", "14", "6"] in matrices
    assert ["bert", "lora-r4", "spam", "0", "20"] in matrices
    assert ["", "tfidf", "ham", "9", "1"] in matrices
    assert "20 test rows (ham 10, spam 10)." in text


def test_names_do_not_break_the_tables(results, run):
    labels = ["a|b *bold* [x]", "two\nlines", "1.50"]
    results("odd/baselines/majority", labels=labels, train=FITTED)
    results("odd/bert/base/seed0", labels=labels)
    table, text = run("odd/bert/base/0", baselines=["majority"])
    lines = table_lines(text)
    assert {len(line) for line in lines} == {9, 7, 6}
    true = [line[2] for line in lines if len(line) == 6]
    assert true[2:] == [r"a\|b \*bold\* \[x\]", "two lines", "1.50"] * 2
    assert json.loads(table["classes"].iloc[0]) == labels


def test_names_that_look_like_numbers_stay_as_they_are(results, run):
    results("odd/bert/base/seed0", labels=["1.50", "2.0"])
    _, text = run("odd/bert/base/0", baselines=[])
    assert [line[2] for line in table_lines(text) if len(line) == 5][2:] == ["1.50", "2.0"]


def test_the_csv_is_read_by_any_csv_reader(results, run, tmp_path):
    results("odd/bert/base/seed0", labels=['"quoted", and', "b"])
    run("odd/bert/base/0", baselines=[])
    with open(tmp_path / "c.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [json.loads(row["classes"]) for row in rows] == [['"quoted", and', "b"]] * 2


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (Path.unlink, r"seed1/metrics\.json cannot be read .*run the stage that writes it"),
        (lambda path: path.write_text('{"run_info": {"cre'), "is no whole JSON file .*delete"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is no whole JSON file"),
        (lambda path: path.write_text("{}"), "lacks figures .*delete .* and run again"),
        (lambda path: path.write_text("[]"), "lacks figures"),
    ],
)
def test_metrics_that_are_missing_or_cut_off(results, run, tmp_path, damage, complaint):
    root = results("sms/bert/base/seed1")
    run("sms/bert/base/0,1")
    (tmp_path / "c.csv").unlink()
    damage(root / "sms/bert/base/seed1/metrics.json")
    with pytest.raises(InputError, match=complaint) as caught:
        run("sms/bert/base/0,1", judge=False)
    assert "\n" not in str(caught.value)
    assert "seed1/metrics.json" in str(caught.value)
    assert not (tmp_path / "c.csv").exists()


def test_metrics_are_those_of_the_config():
    from rules.config import load_schema

    schema = load_schema()["properties"]
    known = schema["report"]["properties"]["metrics"]["items"]["enum"]
    published = schema["published"]["items"]["properties"]["metrics"]["properties"]
    assert set(report.METRICS) == set(known) == set(published)


# The first has the very names of our own cells, and must not be taken for a seed of them.
PUBLISHED = [
    {
        "dataset": "sms",
        "model": "bert",
        "variant": "lora-r4",
        "source": "A. Author (2024)",
        "metrics": {"accuracy": 0.1234, "loss": 0.5},
        "note": "500 rows",
    },
    {
        "dataset": "sms",
        "variant": "TF-IDF | words",
        "source": "https://example.org/a_b",
        "metrics": {"f1": 0.9},
    },
]


@pytest.mark.usefixtures("results")
def test_published_rows_are_the_last_of_the_csv_and_hold_what_was_published(run):
    table, _ = run("sms/bert/base,lora-r4/0,1", published=PUBLISHED)
    assert list(table.columns) == COLUMNS
    assert list(table["published"]) == ["false"] * (len(table) - 2) + ["true"] * 2
    filled = [{k: v for k, v in row.items() if v} for row in table.tail(2).to_dict("records")]
    assert filled == [
        {
            "dataset": "sms",
            "model": "bert",
            "variant": "lora-r4",
            "split": "test",
            "accuracy": "0.1234",
            "loss": "0.5",
            "published": "true",
            "source": "A. Author (2024)",
        },
        {
            "dataset": "sms",
            "variant": "TF-IDF | words",
            "split": "test",
            "f1": "0.9",
            "published": "true",
            "source": "https://example.org/a_b",
        },
    ]


@pytest.mark.usefixtures("results")
def test_published_rows_change_no_row_of_ours(run):
    without, before = run("sms/bert/base,lora-r4/0,1")
    with_them, after = run("sms/bert/base,lora-r4/0,1", published=PUBLISHED)
    pd.testing.assert_frame_equal(with_them.iloc[:-2], without)
    lines = after.splitlines()
    ours = [line.replace(" ", "").replace("-", "") for line in lines if "ublished" not in line]
    expected = [line.replace(" ", "").replace("-", "") for line in before.splitlines()]
    assert [line for line in ours if line] == [line for line in expected if line]


@pytest.mark.usefixtures("results")
def test_published_rows_stand_at_the_end_of_the_table_with_their_sources_below(run):
    metrics = ["accuracy", "f1"]
    _, text = run("sms/bert/base,lora-r4/0,1", metrics=metrics, published=PUBLISHED)
    first, second, _ = tables(text)
    assert [line[:4] for line in first[-2:]] == [
        ["bert", "lora-r4 (published)", "", "0.123"],
        ["", r"TF-IDF \| words (published)", "", ""],
    ]
    assert [line[:4] for line in second[-2:]] == [
        ["bert", "lora-r4 (published)", "0.123", ""],
        ["", r"TF-IDF \| words (published)", "", "0.900"],
    ]
    assert (
        "\n\nPublished elsewhere, and not measured here: A. Author (2024) (500 rows); "
        "https://example.org/a_b.\n\n"
    ) in text


def test_published_rows_stand_with_their_own_dataset(results, run):
    results("news/bert/base/seed0")
    _, text = run("sms/bert/base/0", "news/bert/base/0", baselines=[], published=PUBLISHED)
    assert "(published)" in text.split("## news")[0]
    assert "ublished" not in text.split("## news")[1]


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '[{"dataset": "sms"}]'])
def test_published_figures_that_are_not_written_so(run_script, text):
    words = ["--results", "r", "--cells", "a/b/c/0"]
    words += [word for name, file in OUTPUTS.items() for word in (f"--{name}", file)]
    done = run_script("report", *words, "--published", text)
    assert done.returncode == 2
    assert f"--published: {text} is no JSON" in done.stderr.splitlines()[-1]


@pytest.mark.usefixtures("results")
def test_mistake_ends_in_one_line(run_script, tmp_path):
    shutil.rmtree(tmp_path / "results/sms/bert/base/seed1")
    words = ["--results", tmp_path / "results", "--cells", "sms/bert/base/0,1"]
    for name, file in OUTPUTS.items():
        words += [f"--{name}", tmp_path / file]
    done = run_script("report", *words)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "sms/bert/base/seed1/metrics.json" in last
    assert "Traceback" not in done.stderr


@pytest.fixture
def leaky(results, tmp_path):
    """All metrics of the dataset given on the clean rows too, of which one test row in four is."""
    for path in (tmp_path / "results").rglob("metrics.json"):
        record = json.loads(path.read_text())
        for split in record["metrics"].values():
            split["clean"] = dict.fromkeys(report.METRICS, 0.25) | {"rows": 5}
        path.write_text(json.dumps(record))
    return results


@pytest.mark.usefixtures("leaky")
def test_figures_of_clean_rows_stand_beside_those_of_all(run):
    table, text = run("sms/bert/base,lora-r4/0,1")
    assert list(table.columns) == COLUMNS
    assert set(table["clean_rows"]) == {"5"}
    assert set(table["clean_macro_f1"]) == {"0.25"}
    assert "**15 of these rows have a duplicate that was trained on.**" in text
    header, _, *lines = tables(text)[1]
    assert header[2:6] == ["macro_f1", "clean macro_f1", "accuracy", "clean accuracy"]
    assert {line[3] for line in lines} == {"0.250", "0.250 ± 0.000"}


@pytest.mark.usefixtures("results")
def test_without_marked_rows_nothing_is_said_of_clean_ones(run):
    table, text = run("sms/bert/base,lora-r4/0,1")
    assert set(table["clean_rows"]) == set(table["clean_f1"]) == {""}
    assert "clean" not in text


@pytest.mark.usefixtures("leaky")
def test_a_dataset_without_a_clean_row(run, tmp_path):
    for path in (tmp_path / "results").rglob("metrics.json"):
        record = json.loads(path.read_text())
        for split in record["metrics"].values():
            split["clean"] = {"rows": 0}
        path.write_text(json.dumps(record))
    table, text = run("sms/bert/base,lora-r4/0,1")
    assert set(table["clean_rows"]) == {"0"}
    assert "**20 of these rows" in text
    assert {line[3] for line in tables(text)[1][2:]} == {""}
    assert "There are no figures named *clean*: no row is left." in text


@pytest.mark.usefixtures("leaky")
def test_a_dataset_whose_clean_rows_lack_a_class(run, tmp_path):
    for path in (tmp_path / "results").rglob("metrics.json"):
        record = json.loads(path.read_text())
        for split in record["metrics"].values():
            split["clean"] = {"rows": 5, "classes": {"ham": 5, "spam": 0}}
        path.write_text(json.dumps(record))
    table, text = run("sms/bert/base,lora-r4/0,1")
    assert set(table["clean_rows"]) == {"5"}
    assert set(table["clean_macro_f1"]) == {""}
    assert "**15 of these rows" in text
    assert "There are no figures named *clean*: the other 5 lack a class." in text
    assert {line[3] for line in tables(text)[1][2:]} == {""}


@pytest.mark.parametrize(("failed", "mark"), [([], ""), ([0, 2], " (failed in 2 of 3 seeds)")])
def test_failed_seeds_are_marked_as_the_verdicts_count_them(failed, mark):
    """Not by the record of the training: a control that learns nothing has not failed."""
    assert comparison.failure({"failed": failed, "seeds": [0, 1, 2]}) == mark
