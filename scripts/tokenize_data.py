"""Tokenise the splits of one dataset for one model.

    python scripts/tokenize_data.py --data results/sms-spam/data --model resources/models/minilm \\
        --max-length 128 --output results/sms-spam/minilm/tokens

Rows stay unpadded. A text longer than the maximum loses its end; the share of such texts is in the
statistics (statistics.json beside the rows), since the verdict of a review often stands there. They
name the source of the rows too.
Special tokens that a text spells out ("<|endoftext|>") are tokenised as the characters they are.
"""

import logging
from pathlib import Path
from typing import Any

from common import cli, encoding, files

log = logging.getLogger("tokenize_data")


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--data", required=True, type=Path, help="Arrow directory of the splits")
    parser.add_argument("--model", required=True, type=Path, help="model directory")
    parser.add_argument("--max-length", type=int, default=128, help="tokens kept of each text")
    parser.add_argument("--output", required=True, type=Path, help="Arrow directory to write")
    args = parser.parse_args(argv)
    cli.go_offline()
    from common import datadict, tokens

    tokenizer = encoding.load_tokenizer(args.model)
    splits = tokenize(datadict.load(args.data), tokenizer, args.max_length)
    statistics = describe(splits, tokenizer, args.max_length)
    statistics["source"] = files.read_source(args.data)
    with files.written_aside(args.output) as aside:
        datadict.save(splits.remove_columns("truncated"), aside)
        files.write_json(statistics, aside / tokens.STATISTICS)
    log.info("%s", statistics)


def tokenize(splits, tokenizer, max_length: int):
    """A ``DatasetDict`` of id, input_ids, label, length (tokens) and truncated (true or false)."""

    def encode(batch: dict[str, list]) -> dict[str, list]:
        return encoding.encode(tokenizer, batch["text"], max_length)

    return splits.map(encode, batched=True, remove_columns="text", keep_in_memory=True)


def describe(splits, tokenizer, max_length: int) -> dict[str, Any]:
    """What was tokenised: per split the rows, the tokens and the share of truncated rows."""
    return {
        "max_length": max_length,
        "tokenizer": type(tokenizer).__name__,
        "pad_token_id": tokenizer.pad_token_id,
        "splits": {
            name: {
                "rows": len(rows),
                "tokens": sum(rows["length"]),
                "truncated_share": round(sum(rows["truncated"]) / len(rows), 4),
            }
            for name, rows in splits.items()
        },
    }


if __name__ == "__main__":
    cli.run(main)
