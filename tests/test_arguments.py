"""From the record of a run to the words that name what it compares."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rules import arguments
from rules.config import load_schema, save, validated
from rules.explain import ConfigError

ROOT = Path(__file__).parents[1]
CONFIG = {
    "datasets": {"sms": {"source": {"path": "gone.csv"}}},
    "models": {"bert": {"source": {"path": "gone/too"}}},
    "variants": {"lora": {"r": [4, 8]}, "head": {"kind": "head"}},
    "seeds": [0, 1],
    "report": {"metrics": ["mcc"]},
}


@pytest.fixture
def record(tmp_path) -> Path:
    """The record that a run left, of sources that are no longer there."""
    save(validated(CONFIG, load_schema()), tmp_path / "config.yaml")
    return tmp_path / "config.yaml"


def test_the_words_are_those_that_the_report_takes(record):
    assert arguments.words(arguments.read(record)) == [
        *("--cells", "sms/bert/base,lora-r4,lora-r8,head/0,1"),
        *("--baselines", "majority", "tfidf", "embedding"),
        *("--metrics", "mcc"),
    ]


def test_sizes_of_a_dataset_are_named(tmp_path):
    datasets = {"sms": {"source": {"path": "gone.csv"}, "train_rows": [300, 100]}}
    save(validated(CONFIG | {"datasets": datasets}, load_schema()), tmp_path / "config.yaml")
    words = arguments.words(arguments.read(tmp_path / "config.yaml"))
    assert words[:5] == [
        *("--cells", "sms-n100/bert/base,lora-r4,lora-r8,head/0,1"),
        "sms-n300/bert/base,lora-r4,lora-r8,head/0,1",
        *("--sizes", "sms=sms-n100,sms-n300"),
    ]


def test_as_a_command_it_prints_them_on_one_line(record):
    command = [sys.executable, "-m", "rules.arguments", record]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == arguments.words(arguments.read(record))
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (None, "does not exist; a run writes it when it starts"),
        ({"models": {}}, "models: "),
        ({"sedes": [1]}, "unknown key 'sedes', did you mean 'seeds'"),
    ],
)
def test_what_is_no_record_is_refused(record, change, complaint):
    record.unlink()
    if change is not None:
        record.write_text(yaml.safe_dump(CONFIG | change))
    with pytest.raises(ConfigError, match=complaint):
        arguments.read(record)
