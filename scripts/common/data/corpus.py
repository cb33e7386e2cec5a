"""The rows of a source: their texts in an Arrow file, all else about them in memory.

So the texts of a dataset may be larger than the memory. A *table* here is a pandas DataFrame of the
rows of one split, one row per example, with the columns

- id: ``{split}/{number}``, the split of the source and the number of the row in it, from 0
- label: as the source names it; later the number of the class
- place: of the text in the file, counted through all splits
- exact, normalised, near: the number of the row's group of duplicates, by kind
- group: the number of its value in the group column, where there is one
- key: 64 bits of a hash of that value, else of the normalised text; the same in every dataset
- characters, words: how long the text is

Texts may be private, so that the description of a dataset counts rows and shows none.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from common import parallel, task
from common.cli import InputError
from common.data import datadict, duplicates, leakage, splits
from common.data.examples import ODDITIES, Example
from common.data.lengths import summary
from common.data.splits import Tables
from common.task import SINGLE_LABEL

# What UTF-8 read as latin-1 or cp1252 looks like: "Ã©" for é, "Â£" for £, "â€™" for an apostrophe.
CONTINUED = "\u0080-\u00bf" + re.escape(
    bytes(set(range(0x80, 0xA0)) - {0x81, 0x8D, 0x8F, 0x90, 0x9D}).decode("cp1252")
)

ENCODING = {
    "replacement character": re.compile("\ufffd"),
    "C1 control character": re.compile("[\u0080-\u009f]"),
    "UTF-8 read as another encoding": re.compile(
        f"[\u00c2\u00c3][{CONTINUED}]|\u00e2[\u0080\u20ac]"
    ),
}


@dataclass(frozen=True)
class Measures:
    """Figures of some texts, in order.

    Attributes:
        exact: digests of the texts, uint64, shape (texts, 2).
        normalised: digests of the normalised texts, of the same shape.
        buckets: of near duplicates, uint64, shape (texts, bands); no bands where none are wanted.
        characters: lengths, shape (texts,).
        words: the same in words, that is, in runs without white space.
        encoding: how many texts have which sign of a wrong encoding.
    """

    exact: np.ndarray
    normalised: np.ndarray
    buckets: np.ndarray
    characters: np.ndarray
    words: np.ndarray
    encoding: Counter[str]


def measure(batch: list[tuple[str, str | None]], threshold: float | None) -> Measures:
    """Return the figures of a batch of texts.

    Args:
        batch: texts, each with the second of a pair, or None.
        threshold: Jaccard similarity from which texts are near duplicates; None: none are.
    """
    texts = [text if pair is None else text + duplicates.SIDES + pair for text, pair in batch]
    keys = [duplicates.key(*both) for both in batch]
    none = np.empty((len(texts), 0), dtype=np.uint64)
    return Measures(
        exact=duplicates.digests(texts),
        normalised=duplicates.digests(keys),
        buckets=none if threshold is None else duplicates.banded(keys, threshold),
        characters=counted(batch, len),
        words=counted(batch, lambda text: len(text.split())),
        encoding=Counter(sign for text in texts for sign in encoding_signs(text)),
    )


def counted(batch: list[tuple[str, str | None]], count: Callable[[str], int]) -> np.ndarray:
    """Return a count of each text, of pairs the sum of both."""
    counts = (count(text) + (0 if pair is None else count(pair)) for text, pair in batch)
    return np.fromiter(counts, np.int64, len(batch))


def encoding_signs(text: str) -> list[str]:
    """Return what betrays that a text was read in a wrong encoding."""
    if text.isascii():
        return []
    return [name for name, sign in ENCODING.items() if sign.search(text)]


BATCH_ROWS = 4096  # read, measured and written at a time; fewer if they are long

BATCH_CHARACTERS = 1 << 22

TEXTS = "texts.arrow"

SCHEMA = pa.schema([("text", pa.large_string()), ("text_pair", pa.large_string())])


class Texts:
    """Texts in an Arrow file, mapped into memory and read by their places."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.table = pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
        if self.table["text_pair"].null_count:  # texts are no pairs
            self.table = self.table.select(["text"])
        self.columns = self.table.columns

    def at(self, places: np.ndarray) -> list[tuple[str, ...]]:
        """Return the texts at some places; of a pair, both."""
        columns = ([column[place].as_py() for place in places.tolist()] for column in self.columns)
        return list(zip(*columns, strict=True))

    def keys_at(self, places: np.ndarray) -> list[str]:
        """Return what normalised duplicates of the texts at some places have in common."""
        return [duplicates.key(*texts) for texts in self.at(places)]

    def chosen(self, places: np.ndarray) -> Iterator[pa.RecordBatch]:
        """Yield the texts at ascending places, some at a time: text, and of pairs text_pair."""
        start = 0
        for batch in self.table.to_batches():
            end = start + len(batch)
            inside = places[np.searchsorted(places, start) : np.searchsorted(places, end)]
            if len(inside):
                yield batch.take(pa.array(inside - start))
            start = end


