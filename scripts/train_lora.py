"""Train one cell: put a fresh adapter and a fresh head on a model, train both, save them.

    python scripts/train_lora.py --model resources/models/minilm \\
        --tokens results/sms-spam/minilm/tokens --peft '{"r": 4, "lora_alpha": 16}' \\
        --learning-rate 1e-3 --seed 0 \\
        --output results/sms-spam/minilm/lora-r4/seed0/adapter \\
        --record results/sms-spam/minilm/lora-r4/seed0/training.json

The seed draws the head, the adapter, the order of the rows and the dropout. The test rows are never
read.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from common import cli, files

log = logging.getLogger("train_lora")

SCHEDULERS = ("linear", "cosine", "constant", "constant_with_warmup")  # of the learning rate


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    cli.go_offline()
    from common import adapters, models, records

    clock = records.Clock()
    source = models.read_source(args.model)
    model, tokenizer, train_info = train(args)
    with files.written_aside(args.output) as aside:
        adapters.save(model, tokenizer, source, aside)
        train_info["file_size"] = adapters.size_bytes(aside)
        record = {
            "run_info": {
                **clock.run_info(args.record.parent, vars(args)),
                "peft_config": plain(model.peft_config["default"].to_dict()),
            },
            "train_info": train_info,
            "meta_info": records.meta_info(list(model.config.id2label.values()), source),
        }
        files.write_json(record, args.record)
    log.info("%d steps in %.1f s", train_info["steps"], train_info["train_time"])


def parse(argv: list[str] | None):
    """The command line; what each option means is described once more in config/README.md."""
    parser = cli.parser(__doc__)
    parser.add_argument("--model", required=True, type=Path, help="model directory")
    parser.add_argument("--tokens", required=True, type=Path, help="Arrow directory of the splits")
    parser.add_argument("--peft", type=peft_config, default={}, help="literal PEFT config, as JSON")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="at its highest")
    parser.add_argument("--epochs", type=float, default=1.0, help="passes over the training rows")
    parser.add_argument("--max-steps", type=cli.whole(1), help="end after so many steps instead")
    parser.add_argument("--batch-size", type=cli.whole(1), default=8, help="rows per step")
    parser.add_argument("--weight-decay", type=float, default=0.0, help="of AdamW")
    parser.add_argument("--warmup", type=float, default=0.1, help="share of steps, or steps from 1")
    parser.add_argument("--scheduler", choices=SCHEDULERS, default="linear", help="after warm-up")
    parser.add_argument("--max-grad-norm", type=float, default=1.0, help="clip gradients to it")
    parser.add_argument(
        "--backbone-dropout",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="in training",
    )
    parser.add_argument("--seed", type=cli.whole(0), default=0, help="of everything that is drawn")
    parser.add_argument("--threads", type=cli.whole(1), default=1, help="of the CPU")
    parser.add_argument("--output", required=True, type=Path, help="adapter directory to write")
    parser.add_argument("--record", required=True, type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def peft_config(text: str) -> dict[str, Any]:
    """The type of --peft: a JSON object."""
    try:
        config = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no JSON ({error})") from error
    if not isinstance(config, dict):
        raise argparse.ArgumentTypeError(f'{text} is no JSON object, such as {{"r": 8}}')
    return config


def train(args) -> tuple[Any, Any, dict[str, Any]]:
    """The trained model, its tokenizer, and what training took."""
    import torch

    from common import adapters, models, padding, records, tokens, training

    torch.set_num_threads(args.threads)
    settings = training.Settings(
        **{name: getattr(args, name) for name in training.Settings.__dataclass_fields__}
    )
    data = tokens.load(args.tokens)
    classifier = models.load_classifier(args.model, data.labels, data.pad_token_id, args.seed)
    model = adapters.attach(classifier, args.peft)
    padding.require_exact(model, data.splits["train"], data.pad_token_id)
    train_info = training.train(model, data.splits, data.pad_token_id, settings, args.seed)
    train_info |= adapters.count_parameters(model)
    train_info["peak_memory_bytes"] = records.peak_memory_bytes()
    return model, models.load_tokenizer(args.model), train_info


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """A PEFT config as JSON knows it: sets become sorted lists, the rest that is no JSON text."""
    sets = {key: sorted(value) for key, value in config.items() if isinstance(value, set)}
    return json.loads(json.dumps({**config, **sets}, default=str))


if __name__ == "__main__":
    cli.run(main)
