"""Training of one cell: what it draws, reads, writes and refuses."""

import hashlib
import json
import re
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train_lora
from common import checksums, files
from common.cli import InputError
from common.data import tokens as tokenised
from common.model import collator, models
from common.model.collator import Padding

# The tiny BERT: 2 layers, hidden size 32, intermediate size 64.
HIDDEN, INTERMEDIATE, LAYERS, RANK = 32, 64, 2, 4


@pytest.fixture(scope="module")
def tokens(make_tokens) -> dict[str, Path]:
    return {model: make_tokens(model) for model in ("bert", "gpt2")}


@pytest.fixture(scope="module")
def command(tokens, tiny_models):
    """The command line of a small training; later words override earlier ones."""

    def words(output: Path, *more: object, model: str = "bert") -> list[str]:
        peft = json.dumps({"r": RANK, "lora_alpha": 8})
        line = ["--model", tiny_models[model], "--tokens", tokens[model], "--peft", peft]
        line += ["--learning-rate", 1e-2, "--epochs", 2]
        line += ["--output", output / "adapter", "--record", output / "training.json", *more]
        return list(map(str, line))

    return words


@pytest.fixture(scope="module")
def twins(tmp_path_factory, command, run_script) -> list[Path]:
    """One cell trained twice, in two processes."""
    roots = [tmp_path_factory.mktemp("twin") for _ in range(2)]
    for root in roots:
        done = run_script("train_lora", *command(root, "--seed", 0))
        assert done.returncode == 0, done.stderr
    return roots


@pytest.fixture(scope="module")
def cell(twins) -> Path:
    return twins[0]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory, command) -> Path:
    root = tmp_path_factory.mktemp("decoder")
    train_lora.main(command(root, model="gpt2"))
    return root


def weights(cell: Path) -> dict:
    return load_file(cell / "adapter" / "adapter_model.safetensors")


def digest(cell: Path) -> str:
    return hashlib.sha256((cell / "adapter/adapter_model.safetensors").read_bytes()).hexdigest()


