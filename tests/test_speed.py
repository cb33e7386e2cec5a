"""The benchmark of speed: its count of operations, its tables, and a whole run on a tiny model."""

import dataclasses
import json
import sys

import pytest

from benchmarks import comparison, operations, speed

SIZE = {
    "vocab_size": 80, "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "intermediate_size": 256, "max_position_embeddings": 128, "pad_token_id": 0,
}  # fmt: skip
COUNTED = {
    "bert": (SIZE, ["query", "key", "value"]),
    "gpt2": (
        {"vocab_size": 80, "n_embd": 64, "n_layer": 4, "n_head": 4, "n_positions": 128,
         "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0},
        ["c_attn"],
    ),
    "opt": (
        {**SIZE, "ffn_dim": 256, "word_embed_proj_dim": 32, "do_layer_norm_before": False},
        ["q_proj", "k_proj", "v_proj"],
    ),
}  # fmt: skip
ROWS, LENGTH, RANK = 3, 64, 4


def classifier(name: str):
    import transformers

    config = transformers.AutoConfig.for_model(name, **COUNTED[name][0])
    return transformers.AutoModelForSequenceClassification.from_config(
        config, attn_implementation="eager"
    )


@pytest.mark.full
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", COUNTED)
def test_operations_are_those_that_torch_counts(name, training):
    """torch counts the head too, and of a causal model the pairs that the mask takes out."""
    import peft
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    base, adapted = classifier(name), COUNTED[name][1]
    shape = dataclasses.replace(operations.shape_of(base, adapted, RANK), causal=False)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=RANK, target_modules=adapted)
    model = peft.get_peft_model(base, config)
    texts = torch.randint(2, 80, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(training):
        loss = model(input_ids=texts, labels=torch.zeros(ROWS, dtype=torch.long)).loss
        if training:
            loss.backward()
    ours = ROWS * operations.operations(shape, LENGTH, training)
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.002)


@pytest.mark.parametrize("name", COUNTED)
def test_what_is_needed_is_less_by_most_of_the_last_block(name):
    shape = operations.shape_of(classifier(name), COUNTED[name][1], RANK)
    whole, needed = (operations.operations(shape, LENGTH, needed=each) for each in (False, True))
    assert 1 - 1 / 4 < needed / whole < 1 - 1 / 8
    assert operations.operations(shape, 1, needed=True) == pytest.approx(
        operations.operations(shape, 1), rel=0.01
    )  # of one token, all is read


def test_a_causal_model_has_half_of_the_pairs():
    shape = operations.shape_of(classifier("gpt2"))
    full = dataclasses.replace(shape, causal=False)
    gap = operations.operations(full, LENGTH, False) - operations.operations(shape, LENGTH, False)
    assert gap == 4 * 4 * 64 * LENGTH**2 / 2


@pytest.mark.full
def test_the_limit_is_measured_for_every_size_and_kernel(monkeypatch):
    monkeypatch.setattr(operations, "SQUARE", 64)
    monkeypatch.setattr(operations, "LEAST_SECONDS", 0)
    found = operations.limits([operations.sizes_of("32x16x8")])
    assert {tuple(each["shape"]) for each in found} >= {(64, 64, 64), (32, 16, 8)}
    assert "torch.nn.functional.linear" in {each["kernel"] for each in found}
    assert all(each["operations_per_second"] > 0 for each in found)


def run(arm: str, seconds: float, **changes) -> dict:
    counts = {
        f"{part}_{name}_per_row": 1e9
        for part in ("train", "eval")
        for name in ("operations", "needed_operations")
    }
    return {
        "model": "m", "lengths": "sms", "arm": arm, "jobs": 1, "threads": 2,
        "train_samples": 100, "train_time": seconds, "eval_rows": 50, "eval_seconds": seconds,
        "padding_share": None, "peak_memory_bytes": 1 << 30, "process_seconds": 2 * seconds,
        "train_tokens_per_row": 20.0, "eval_tokens_per_row": 20.0, **counts, **changes,
    }  # fmt: skip