@dataclass(frozen=True)
class Corpus:
    """The rows of a source.

    Attributes:
        tables: by split.
        texts: of all splits.
        oddities: by split, how many rows have what is odd and does no harm.
    """

    tables: Tables
    texts: Texts
    oddities: dict[str, Counter[str]]


def ingest(
    examples: Mapping[str, Iterable[Example]],
    directory: Path,
    threshold: float | None,
    processes: int,
) -> Corpus:
    """Read every row of a source once.

    Args:
        examples: by split; read a batch at a time.
        directory: where to keep the texts until ``save``.
        threshold: Jaccard similarity from which texts are near duplicates; None: none are.
        processes: that measure.

    Raises:
        InputError: a split has no row.
    """
    intake = IngestBuffer()
    measured = partial(measure, threshold=threshold)
    file = directory / TEXTS
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, SCHEMA) as writer:
        batches = intake.batches(examples, writer)
        figures = list(parallel.mapped(measured, batches, processes))
    texts = Texts(file)
    rows = intake.rows().assign(**figures_of(figures), **groups(figures, texts, threshold))
    if "key" not in rows:
        rows["key"] = np.concatenate([batch.normalised[:, 0] for batch in figures])
    for split, batch in zip(intake.splits, figures, strict=True):
        intake.oddities[split] += batch.encoding
    of_split = np.repeat(intake.splits, list(map(len, intake.ids)))
    tables = {split: rows[of_split == split] for split in examples}
    return Corpus(tables, texts, intake.oddities)


class IngestBuffer:
    """What is kept of the rows while their texts go to the file: a list entry per batch.

    Attributes:
        splits: the split that a batch is of.
        ids, labels, groups: Arrow arrays of strings; no groups where there is no group column.
        oddities: how many rows of a split have what is odd and does no harm.
    """

    def __init__(self) -> None:
        self.splits: list[str] = []
        self.ids: list[pa.Array] = []
        self.labels: list[pa.Array] = []
        self.groups: list[pa.Array] = []
        self.oddities: dict[str, Counter[str]] = {}

    def batches(
        self, examples: Mapping[str, Iterable[Example]], writer
    ) -> Iterator[list[tuple[str, str | None]]]:
        """The texts of every split and their pairs, a batch at a time, once they are written."""
        for split, rows in examples.items():
            self.oddities[split] = Counter()
            for batch in batched(rows):
                columns = {"text": [r.text for r in batch], "text_pair": [r.pair for r in batch]}
                writer.write_batch(pa.record_batch(columns, SCHEMA))
                self.add(split, batch)
                yield [(row.text, row.pair) for row in batch]
            if split not in self.splits:
                raise InputError(f"{split} has no row that can be used: mend its rows")

    def add(self, split: str, batch: list[Example]) -> None:
        """Keep what is small of a batch of rows."""
        self.splits.append(split)
        self.ids.append(pa.array([f"{split}/{row.number}" for row in batch]))
        self.labels.append(pa.array([row.label for row in batch]))
        if batch[0].group is not None:
            self.groups.append(pa.array([row.group for row in batch]))
        self.oddities[split].update(name for row in batch for name in row.oddities)

    def rows(self) -> pd.DataFrame:
        """Return the columns id, label and place, and, with a group column, group and key."""
        rows = pd.DataFrame({"id": strings(self.ids), "label": strings(self.labels)})
        rows["place"] = np.arange(len(rows))
        if self.groups:
            rows["group"], names = pd.factorize(strings(self.groups))
            rows["key"] = duplicates.digests(names)[:, 0][rows["group"]]
        return rows


def save(parts: Tables, texts: Texts, names: list[str], directory: Path) -> dict[str, str]:
    """Save the splits as an Arrow ``DatasetDict``: id, text and label as ClassLabel.

    Of pairs, text_pair too; and where rows were marked, clean.
    The file of all texts goes.

    Returns:
        by split, the SHA-256 of class names, ids, texts and class numbers: equal hashes mean equal
        splits.
    """
    import datasets

    features = {name: datasets.Value("string") for name in ("id", *texts.table.column_names)}
    features["label"] = SINGLE_LABEL.feature(names)
    if "clean" in next(iter(parts.values())):
        features["clean"] = datasets.Value("bool")
    saved, hashes = datasets.DatasetDict(), {}
    for split, rows in parts.items():
        file = directory / f"{split}.arrow"
        hashes[split] = write(rows, texts, datasets.Features(features), file)
        saved[split] = datasets.Dataset.from_file(str(file))
        saved[split]._fingerprint = hashes[split][:16]  # else at random, and files never equal
    datadict.save(saved, directory)
    for file in (texts.file, *(directory / f"{split}.arrow" for split in parts)):
        file.unlink()
    return hashes


