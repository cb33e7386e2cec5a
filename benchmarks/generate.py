"""Write labelled texts made up of words, of which some repeat others, as a CSV of any size.

    python benchmarks/generate.py --rows 1000000 --output rows.csv

Words are drawn as often as they are in real text (Zipf's law), 30 to a text on average, a third of
them telling the label. Of ten rows, one repeats an earlier one: as it is, in other case and
punctuation, or with a word changed, in equal parts. Rows do not depend on how many follow.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

WORDS = 30_000
MEAN_WORDS = 30
REPEATED = 0.1
RECENT = 10_000  # rows that a row may repeat: those held in memory
CHUNK = 1000
LABELS = ("negative", "positive")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, required=True, help="to write")
    parser.add_argument("--mean-words", type=int, default=MEAN_WORDS, help="of a text")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    args = parser.parse_args(argv)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with open(args.output, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows(args.rows, args.mean_words, args.seed))


def rows(count: int, mean_words: int, seed: int) -> Iterator[tuple[str, str]]:
    """So many rows of text and label."""
    draw = np.random.default_rng(seed)
    recent: list[tuple[str, str]] = []
    for number in range(count):
        if number % CHUNK == 0:
            fresh = made_up(draw, mean_words)
        row = fresh[number % CHUNK]
        if recent and draw.random() < REPEATED:
            row = repeated(recent[draw.integers(len(recent))], draw)
        if len(recent) < RECENT:
            recent.append(row)
        else:
            recent[number % RECENT] = row
        yield row


def made_up(draw: np.random.Generator, mean_words: int) -> list[tuple[str, str]]:
    """CHUNK rows of new texts."""
    labels = draw.integers(len(LABELS), size=CHUNK)
    lengths = 3 + draw.poisson(mean_words - 3, size=CHUNK)
    ranks = np.minimum(draw.zipf(1.3, size=lengths.sum()), WORDS)
    telling = draw.random(len(ranks)) < 1 / 3
    # Of the words that tell a label, each label has its own: the even ones, or the odd ones.
    ranks = np.where(telling, ranks // 2 * 2 + np.repeat(labels, lengths), ranks)
    texts = np.split(ranks, np.cumsum(lengths)[:-1])
    return [
        (" ".join(map(word, text.tolist())), LABELS[label])
        for text, label in zip(texts, labels, strict=True)
    ]


def word(rank: int) -> str:
    """Return the word of a rank: the more frequent, the shorter, as in real text."""
    letters = []
    rank += 20  # of two letters at least
    while rank:
        rank, letter = divmod(rank, 20)
        letters.append("etaoinshrdlcumwfgypb"[letter])
    return "".join(letters)


def repeated(row: tuple[str, str], draw: np.random.Generator) -> tuple[str, str]:
    """A row again: as it is, in other case and punctuation, or with its last word changed."""
    text, label = row
    changed = (
        text,
        text.capitalize() + "!",
        f"{text.rpartition(' ')[0]} {word(int(draw.integers(WORDS)))}",
    )
    return changed[draw.integers(3)], label


if __name__ == "__main__":
    main()