def limit(job: int, jobs: int, threads: int, per_second: float) -> dict:
    product = {"kernel": "k", "shape": [1, 1, 1], "operations_per_second": per_second}
    return {"model": "m", "threads": threads, "jobs": jobs, "job": job, "products": [product]}


def test_speeds_are_set_beside_both_recipes_and_the_limit():
    runs = [run("notebook", 10), run("best-trainer", 5), run("one-job", 2),
            run("job-per-core", 1, jobs=2, threads=1)]  # fmt: skip
    limits = [limit(0, 1, 2, 80e9), limit(0, 1, 2, 100e9),
              limit(0, 2, 1, 60e9), limit(1, 2, 1, 70e9), limit(1, 2, 1, 65e9)]  # fmt: skip
    found = comparison.compare({"limits": limits, "runs": runs, "quality": []})["training"]
    assert [row["times_notebook"] for row in found] == [1, 2, 5, 10]
    assert [row["times_best_trainer"] for row in found] == [0.5, 1, 2.5, 5]
    assert [row["limit_operations_per_second"] for row in found] == [1e11, 1e11, 1e11, 1.3e11]
    assert found[2]["operations_share_of_limit"] == pytest.approx(0.5)
    assert found[2]["tokens_per_second"] == 1000
    lines = comparison.training_table(found).splitlines()
    assert len({line.count(" | ") for line in lines}) == 1
    assert lines[4].split(" | ")[2:8] == ["this project, one job", "100", "50", "1,000", "", "50.0"]


def test_jobs_side_by_side_are_added_up():
    jobs = [
        {"train_samples": 8, "train_tokens": 80, "peak_memory_bytes": 5, "eval_rows": 10,
         "eval_seconds": seconds, "train_time": seconds, "process_seconds": seconds}
        for seconds in (1.0, 2.0)
    ]  # fmt: skip
    found = speed.together(jobs)
    assert (found["train_samples"], found["train_time"], found["peak_memory_bytes"]) == (16, 2, 10)
    assert found["eval_rows"] / found["eval_seconds"] == pytest.approx(15, rel=0.001)


def test_an_arm_that_fails_is_told():
    with pytest.raises(SystemExit, match=r"no_such_script\.py failed"):
        speed.side_by_side([["no_such_script.py"]])


@pytest.mark.full
def test_a_quick_run_measures_every_arm(tiny_models, tmp_path, capsys, monkeypatch, warm):
    monkeypatch.setattr(sys, "executable", warm.python)  # what is measured means nothing here
    output = tmp_path / "speed.json"
    words = ["--quick", "--minilm", str(tiny_models["bert"]), "--output", str(output)]
    speed.main(words)
    record = json.loads(output.read_text())
    arms = [*comparison.ARMS]
    assert [row["arm"] for row in record["training"]] == arms
    assert [row["arm"] for row in record["evaluation"]] == arms
    assert all(row["samples_per_second"] > 0 for row in record["training"])
    assert all(row["peak_memory_bytes"] > 1 << 27 for row in record["training"])
    assert record["training"][0]["padding_share"] > 0.8  # to 512 tokens, of texts of some 30
    assert capsys.readouterr().out.startswith("Measured on ")


def test_quality_is_that_of_every_seed(monkeypatch, tmp_path):
    """Seeds are trained as many at a time as there are cores; all reach the table, in order."""

    def reached(works):
        return [{"train_samples": 9, "accuracy": work.seed / 10, "macro_f1": 0.5} for work in works]

    monkeypatch.setattr(speed, "cores", lambda: 2)
    monkeypatch.setattr(speed.workloads, "part", lambda *_: None)
    monkeypatch.setattr(speed, "of_project", reached)
    monkeypatch.setattr(speed, "of_notebook", lambda _, works: reached(works))
    args = speed.parse(["--minilm", ".", "--datasets", ".", "--output", "speed.json"])
    rows = speed.qualities(args, "sms", {("sms", 128): tmp_path}, tmp_path)
    assert [row["accuracy"] for row in rows] == [[0, 0.1, 0.2]] * 2
    table = comparison.quality_table([comparison.with_means(row) for row in rows])
    assert "| best Trainer | 9 | 0.100 | 0.000, 0.100, 0.200 | 0.500 |" in table
