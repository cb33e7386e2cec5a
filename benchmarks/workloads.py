"""The models and the rows that speed.py measures, made by the workflow's own scripts.

MiniLM is what it is. The others have random weights in the sizes of distilbert-base-uncased, gpt2
and opt-350m, but for the vocabulary: they have MiniLM's tokenizer, so that all of them read the
same tokens. Speed does not depend on what weights are.
"""

import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from common import checksums, files  # noqa: E402

MAX_LENGTH, QUALITY_MAX_LENGTH = 512, 128  # tokens of a text
POOL = {"train_rows": 2000, "test_rows": 500}  # of which all other sets of rows are parts
# Few: train_lora counts the time of validation as training. Fewer would lack a class when they are
# drawn, so the rest is left out later.
DRAWN_VALIDATION_ROWS, VALIDATION_ROWS = 16, 2
LIKE_BERT, LIKE_GPT2, LIKE_OPT = ["query", "value"], ["c_attn"], ["q_proj", "v_proj"]


@dataclass(frozen=True)
class Model:
    """A model to measure on.

    Attributes:
        adapted: the layers that PEFT's default adapts in this architecture; of DistilBERT, which it
            does not know, those of the same meaning.
        rows: training rows by lengths, so many that a run is long enough to measure and no longer.
        notebook_steps: of the recipe that pads to the maximum, where all steps cost the same.
        eval_rows: test rows.
        batch_size: rows per step in every arm. Padded to the maximum and with dropout in the
            attention, OPT-350M keeps three matrices of 512 x 512 for each of 16 heads in each of 24
            layers, over 1 GB a row: 16 rows would not fit into 16 GB.
        config: of random weights, in the words of transformers; None: it is MiniLM.
    """

    adapted: list[str]
    rows: dict[str, int]
    notebook_steps: int
    eval_rows: int
    batch_size: int = 16
    config: dict[str, Any] | None = None


MODELS = {
    "minilm": Model(LIKE_BERT, {"sms": 800, "imdb": 128}, 3, 96),
    "distilbert-size": Model(
        ["q_lin", "v_lin"], {"sms": 320, "imdb": 48}, 2, 48,
        config={"model_type": "distilbert"},
    ),
    "gpt2-size": Model(
        LIKE_GPT2, {"sms": 160, "imdb": 32}, 2, 32, 8,
        {"model_type": "gpt2"},
    ),
    "opt-350m-size": Model(
        LIKE_OPT, {"sms": 64, "imdb": 16}, 1, 16, 4,
        {"model_type": "opt", "hidden_size": 1024, "num_hidden_layers": 24, "ffn_dim": 4096,
         "num_attention_heads": 16, "word_embed_proj_dim": 512, "do_layer_norm_before": False,
         "max_position_embeddings": 2048},
    ),
}  # fmt: skip

QUICK_MODELS = {
    "tiny": Model(
        LIKE_BERT, {"made-up": 64}, 2, 32, 16,
        {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 64},
    )
}  # fmt: skip

# What prepare_data is told of the rows; `source` is a directory of resources/datasets.
DATASETS: dict[str, dict[str, Any]] = {
    "sms": {
        "source": "sms-spam",
        "options": ["--encoding", "latin-1", "--text", "v2", "--label", "v1"],
        "labels": ["ham", "spam"],
    },
    # The file of Rotten Tomatoes holds both.
    "imdb": {
        "source": "rotten-tomatoes",
        "options": ["--filter", "source=imdb", "--no-near-duplicates"],
        "labels": ["negative", "positive"],
    },
}
QUICK_DATASETS: dict[str, dict[str, Any]] = {
    "made-up": {"source": None, "options": [], "labels": ["negative", "positive"]}
}


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser of what the benchmarks of these models and rows have in common."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--minilm", type=Path, required=True, help="directory of the model")
    made.add_argument("--datasets", type=Path, help="directory of what fetch_dataset wrote")
    made.add_argument("--models", nargs="+", help=f"of {', '.join(MODELS)}")
    made.add_argument("--lengths", nargs="+", help=f"of {', '.join(DATASETS)}")
    made.add_argument("--quick", action="store_true", help="tiny model, made-up rows: a trial")
    made.add_argument("--output", type=Path, required=True, help="JSON file to write")
    return made


