"""Model cards: the hub reads their head; that their code runs is in test_travel.py."""

import copy
import re
from dataclasses import asdict
from typing import Any

import pytest
from huggingface_hub import ModelCard

from common import files
from common.model import card, variants

COMMIT = "d" * 40
HUB = {"kind": "hub", "name": "org/tiny", "revision": COMMIT}
PACKAGE = {"kind": "package", "name": "toy-model", "version": "toy-model==1.0", "member": "toy/m"}
PATH = {"kind": "path", "name": "mine"}
TWO = ["ham", "spam"]
HOSTILE = [
    "a|b `c`\n---\nd",
    "<script>alert('x')</script>",
    "--- \\ {x}: \"q\" ''' # [y](z) ```",
]
MAIL = {"kind": "hub", "name": "org/mail", "revision": "e" * 40, "subset": "english"}


@pytest.fixture
def record() -> dict[str, Any]:
    """The record of a cell with two classes; change it as you like."""
    figures = {"accuracy": 0.912345678901234, "macro_f1": 0.9, "f1": 0.8, "precision": 0.75}
    figures |= {"recall": 0.85, "mcc": 0.7, "loss": 0.25, "collapsed": False, "rows": 300}
    parts = {"trainable": 12345, "adapter": 12000, "head": 345, "total": 6543210}
    return {
        "run_info": {
            "experiment_name": "messages/minilm/lora-r4/seed3",
            "options": {"positive_label": None},
            "train_config": {"learning_rate": 0.001, "max_steps": None, "scheduler": "linear"},
            "kind": "adapter",
            "peft_config": {"peft_type": "LORA", "r": 4},
        },
        "train_info": {
            **{f"num_{part}_params": count for part, count in parts.items()},
            "train_time": 12.34,
            "steps": 1100,
        },
        "meta_info": {
            "model_info": HUB,
            "dataset_info": {"labels": TWO, "source": MAIL},
            "package_info": {"python-version": "3.11.1", "peft-version": None},
            "system_info": {"processor": "A Processor", "accelerator": None},
        },
        "round_trip": {"reload_difference": 0.0, "tolerance": 0.0001, "padding_difference": 2e-8},
        "metrics": {"validation": {**figures, "accuracy": 0.5, "rows": 50}, "test": figures},
    }


@pytest.fixture
def write(tmp_path):
    """Write the card of a record; returns it as the hub reads it."""

    def run(record: dict[str, Any], **given: Any) -> ModelCard:
        labels = record["meta_info"]["dataset_info"]["labels"]
        config = {"id2label": dict(enumerate(labels)), "pad_token_id": 0}
        files.write_json(config, tmp_path / "config.json")
        held = given.pop("quantization", None)
        saved = variants.Record(record["run_info"]["kind"], [], HUB, "right", 128, held)
        files.write_json(asdict(saved), tmp_path / files.CLASSIFIER)
        options = {"seed": 3, "peft": {"r": 4, "target_modules": "all-linear"}}
        words = {"options": options, "train_rows": 1200, "max_length": 128, **given}
        card.write(tmp_path, record, **words)
        return ModelCard.load(tmp_path / "README.md")

    return run


def test_the_head_is_what_the_hub_reads(record, write):
    data = write(record).data
    assert data.base_model == "org/tiny"
    assert (data.library_name, data.pipeline_tag) == ("peft", "text-classification")
    assert data.tags == ["lora", "transformers", "lora-bench", "base_model:adapter:org/tiny"]
    assert data.datasets == ["org/mail"]
    assert data.license is None
    assert data.model_name == "messages/minilm/lora-r4/seed3"


def test_results_are_those_of_the_test_rows(record, write):
    found = write(record).data.eval_results
    assert found == card.results(record)
    assert {result.metric_name: result.metric_value for result in found} == {
        "Accuracy": 0.912345678901234,
        "Macro-F1": 0.9,
        "F1 of spam": 0.8,
        "Precision of spam": 0.75,
        "Recall of spam": 0.85,
        "Matthews correlation": 0.7,
        "Log loss": 0.25,
    }
    for result in found:
        assert (result.task_type, result.dataset_split) == ("text-classification", "test")
        assert (result.dataset_type, result.dataset_name) == ("org/mail", "messages")
        assert (result.dataset_config, result.dataset_revision) == ("english", "e" * 40)
        assert (result.verified, result.verify_token) == (None, None)


def test_the_positive_class_is_the_one_of_the_evaluation(record, write):
    record["run_info"]["options"]["positive_label"] = "ham"
    assert "F1 of ham" in [result.metric_name for result in write(record).data.eval_results]


@pytest.mark.parametrize("source", [PACKAGE, PATH, None], ids=["package", "path", "none"])
def test_only_what_is_on_the_hub_is_named_as_such(record, write, source):
    record["meta_info"] |= {"model_info": PATH, "dataset_info": {"labels": TWO, "source": source}}
    data = write(record).data
    assert (data.base_model, data.datasets) == (None, None)
    assert not [tag for tag in data.tags if tag.startswith("base_model")]
    assert {(r.dataset_type, r.dataset_revision) for r in data.eval_results} == {("messages", None)}


@pytest.mark.parametrize("kind", ["head", "full"])
def test_what_is_no_adapter_is_of_transformers(record, write, kind):
    record["run_info"] |= {"kind": kind, "peft_config": None}
    data = write(record, options={"seed": 3, "peft": {}}).data
    assert (data.library_name, data.base_model) == ("transformers", "org/tiny")
    assert data.tags == ["lora-bench"]


