"""The figures: whole SVG files, equal for equal tables, whatever the table holds."""

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import plot
from common.cli import InputError

FIELDS = ("dataset", "model", "variant", "seed", "split", "macro_f1", "f1", "classes",
          "published")  # fmt: skip


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


@pytest.fixture
def draw(tmp_path):
    """Draw rows; returns the two files."""

    def run(rows: list[dict], *more: str) -> tuple[Path, Path]:
        with open(tmp_path / "table.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, [*FIELDS, "confusion_matrix"])
            writer.writeheader()
            writer.writerows(rows)
        files = tmp_path / "comparison.svg", tmp_path / "confusion.svg"
        words = ["--csv", tmp_path / "table.csv", "--comparison", files[0]]
        plot.main(list(map(str, [*words, "--confusion", files[1], *more])))
        return files

    return run


def elements(path: Path, kind: str) -> list[ET.Element]:
    """The elements of one kind in an SVG, which must be well-formed."""
    root = ET.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return list(root.iter(f"{{http://www.w3.org/2000/svg}}{kind}"))


def texts(path: Path) -> set[str]:
    """All texts in an SVG: matplotlib draws letters as shapes, and notes them in comments."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    root = ET.parse(path, parser).getroot()
    return {node.text.strip() for node in root.iter() if node.tag is ET.Comment and node.text}


def dots(path: Path) -> int:
    """How many dots are drawn: what is half transparent, as nothing else is."""
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


def test_equal_tables_give_equal_files_in_another_process(draw, run_script, tmp_path):
    here = draw(BASELINES + CELLS)
    there = tmp_path / "there.svg", tmp_path / "there2.svg"
    words = ["--csv", tmp_path / "table.csv", "--comparison", there[0], "--confusion", there[1]]
    done = run_script("plot", *words)
    assert done.returncode == 0, done.stderr
    assert [file.read_bytes() for file in there] == [file.read_bytes() for file in here]


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
        (None, "is no comparison .*run `report`"),
        ("", "is no comparison"),
        ("dataset,model\nsms,bert\n", "has no column 'split'"),
        ("dataset,split,f1\nsms,test,0.5\n", "has no column 'macro_f1'"),
        ("split,macro_f1\ntest,good\n", "is no comparison"),
        ("split,macro_f1\nvalidation,0.5\n", "is no comparison .no test rows"),
    ],
)
def test_a_table_that_is_none(tmp_path, content, complaint):
    table = tmp_path / "table.csv"
    if content is not None:
        table.write_text(content)
    words = ["--csv", table, "--comparison", tmp_path / "a.svg", "--confusion", tmp_path / "b.svg"]
    with pytest.raises(InputError, match=complaint) as caught:
        plot.main(list(map(str, words)))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.svg"))


def test_mistake_ends_in_one_line(run_script, tmp_path):
    words = ["--csv", tmp_path / "none.csv", "--comparison", tmp_path / "a.svg"]
    done = run_script("plot", *words, "--confusion", tmp_path / "b.svg")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/none.csv is no comparison")
    assert "Traceback" not in done.stderr