def parsed(
    made: argparse.ArgumentParser, argv: list[str] | None, first: bool = False
) -> argparse.Namespace:
    """Return the command line, with the models and datasets that there are to choose from.

    Args:
        made: by ``parser``.
        argv: the words; None: of this process.
        first: models and lengths are the first ones unless given; else all.
    """
    args = made.parse_args(argv)
    args.known_models = QUICK_MODELS if args.quick else MODELS
    args.known_datasets = QUICK_DATASETS if args.quick else DATASETS
    for name, choices in (("models", args.known_models), ("lengths", args.known_datasets)):
        setattr(args, name, getattr(args, name) or [*choices][: 1 if first else None])
        if unknown := set(getattr(args, name)) - set(choices):
            made.error(f"--{name} {min(unknown)} is none of {', '.join(choices)}")
    if not (args.quick or args.datasets):
        made.error("--datasets is needed: what fetch_dataset wrote")
    return args


def run(script: str, *words: Any) -> None:
    """Run a script of the project to its end.

    Raises:
        SystemExit: it failed; what it said is passed on.
    """
    folder = "benchmarks" if script in ("generate", "notebook") else "scripts"
    command = [sys.executable, str(ROOT / folder / f"{script}.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr}")


def make_model(model: Model, tokenizer: Path, scratch: Path) -> Path:
    """Return the directory of a model as fetch_model leaves it.

    Args:
        model: what to make.
        tokenizer: the directory of MiniLM, whose tokenizer all models have.
        scratch: a directory to make one in.
    """
    if model.config is None:
        return tokenizer
    import torch
    import transformers

    from common.data import encoding

    known = encoding.load_tokenizer(tokenizer)
    ids = {f"{name}_token_id": known.pad_token_id for name in ("pad", "bos", "eos")}
    config = transformers.AutoConfig.for_model(**{"vocab_size": len(known), **ids, **model.config})
    torch.manual_seed(0)
    weights, made = scratch / "weights", scratch / "model"
    transformers.AutoModel.from_config(config).save_pretrained(weights)
    known.save_pretrained(weights)
    run("fetch_model", "--path", weights, "--output", made)
    return made


def prepare(dataset: dict[str, Any], datasets: Path, target: Path) -> None:
    """Split the rows of a dataset, once for all models.

    Args:
        dataset: of DATASETS.
        datasets: the directories that fetch_dataset wrote.
        target: the directory to write.
    """
    sizes = dict(POOL)
    if dataset["source"] is None:
        sizes = {"train_rows": 64, "test_rows": 32}
        source = target.with_suffix(".csv")
        run("generate", "--rows", 200, "--output", source)
    else:
        source = datasets / dataset["source"]
    run(
        "prepare_data", "--source", source, "--output", target, *dataset["options"],
        "--labels", *dataset["labels"], "--train-rows", sizes["train_rows"],
        "--validation-rows", DRAWN_VALIDATION_ROWS, "--test-rows", sizes["test_rows"],
    )  # fmt: skip


def tokenize(data: Path, model: Path, max_length: int, target: Path) -> None:
    """Tokenise prepared rows."""
    words = ("--model", model, "--max-length", max_length, "--output", target)
    run("tokenize_data", "--data", data, *words, "--max-unknown-share", 1)  # made-up words


def part(tokens: Path, train_rows: int, test_rows: int, target: Path) -> None:
    """Write so many of the rows, or all where there are no more, spread evenly over them.

    The rows of a sorted source would be of one class, taken from its beginning.
    """
    from common.data import datadict

    splits = datadict.load(tokens)
    counts = {"train": train_rows, "validation": VALIDATION_ROWS, "test": test_rows}
    for name, count in counts.items():
        whole = len(splits[name])
        rows = np.linspace(0, whole - 1, min(count, whole)).astype(int)
        splits[name] = splits[name].select(rows)
    files.remove(target)
    datadict.save(splits, target)
    shutil.copy(tokens / files.STATISTICS, target)
    checksums.write(target)