def write(rows: pd.DataFrame, texts: Texts, features, file: Path) -> str:
    """Write one split as an Arrow file; returns its hash, see ``save``."""
    from datasets.arrow_writer import ArrowWriter

    digest, end = hashlib.sha256(repr(features["label"].names).encode()), 0
    with ArrowWriter(features=features, path=str(file)) as writer:
        for chunk in texts.chosen(rows["place"].to_numpy()):
            start, end = end, end + len(chunk)
            part = rows.iloc[start:end].assign(**chunk.to_pydict())
            for row in part[["id", *chunk.schema.names, "label"]].itertuples(index=False):
                digest.update(repr(tuple(row)).encode())
            columns = pa.Table.from_pandas(part[[*features]], preserve_index=False)
            writer.write_table(columns)
        writer.finalize()
    return digest.hexdigest()


def batched(rows: Iterable[Example]) -> Iterator[list[Example]]:
    """Yield the rows, some at a time."""
    batch: list[Example] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += len(row.text) + len(row.pair or "")
        if len(batch) == BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def strings(batches: list[pa.Array]) -> pd.Series:
    """Return Arrow strings as a column, which stays in Arrow."""
    return pa.chunked_array(batches).to_pandas()


def figures_of(figures: list[Measures]) -> dict[str, np.ndarray]:
    """Return the lengths of all texts, in characters and in words."""
    return {
        unit: np.concatenate([getattr(batch, unit) for batch in figures])
        for unit in ("characters", "words")
    }


def groups(figures: list[Measures], texts: Texts, threshold: float | None) -> dict[str, np.ndarray]:
    """Return the group of duplicates of every row, by kind."""
    exact, normalised, buckets = (
        np.concatenate([getattr(batch, name) for batch in figures])
        for name in ("exact", "normalised", "buckets")
    )
    return duplicates.groups(exact, normalised, buckets, texts.keys_at, threshold)


REASONS = (*duplicates.KINDS, leakage.GROUP)  # why a row is dropped or marked

Description = dict[str, Any]


def found(corpus: Corpus) -> Description:
    """Return what the good rows of a source are like, before anything is done to them, by split."""
    return {
        split: {
            "rows": len(rows),
            "classes": classes(rows["label"]),
            "sorted_by_label": is_sorted(rows["label"]),
            **of_texts(rows),
            "encoding": {name: corpus.oddities[split][name] for name in ENCODING},
            "oddities": {name: corpus.oddities[split][name] for name in ODDITIES},
        }
        for split, rows in corpus.tables.items()
    }


def kept(rows: pd.DataFrame, names: list[str], split: str) -> Description:
    """Return one split as it is saved: its rows, its rows per class, its lengths.

    Raises:
        InputError: it has no row of some class.
    """
    counts = rows["label"].value_counts()
    if missing := [name for number, name in enumerate(names) if number not in counts.index]:
        raise InputError(
            f"{split} ({len(rows)} rows) holds no row of class {missing[0]!r}: use more rows, draw "
            "other splits, or take it out of `labels`"
        )
    marked = {"clean_rows": int(rows["clean"].sum())} if "clean" in rows else {}
    return {
        "rows": len(rows),
        "classes": {name: int(counts[number]) for number, name in enumerate(names)},
        **marked,
        **of_texts(rows),
    }


def classes(labels: pd.Series) -> dict[str, int]:
    """Return how often each label stands there, the names in order."""
    counts = labels.value_counts()
    return {name: int(counts[name]) for name in sorted(counts.index, key=task.as_number)}


def is_sorted(labels: pd.Series) -> bool:
    """Whether the rows of each label stand together, so that the first ones are of one class."""
    several = labels.duplicated().any()  # else any order is sorted
    return bool(several and 1 < labels.nunique() == (labels != labels.shift()).sum())


def of_texts(rows: pd.DataFrame) -> Description:
    """Return the lengths of texts, in characters and in words."""
    return {unit: summary(rows[unit]) for unit in ("characters", "words")}


def conflicting(tables: splits.Tables) -> dict[str, int]:
    """Return texts that stand under several labels, and the rows they stand in."""
    rows = leakage.concat_splits(tables)
    ids = leakage.contradictions(rows)["id"]
    return {"texts": int(rows.loc[rows["id"].isin(ids), "exact"].nunique()), "rows": len(ids)}


def done(actions: pd.DataFrame, bad: int) -> Description:
    """Return what was done to how many rows: by reason, and by reason and pair of splits."""
    dropped = actions.loc[actions["action"] == "dropped", "reason"].value_counts()
    marked = actions.loc[actions["action"] == "marked", "reason"].value_counts()
    by = ["action", "reason", "split", "duplicate_split"]
    counts = actions.groupby(by, sort=False)["other_label"].agg(["size", "sum"])
    return {
        "rows_dropped": {"bad": bad}
        | {reason: int(dropped.get(reason, 0)) for reason in ("conflicting", *REASONS)},
        "rows_marked": {reason: int(marked.get(reason, 0)) for reason in REASONS},
        "by_splits": [
            dict(zip([*by, "rows", "other_label"], row, strict=True))
            for row in counts.reset_index().to_numpy(dtype=object).tolist()
        ],
    }
