"""The names of what is compared, and where each lies."""

from pathlib import Path

import pytest

from common import cells
from common.cli import InputError


def test_identities_are_those_named_in_order():
    named = ["sms/bert/base,lora-r4/0,1", "news/bert/base/7", "sms/gpt2/base/0"]
    found = [tuple(row.values()) for row in cells.identities(named, ["majority"])]
    assert found == [
        ("sms", "", "majority", None),
        ("sms", "bert", "base", 0),
        ("sms", "bert", "base", 1),
        ("sms", "bert", "lora-r4", 0),
        ("sms", "bert", "lora-r4", 1),
        ("sms", "gpt2", "base", 0),
        ("news", "", "majority", None),
        ("news", "bert", "base", 7),
    ]


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
