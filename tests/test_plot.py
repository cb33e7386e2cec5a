"""The figures: whole SVG files, equal for equal results, whatever these hold."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import plot
from common.cli import InputError
from common.report import figures, frame, vega
from common.report.figures import FIGURES
from common.report.frame import Dataset, Measure, Variant
from tests import results

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Results of two datasets: verdicts.json, and metrics.json of every cell."""
    plan = results.Comparison({"sms": ["ham", "spam"], "news": ["a", "b"]})
    return results.make(tmp_path_factory.mktemp("made"), plan)


def words_of(root: Path, results: Path) -> list[str]:
    """Return the command line that draws all figures of results into a directory."""
    files = [root / f"{name}.svg" for name in FIGURES]
    given = ["--results", results, "--verdicts", results / "verdicts.json", "--figures", *files]
    return list(map(str, given))


def texts(path: Path) -> set[str]:
    """Return all texts in an SVG, which must be well-formed."""
    root = ET.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    return {node.text for node in root.iter(f"{SVG}text") if node.text}


def parts(path: Path) -> Counter:
    """Return how many marks of each layer a figure has, by the name of the layer."""
    counts: Counter = Counter()
    for group in ET.parse(path).getroot().iter(f"{SVG}g"):
        if found := re.search(r"role-mark ([a-z]+)_\d+_marks", group.get("class", "")):
            counts[found[1]] += sum(1 for mark in group if mark.get("d") or not mark.get("class"))
    return +counts


def size(path: Path) -> tuple[float, float]:
    """Return width and height in pixels."""
    root = ET.parse(path).getroot()
    return float(root.attrib["width"]), float(root.attrib["height"])


@pytest.mark.full
def test_equal_results_give_equal_files_in_another_process(run_script, tmp_path, made):
    plot.main(words_of(tmp_path, made))
    here = {file.name: file.read_bytes() for file in tmp_path.glob("*.svg")}
    assert len(here) == len(FIGURES)
    done = run_script("plot", *words_of(tmp_path, made))
    assert done.returncode == 0, done.stderr
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.svg")} == here


def test_a_file_that_no_figure_is_named_after(run_script, tmp_path):
    words = ["--results", tmp_path, "--verdicts", tmp_path, "--figures"]
    for name in ("cost.svg", "costs.png"):
        done = run_script("plot", *words, tmp_path / name)
        assert done.returncode == 2
        assert f"{name}' names no figure: choose from costs, " in done.stderr


