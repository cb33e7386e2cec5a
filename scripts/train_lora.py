"""Train one cell: a fresh head on a model, with an adapter, alone, or with all of the model.

    python scripts/train_lora.py --model resources/models/minilm \\
        --tokens results/sms-spam/minilm/tokens --peft '{"r": 4, "lora_alpha": 16}' \\
        --learning-rate 1e-3 --seed 0 \\
        --output results/sms-spam/minilm/lora-r4/seed0/adapter \\
        --record results/sms-spam/minilm/lora-r4/seed0/training.json

The seed draws the head, the adapter, the order of the rows and the dropout; with --train-rows, also
which of the training rows are used. The test rows are never read. A training that failed is tried
again with another seed, up to `--retries` times. One that is killed goes on from its last
checkpoint when it is run again.
"""

import argparse
import gc
import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cells, cli, files, gpus, parallel, startup, warm
from common.data import draws
from common.model import models, variants
from common.model.quantization import BITS

if TYPE_CHECKING:
    from common.cells import Clock
    from common.data.tokens import Tokens
    from common.model.checkpoint import Checkpoints
    from common.model.pack import Cell
    from common.model.training import Settings

log = logging.getLogger("train_lora")

SCHEDULERS = ("linear", "cosine", "constant", "constant_with_warmup")  # of the learning rate
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
# Options that change no result; what is in the inputs counts, and not where they are.
WITHOUT_EFFECT = {"model", "tokens", "output", "record", "checkpoint_seconds", "jobs_per_gpu",
                  "cells_per_process"}  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    words = sys.argv[1:] if argv is None else argv
    clock = begin(args)
    with parallel.launch_workers(args.gpus, [__file__, *words]) as first:
        torch = imported()
        why = why_alone(args) or ("" if torch.cuda.is_available() else "there is no GPU")
        if why:
            run(args, clock, why=why, writes=first)
        else:
            train_together({0: args}, lambda _: nullcontext(), clock)


def main_together(
    commands: Sequence[Sequence[str]], within: Callable[[int], AbstractContextManager[Any]]
) -> None:
    """Train cells of equal ``pack_key`` together; write of each what ``main`` does.

    A cell that cannot be packed after all is trained alone, and so is what is tried again. Each is
    done, its outputs written, as soon as its own training is.

    Args:
        commands: the command line of each cell.
        within: all that is said of a cell is said, and its error raised, within ``within(number)``,
            which is entered again and again, always in this thread. What does not stay there ends
            all trainings. The training itself runs in another thread meanwhile.
    """
    cells_args: dict[int, argparse.Namespace] = {}
    for number, words in enumerate(commands):
        with within(number):
            cells_args[number] = parse(list(words))
    if cells_args:
        clock = begin(next(iter(cells_args.values())))
        imported()
        train_together(cells_args, within, clock)


def begin(args: argparse.Namespace) -> "Clock":
    """Prepare this process for a training, before heavy libraries are imported."""
    cli.go_offline()
    if not parallel.is_worker():
        gpus.lease(args.gpus, args.jobs_per_gpu)
    return cells.Clock()


def imported() -> Any:
    """Import what trains; return torch."""
    with startup.importing():
        import torch
        from transformers import Trainer  # noqa: F401 - it brings PEFT and datasets
    return torch


def train_together(
    cells_args: dict[int, argparse.Namespace],
    within: Callable[[int], AbstractContextManager[Any]],
    clock: "Clock",
) -> None:
    """Train cells together; see ``main_together``.

    Args:
        cells_args: the options of each cell, by its number.
        within: as of ``main_together``.
        clock: started with the job.
    """
    import torch

    from common.model import pack

    torch.set_num_threads(max(args.threads for args in cells_args.values()))  # of this thread
    numbers = list(cells_args)
    trainings = [
        ("/".join(args.output.parent.parts[-2:]), partial(run, args, clock))
        for args in cells_args.values()
    ]
    pack.train_together(trainings, lambda place: within(numbers[place]))


def run(
    args: argparse.Namespace,
    clock: "Clock",
    cell: "Cell | None" = None,
    why: str = "",
    writes: bool = True,
) -> None:
    """Train one cell, from its files to its files.

    Args:
        args: the options.
        clock: started with the job.
        cell: of a pack, which may compute the training; None: it is trained alone.
        why: it is trained alone.
        writes: whether this is the process that writes the results.
    """
    from common.data import encoding
    from common.model import training
    from common.model.checkpoint import Checkpoints

    checkpoints = Checkpoints(
        # Beside the output, which is removed when a job is cut short.
        args.output.with_name(f"{args.output.name}.checkpoints"),
        args.checkpoint_seconds,
        lambda: identity(args),
    )
    # Before the options are recorded, and compared with those of a checkpoint.
    args.precision = training.resolved_precision(args.precision)
    source = files.read_source(args.model)
    tokenizer = encoding.load_tokenizer(args.model)
    why = why or why_alone(args)
    trained = train(args, source, checkpoints, None if why else cell, why)
    if writes:
        save(trained, tokenizer, args, clock)
        checkpoints.remove()