def test_the_body_tells_what_is_on_record(record, write):
    record["meta_info"]["model_info"] = PACKAGE
    text = write(record).text
    for line in (
        "# messages/minilm/lora-r4/seed3",
        "A text classifier: LoRA adapter and a classification head.",
        "- Base model: toy/m in the Python package toy-model==1.0",
        "- Classes in order: 0: ham; 1: spam",
        "- Dataset: messages, from org/mail on the Hugging Face hub, "
        f"revision {'e' * 40}, subset english",
        "- Rows: 1,200 training, 50 validation, 300 test",
        "- Texts: cut after 128 tokens",
        "- Seed: 3",
        "- Trained parameters: 12,345 of 6,543,210 (12,000 in the adapter, 345 in the head)",
        "- Training: 1,100 steps in 12.3 s on A Processor",
        "| metric | validation | test |",
        "| Accuracy | 0.5000 | 0.9123 |",
        "| learning_rate | 0.001 |",
        "| peft: r | 4 |",
        "| peft: target_modules | all-linear |",
        "python 3.11.1",
    ):
        assert f"\n{line}\n" in text, line
    assert "the largest difference is 0, 0.0001 is allowed" in text
    assert "max_steps" not in text


def test_a_collapsed_model_is_called_so(record, write):
    assert "learned nothing" not in write(record).text
    record["metrics"]["test"]["collapsed"] = True
    assert "learned nothing" in write(record).text


def test_three_classes_have_no_positive_one(record, write):
    record["meta_info"]["dataset_info"]["labels"] = ["a", "b", "c"]
    for split in record["metrics"].values():
        split |= dict.fromkeys(card.OF_POSITIVE)
    written = write(record)
    names = [result.metric_name for result in written.data.eval_results]
    assert names == ["Accuracy", "Macro-F1", "Matthews correlation", "Log loss"]
    assert "num_labels=3" in written.text


def cells(line: str) -> list[str]:
    """Return the cells of a row of a Markdown table."""
    return re.split(r"(?<!\\)\|", line)[1:-1]


@pytest.mark.parametrize("name", [*HOSTILE, "null", "1e3", "", "- x", "\u2028 *", "日本語 _x_"])
def test_no_name_breaks_head_or_tables(record, write, name):
    record = copy.deepcopy(record)
    record["run_info"]["experiment_name"] = f"{name}/{name}/{name}/seed0"
    record["run_info"]["train_config"]["scheduler"] = name
    record["meta_info"]["model_info"] = {"kind": "path", "name": name or "x"}
    source = {"kind": "path", "name": name}
    record["meta_info"]["dataset_info"] = {"labels": ["ham", name], "source": source}
    written = write(record, options={"seed": 0, "peft": {"target_modules": name}})
    assert written.data.eval_results == card.results(record)
    body, _, rest = written.text.partition("\n```python\n")
    code, _, _ = rest.partition("\n```\n")
    assert "<script" not in body
    assert "`" not in body.replace("\\`", "")
    tables = [line for line in body.splitlines() if line.startswith("|")]
    assert len(tables) == 2 + 7 + 2 + 3
    assert {len(cells(line)) for line in tables[:9]} == {3}
    assert {len(cells(line)) for line in tables[9:]} == {2}
    headings = [line for line in written.text.splitlines() if line.startswith("#")]
    assert len([line for line in headings if line.startswith("## ")]) == 4
    compile(code, "card", "exec")


@pytest.mark.parametrize("base", [HUB, PATH], ids=["hub", "path"])
def test_a_quantized_base_is_loaded_as_it_was(record, write, base):
    record["run_info"]["quantization"] = "4bit"
    record["meta_info"]["model_info"] = base
    held = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    text = write(record, quantization=held).text
    assert "- Base model loaded in 4bit by bitsandbytes\n" in text
    settings = "BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4')"
    assert f'dtype="float32", quantization_config={settings},\n' in text
    assert re.search("^from transformers import .*BitsAndBytesConfig", text, re.MULTILINE)


def test_a_card_that_fails_leaves_the_old_one(record, write, tmp_path):
    (tmp_path / "README.md").write_text("old")
    del record["round_trip"]["tolerance"]
    with pytest.raises(KeyError):
        write(record)
    assert (tmp_path / "README.md").read_text() == "old"


def test_figures_of_clean_rows_stand_beside_those_of_all(record, write):
    record["metrics"]["test"]["clean"] = {**record["metrics"]["test"], "f1": 0.5, "rows": 270}
    text = write(record).text
    assert "| metric | validation | test | test, clean rows |" in text
    assert "| F1 of spam | 0.8000 | 0.8000 | 0.5000 |" in text
    assert "**30 of the test rows have a duplicate that was trained on**" in text
    assert "no row of validation or test was trained on" not in text


def test_a_test_split_without_a_clean_row_has_no_column_of_them(record, write):
    record["metrics"]["test"]["clean"] = {"rows": 0, "classes": {"ham": 0, "spam": 0}}
    text = write(record).text
    assert "| metric | validation | test |\n" in text
    assert "**300 of the test rows" in text
    assert "trained on**; no row is left to give figures of." in text


def test_clean_rows_that_lack_a_class_have_no_column(record, write):
    record["meta_info"]["dataset_info"]["labels"] = ["ham", "*spam*"]
    record["metrics"]["test"]["clean"] = {"rows": 5, "classes": {"ham": 5, "*spam*": 0}}
    text = write(record).text
    assert "| metric | validation | test |\n" in text
    assert "**295 of the test rows have a duplicate that was trained on**; the other 5 " in text
    assert r"have no row of class \*spam\*, and hence no figures." in text