def test_mistake_ends_in_one_line(run_script, tmp_path):
    done = run_script("plot", *words_of(tmp_path, tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"error: {tmp_path}/verdicts.json cannot be read"
    )
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.svg"))


Edit = Callable[[dict[str, Any]], object]


def nothing(_: dict[str, Any]) -> None:
    """No edit."""


@pytest.fixture
def drawn(tmp_path, made):
    """Draw a figure after an edit of the verdicts; returns the file."""

    def run(name: str, edit: Edit = nothing, directory: Path | None = None) -> Path:
        directory = directory or made
        verdicts = json.loads((directory / "verdicts.json").read_text())
        edit(verdicts)
        edited, path = tmp_path / "edited.json", tmp_path / f"{name}.svg"
        edited.write_text(json.dumps(verdicts))
        comparison = frame.read(edited, directory)
        vega.save(figures.drawing(FIGURES[name], comparison), path)
        return path

    return run


def every(change: Callable[[dict[str, Any]], object]) -> Edit:
    """Return an edit of every variant in the verdicts."""

    def edit(verdicts: dict[str, Any]) -> None:
        for part in verdicts["datasets"].values():
            for variant in part["variants"]:
                change(variant)

    return edit


def variants_of(directory: Path) -> list[dict[str, Any]]:
    """Return all variants of all datasets in verdicts.json."""
    verdicts = json.loads((directory / "verdicts.json").read_text())
    return [v for part in verdicts["datasets"].values() for v in part["variants"]]


def variant(name: str, value: float, kind: str = "adapter", **more: Any) -> Variant:
    """Return a variant with a figure."""
    given: dict[str, Any] = {
        "name": name, "label": name, "variant": name, "kind": kind,
        "model": "" if kind == "baseline" else "m",
        "untrained": False, "measure": Measure(value, value, value, ""),
        "recommended": False, "collapsed": False, "costs": {}, "bins": [], "ece": None,
        "brier": None, "rank": None, "losses": [], "seeds": [], "confusion": [],
    }  # fmt: skip
    return Variant(**(given | more))


def dataset(*variants: Variant, lower: bool = False) -> Dataset:
    """Return a dataset of some variants."""
    return Dataset("d", "macro_f1", lower, ["a", "b"], list(variants))


def test_comparison_shows_every_seed_over_mean_and_interval(drawn, made):
    path, variants = drawn("comparison"), variants_of(made)
    seeds = sum(len(v["metrics"]["macro_f1"]["cells"]) for v in variants)
    assert parts(path) == {"baseline": 4, "interval": 14, "mean": 14, "seed": seeds}
    assert {"sms", "news", "minilm/lora-r4", "majority", "tfidf"} <= texts(path)
    assert "macro_f1 on the test rows" in texts(path)


def test_comparison_follows_the_verdicts(drawn):
    first = drawn("comparison").read_bytes()
    moved = drawn("comparison", every(lambda v: v["metrics"]["macro_f1"]["cells"][0].update(
        value=0.123)))  # fmt: skip
    assert moved.read_bytes() != first


def test_long_names_that_are_shortened_alike_keep_a_line_each(drawn, made, tmp_path):
    alike = ["x" * 24 + middle + "y" * 24 for middle in ("a", "b")]

    def rename(verdicts: dict[str, Any]) -> None:
        part = verdicts["datasets"]["sms"]
        for name, each in zip(alike, part["variants"][:2], strict=True):  # the baselines
            (tmp_path / "copied/sms/baselines" / each["variant"]).rename(
                tmp_path / "copied/sms/baselines" / name
            )
            each.update(name=name, variant=name)

    copied = shutil.copytree(made, tmp_path / "copied")
    path = drawn("intervals", rename, copied)
    assert parts(path)["point"] == 14
    assert set(alike) <= texts(path)


def test_a_metric_without_a_figure_is_said(drawn):
    path = drawn("comparison", every(lambda v: v["metrics"].pop("macro_f1")))
    assert "No variant of this dataset has a figure." in texts(path)


def test_intervals_show_every_variant_with_figures_and_what_is_recommended(drawn, made):
    path, variants = drawn("intervals"), variants_of(made)
    recommended = sum(variant["recommended"] for variant in variants)
    assert parts(path) == {"interval": len(variants), "point": len(variants),
                           "shown": len(variants)}  # fmt: skip
    marks = [node for node in ET.parse(path).getroot().iter(f"{SVG}path")
             if node.get("aria-roledescription") == "point"]  # fmt: skip
    assert sum(node.get("fill") == vega.COLOURS[0] for node in marks) == recommended
    names = {v["name"] for v in variants} - {"minilm/base"}
    assert {"sms", "news", "minilm/base (untrained head, collapsed)", *names} <= texts(path)
    assert {v["metrics"]["macro_f1"]["shown"] for v in variants} <= texts(path)
    assert "macro_f1 on the test rows, with its 95 % interval" in texts(path)


def test_a_dataset_is_drawn_by_its_own_metric(drawn):
    path = drawn("intervals", lambda verdicts: verdicts["datasets"]["sms"].update(metric="mcc"))
    assert "mcc in place of macro_f1 on the test rows, with its 95 % interval" in texts(path)
    assert parts(path)["interval"] == len(results.BASELINES) + 5  # of the other dataset


def test_costs_have_a_panel_each_with_a_front(drawn):
    def sharpen(found: dict) -> None:  # few seeds have intervals as wide as the range
        for figure in found["metrics"].values():
            figure.update(low=figure["value"] - 0.01, high=figure["value"] + 0.01)

    path = drawn("costs", every(sharpen))
    assert parts(path)["front"] == 2 * 4
    assert parts(path)["point"] == 2 * 4 * 4  # the base has no costs
    assert {"Trainable parameters", "Training time", "Peak memory", "File size"} <= texts(path)
    assert {"minilm/head", "minilm/lora-r4", "Pareto front", "tfidf"} <= texts(path)
    assert any(re.fullmatch(r"majority is at 0\.\d+, too far off to be drawn", text)
               for text in texts(path))  # fmt: skip


def test_a_cost_that_is_on_record_for_no_variant_has_no_panel(drawn):
    path = drawn("costs", every(lambda v: v["costs"].update(peak_memory_bytes=None)))
    assert "Peak memory" not in texts(path)
    assert parts(path)["front"] == 2 * 3
    path = drawn("costs", every(lambda v: v.update(costs={})))
    assert "No variant of this dataset has both a cost and a figure." in texts(path)
    assert not parts(path)["front"]


def priced(name: str, cost: float, value: float, untrained: bool = False) -> figures.Priced:
    """Return a variant with a cost and a figure."""
    found = variant(name, value, untrained=untrained, costs={"train_seconds": cost})
    return figures.Priced(found, cost, Measure(value, value, value, ""))


FRONT = [priced("cheap", 1, 0.5), priced("worse", 2, 0.4), priced("better", 3, 0.8),
         priced("equal", 4, 0.8), priced("dearer", 3, 0.7), priced("best", 9, 0.9)]  # fmt: skip


@pytest.mark.parametrize(
    ("lower", "front"), [(False, ["cheap", "better", "best"]), (True, ["cheap", "worse"])]
)
def test_the_front_holds_what_no_other_beats_in_both(lower, front):
    found = figures.pareto_front(FRONT[::-1], lower)
    assert [point.variant.name for point in found] == front


def test_an_untrained_head_is_no_candidate_of_the_front():
    lucky = priced("lucky", 0.5, 0.95, untrained=True)
    found = figures.pareto_front([lucky, *FRONT], lower_is_better=False)
    assert [point.variant.name for point in found] == ["cheap", "better", "best"]


def test_a_baseline_is_the_cheapest_of_the_front():
    """TF-IDF costs no training: what is no better than it is not on the front."""
    tfidf = variant("tfidf", 0.8, "baseline")
    part = dataset(tfidf, *(point.variant for point in FRONT))
    points = [*figures.references(part, "train_seconds"), *figures.priced(part, "train_seconds")]
    found = figures.pareto_front(points, part.lower_is_better)
    assert [point.variant.name for point in found] == ["tfidf", "best"]


def test_loss_turns_the_front_of_the_figure_round(drawn):
    def as_loss(verdicts: dict[str, Any]) -> None:
        every(lambda v: v["metrics"].update(loss=v["metrics"]["macro_f1"]))(verdicts)
        for part in verdicts["datasets"].values():
            part["metric"] = "loss"

    def fronts(path: Path) -> list[str]:
        found = [node for node in ET.parse(path).getroot().iter(f"{SVG}g")
                 if " front_" in node.get("class", "")]  # fmt: skip
        return [str(node[0].get("d")) for node in found]

    assert fronts(drawn("costs")) != fronts(drawn("costs", as_loss))
    assert "loss in place of macro_f1 (lower is better)" in texts(drawn("costs", as_loss))


@pytest.mark.parametrize(
    ("lower", "baseline", "near"),
    [(False, 0.1, False), (False, 0.7, True), (False, 0.99, True), (True, 2.5, False),
     (True, 0.1, True)],
)  # fmt: skip
def test_a_baseline_far_worse_than_all_is_not_drawn(lower, baseline, near):
    majority = variant("majority", baseline, "baseline")
    trained = [priced(name, 1, value).variant for name, value in
               (("a", 0.8), ("b", 0.9), ("c", 0.6))]  # fmt: skip
    drawn, far = figures.split_references(dataset(majority, *trained, lower=lower))
    assert [len(drawn), len(far)] == ([1, 0] if near else [0, 1])


@pytest.mark.parametrize(
    ("shown", "number", "text"),
    [(figures.count, 770, "770"), (figures.count, 166_658, "167 k"), (figures.count, 2e6, "2 M"),
     (figures.duration, 47.4, "47.4 s"), (figures.duration, 600, "10 min"),
     (figures.duration, 7200, "2 h"), (figures.size, 2**30, "1 GiB"), (figures.size, 500, "500 B"),
     (figures.size, 1000 * 2**20, "1,000 MiB")],
)  # fmt: skip
def test_costs_in_words(shown, number, text):
    assert shown(number) == text


@pytest.mark.parametrize("cost", figures.COSTS, ids=lambda cost: cost.key)
@pytest.mark.parametrize(("low", "high"), [(7e8, 9e8), (1e3, 1e9), (90, 110), (0.2, 0.3), (5, 5.5)])
def test_an_axis_has_a_few_ticks(cost, low, high):
    found = figures.axis_ticks(low, high, cost)
    assert 1 <= len(found) <= figures.MOST_TICKS
    assert all(low <= tick <= high for tick in found)


def test_ranks_are_a_line_per_model_and_method(drawn):
    path = drawn("ranks")
    assert parts(path) == {"sweep": 2, "point": 4, "interval": 4, "end": 4}
    assert {"minilm/lora", "minilm/head", "minilm/full", "4", "16"} <= texts(path)


def test_no_rank_is_said(drawn, made, tmp_path):
    copied = shutil.copytree(made, tmp_path / "copied")
    for file in copied.glob("*/*/*/seed*/metrics.json"):
        file.write_text(file.read_text().replace('"r": ', '"other": '))
    path = drawn("ranks", directory=copied)
    assert "No adapter of this dataset has a single rank." in texts(path)
    assert not parts(path)["point"]


@pytest.fixture(scope="module")
def sized(tmp_path_factory) -> Path:
    """Results of a dataset in three sizes, the one with most rows first, and of another."""
    sizes = {"sms": {"sms-n1000": 1000, "sms-n40": 40, "sms-n400": 400}}
    plan = results.Comparison({name: ["a", "b"] for name in (*sizes["sms"], "news")}, sizes=sizes)
    return results.make(tmp_path_factory.mktemp("sized"), plan)


def test_training_rows_are_a_line_per_variant_at_the_smallest_size(drawn, sized):
    path = drawn("training_rows", directory=sized)
    count = 7 * 3  # five variants and two baselines
    assert parts(path) == {
        "baseline": 2, "spread": 6, "size": 5, "interval": 15, "point": 15,
    }  # fmt: skip
    assert {"40", "400", "1,000", "sms", "tfidf", "minilm/lora-r4"} <= texts(path)
    first, *others = sorted(
        frame.read(sized / "verdicts.json", sized).datasets, key=lambda part: part.train_rows or 0
    )
    assert first.name == "sms-n40"
    assert [part.sizes for part in others] == [None] * 3
    header, rows = figures.size_table(first)
    assert header[1] == "Training rows"
    assert len(rows) == count
    assert [row[1] for row in rows if row[0] == "minilm/full"] == ["40", "400", "1,000"]


def test_a_size_without_a_figure_has_no_point(drawn, sized):
    def edit(verdicts):
        del verdicts["datasets"]["sms-n400"]["variants"][-1]

    whole, less = (parts(drawn("training_rows", change, sized)) for change in (nothing, edit))
    assert sum(whole.values()) - sum(less.values()) == 2  # a point and its interval


def test_of_one_size_there_is_no_line(drawn, sized):
    assert set(parts(drawn("training_rows"))) == {"empty"}

    def edit(verdicts):
        for name in ("sms-n40", "sms-n400"):
            del verdicts["datasets"][name]

    assert set(parts(drawn("training_rows", edit, sized))) == {"empty"}


def test_learning_is_a_line_per_seed(drawn):
    path = drawn("learning")
    trained = 2 * 4 * 2  # datasets, variants, seeds
    assert parts(path)["training"] == trained
    assert parts(path)["step"] == trained  # of validation, one step each
    assert {"sms", "minilm", "lora-r4", "training rows", "validation rows"} <= texts(path)


def test_no_losses_are_said(drawn):
    path = drawn("learning", every(lambda v: v.update(seeds=[])))
    assert "No losses were logged on this dataset." in texts(path)


def test_reliability_has_a_diagram_per_variant(drawn, made):
    path, variants = drawn("reliability"), variants_of(made)
    bins = sum(len(v["calibration"]["reliability"]) for v in variants)
    assert parts(path) == {"diagonal": len(variants), "reliability": len(variants), "bins": bins}
    found = variants[0]["calibration"]
    assert f"ECE {found['ece']:.3f}, Brier {found['brier']:.3f}" in texts(path)
    assert {"sms", "news", "lora-r4", "confidence"} <= texts(path)


def test_no_calibration_is_said(drawn):
    path = drawn("reliability", every(lambda v: v.update(calibration=None)))
    assert "No calibration is on record for this dataset." in texts(path)


def test_confusion_sums_over_seeds(drawn, made):
    path = drawn("confusion")
    record = [json.loads((made / f"sms/minilm/full/seed{seed}/metrics.json").read_text())
              for seed in (0, 1)]  # fmt: skip
    counts = [each["metrics"]["test"]["confusion_matrix"] for each in record]
    total = str(counts[0][0][0] + counts[1][0][0])
    assert {"ham", "spam", "true", "predicted", total} <= texts(path)
    full = figures.confusion_table(frame.read(made / "verdicts.json", made).datasets[0])[1]
    assert ["minilm/full", "ham", "ham", total] in full


def test_two_classes_that_look_the_same_have_a_column_each():
    part = dataset(variant("v", 0.5, confusion=[[3, 1], [2, 4]]))
    part.classes[:] = ["a\x00", "a"]
    (panel,) = figures.confusion_panels(frame.Comparison(0.95, [part]), part)
    assert len(panel["layer"][0]["data"]["values"]) == 4


@pytest.mark.full
def test_a_hundred_classes_are_drawn_without_counts(tmp_path):
    matrix = [[int(i == j) for j in range(100)] for i in range(100)]
    part = Dataset("d", "f1", False, [f"class {n}" for n in range(100)],
                   [variant("v", 0.5, confusion=matrix)])  # fmt: skip
    comparison = frame.Comparison(0.95, [part])
    vega.save(figures.drawing(FIGURES["confusion"], comparison), tmp_path / "c.svg")
    assert parts(tmp_path / "c.svg") == {"cell": 100}


@pytest.mark.parametrize("name", FIGURES)
def test_no_dataset_is_an_empty_figure(drawn, name):
    assert not parts(drawn(name, lambda verdicts: verdicts.update(datasets={})))


@pytest.mark.parametrize("name", FIGURES)
def test_a_table_has_a_cell_for_every_column(made, name):
    for part in frame.read(made / "verdicts.json", made).datasets:
        header, rows = FIGURES[name].table(part)
        assert rows or name == "training_rows"  # of a dataset of several sizes
        assert all(len(row) == len(header) for row in rows)
        assert all(isinstance(cell, str) for row in rows for cell in row)


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """Results of two datasets with fifty variants of one seed, under names that users may give."""
    methods = ("lora", "dora", "$x$ <b>", "m\x1bm", "訓練 " + "long " * 30)
    names = [f"{method}-r{2**power}" for method in methods for power in range(9)]
    plan = results.Comparison({"one": ["a", "b"]}, seeds=(0,), rows=20,
                              variants=("base", "head", "full", *names[:46], "last"))  # fmt: skip
    directory = results.make(tmp_path_factory.mktemp("many"), plan)
    verdicts = json.loads((directory / "verdicts.json").read_text())
    one = verdicts["datasets"]["one"]
    verdicts["datasets"] = {f"$set {number}$ <&>": one for number in range(2)}
    for name in verdicts["datasets"]:
        (directory / name).symlink_to(directory / "one", target_is_directory=True)
    (directory / "verdicts.json").write_text(json.dumps(verdicts))
    return directory


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", [name for name in FIGURES if name != "training_rows"])
def test_a_figure_grows_with_what_it_shows(drawn, many, name):
    few = size(drawn(name))
    one = size(drawn(name, lambda verdicts: verdicts["datasets"].popitem(), many))
    path = drawn(name, directory=many)
    wide, high = size(path)
    assert high > 1.8 * one[1]
    assert wide * high > 1.2 * few[0] * few[1]
    assert "$set 1$ <&>" in texts(path)
    assert parts(path)


def test_looks_tell_fifty_variants_of_three_models_apart():
    variants = [(f"{model}/v{number}", model, f"v{number}")
                for model in ("a", "b", "c") for number in range(50)]  # fmt: skip
    assert len(set(vega.looks(variants).values())) == 150


def test_long_names_keep_both_ends():
    assert vega.short("x" * 60 + "-r16").endswith("-r16")
    assert len(vega.short("x" * 60)) == vega.LONGEST_NAME
    assert vega.short("a\x00 b\n") == "a b"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read .*run the stage"),
        ("{", "no whole JSON file"),
        ("3", "not as `verdicts` writes it"),
        ("[]", "has no 'metric'"),
        (
            '{"metric": "f1", "level": 0.95, "sizes": {}, "datasets": []}',
            "not as `verdicts` writes it",
        ),
        (
            '{"metric": "f1", "level": 0.95, "sizes": {}, "datasets": {"d": {}}}',
            "KeyError: 'variants'",
        ),
        ('{"metric": "f1", "level": "x", "sizes": {}, "datasets": {}}', "'x' is no number"),
    ],
)
def test_verdicts_that_are_none(tmp_path, text, complaint):
    path = tmp_path / "verdicts.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=complaint) as caught:
        frame.read(path, tmp_path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.pop("recommended"),
        lambda v: v.update(costs=None),
        lambda v: v["costs"].update(train_seconds="long"),
        lambda v: v["metrics"]["macro_f1"].update(low=None),
        lambda v: v["metrics"].update(macro_f1=3),
        lambda v: v["calibration"].update(reliability=[{"rows": 3}]),
        lambda v: v.update(seeds=None),
    ],
)
def test_a_damaged_variant_is_refused_in_one_line(drawn, change):
    with pytest.raises(InputError, match=r"edited\.json is not as `verdicts` writes it") as caught:
        drawn("intervals", every(change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read"),
        ("{", "no whole JSON file"),
        ('{"run_info": {}}', r"lacks figures \('train_info'\)"),
    ],
)
def test_a_damaged_cell_is_refused_in_one_line(drawn, made, tmp_path, text, complaint):
    copied = shutil.copytree(made, tmp_path / "copied")
    cell = copied / "sms/minilm/head/seed1/metrics.json"
    cell.unlink()
    if text is not None:
        cell.write_text(text)
    with pytest.raises(InputError, match=complaint) as caught:
        drawn("learning", directory=copied)
    assert str(cell) in str(caught.value)
    assert "\n" not in str(caught.value)
