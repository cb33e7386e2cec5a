"""The figures: whole SVG files, equal for equal results, whatever these hold."""

import csv
import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import plot
from common import seals
from common.cli import InputError
from common.report import compared, costs, drawing
from common.report.compared import Dataset, Measure, Variant
from tests import results

FIELDS = ("dataset", "model", "variant", "seed", "split", "macro_f1", "f1", "classes",
          "published")  # fmt: skip
NAMES = ("intervals", "costs", "ranks", "learning", "reliability")


def row(model: str, variant: str, seed: int | str, score: float | str, **more: object) -> dict:
    """One row of a comparison, of two classes unless `classes` are given."""
    classes = more.get("classes", ["ham", "spam"])
    size = len(classes)  # type: ignore[arg-type]
    matrix = [[8 if i == j else 1 for j in range(size)] for i in range(size)]
    return {
        "dataset": "sms", "model": model, "variant": variant, "seed": seed, "split": "test",
        "macro_f1": score, "f1": score, "confusion_matrix": json.dumps(matrix),
        **more, "classes": json.dumps(classes),
    }  # fmt: skip


BASELINES = [row("", "majority", "", 0.46), row("", "tfidf", "", 0.9)]
CELLS = [row("bert", v, s, 0.5 + 0.1 * s) for v in ("base", "lora-r4") for s in (0, 1)]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Results of two datasets: verdicts.json, and metrics.json of every cell."""
    plan = results.Comparison({"sms": ["ham", "spam"], "news": ["a", "b"]})
    return results.make(tmp_path_factory.mktemp("made"), plan)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The same of little, for what is drawn from the table."""
    plan = results.Comparison({"d": ["a", "b"]}, variants=("lora-r4",), seeds=(0,), rows=20)
    return results.make(tmp_path_factory.mktemp("small"), plan)


def words_of(root: Path, results: Path) -> list[str]:
    """Return the command line that draws results, and root/table.csv, into root."""
    named = [f"--{name}={root / name}.svg" for name in ("comparison", "confusion", *NAMES)]
    given = ["--csv", root / "table.csv", "--results", results]
    return [*map(str, [*given, "--verdicts", results / "verdicts.json"]), *named]


