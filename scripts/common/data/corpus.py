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
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from common import parallel
from common.cli import InputError
from common.data import datadict, duplicates, measures
from common.data.examples import Example
from common.data.measures import Measures
from common.data.splits import Tables

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
        """The texts at some places; of a pair, both."""
        columns = ([column[place].as_py() for place in places.tolist()] for column in self.columns)
        return list(zip(*columns, strict=True))

    def keys_at(self, places: np.ndarray) -> list[str]:
        """What normalised duplicates of the texts at some places have in common."""
        return [duplicates.key(*texts) for texts in self.at(places)]

    def chosen(self, places: np.ndarray) -> Iterator[pa.RecordBatch]:
        """The texts at ascending places, some at a time: text, and of pairs text_pair."""
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


def take_in(
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
    intake = Intake()
    measured = partial(measures.measure, threshold=threshold)
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


class Intake:
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
        """The columns id, label and place, and, with a group column, group and key."""
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
    features["label"] = datasets.ClassLabel(names=names)
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
    """The rows, some at a time."""
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
    """Arrow strings as a column, which stays in Arrow."""
    return pa.chunked_array(batches).to_pandas()


def figures_of(figures: list[Measures]) -> dict[str, np.ndarray]:
    """The lengths of all texts, in characters and in words."""
    return {
        unit: np.concatenate([getattr(batch, unit) for batch in figures])
        for unit in ("characters", "words")
    }


def groups(figures: list[Measures], texts: Texts, threshold: float | None) -> dict[str, np.ndarray]:
    """The group of duplicates of every row, by kind."""
    exact, normalised, buckets = (
        np.concatenate([getattr(batch, name) for batch in figures])
        for name in ("exact", "normalised", "buckets")
    )
    return duplicates.groups(exact, normalised, buckets, texts.keys_at, threshold)