def strings(value: object) -> list[str]:
    """Return all strings in a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def test_equal_seeds_give_equal_files(twins):
    names = [sorted(file.name for file in (twin / "adapter").iterdir()) for twin in twins]
    assert names[0] == names[1]
    for name in names[0]:
        first, second = ((twin / "adapter" / name).read_bytes() for twin in twins)
        assert first == second, name


def test_another_seed_gives_another_adapter(cell, command, tmp_path):
    train_lora.main(command(tmp_path, "--seed", 1))
    assert weights(tmp_path).keys() == weights(cell).keys()
    assert digest(tmp_path) != digest(cell)


def test_test_rows_are_never_read(cell, command, tokens, tmp_path):
    copy = Path(shutil.copytree(tokens["bert"], tmp_path / "tokens"))
    shutil.rmtree(copy / "test")
    (copy / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    checksums.write(copy)
    train_lora.main(command(tmp_path, "--tokens", copy))
    assert digest(tmp_path) == digest(cell)


def test_head_and_adapter_are_trained_and_saved(cell, tiny_models):
    saved = weights(cell)
    fresh = models.load_classifier(tiny_models["bert"], ["ham", "spam"], 0, seed=0).model.classifier
    head = {key: value for key, value in saved.items() if ".classifier." in key}
    assert sorted(key.rpartition(".")[2] for key in head) == ["bias", "weight"]
    for key, value in head.items():
        assert (value != getattr(fresh, key.rpartition(".")[2])).any(), key
    # B of every LoRA pair starts at zero, so that one that is not zero was trained.
    trained = [value for key, value in saved.items() if "lora_B" in key]
    assert len(trained) == 6 * LAYERS
    assert all(value.any() for value in trained)


def test_the_head_of_a_decoder_is_saved(decoder):
    assert [v.shape for k, v in weights(decoder).items() if "score" in k] == [(2, HIDDEN)]


def test_three_classes(command, make_tokens, tmp_path):
    labels = ("ham", "spam", "other")
    train_lora.main(command(tmp_path, "--tokens", make_tokens("bert", labels), "--max-steps", 1))
    shapes = {k: v.shape for k, v in weights(tmp_path).items() if k.endswith("classifier.weight")}
    assert list(shapes.values()) == [(3, HIDDEN)]
    config = json.loads((tmp_path / "adapter/config.json").read_text())
    assert sorted(config["id2label"].values()) == sorted(labels)


@pytest.mark.parametrize(("model", "pad"), [("bert", "[PAD]"), ("gpt2", "<|endoftext|>")])
def test_adapter_brings_names_padding_and_tokenizer(cell, decoder, model, pad):
    import transformers

    adapter = (cell if model == "bert" else decoder) / "adapter"
    config = json.loads((adapter / "config.json").read_text())
    assert config["id2label"] == {"0": "ham", "1": "spam"}
    assert config["label2id"] == {"ham": 0, "spam": 1}
    tokenizer = transformers.AutoTokenizer.from_pretrained(adapter)
    assert tokenizer.pad_token == pad
    assert config["pad_token_id"] == tokenizer.pad_token_id


def test_adapter_names_no_path_of_this_machine(cell, tiny_models):
    files = list((cell / "adapter").glob("*.json"))
    wanted = {"adapter_config.json", "classifier.json", "config.json"}
    assert wanted <= {file.name for file in files}
    for file in files:
        text = file.read_text()
        assert str(tiny_models["bert"].parent) not in text, file.name
        assert not [s for s in strings(json.loads(text)) if s.startswith("/")], file.name
    adapter = json.loads((cell / "adapter/adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == "bert"
    assert not (cell / "adapter/README.md").exists()  # the card comes with the figures


def test_parameters_are_counted_by_part(cell):
    """Rank r on a layer of n inputs and m outputs is r (n + m) parameters."""
    attention = 4 * RANK * (HIDDEN + HIDDEN)
    feed_forward = 2 * RANK * (HIDDEN + INTERMEDIATE)
    adapter, head = LAYERS * (attention + feed_forward), 2 * HIDDEN + 2
    info = json.loads((cell / "training.json").read_text())["train_info"]
    assert info["num_adapter_params"] == adapter
    assert info["num_head_params"] == head
    assert info["num_trainable_params"] == adapter + head
    assert info["num_trainable_params"] == sum(value.numel() for value in weights(cell).values())


def test_record_has_the_three_blocks(cell):
    record = files.read_json(cell / "training.json")
    assert list(record) == ["run_info", "train_info", "meta_info", "round_trip"]
    run, train, meta, check = record.values()
    assert (len(check["logits"]), check["threads"]) == (5, 1)
    assert run["kind"] == "adapter"
    assert run["train_config"]["learning_rate"] == 1e-2
    assert run["peft_config"]["r"] == RANK
    assert run["options"]["learning_rate"] == 1e-2
    assert (train["status"], train["epochs"]) == ("success", 2)
    assert train["train_time"] > 0
    assert train["peak_memory_bytes"] > 2**20
    file = cell / "adapter" / "adapter_model.safetensors"
    assert train["file_size"] == file.stat().st_size
    source = {"kind": "path", "name": "rows.csv"}
    assert meta["dataset_info"] == {
        "labels": ["ham", "spam"],
        "source": source,
        "train_rows": 43,
    }
    assert meta["model_info"]["name"] == "bert"
    assert meta["package_info"]["peft-version"]


def train_info(cell: Path) -> dict:
    return files.read_json(cell / "training.json")["train_info"]


def test_a_training_that_did_not_fail_is_tried_once(command, tmp_path):
    train_lora.main(command(tmp_path, "--retries", 2, "--epochs", 8))
    (attempt,) = train_info(tmp_path)["attempts"]
    assert (attempt["seed"], attempt["learned_nothing"]) == (0, False)
    assert attempt["seconds"] == train_info(tmp_path)["train_time"]


@pytest.fixture(scope="module")
def failed(tmp_path_factory, command) -> Path:
    """A cell whose training failed, was tried again, and failed again."""
    root = tmp_path_factory.mktemp("failed")
    train_lora.main(command(root, "--failed-above", 0.01, "--retries", 1))
    return root


def test_a_training_that_failed_is_tried_again_with_another_seed(failed, cell, command, tmp_path):
    """Nothing else differs from a training that has this seed from the first."""
    first, second = train_info(failed)["attempts"]
    assert (first["seed"], second["seed"]) == (0, 2**31 - 1)
    assert first["final_loss"] == train_info(cell)["final_loss"]
    train_lora.main(command(tmp_path, "--seed", second["seed"]))
    assert digest(failed) == digest(tmp_path) != digest(cell)
    records = [files.read_json(place / "training.json") for place in (failed, tmp_path)]
    assert records[0]["round_trip"] == records[1]["round_trip"]
    found, alone = (record["train_info"] for record in records)
    for name in ("final_loss", "class_entropy", "steps", "num_trainable_params"):
        assert found[name] == alone[name], name
    assert second["final_loss"] == found["final_loss"]
    assert found["learned_nothing"] is True
    assert records[0]["run_info"]["train_config"]["retries"] == 1


def test_the_cost_is_that_of_all_attempts(failed, cell):
    info, once = train_info(failed), train_info(cell)
    assert info["train_time"] == pytest.approx(sum(each["seconds"] for each in info["attempts"]))
    for name in ("samples", "tokens"):
        assert info[f"train_{name}"] == sum(each[name] for each in info["attempts"])
        assert info[f"train_{name}"] == 2 * once[f"train_{name}"]
        speed = info[f"train_{name}"] / info["train_time"]
        assert info[f"train_{name}_per_second"] == pytest.approx(speed, rel=0.01)


def test_without_retries_a_failed_training_is_told(command, tmp_path, caplog):
    train_lora.main(command(tmp_path, "--failed-above", 0.01))
    assert train_info(tmp_path)["learned_nothing"] is True
    assert len(train_info(tmp_path)["attempts"]) == 1
    assert re.search(r"training failed: its loss ended at \d+\.\d % of the class", caplog.text)


@pytest.fixture(scope="module")
def three_to_one(make_tokens) -> Path:
    """Tokens of rows of which three quarters are ham."""
    return make_tokens("bert", ("ham", "ham", "ham", "spam"), 400)


def test_permuted_labels_are_those_of_other_rows(three_to_one):
    data = tokenised.load(three_to_one)
    permuted, again, other = (tokenised.with_permuted_labels(data, seed) for seed in (0, 0, 1))
    rows, found = data.splits["train"], permuted.splits["train"]
    assert sorted(found["label"]) == sorted(rows["label"])
    assert found["label"] != rows["label"]
    assert found["label"] == again.splits["train"]["label"] != other.splits["train"]["label"]
    assert found.features == rows.features
    for column in ("id", "input_ids", "length"):
        assert found[column] == rows[column]
    for split in ("validation", "test"):
        assert permuted.splits[split] is data.splits[split]


def test_a_control_scores_like_the_majority_class(command, three_to_one, tmp_path):
    data = tokenised.load(three_to_one)
    splits = [data.splits[name] for name in ("validation", "test")]
    rows = [row for split in splits for row in split]
    found = {}
    for word in ("--permute-labels", "--no-permute-labels"):
        args = train_lora.parse(command(tmp_path, "--tokens", three_to_one, word, "--epochs", 6))
        trained = train_lora.train(args, {})
        logits = collator.logits(trained.model, rows, Padding(data.pad_token_id))
        right = [
            int(each) == row["label"] for each, row in zip(logits.argmax(1), rows, strict=True)
        ]
        found[word] = sum(right) / len(rows), trained.train_info["changed_labels"]
    majority = sum(row["label"] == 0 for row in rows) / len(rows)
    assert found["--permute-labels"][0] == pytest.approx(majority, abs=0.03)
    assert found["--no-permute-labels"][0] > majority + 0.1
    # Of the rows of either class, those change that have a label of the other one.
    expected = 2 * 0.75 * 0.25 * len(data.splits["train"])
    assert found["--permute-labels"][1] == pytest.approx(expected, rel=0.25)
    assert found["--no-permute-labels"][1] == 0


def test_a_record_says_that_labels_were_permuted(command, tmp_path):
    train_lora.main(command(tmp_path, "--permute-labels", "--max-steps", 1))
    assert files.read_json(tmp_path / "training.json")["run_info"]["train_config"]["permute_labels"]
    assert train_info(tmp_path)["changed_labels"] > 0


def test_diverging_training_leaves_nothing(command, tmp_path):
    with pytest.raises(InputError, match=r"training diverged.*`learning_rate`"):
        train_lora.main(command(tmp_path, "--learning-rate", 1e30))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"rr": 4}, "PEFT refuses this LORA config.*'rr'"),
        ({"r": 0}, "`r` should be a positive integer"),
        ({"r": "four"}, "PEFT refuses this LORA config"),
        ({"peft_type": "LARA"}, "'LARA' is not a valid PeftType"),
        ({"target_modules": ["nothing"]}, "No modules were targeted"),
        ({"task_type": "CAUSAL_LM"}, "a classifier's is SEQ_CLS"),
        ({"peft_type": "TRAINABLE_TOKENS"}, "PEFT refuses this TRAINABLE_TOKENS config"),
    ],
)
def test_peft_config_that_does_not_fit(command, tmp_path, config, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        train_lora.main(command(tmp_path, "--peft", json.dumps(config)))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_prompt_tuning_of_a_decoder_is_refused(command, tmp_path):
    """It classifies by a padding token; an encoder looks at its first."""
    peft = json.dumps({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4})
    with pytest.raises(InputError, match="padding moves the probabilities of this gpt2"):
        train_lora.main(command(tmp_path, "--peft", peft, model="gpt2"))
    train_lora.main(command(tmp_path, "--peft", peft, "--max-steps", 1))
    assert "prompt_embeddings" in weights(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ["--peft", "[4]"],
        ["--peft", '{"r": '],
        ["--batch-size", "0"],
        ["--max-steps", "0"],
        ["--seed", "-1"],
        ["--scheduler", "linaer"],
        ["--learn", "1"],
    ],
)
def test_command_line_that_makes_no_sense(command, tmp_path, words, capsys):
    with pytest.raises(SystemExit) as caught:
        train_lora.main(command(tmp_path, *words))
    assert caught.value.code == 2
    assert ": error: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("option", ["learning-rate", "epochs", "warmup", "max-grad-norm"])
def test_number_out_of_range(command, tmp_path, option):
    with pytest.raises(InputError, match=f"`{option.replace('-', '_')}` is -1.0"):
        train_lora.main(command(tmp_path, f"--{option}", -1))


def test_schedulers_are_those_of_the_config():
    import yaml

    schema = yaml.safe_load((Path(__file__).parents[1] / "config/schema.yaml").read_text())
    known = schema["$defs"]["training"]["properties"]["scheduler"]["enum"]
    assert list(train_lora.SCHEDULERS) == known


@pytest.mark.parametrize("missing", ["source.json", "."])
def test_missing_model_is_noticed_before_training(command, tiny_models, tmp_path, missing):
    copy = Path(shutil.copytree(tiny_models["bert"], tmp_path / "model"))
    shutil.rmtree(copy) if missing == "." else (copy / missing).unlink()
    began = time.perf_counter()
    with pytest.raises(InputError, match=r"model/source.json cannot be read"):
        train_lora.main(command(tmp_path / "out", "--model", copy))
    assert time.perf_counter() - began < 1
    assert not (tmp_path / "out").exists()


def test_mistake_ends_in_one_line(command, run_script, tmp_path):
    done = run_script("train_lora", *command(tmp_path, "--peft", '{"r": -2}'))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: PEFT refuses this LORA config: ")
    assert "Traceback" not in done.stderr


@pytest.mark.quick(1)
def test_precision_is_resolved_on_record_and_no_rounded_weight_saved(command, tmp_path):
    for name, words in {"auto": [], "bf16": ["--precision", "bf16"]}.items():
        train_lora.main(command(tmp_path / name, "--max-steps", 2, *words))
        info = json.loads((tmp_path / name / "training.json").read_text())["run_info"]
        wanted = "bf16" if name == "bf16" or torch.cuda.is_available() else "fp32"
        assert info["train_config"]["precision"] == info["options"]["precision"] == wanted
        saved = load_file(tmp_path / name / "adapter/adapter_model.safetensors")
        assert {value.dtype for value in saved.values()} == {torch.float32}
