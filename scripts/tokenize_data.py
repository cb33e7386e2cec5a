"""Tokenise the splits of one dataset for one model.

    python scripts/tokenize_data.py --data results/sms-spam/data --model resources/models/minilm \\
        --max-length 128 --threads 2 --output results/sms-spam/minilm/tokens

Rows stay unpadded, and are read, tokenised and written some at a time. A text longer than the
maximum loses its end, and the verdict of a review often stands there: the statistics
(statistics.json beside the rows) hold the lengths of the whole texts and the share of those that
were cut. They name the source of the rows too.
Special tokens that a text spells out ("<|endoftext|>") are tokenised as the characters they are.
"""

import logging
import os
from pathlib import Path
from typing import Any

from common import checksums, cli, files, startup, warm
from common.cli import InputError
from common.data import encoding, lengths

log = logging.getLogger("tokenize_data")

CACHE = "cache"  # in the directory written aside: gone before the directory takes its place
WHOLE, UNKNOWN, PAIR = "whole_length", "unknown", "text_pair"
BATCH_ROWS = 100  # tokenizers hold some 180 bytes a token of a batch, and texts may be long


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--data", required=True, type=Path, help="Arrow directory of the splits")
    parser.add_argument("--model", required=True, type=Path, help="model directory")
    parser.add_argument(
        "--max-length", type=cli.int_at_least(1), default=128, help="tokens of each text"
    )
    parser.add_argument(
        "--max-unknown-share", type=cli.finite(0), default=0.5,
        help="of the tokens of a split, that may stand for what the vocabulary lacks",
    )  # fmt: skip
    parser.add_argument("--threads", type=cli.int_at_least(1), default=1, help="of the CPU")
    parser.add_argument("--output", required=True, type=Path, help="Arrow directory to write")
    args = parser.parse_args(argv)
    cli.go_offline()
    use_threads(args.threads)
    from common.data import datadict

    with startup.importing():
        import datasets  # noqa: F401
        from transformers import AutoTokenizer  # noqa: F401

    tokenizer = encoding.load_tokenizer(args.model)
    data, source = datadict.load(args.data), files.read_source(args.data)
    with files.atomic_write(args.output) as aside:
        encoder = encoder_of(tokenizer, args.model, args.max_length, data)
        splits = tokenize(data, encoder, aside / CACHE)
        statistics = describe(splits, encoder) | {"source": source}
        check_unknown(statistics, args.max_unknown_share, args.model)
        datadict.save(splits.remove_columns([WHOLE, UNKNOWN]), aside)
        files.remove(aside / CACHE)
        files.write_json(statistics, aside / files.STATISTICS)
        checksums.write(aside)
    checksums.write_digest(args.output)
    for line in summary(statistics):
        log.info("%s", line)


def use_threads(count: int) -> None:
    """Let tokenizers use so many threads; it reads that once, when it first tokenises."""
    os.environ["RAYON_NUM_THREADS"] = str(count)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if count > 1 else "false"


def encoder_of(tokenizer, model: Path, max_length: int, data) -> encoding.Encoder:
    """Return what makes tokens of the texts of a dataset, or of its pairs, for a model."""
    if PAIR not in data["train"].column_names:
        return encoding.Encoder(tokenizer, max_length)
    separator, types = encoding.separator_of(tokenizer), encoding.has_types(tokenizer, model)
    return encoding.Encoder(tokenizer, max_length, separator, types)


def tokenize(splits, encoder: encoding.Encoder, cache: Path):
    """Return the rows in tokens, in files that are mapped into memory.

    Args:
        splits: ``DatasetDict`` with the columns id, text and label, of pairs text_pair too.
        encoder: makes tokens of texts.
        cache: a directory to make, for a file per split.

    Returns:
        ``DatasetDict`` of id, label, input_ids, length (tokens), whole_length (tokens of the text
        before it was cut) and unknown (tokens that the vocabulary lacks); and token_type_ids, if
        the encoder makes them.
    """

    def encode(batch: dict[str, list]) -> dict[str, list]:
        return encoder(batch["text"], batch.get(PAIR))

    cache.mkdir(parents=True)
    return splits.map(
        encode,
        batched=True,
        batch_size=BATCH_ROWS,
        remove_columns=[name for name in ("text", PAIR) if name in splits["train"].column_names],
        cache_file_names={split: str(cache / f"{split}.arrow") for split in splits},
    )


def describe(splits, encoder: encoding.Encoder) -> dict[str, Any]:
    """Return what was tokenised: per split the rows and tokens, and the lengths of the whole texts.

    Lengths are in tokens; the edges of their histogram are the same for all splits.
    """
    whole = {split: column(rows, WHOLE) for split, rows in splits.items()}
    added = encoder.tokenizer.num_special_tokens_to_add(pair=encoder.separator is not None)
    edges = lengths.bin_edges(max(int(found.max()) for found in whole.values()))
    return {
        "max_length": encoder.max_length,
        "separator": encoder.separator,
        "tokenizer": type(encoder.tokenizer).__name__,
        "pad_token_id": encoder.tokenizer.pad_token_id,
        "histogram_edges": edges,
        "splits": {
            split: {
                "rows": len(rows),
                "tokens": int(column(rows, "length").sum()),
                "unknown_share": unknown_share(rows, added),
                "truncated_share": round(float((whole[split] > encoder.max_length).mean()), 4),
                "lengths": lengths.summary(whole[split]),
                "histogram": lengths.histogram(whole[split], edges),
            }
            for split, rows in splits.items()
        },
    }


def unknown_share(rows, added: int) -> float:
    """Return the share of unknown tokens among those of the texts, rounded to four decimals.

    Args:
        rows: of a split.
        added: special tokens that the tokenizer adds to each row; they do not count.
    """
    of_texts = int(column(rows, "length").sum()) - added * len(rows)
    return round(int(column(rows, UNKNOWN).sum()) / max(of_texts, 1), 4)


def check_unknown(statistics: dict[str, Any], maximum: float, model: Path) -> None:
    """Warn of splits with many unknown tokens.

    Raises:
        InputError: there are so many that a model could not tell the texts apart.
    """
    for split, part in statistics["splits"].items():
        share = part["unknown_share"]
        said = f"{100 * share:.1f} % of the tokens of the {split} texts are unknown to {model}"
        if share > maximum:
            raise InputError(
                f"{said}: its vocabulary lacks their script or words; choose a model for this "
                f"language, or raise `max_unknown_share` above {share}"
            )
        if share > encoding.UNUSUAL_UNKNOWN_SHARE:
            log.warning("%s: see that it is a model for this language", said)


def summary(statistics: dict[str, Any]) -> list[str]:
    """Return a line on the tokens of each split."""
    longest = statistics["max_length"]
    return [
        f"{split}: {part['rows']:,} rows, {part['tokens']:,} tokens; whole texts of "
        f"{part['lengths']['mean']:,} on average, at most {part['lengths']['max']:,}; "
        f"{100 * part['truncated_share']:.2f} % are longer than {longest:,} and lose their end; "
        f"{100 * part['unknown_share']:.2f} % of the tokens are unknown"
        for split, part in statistics["splits"].items()
    ]


def column(rows, name: str):
    """Return a column of integers as an array."""
    return rows.data.column(name).to_numpy()


if __name__ == "__main__":
    warm.run(main, "datasets", "transformers")