@pytest.fixture
def draw(tmp_path, small, monkeypatch):
    """Draw rows; return the two files. The figures of the verdicts are empty, but on request."""
    empty = dict.fromkeys(plot.OF_VERDICTS, lambda _: Figure())

    def run(rows: list[dict], *more: str, with_verdicts: bool = False) -> tuple[Path, Path]:
        with open(tmp_path / "table.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, [*FIELDS, "confusion_matrix"])
            writer.writeheader()
            writer.writerows(rows)
        seals.seal_files([tmp_path / "table.csv"], tmp_path / "table.digests.json")
        files = tmp_path / "comparison.svg", tmp_path / "confusion.svg"
        with monkeypatch.context() as patch:
            if not with_verdicts:
                patch.setattr(plot, "OF_VERDICTS", empty)
            plot.main([*words_of(tmp_path, small), *more])
        return files

    return run


def elements(path: Path, kind: str) -> list[ET.Element]:
    """Return the elements of one kind in an SVG, which must be well-formed."""
    root = ET.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return list(root.iter(f"{{http://www.w3.org/2000/svg}}{kind}"))


def texts(path: Path) -> set[str]:
    """All texts in an SVG: matplotlib draws letters as shapes, and notes them in comments."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    root = ET.parse(path, parser).getroot()
    return {node.text.strip() for node in root.iter() if node.tag is ET.Comment and node.text}


def dots(path: Path) -> int:
    """Return how many dots are drawn: what is half transparent, as nothing else is."""
    return sum("fill-opacity: 0.6" in use.get("style", "") for use in elements(path, "use"))


def size_points(path: Path) -> tuple[float, float]:
    root = ET.parse(path).getroot()
    return float(root.attrib["width"][:-2]), float(root.attrib["height"][:-2])


def test_labels_are_in_the_figures(draw):
    comparison, confusion = draw(BASELINES + CELLS)
    assert {"sms", "bert  base", "bert  lora-r4", "majority", "tfidf"} <= texts(comparison)
    assert any("macro_f1" in text for text in texts(comparison))
    assert {"ham", "spam", "16", "2"} <= texts(confusion)  # two seeds of 8 and 1
    assert elements(confusion, "image")


def test_equal_tables_give_equal_files(draw):
    first = [file.read_bytes() for file in draw(BASELINES + CELLS)]
    assert [file.read_bytes() for file in draw(BASELINES + CELLS)] == first


@pytest.mark.full
def test_equal_results_give_equal_files_in_another_process(draw, run_script, tmp_path, small):
    draw(BASELINES + CELLS, with_verdicts=True)
    here = {file.name: file.read_bytes() for file in tmp_path.glob("*.svg")}
    assert len(here) == 2 + len(NAMES)
    done = run_script("plot", *words_of(tmp_path, small))
    assert done.returncode == 0, done.stderr
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.svg")} == here


def test_the_figures_follow_the_table(draw):
    first = draw(BASELINES + CELLS)[0].read_bytes()
    moved = [*CELLS[:-1], row("bert", "lora-r4", 1, 0.95)]
    assert draw(BASELINES + moved)[0].read_bytes() != first


def test_only_test_rows_are_drawn(draw):
    first = [file.read_bytes() for file in draw(BASELINES + CELLS)]
    others = [cell | {"split": "validation", "macro_f1": 0.99} for cell in CELLS]
    assert [file.read_bytes() for file in draw(BASELINES + CELLS + others)] == first


def test_published_rows_are_not_drawn(draw):
    ours = [cell | {"published": "false"} for cell in BASELINES + CELLS]
    first = [file.read_bytes() for file in draw(ours)]
    nothing = {"published": "true", "classes": "", "confusion_matrix": ""}
    theirs = [row("bert", "lora-r4", "", 0.99) | nothing, row("", "TF-IDF", "", "") | nothing]
    assert [file.read_bytes() for file in draw(ours + theirs)] == first


def test_one_dot_per_seed(draw):
    for seeds in (1, 3):
        rows = [row("bert", "base", seed, 0.5 + 0.1 * seed) for seed in range(seeds)]
        assert dots(draw(BASELINES + rows)[0]) == seeds


def test_the_metric_is_the_first_one_named(draw):
    rows = [cell | {"f1": 0.1} for cell in CELLS]
    comparison, _ = draw(rows, "--metrics", "f1", "macro_f1")
    assert any(text.startswith("f1 on the test rows") for text in texts(comparison))


def test_more_models_than_colours(draw):
    rows = [row(f"model{n}", "base", 0, 0.5 + 0.01 * n) for n in range(len(plot.COLOURS) + 3)]
    comparison, confusion = draw(rows)
    assert {f"model{n}  base" for n in range(8)} <= texts(comparison)
    assert size_points(confusion)[0] > 4 * size_points(draw(rows[:2])[1])[0] / 2


def test_several_datasets_have_a_panel_each(draw):
    more = [cell | {"dataset": "news"} for cell in BASELINES + CELLS[:2]]
    comparison, confusion = draw(BASELINES + CELLS + more)
    assert {"sms", "news"} <= texts(comparison)
    assert {"ham", "spam"} <= texts(confusion)
    assert len(elements(confusion, "image")) == 4 + 3


def test_ten_classes(draw):
    classes = [f"class {n}" for n in range(10)]
    _, confusion = draw([row("bert", "base", 0, 0.1, classes=classes)])
    assert set(classes) <= texts(confusion)


def test_f1_of_three_classes_has_no_dot(draw):
    classes = ["a", "b", "c"]
    rows = [
        row("", "majority", "", "", classes=classes),
        row("bert", "base", 0, "", classes=classes),
    ]
    rows = [cell | {"dataset": "news"} for cell in rows]
    comparison, _ = draw(BASELINES + CELLS + rows, "--metrics", "f1")
    assert {"news", "sms"} <= texts(comparison)
    assert dots(comparison) == len(CELLS)


def test_names_are_shown_as_they_are(draw):
    """Between two dollars matplotlib would read a formula, and fail on what is none."""
    classes = ["$5-$10", "<b> & --", r"$\oops$", "0\x00\x1b07"]
    cells = [row("1.50", "007", 0, 0.5, classes=classes), row("0", "NA", 0, 0.5, classes=classes)]
    comparison, confusion = draw(cells)
    assert {"1.50  007", "0  NA"} <= texts(comparison)
    assert {"$5-$10", r"$\oops$", "007"} <= texts(confusion)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read .*run the stage"),
        ("", "is no comparison"),
        ("dataset,model\nsms,bert\n", "has no column 'split'"),
        ("dataset,split,f1\nsms,test,0.5\n", "has no column 'macro_f1'"),
        ("split,macro_f1\ntest,good\n", "is no comparison"),
        ("split,macro_f1\nvalidation,0.5\n", "is no comparison .no test rows"),
    ],
)
def test_a_table_that_is_none(tmp_path, small, content, complaint):
    table = tmp_path / "table.csv"
    if content is not None:
        table.write_text(content)
        seals.seal_files([table], tmp_path / "table.digests.json")
    with pytest.raises(InputError, match=complaint) as caught:
        plot.main(words_of(tmp_path, small))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.svg"))


def test_mistake_ends_in_one_line(run_script, tmp_path, small):
    done = run_script("plot", *words_of(tmp_path, small))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/table.csv cannot be read")
    assert "Traceback" not in done.stderr


Edit = Callable[[dict[str, Any]], object]


def nothing(_: dict[str, Any]) -> None:
    """No edit."""


@pytest.fixture
def drawn(tmp_path, made):
    """Draw a figure of the verdicts, after an edit of them; returns the file."""

    def run(name: str, edit: Edit = nothing, directory: Path | None = None) -> Path:
        directory = directory or made
        verdicts = json.loads((directory / "verdicts.json").read_text())
        edit(verdicts)
        edited, path = tmp_path / "edited.json", tmp_path / f"{name}.svg"
        edited.write_text(json.dumps(verdicts))
        drawing.prepare()
        figure = plot.OF_VERDICTS[name](compared.read(edited, directory))
        drawing.number_parts(figure)
        drawing.save(figure, path)
        return path

    return run


def every(change: Callable[[dict[str, Any]], object]) -> Edit:
    """Return an edit of every variant in the verdicts."""

    def edit(verdicts: dict[str, Any]) -> None:
        for part in verdicts["datasets"].values():
            for variant in part["variants"]:
                change(variant)

    return edit


def parts(path: Path) -> Counter:
    """Return how many parts of each kind a figure has, by their ids, of which none comes twice."""
    ids = [node.attrib["id"] for node in ET.parse(path).getroot().iter() if "id" in node.attrib]
    assert len(ids) == len(set(ids))
    return Counter(match[1] for name in ids if (match := re.fullmatch(r"([a-z]+)-\d+", name)))


def variants_of(directory: Path) -> list[dict[str, Any]]:
    """Return all variants of all datasets in verdicts.json."""
    verdicts = json.loads((directory / "verdicts.json").read_text())
    return [v for part in verdicts["datasets"].values() for v in part["variants"]]


def test_intervals_show_every_variant_with_figures_letters_and_ties(drawn, made):
    path, variants = drawn("intervals"), variants_of(made)
    first = sum(variant["tied_for_first"] for variant in variants)
    assert parts(path) == {"interval": len(variants), "first": first,
                           "point": len(variants) - first}  # fmt: skip
    names = {v["name"] for v in variants} - {"minilm/base"}
    assert {"sms", "news", "minilm/base (untrained head, collapsed)", "a", "b", *names} <= texts(
        path
    )
    assert {v["metrics"]["macro_f1"]["shown"] for v in variants} <= texts(path)
    assert "macro_f1 on the test rows, with its 95 % interval" in texts(path)


def test_a_dataset_is_drawn_by_its_own_metric(drawn):
    path = drawn("intervals", lambda verdicts: verdicts["datasets"]["sms"].update(metric="mcc"))
    assert "mcc on the test rows, with its 95 % interval" in texts(path)
    assert parts(path)["interval"] == len(results.BASELINES) + 5  # of the other dataset


def test_costs_have_a_panel_each_with_a_front(drawn):
    path = drawn("costs")
    assert parts(path)["front"] == 2 * 3
    assert parts(path)["point"] == 2 * 3 * 4  # the base has no costs
    assert {"trainable parameters", "training time", "peak memory"} <= texts(path)
    assert {"minilm/head", "minilm/lora-r4", "Pareto front"} <= texts(path)
    assert any(text.startswith("tfidf: 0.") for text in texts(path))
    assert any(re.fullmatch(r"majority: 0\.\d+, too far to draw", text) for text in texts(path))


def test_what_has_no_cost_is_said_and_not_drawn(drawn):
    path = drawn("costs", every(lambda variant: variant["costs"].update(peak_memory_bytes=None)))
    assert "on record for no variant" in texts(path)
    assert parts(path)["front"] == 2 * 2
    path = drawn("costs", every(lambda variant: variant.update(costs={})))
    assert not parts(path)["front"]


def priced(name: str, cost: float, value: float, untrained: bool = False) -> costs.Priced:
    """Return a variant with a cost and a figure."""
    variant = Variant(name, "m", name, "adapter", untrained, Measure(value, value, value, ""), "a",
                      False, False, {"train_seconds": cost}, [], None, None, [])  # fmt: skip
    return costs.Priced(variant, cost, value)


FRONT = [priced("cheap", 1, 0.5), priced("worse", 2, 0.4), priced("better", 3, 0.8),
         priced("equal", 4, 0.8), priced("dearer", 3, 0.7), priced("best", 9, 0.9)]  # fmt: skip


@pytest.mark.parametrize(
    ("lower", "front"), [(False, ["cheap", "better", "best"]), (True, ["cheap", "worse"])]
)
def test_the_front_holds_what_no_other_beats_in_both(lower, front):
    found = costs.pareto_front(FRONT[::-1], lower)
    assert [point.variant.name for point in found] == front


def test_an_untrained_head_is_no_candidate_of_the_front():
    lucky = priced("lucky", 0.5, 0.95, untrained=True)
    found = costs.pareto_front([lucky, *FRONT], lower_is_better=False)
    assert [point.variant.name for point in found] == ["cheap", "better", "best"]


def test_a_baseline_is_the_cheapest_of_the_front():
    """TF-IDF costs no training: what is no better than it is not on the front."""
    measure = Measure(0.8, 0.7, 0.9, "")
    tfidf = Variant("tfidf", "", "tfidf", "baseline", False, measure, "a", False, False, {}, [],
                    None, None, [])  # fmt: skip
    part = Dataset("d", "f1", False, [tfidf, *(point.variant for point in FRONT)])
    points = [*costs.references(part, "train_seconds"), *costs.priced(part, "train_seconds")]
    found = costs.pareto_front(points, part.lower_is_better)
    assert [point.variant.name for point in found] == ["tfidf", "best"]


def test_loss_turns_the_front_of_the_figure_round(drawn):
    def as_loss(verdicts: dict[str, Any]) -> None:
        every(lambda v: v["metrics"].update(loss=v["metrics"]["macro_f1"]))(verdicts)
        for part in verdicts["datasets"].values():
            part["metric"] = "loss"

    def fronts(path: Path) -> list[str]:
        found = [node for node in elements(path, "g") if "front" in node.get("id", "")]
        return [ET.tostring(node[0], encoding="unicode") for node in found]

    assert fronts(drawn("costs")) != fronts(drawn("costs", as_loss))
    assert any("loss on the test rows" in text for text in texts(drawn("costs", as_loss)))


@pytest.mark.parametrize(
    ("lower", "baseline", "inside"),
    [(False, 0.1, False), (False, 0.7, True), (False, 0.99, True), (True, 2.5, False),
     (True, 0.1, True)],
)  # fmt: skip
def test_a_baseline_far_worse_than_all_is_not_drawn(lower, baseline, inside):
    measure = Measure(baseline, baseline, baseline, "")
    far = Variant("majority", "", "majority", "baseline", False, measure, "b", False, False, {},
                  [], None, None, [])  # fmt: skip
    trained = [
        priced("a", 1, 0.8).variant,
        priced("b", 2, 0.9).variant,
        priced("c", 3, 0.6).variant,
    ]
    found = list(costs.reference_lines(Dataset("d", "macro_f1", lower, [far, *trained])))
    assert [shown for *_, shown in found] == [inside]


@pytest.mark.parametrize(
    ("shown", "number", "text"),
    [(costs.count, 770, "770"), (costs.count, 166_658, "167 k"), (costs.count, 2e6, "2 M"),
     (costs.duration, 47.4, "47.4 s"), (costs.duration, 600, "10 min"),
     (costs.duration, 7200, "2 h"), (costs.size, 2**30, "1 GiB"), (costs.size, 500, "500 B"),
     (costs.size, 1000 * 2**20, "1,000 MiB")],
)  # fmt: skip
def test_costs_in_words(shown, number, text):
    assert shown(number) == text


@pytest.mark.parametrize("cost", costs.COSTS, ids=lambda cost: cost.key)
@pytest.mark.parametrize(("low", "high"), [(7e8, 9e8), (1e3, 1e9), (90, 110), (0.2, 0.3), (5, 5.5)])
def test_an_axis_has_a_few_ticks(cost, low, high):
    found = costs.ticks(low, high, cost)
    assert 1 <= len(found) <= costs.MOST_TICKS
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
    assert not parts(path)


def test_learning_is_a_line_per_seed(drawn):
    path = drawn("learning")
    trained = 2 * 4 * 2  # datasets, variants, seeds
    assert parts(path) == {"training": trained, "validation": trained}
    assert {"sms, minilm", "lora-r4", "training rows", "validation rows"} <= texts(path)


def test_no_losses_are_said(drawn):
    path = drawn("learning", every(lambda variant: variant.update(seeds=[])))
    assert "No losses were logged on this dataset." in texts(path)


def test_reliability_has_a_diagram_per_variant(drawn, made):
    path, variants = drawn("reliability"), variants_of(made)
    counts = dict.fromkeys(("diagonal", "reliability", "bins"), len(variants))
    assert parts(path) == counts
    bins = [node for node in elements(path, "g") if node.get("id") == "bins-1"]
    found = next(variant["calibration"] for variant in variants)
    assert len(list(bins[0].iter("{http://www.w3.org/2000/svg}path"))) == len(found["reliability"])
    assert {"sms", "news", f"ECE {found['ece']:.3f}", "lora-r4", "confidence"} <= texts(path)


def test_no_calibration_is_said(drawn):
    path = drawn("reliability", every(lambda variant: variant.update(calibration=None)))
    assert "No calibration is on record for this dataset." in texts(path)


@pytest.mark.parametrize("name", NAMES)
def test_no_dataset_is_an_empty_figure(drawn, name):
    assert not parts(drawn(name, lambda verdicts: verdicts.update(datasets={})))


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


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.quick(1)
@pytest.mark.parametrize("name", NAMES)
def test_a_figure_grows_with_what_it_shows(drawn, many, name):
    few = size_points(drawn(name))
    one = size_points(drawn(name, lambda verdicts: verdicts["datasets"].popitem(), many))
    path = drawn(name, directory=many)
    wide, high = size_points(path)
    assert high > 1.8 * one[1]
    assert wide * high > 1.2 * few[0] * few[1]
    assert any(text.startswith("$set 1$ ") for text in texts(path))
    assert parts(path)


def test_looks_tell_fifty_variants_of_three_models_apart():
    variants = [
        replace(FRONT[0].variant, name=f"{model}/v{number}", model=model, variant=f"v{number}")
        for model in ("a", "b", "c")
        for number in range(50)
    ]
    comparison = compared.Comparison(0.95, [Dataset("d", "f1", False, variants)])
    assert len(set(drawing.looks(comparison).values())) == 150


def test_long_names_keep_both_ends():
    assert drawing.short("x" * 60 + "-r16").endswith("-r16")
    assert len(drawing.short("x" * 60)) == drawing.LONGEST_NAME
    assert drawing.short("a\x00 b\n") == "a b"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read .*run the stage"),
        ("{", "no whole JSON file"),
        ("3", "not as `verdicts` writes it"),
        ("[]", "has no 'metric'"),
        ('{"metric": "f1", "level": 0.95, "datasets": []}', "not as `verdicts` writes it"),
        ('{"metric": "f1", "level": 0.95, "datasets": {"d": {}}}', "KeyError: 'variants'"),
        ('{"metric": "f1", "level": "x", "datasets": {}}', "'x' is no number"),
    ],
)
def test_verdicts_that_are_none(tmp_path, text, complaint):
    path = tmp_path / "verdicts.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=complaint) as caught:
        compared.read(path, tmp_path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.pop("letters"),
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
        ('{"run_info": {}}', "has no 'train_info'"),
        ('{"run_info": {}, "train_info": {"metrics": [{"loss": 1}]}}', "KeyError: 'step'"),
        ('{"run_info": {}, "train_info": {"metrics": [{"step": 1, "loss": NaN}]}}', "no number"),
        ('{"run_info": {"peft_config": 3}, "train_info": {}}', "is not as `train_lora` writes it"),
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
