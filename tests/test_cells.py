"""What names a cell, and which cells a results directory compares."""

from pathlib import Path

import pytest

from common import cells
from common.cells import Cell
from common.cli import InputError

BASE = Cell("sms", "bert", "base", 0)
MAJORITY = Cell("sms", "", "majority", None)
HEADER = "dataset,model,variant,seed,split,published\n"


@pytest.mark.parametrize(
    ("cell", "path"),
    [
        (BASE, "sms/bert/base/seed0"),
        (MAJORITY, "sms/baselines/majority"),
        (MAJORITY._replace(seed=3), "sms/baselines/majority/seed3"),
        (Cell("sms", "bert", "embedding", None), "sms/bert/embedding"),
        (Cell("sms", "bert", "embedding", 3), "sms/bert/embedding/seed3"),
    ],
)
def test_a_cell_has_a_directory_of_its_own(cell, path):
    assert cell.path == Path(path)
    assert cells.of_path(Path(path).parts) == cell


@pytest.mark.parametrize(
    ("cell", "is_baseline", "is_trained"),
    [
        (MAJORITY, True, False),
        (MAJORITY._replace(seed=0), True, False),
        (Cell("sms", "bert", "embedding", 0), True, False),
        (BASE, False, False),
        (Cell("sms", "bert", "tfidf", 0), False, True),  # a variant may be called so
    ],
)
def test_what_a_cell_is_does_not_depend_on_its_seed(cell, is_baseline, is_trained):
    assert (cells.is_baseline(cell), cells.is_trained(cell)) == (is_baseline, is_trained)


def test_baselines_that_have_seeds_are_named_as_cells_are():
    words = ["sms/baselines/tfidf/0,1", "sms/bert/embedding,base/0,1", "news/bert/base/0"]
    found = [str(cell.path) for cell in cells.named(words, ["tfidf", "embedding"])]
    assert found == [
        *("sms/baselines/tfidf/seed0", "sms/baselines/tfidf/seed1"),
        *("sms/bert/embedding/seed0", "sms/bert/embedding/seed1"),
        *("sms/bert/base/seed0", "sms/bert/base/seed1"),
        *("news/baselines/tfidf", "news/bert/embedding", "news/bert/base/seed0"),
    ]


def test_cells_are_named_in_order_after_the_baselines_of_their_dataset():
    found = list(cells.named(["sms/bert/base,lora/0,1", "news/bert/base/7"], ["majority"]))
    assert found == [
        MAJORITY,
        BASE,
        Cell("sms", "bert", "base", 1),
        Cell("sms", "bert", "lora", 0),
        Cell("sms", "bert", "lora", 1),
        Cell("news", "", "majority", None),
        Cell("news", "bert", "base", 7),
    ]


def test_the_table_tells_what_is_compared(tmp_path):
    """And not the disk, where lies what left the config; published rows are not ours."""
    lines = ["sms,,majority,,test,false", "sms,bert,base,0,validation,false",
             "sms,bert,base,0,test,false", "sms,,LoRA,,test,true"]  # fmt: skip
    (tmp_path / "comparison.csv").write_text(HEADER + "\n".join(lines) + "\n")
    (tmp_path / "sms/bert/lora/seed0").mkdir(parents=True)
    (tmp_path / "sms/bert/lora/seed0/metrics.json").touch()
    assert cells.compared(tmp_path) == [MAJORITY, BASE]


def test_without_a_table_all_that_was_measured_is_compared(tmp_path):
    for cell in (BASE, MAJORITY, BASE._replace(seed=10), BASE._replace(seed=9)):
        (tmp_path / cell.path).mkdir(parents=True)
        (tmp_path / cell.path / "metrics.json").touch()
    (tmp_path / "sms/bert/lora/seed0").mkdir(parents=True)
    assert cells.compared(tmp_path) == [
        MAJORITY, BASE, BASE._replace(seed=9), BASE._replace(seed=10)
    ]  # fmt: skip


def test_a_copy_of_a_directory_is_no_cell(tmp_path):
    names = ("bert/base/seed0", "bert/base/seed0.bak", "bert/base/seed", "bert/base/seed-1",
             "bert/base/seed01", "baselines/majority/seed0.bak")  # fmt: skip
    for name in names:
        (tmp_path / "sms" / name).mkdir(parents=True)
        (tmp_path / "sms" / name / "metrics.json").touch()
    assert cells.compared(tmp_path) == [BASE]


def test_a_confusion_matrix_of_very_many_classes_is_no_damage(tmp_path):
    matrix = f"sms,bert,base,0,test,false,{'7' * 200_000}\n"
    (tmp_path / "comparison.csv").write_text(HEADER.strip() + ",confusion_matrix\n" + matrix)
    assert cells.compared(tmp_path) == [BASE]


def test_a_table_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "LONGEST_FIELD", 100)
    (tmp_path / "comparison.csv").write_text(HEADER + "sms" * 100 + ",bert,base,0,test,false\n")
    with pytest.raises(InputError, match=r"comparison\.csv is no comparison .*field larger than"):
        cells.compared(tmp_path)
    (tmp_path / "comparison.csv").unlink()
    (tmp_path / "comparison.csv").mkdir()
    with pytest.raises(InputError, match=r"comparison\.csv cannot be read .*: run `report`"):
        cells.compared(tmp_path)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (None, "holds no cell with metrics.json"),
        (HEADER, "holds no cell"),
        ("dataset,model\nsms,bert\n", "is no comparison .*'variant'"),
        (HEADER + "sms,bert,base,zero,test,false\n", "is no comparison"),
        (HEADER + "sms,bert,base,0,test,false\nsms,be\n", "is no comparison .a line is cut off"),
    ],
)
def test_a_directory_without_results_is_refused(tmp_path, table, complaint):
    if table is not None:
        (tmp_path / "comparison.csv").write_text(table)
    with pytest.raises(InputError, match=complaint):
        cells.compared(tmp_path)


@pytest.mark.parametrize(
    "cell", ["sms/bert/base", "sms/bert/base/zero", "", "a/b/c/0/1", "a/b/c/0,"]
)
def test_cells_that_are_not_written_so(cell):
    with pytest.raises(InputError, match="is not DATASET/MODEL/VARIANT,VARIANT/SEED,SEED"):
        list(cells.identities([cell], []))


def test_where_a_cell_and_a_baseline_lie_and_what_they_are_called():
    baseline, cell = cells.identities(["sms/bert/base/7"], ["tfidf"])
    root = Path("results")
    assert cells.directory(root, baseline) == root / "sms/baselines/tfidf"
    assert cells.directory(root, cell) == root / "sms/bert/base/seed7"
    assert cells.full_name("bert", "base") == "bert/base"
    assert cells.full_name("", "tfidf") == "tfidf"