# Cells are packed that are equal in these options, and in their PEFT configs but for what
# is in FREE.
EQUAL = (
    "model", "tokens", "kind", "batch_size", "precision", "threads", "classes", "jobs_per_gpu",
)  # fmt: skip
FREE = {"r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "init_lora_weights"}
# Keys of a PEFT config that leave LoRA as the paper has it.
PLAIN = FREE | {
    "peft_type", "lora_dropout", "target_modules", "exclude_modules", "layers_to_transform",
    "layers_pattern", "modules_to_save", "fan_in_fan_out", "task_type",
}  # fmt: skip
# Options with which a training is none of plain steps on frozen weights, unless they are so.
PLAIN_OPTIONS = {
    "kind": "adapter",
    "quantization": None,
    "gpus": 1,
    "gradient_accumulation_steps": 1,
    "gradient_checkpointing": False,
    "backbone_dropout": False,
}


def pack_key(argv: Sequence[str]) -> str | None:
    """Return what cells have in common that can be trained together.

    Imports no heavy library.

    Args:
        argv: a command line of this script.

    Returns:
        equal texts for cells that can; None for a cell that is trained alone, and for a command
        line that ``main`` refuses.
    """
    try:
        with redirect_stderr(StringIO()):
            args = parse(list(argv))
    except SystemExit:
        return None
    if why_alone(args):
        return None
    peft = {name: value for name, value in args.peft.items() if name not in FREE}
    options = [getattr(args, name) for name in EQUAL]
    return json.dumps([options, peft], sort_keys=True, default=str)


def key(argv: Sequence[str]) -> tuple[str, int] | None:
    """Return with which cells a cell may be trained together, as ``warm.run`` wants it."""
    same = pack_key(argv)
    return None if same is None else warm.key(same, parse(list(argv)).cells_per_process)


def why_alone(args: argparse.Namespace) -> str:
    """Return why a cell cannot be trained together with others; "" if it can.

    Whether the model can, only the model tells (``common.model.engine``).
    """
    for name, value in PLAIN_OPTIONS.items():
        if getattr(args, name) != value:
            return f"{name} is {getattr(args, name)}"
    if args.precision == "fp16":
        return "precision is fp16"
    peft = {"peft_type": "LORA", **args.peft}
    if str(peft["peft_type"]).upper() != "LORA":
        return f"peft_type is {peft['peft_type']}"
    if peft.get("lora_dropout"):
        return f"lora_dropout is {peft['lora_dropout']}"
    if peft.get("init_lora_weights", True) not in (True, False, "gaussian"):
        return f"init_lora_weights is {peft['init_lora_weights']}"
    others = sorted(n for n in peft.keys() - PLAIN if peft[n] and (n, peft[n]) != ("bias", "none"))
    return f"{others[0]} is {peft[others[0]]}" if others else ""


def save(trained: "Trained", tokenizer: Any, args, clock: "Clock") -> None:
    """Write the adapter and its record."""
    with files.atomic_write(args.output) as aside:
        variants.save(trained.model, tokenizer, trained.record, aside)
        trained.train_info["file_size"] = files.weights_bytes(aside)
        files.write_json(training_record(trained, args, clock), args.record)
    info = trained.train_info
    log.info("%d steps in %.1f s", info["steps"], info["train_time"])


@dataclass(frozen=True)
class Trained:
    """What training gives.

    Attributes:
        model: the trained model, with its adapter if it has one.
        record: what it takes to use it, beside the weights.
        train_info: what training took.
        round_trip: what ``eval_lora`` must find again.
        data_source: where the rows came from.
        train_rows: how many rows it was trained on.
    """

    model: Any
    record: variants.Record
    train_info: dict[str, Any]
    round_trip: dict[str, Any]
    data_source: dict[str, Any]
    train_rows: int


def parse(argv: list[str] | None):
    """Return the command line.

    What each option means is described once more in config/README.md.
    """
    parser = cli.parser(__doc__)
    parser.add_argument("--model", required=True, type=Path, help="model directory")
    parser.add_argument("--tokens", required=True, type=Path, help="Arrow directory of the splits")
    parser.add_argument("--kind", choices=variants.KINDS, default="adapter", help="what is trained")
    parser.add_argument("--peft", type=peft_config, default={}, help="literal PEFT config, as JSON")
    parser.add_argument("--quantization", choices=BITS, help="hold the backbone in so many bits")
    models.add_head_options(parser)
    parser.add_argument("--learning-rate", type=cli.finite(), default=1e-3, help="at its highest")
    parser.add_argument(
        "--epochs", type=cli.finite(), default=1.0, help="passes over the training rows"
    )
    parser.add_argument(
        "--max-steps", type=cli.int_at_least(1), help="end after so many steps instead"
    )
    parser.add_argument("--batch-size", type=cli.int_at_least(1), default=8, help="rows per step")
    parser.add_argument("--weight-decay", type=cli.finite(), default=0.0, help="of AdamW")
    parser.add_argument(
        "--warmup", type=cli.finite(), default=0.1, help="share of steps, or steps from 1"
    )
    parser.add_argument("--scheduler", choices=SCHEDULERS, default="linear", help="after warm-up")
    parser.add_argument(
        "--max-grad-norm", type=cli.finite(), default=1.0, help="clip gradients to it"
    )
    parser.add_argument(
        "--backbone-dropout",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="in training",
    )
    parser.add_argument(
        "--gpus", type=cli.int_at_least(1), default=1, help="processes, each on its own"
    )
    parser.add_argument("--gradient-accumulation-steps", type=cli.int_at_least(1), default=1)
    parser.add_argument(
        "--gradient-checkpointing", action=argparse.BooleanOptionalAction, default=False
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="of products")
    parser.add_argument("--class-weights", choices=["none", "balanced"], default="none")
    parser.add_argument("--keep", choices=["last", "best"], default="last", help="which epoch")
    parser.add_argument("--patience", type=cli.int_at_least(1), help="epochs without a lower loss")
    parser.add_argument(
        "--lora-plus-ratio", type=cli.finite(), help="learning rate of B over that of A"
    )
    parser.add_argument(
        "--failed-above", type=cli.finite(), default=0.95, help="share of the class entropy"
    )
    parser.add_argument(
        "--retries", type=cli.int_at_least(0), default=0, help="of a training that failed"
    )
    parser.add_argument(
        "--permute-labels",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="of the training rows, as a control",
    )
    parser.add_argument(
        "--seed", type=cli.int_at_least(0), default=0, help="of everything that is drawn"
    )
    parser.add_argument("--threads", type=cli.int_at_least(1), default=1, help="of the CPU")
    gpus.add_option(parser)
    warm.add_option(parser)
    draws.add_option(parser)
    parser.add_argument(
        "--checkpoint-seconds", type=cli.int_at_least(0), default=300, help="from one to the next"
    )
    parser.add_argument("--output", required=True, type=Path, help="adapter directory to write")
    parser.add_argument("--record", required=True, type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def peft_config(text: str) -> dict[str, Any]:
    """Return the type of --peft: a JSON object."""
    try:
        config = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no JSON ({error})") from error
    if not isinstance(config, dict):
        raise argparse.ArgumentTypeError(f'{text} is no JSON object, such as {{"r": 8}}')
    return config


def train(
    args,
    source: dict[str, Any],
    checkpoints: "Checkpoints | None" = None,
    cell: "Cell | None" = None,
    why: str = "",
) -> Trained:
    """Train what the variant trains, again where it failed; see ``Trained``.

    Args:
        args: the options.
        source: the model's source.json.
        checkpoints: where the state is kept; None: nowhere.
        cell: of a pack, which may compute the first attempt; None: it is trained alone.
        why: it is trained alone.
    """
    import torch

    from common.data import tokens
    from common.model import training

    torch.set_num_threads(args.threads)
    settings = training.Settings(**settings_of(args))
    data = tokens.load(args.tokens, draws.Draw(args.train_rows, args.seed))
    changed = 0
    if settings.permute_labels:
        data, changed = permute(data, args.seed)
    attempts = checkpoints.attempts_before() if checkpoints and settings.retries else []
    while True:
        seed = training.seed_of_attempt(args.seed, len(attempts))
        if checkpoints:
            checkpoints.attempts = [*attempts]
        if attempts:
            cell, why = None, f"it is attempt {len(attempts) + 1}"
        trained = attempt(args, source, data, settings, seed, checkpoints, cell, why)
        attempts.append(training.attempt_record(seed, trained.train_info))
        if not attempts[-1]["learned_nothing"] or settings.permute_labels:
            break  # a control that learns nothing is as it should be
        log.warning(
            "training failed: its loss ended at %.1f %% of the class entropy, with seed %d",
            100 * trained.train_info["final_loss"] / trained.train_info["class_entropy"], seed,
        )  # fmt: skip
        if len(attempts) > settings.retries:
            break
        log.info("attempt %d of %d", len(attempts) + 1, settings.retries + 1)
        del trained
        gc.collect()  # the Trainer is part of cycles, and the next model would stand beside its own
    trained.train_info.update(training.of_attempts(attempts), changed_labels=changed)
    return trained


def permute(data: "Tokens", seed: int) -> "tuple[Tokens, int]":
    """Return data with permuted training labels, and how many rows have another one now; log it."""
    from common.data import tokens

    permuted = tokens.with_permuted_labels(data, seed)
    before, after = (each.splits["train"]["label"] for each in (data, permuted))
    changed = sum(one != other for one, other in zip(before, after, strict=True))
    log.info("labels are permuted: %d of %d training rows have another", changed, len(before))
    return permuted, changed


def attempt(
    args,
    source: dict[str, Any],
    data: "Tokens",
    settings: "Settings",
    seed: int,
    checkpoints: "Checkpoints | None",
    cell: "Cell | None" = None,
    why: str = "",
) -> Trained:
    """Train once.

    Args:
        args: the options.
        source: the model's source.json.
        data: what to train on.
        settings: the hyper-parameters among the options.
        seed: of this attempt.
        checkpoints: where the state is kept; None: nowhere.
        cell: of a pack, which may compute it; None: it is trained alone.
        why: it is trained alone.
    """
    from common.model import collator, quantization, roundtrip, training

    held = quantization.options(args.quantization, args.precision, args.model, args.kind)
    classifier = models.load_classifier(
        args.model, data.labels, data.pad_token_id, seed, held, args.classes
    )
    classifier.log_head(log)
    head = list(classifier.head_parameters())
    steps = training.total_steps(len(data.splits["train"]), settings)
    model = variants.adapt(classifier, args.kind, args.peft, steps)
    padding, gap = roundtrip.choose_padding(model, data.splits["train"], data.pad_token_id)
    train_info = training.train(model, data.splits, padding, settings, seed, checkpoints, cell, why)
    train_info |= variants.count_parameters(model, classifier, args.kind)
    train_info |= classifier.head_record()
    logits = collator.logits(model, roundtrip.rows(data.splits["validation"]), padding)
    found = {"padding_difference": gap, "logits": logits.tolist(), "threads": args.threads}
    record = variants.Record(
        args.kind, head, source, padding.side, data.max_length, held, data.separator, data.types
    )
    rows = len(data.splits["train"])
    return Trained(model, record, train_info, found, data.source, rows)


def identity(args) -> dict[str, Any]:
    """Return what this training is of: of all options, those that change its result."""
    from common.model import checkpoint

    options = {name: value for name, value in vars(args).items() if name not in WITHOUT_EFFECT}
    inputs = {"model": args.model, "tokens": args.tokens}
    return checkpoint.identity(options, inputs, Path(__file__))


def settings_of(args) -> dict[str, Any]:
    """Return the hyper-parameters of training among the options."""
    from common.model import training

    return {name: getattr(args, name) for name in training.Settings.__dataclass_fields__}


def training_record(trained: Trained, args, clock) -> dict[str, Any]:
    """Return the content of training.json."""
    adapted = args.kind == "adapter"
    labels = list(trained.model.config.id2label.values())
    peft = plain(trained.model.peft_config["default"].to_dict()) if adapted else None
    return {
        "run_info": {
            **clock.run_info(args.record.parent, vars(args)),
            "train_config": {
                "model_id": variants.model_id(trained.record.base_model),
                "max_seq_length": trained.record.max_length,
                "seed": args.seed,
                **settings_of(args),
            },
            "kind": args.kind,
            "quantization": args.quantization,
            "peft_config": peft,
        },
        "train_info": trained.train_info,
        "meta_info": cells.meta_info(
            labels, trained.record.base_model, trained.data_source, trained.train_rows
        ),
        "round_trip": trained.round_trip,
    }


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """Return a PEFT config as JSON knows it.

    Sets become sorted lists, the rest that is no JSON text.
    """
    sets = {key: sorted(value) for key, value in config.items() if isinstance(value, set)}
    return json.loads(json.dumps({**config, **sets}, default=str))


if __name__ == "__main__":
    warm.run(main, "transformers.trainer", "peft", "datasets", key=key)
