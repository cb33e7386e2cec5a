"""Fine-tune with LoRA and evaluate as a notebook does: the Trainer, without this project's code.

    python benchmarks/notebook.py --recipe plain --model resources/models/minilm --tokens tokens \\
        --peft '{"r": 8, "lora_alpha": 8, "target_modules": ["query", "value"]}' \\
        --learning-rate 1e-3 --seed 0 --output plain.json

Recipes: `plain` pads every text to the maximum, and has the Trainer's defaults; `best` is what a
well-informed user makes of the same Trainer: batches padded to their longest text, texts of like
length together, a fused optimiser, larger batches in evaluation. Of the project it takes the tokens
alone, which are those that train_lora reads.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from common import cli, files  # noqa: E402

RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "best": {
        "train_sampling_strategy": "group_by_length",
        "optim": "adamw_torch_fused",
        "per_device_eval_batch_size": 32,
    },
}


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    cli.go_offline()
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    files.write_json(measure(args), args.output)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", choices=RECIPES, required=True)
    parser.add_argument("--model", type=Path, required=True, help="directory of the model")
    parser.add_argument("--tokens", type=Path, required=True, help="as tokenize_data writes them")
    parser.add_argument("--peft", type=json.loads, required=True, help="LoRA config, as JSON")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="at its highest")
    parser.add_argument("--epochs", type=float, default=1, help="passes over the training rows")
    parser.add_argument("--max-steps", type=int, default=-1, help="end after so many steps instead")
    parser.add_argument("--batch-size", type=int, default=16, help="rows per step")
    parser.add_argument("--seed", type=int, default=0, help="of head, adapter, order and dropout")
    parser.add_argument("--threads", type=int, help="of the CPU; all, as torch takes, unless given")
    parser.add_argument(
        "--adapter", type=Path, help="directory to save the adapter to, and evaluate it from"
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    return parser.parse_args(argv)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return what training and evaluation took, and the quality that was reached."""
    import torch

    from common import cells

    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        trainer, steps, collator = make_trainer(args, folder)
        metrics = trainer.train().metrics
        peak, padding = cells.peak_memory_bytes(), collator.padding_share
        if args.adapter:
            reload(trainer, args)
        found = trainer.evaluate()
    rows = trainer.train_dataset
    epochs, more = divmod(trainer.state.global_step, math.ceil(len(rows) / args.batch_size))
    samples = epochs * len(rows) + more * args.batch_size
    return {
        "recipe": args.recipe,
        "threads": torch.get_num_threads(),
        "steps": trainer.state.global_step,
        "train_samples": samples,
        # The rows of an epoch that was cut short are taken to be of mean length, as in train_lora.
        "train_tokens": round(samples * sum(rows["length"]) / len(rows)),
        "train_time": metrics["train_runtime"],
        "step_seconds": steps.seconds,
        "padding_share": padding,
        "peak_memory_bytes": peak,
        "eval_rows": len(trainer.eval_dataset),
        "eval_seconds": found["eval_runtime"],
        "accuracy": found["eval_accuracy"],
        "macro_f1": found["eval_macro_f1"],
    }


def make_trainer(args: argparse.Namespace, folder: str) -> tuple[Any, Any, Any]:
    """Return the Trainer of a recipe, the clock of its steps, and its collator."""
    import datasets
    import peft
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    transformers.set_seed(args.seed)
    tokens = datasets.load_from_disk(args.tokens)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    config = peft.LoraConfig(task_type="SEQ_CLS", **args.peft)
    model = peft.get_peft_model(load_base(args.model, tokenizer), config)
    words = transformers.TrainingArguments(
        output_dir=folder,
        learning_rate=args.learning_rate,
        num_train_epochs=args.epochs,
        max_steps=args.max_steps,
        per_device_train_batch_size=args.batch_size,
        warmup_steps=0.1,  # a share, as train_lora has by default
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=args.seed,
        **RECIPES[args.recipe],
    )
    longest = files.read_json(args.tokens / "statistics.json")["max_length"]
    collator = counting_collator(tokenizer, longest if args.recipe == "plain" else None)
    trainer = transformers.Trainer(
        model, words, data_collator=collator, train_dataset=tokens["train"],
        eval_dataset=tokens["test"], compute_metrics=quality, callbacks=[steps := step_clock()],
    )  # fmt: skip
    return trainer, steps, collator


def load_base(directory: Path, tokenizer: Any) -> Any:
    """Return a model with a new head of two classes."""
    import transformers

    return transformers.AutoModelForSequenceClassification.from_pretrained(
        directory, num_labels=2, pad_token_id=tokenizer.pad_token_id
    )


def reload(trainer: Any, args: argparse.Namespace) -> None:
    """Save what was trained, and let the Trainer evaluate it as it is loaded from there."""
    import peft

    trainer.save_model(args.adapter)
    base = load_base(args.model, trainer.data_collator.tokenizer)
    trainer.model = peft.PeftModel.from_pretrained(base, args.adapter)
    trainer.model_wrapped = trainer.model.to(trainer.args.device)


def counting_collator(tokenizer: Any, max_length: int | None) -> Any:
    """Return the collator of transformers, which also counts what it fills up.

    Args:
        tokenizer: that pads.
        max_length: to pad every text to; None: to the longest of the batch.
    """
    import transformers

    class Counting(transformers.DataCollatorWithPadding):
        positions = real = 0

        def __call__(self, features: list[dict[str, Any]]) -> Any:
            # Without the columns that a model does not know.
            kept = [{"input_ids": row["input_ids"], "label": row["label"]} for row in features]
            batch = super().__call__(kept)
            self.positions += batch["attention_mask"].numel()
            self.real += int(batch["attention_mask"].sum())
            return batch

        @property
        def padding_share(self) -> float:
            """Of the positions so far."""
            return 1 - self.real / self.positions

    how = "max_length" if max_length else True
    return Counting(tokenizer, padding=how, max_length=max_length)


def step_clock() -> Any:
    """Return a callback that notes how long every step took, in seconds; the first warms up."""
    import transformers

    class Steps(transformers.TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_begin(self, args, state, control, **_) -> None:  # noqa: ARG002
            self.began = time.perf_counter()

        def on_step_end(self, args, state, control, **_) -> None:  # noqa: ARG002
            self.seconds.append(round(time.perf_counter() - self.began, 4))

    return Steps()


def quality(outcome: Any) -> dict[str, float]:
    """Accuracy and macro-F1, as the Trainer asks for them."""
    from sklearn import metrics

    predicted = outcome.predictions.argmax(axis=1)
    return {
        "accuracy": float(metrics.accuracy_score(outcome.label_ids, predicted)),
        "macro_f1": float(metrics.f1_score(outcome.label_ids, predicted, average="macro")),
    }


if __name__ == "__main__":
    main()
