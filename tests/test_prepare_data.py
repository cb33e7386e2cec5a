"""Splits share no text and come out the same every time; what became of rows is on record."""

import hashlib
import itertools
import json
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import prepare_data
from common import files
from common.cli import InputError
from common.data import corpus, passport


def prepare(source: Path, output: Path, *words: object) -> SimpleNamespace:
    """Prepare a dataset; its rows by split, what is on record, its class names."""
    import datasets

    places = ["--source", source, "--output", output / "data"]
    prepare_data.main([str(word) for word in (*places, *words)])
    saved = datasets.load_from_disk(output / "data")
    return SimpleNamespace(
        saved=saved,
        rows={split: [tuple(row.values()) for row in rows] for split, rows in saved.items()},
        texts={split: list(rows["text"]) for split, rows in saved.items()},
        ids={split: list(rows["id"]) for split, rows in saved.items()},
        described=files.read_json(output / "data" / "preparation.json"),
        source=files.read_source(output / "data"),
        names=saved["train"].features["label"].names,
    )


def dropped(made: SimpleNamespace) -> dict[str, int]:
    """Return how many rows were dropped, by reason; reasons without rows are left out."""
    return {reason: rows for reason, rows in made.described["rows_dropped"].items() if rows}


def refusal(source: Path, output: Path, *words: object) -> str:
    """Return the one line of a refusal, which leaves nothing behind."""
    with pytest.raises(InputError) as error:
        prepare(source, output, *words)
    assert not output.exists() or not list(output.iterdir())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def source(tmp_path, write_csv) -> Path:
    """100 rows, 50 of each class."""
    return write_csv(tmp_path / "rows.csv", 100)


def rows_found(made: SimpleNamespace) -> dict[str, int]:
    """Return the good rows of the source, by split."""
    return {split: found["rows"] for split, found in made.described["found"].items()}


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return path


def test_columns_types_and_order(source, tmp_path):
    made = prepare(source, tmp_path / "out")
    assert list(made.saved) == ["train", "validation", "test"]
    for rows in made.saved.values():
        assert rows.column_names == ["id", "text", "label"]
        assert [rows.features[name].dtype for name in rows.column_names] == ["string"] * 2 + [
            "int64"
        ]
    assert made.names == ["ham", "spam"]


def test_no_file_is_left_beside_the_outputs(source, tmp_path):
    prepare(source, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["data", "data.sha256"]


def test_every_row_is_the_row_of_the_source_that_its_id_names(source, make_rows, tmp_path):
    made = prepare(source, tmp_path / "out")
    given = make_rows(100)
    kept = [row for rows in made.rows.values() for row in rows]
    assert len(kept) == 100
    for name, text, label in kept:
        split, _, number = name.partition("/")
        assert split == "train"
        assert given[int(number)] == (text, made.names[label])


def test_the_source_is_a_name_without_its_path(source, tmp_path):
    made = prepare(source, tmp_path / "out")
    assert made.source == {"kind": "path", "name": "rows.csv"}


def test_the_source_that_was_fetched_is_passed_on(write_csv, tmp_path):
    write_csv(tmp_path / "rows" / "train.csv")
    source = {"kind": "hub", "name": "org/mail", "revision": "a" * 40, "subset": None}
    (tmp_path / "rows" / "source.json").write_text(json.dumps(source))
    made = prepare(tmp_path / "rows", tmp_path / "out")
    assert made.source == source


def test_what_was_fetched_from_the_hub_is_read_beside_its_source(source, tmp_path):
    """Splits that were saved by the library, with a source.json among them."""
    prepare(source, tmp_path / "first")
    made = prepare(tmp_path / "first" / "data", tmp_path / "out", "--test", 10)
    assert rows_found(made) == {"train": 72, "validation": 8, "test": 20}
    assert made.source == {"kind": "path", "name": "rows.csv"}


@pytest.mark.parametrize("content", ['{"author": "me"}', "[1]", "no JSON"])
def test_a_users_own_source_json_is_no_record(write_csv, tmp_path, content):
    write_csv(tmp_path / "rows" / "train.csv")
    (tmp_path / "rows" / "source.json").write_text(content)
    made = prepare(tmp_path / "rows", tmp_path / "out")
    assert made.source == {"kind": "path", "name": "rows"}


def test_splits_are_stratified_and_carved_from_train(source, tmp_path):
    made = prepare(source, tmp_path / "out", "--test", 0.2, "--validation", 0.1)
    described = made.described["splits"]
    assert {split: part["rows"] for split, part in described.items()} == {
        "train": 72,
        "validation": 8,
        "test": 20,
    }
    for part in described.values():
        assert part["classes"] == {"ham": part["rows"] // 2, "spam": part["rows"] // 2}


def test_the_same_command_makes_the_same_splits(source, tmp_path):
    first, again, other = (
        prepare(source, tmp_path / name, "--split-seed", seed)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first.rows == again.rows
    assert first.described == again.described
    for split in first.rows:
        sha256 = [made.described["splits"][split]["sha256"] for made in (first, other)]
        assert sha256[0] != sha256[1]


def test_the_record_hashes_what_is_saved(source, tmp_path):
    made = prepare(source, tmp_path / "out")
    for split, rows in made.saved.items():
        digest = hashlib.sha256(repr(["ham", "spam"]).encode())
        for row in rows:
            digest.update(repr((row["id"], row["text"], row["label"])).encode())
        assert digest.hexdigest() == made.described["splits"][split]["sha256"]


def test_no_text_is_in_two_splits_or_twice_in_one(make_rows, tmp_path):
    rows = make_rows(60)
    made = prepare(write(tmp_path / "rows.csv", rows + rows[:30] + rows[:10]), tmp_path / "out")
    texts = list(itertools.chain(*made.texts.values()))
    assert len(texts) == len(set(texts)) == 60
    assert rows_found(made) == {"train": 100}
    assert dropped(made) == {"exact": 40}


def test_texts_with_contradicting_labels_are_dropped_and_counted(make_rows, tmp_path):
    rows = make_rows(60)
    contradicted = [(text, "spam" if label == "ham" else "ham") for text, label in rows[:3]]
    made = prepare(write(tmp_path / "rows.csv", rows + contradicted), tmp_path / "out")
    texts = set(itertools.chain(*made.texts.values()))
    assert texts == {text for text, _ in rows[3:]}
    assert dropped(made) == {"conflicting": 6}


def test_a_given_test_split_stays_and_train_loses_its_texts(make_rows, tmp_path):
    rows = make_rows(80)
    write(tmp_path / "data" / "train.csv", rows[:70])
    write(tmp_path / "data" / "test.csv", rows[60:])
    made = prepare(tmp_path / "data", tmp_path / "out", "--validation", 10)
    assert made.ids["test"] == [f"test/{number}" for number in range(20)]
    assert made.texts["test"] == [text for text, _ in rows[60:]]
    assert sorted(made.texts["train"] + made.texts["validation"]) == sorted(t for t, _ in rows[:60])
    assert {name.partition("/")[0] for name in made.ids["validation"]} == {"train"}
    assert len(made.ids["validation"]) == 10
    assert rows_found(made) == {"test": 20, "train": 70}
    assert dropped(made) == {"exact": 10}


def test_subsets_are_stratified_and_independent_of_each_other(source, tmp_path):
    whole = prepare(source, tmp_path / "whole")
    small = prepare(source, tmp_path / "small", "--train-rows", 20, "--test-rows", 10)
    other = prepare(source, tmp_path / "other", "--train-rows", 30, "--test-rows", 10)
    assert Counter(label for *_, label in small.rows["train"]) == {0: 10, 1: 10}
    assert set(small.ids["train"]) < set(whole.ids["train"])
    assert set(small.ids["test"]) < set(whole.ids["test"])
    assert small.rows["validation"] == whole.rows["validation"]
    assert small.rows["test"] == other.rows["test"]


def test_class_names_have_the_order_asked_for(source, make_rows, tmp_path):
    made = prepare(source, tmp_path / "out", "--labels", "spam", "ham")
    assert made.names == ["spam", "ham"]
    assert made.described["labels"] == ["spam", "ham"]
    given = dict(make_rows(100))
    assert all(made.names[label] == given[text] for _, text, label in made.rows["train"])


def test_names_are_given_to_integers(make_rows, tmp_path):
    rows = [(text, "01"[label == "spam"]) for text, label in make_rows(60)]
    made = prepare(write(tmp_path / "rows.csv", rows), tmp_path / "out", "--labels", "neg", "pos")
    given = dict(rows)
    assert made.names == ["neg", "pos"]
    assert all(str(label) == given[text] for _, text, label in made.rows["train"])


def test_integers_without_names_are_the_names(make_rows, tmp_path):
    labels = {"ham": "2", "spam": "10", "other": "1"}
    rows = [(text, labels[label]) for text, label in make_rows(90, tuple(labels))]
    assert prepare(write(tmp_path / "rows.csv", rows), tmp_path / "out").names == ["1", "2", "10"]


def test_class_names_come_from_saved_arrow(make_rows, tmp_path):
    import datasets

    rows = make_rows(80)
    names = ["ham", "spam"]
    features = {"body": datasets.Value("string"), "class": datasets.ClassLabel(names=names)}
    content = {"body": [t for t, _ in rows], "class": [names.index(label) for _, label in rows]}
    split = datasets.Dataset.from_dict(content, features=datasets.Features(features))
    datasets.DatasetDict(
        train=split.select(range(60)), test=split.select(range(60, 80))
    ).save_to_disk(tmp_path / "saved")
    made = prepare(tmp_path / "saved", tmp_path / "out", "--text", "body", "--label", "class")
    assert made.names == names
    assert made.rows["test"] == [
        (f"test/{number}", text, names.index(label))
        for number, (text, label) in enumerate(rows[60:])
    ]


def test_every_type_of_file_gives_the_same_splits(source, tmp_path):
    import pandas as pd

    frame = pd.read_csv(source)
    frame.to_csv(tmp_path / "rows.tsv", sep="\t", index=False)
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.txt.csv", sep="|", index=False)
    expected = prepare(source, tmp_path / "csv").described
    options = {"rows.tsv": [], "rows.jsonl": [], "rows.parquet": [], "rows.txt.csv": ["|"]}
    for name, delimiter in options.items():
        words = ["--delimiter", *delimiter] if delimiter else []
        made = prepare(tmp_path / name, tmp_path / f"out-{name}", *words)
        quoting = None if name in ("rows.jsonl", "rows.parquet") else expected["quoting"]
        assert made.described == expected | {"quoting": quoting}
        assert made.source == {"kind": "path", "name": name}


def test_latin_1_columns_and_filter(make_rows, tmp_path):
    rows = enumerate(make_rows(180, ("ham", "ham", "spam")))
    lines = ["v1;v2;kind", *(f"{label};{text} £;{number % 2}" for number, (text, label) in rows)]
    (tmp_path / "rows.csv").write_bytes("\n".join(lines).encode("latin-1"))
    options = "--encoding latin-1 --delimiter ; --text v2 --label v1 --filter kind=1"
    made = prepare(tmp_path / "rows.csv", tmp_path / "out", *options.split())
    numbers = [int(name.partition("/")[2]) for ids in made.ids.values() for name in ids]
    assert sorted(numbers) == list(range(1, 180, 2))
    assert all(text.endswith(" £") for texts in made.texts.values() for text in texts)
    assert rows_found(made) == {"train": 90}


def test_bad_rows_are_skipped_when_asked(make_rows, tmp_path):
    rows = [*make_rows(60), ("", "ham"), ("  ", "spam"), ("text without label", "")]
    path = write(tmp_path / "rows.csv", rows)
    message = refusal(path, tmp_path / "out")
    assert message == (
        f"{path}, line 62, column 'text': empty (the first of 3 bad rows): mend them, or set "
        "`on_bad_rows` to skip"
    )
    made = prepare(path, tmp_path / "out", "--on-bad-rows", "skip")
    assert dropped(made) == {"bad": 3}
    place = {"split": "train", "file": "rows.csv"}
    listed = [(62, "text"), (63, "text"), (64, "label")]
    assert made.described["bad_rows"] == {
        "count": 3,
        "listed": [
            {**place, "line": line, "column": column, "problem": "empty"} for line, column in listed
        ],
    }
    assert sum(part["rows"] for part in made.described["splits"].values()) == 60


def test_lengths_are_counted(make_rows, tmp_path):
    rows = [(f"{number:06d} x", label) for number, (_, label) in enumerate(make_rows(60))]
    made = prepare(write(tmp_path / "rows.csv", rows), tmp_path / "out", "--leakage", "warn")
    for part in (*made.described["splits"].values(), *made.described["found"].values()):
        assert part["characters"] == {"mean": 8.0, "median": 8.0, "p95": 8.0, "max": 8}
        assert part["words"] == {"mean": 2.0, "median": 2.0, "p95": 2.0, "max": 2}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--text body", "rows.csv has no column 'body': set `text` to one of 'text', 'label'"),
        ("--label class", "rows.csv has no column 'class': set `label` to one of 'text', 'label'"),
        ("--filter kind=1", "rows.csv has no column 'kind': set `filter` to one of"),
        ("--filter label=eggs", "rows.csv has no row with label=eggs: set `filter` to a value"),
        ("--filter label=ham", "the label column holds one class, ['ham']"),
        ("--labels ham eggs", "labels without a name: 'spam'; add them to `labels`"),
        ("--labels ham spam eggs", "train (72 rows) holds no row of class 'eggs': use more rows"),
        ("--test 99", "cannot draw 99 rows for test out of 100"),
        ("--validation 1", "cannot draw 1 rows for validation out of 80"),
        ("--encoding ebcdic", "Python knows no encoding 'ebcdic'"),
        ("--delimiter ;", "with ';': set `delimiter` to \",\""),
    ],
)
def test_options_that_do_not_fit_are_refused(source, tmp_path, words, expected):
    assert expected in refusal(source, tmp_path / "out", *words.split())


def test_a_wrong_encoding_is_refused(make_rows, tmp_path):
    path = write(tmp_path / "rows.csv", make_rows(60))
    path.write_bytes(path.read_bytes().replace(b"number7,", b"\xa3 7,"))
    message = refusal(path, tmp_path / "out")
    assert message == (
        f"{path}, line 9, column 'text': not utf-8 (byte 0xa3) (the only bad row): set `encoding`, "
        "perhaps to latin-1, or set `on_bad_rows` to skip"
    )


def test_a_missing_source_is_refused(tmp_path):
    assert "nowhere.csv does not exist" in refusal(tmp_path / "nowhere.csv", tmp_path / "out")


def test_a_test_split_without_a_class_is_refused_by_name(make_rows, tmp_path):
    write(tmp_path / "data" / "train.csv", make_rows(60))
    write(tmp_path / "data" / "test.csv", [("hello", "ham")])
    message = refusal(tmp_path / "data", tmp_path / "out")
    assert "test (1 rows) holds no row of class 'spam'" in message


def test_a_refusal_leaves_the_splits_in_place(source, tmp_path):
    made = prepare(source, tmp_path / "out")
    with pytest.raises(InputError):
        prepare(source, tmp_path / "out", "--text", "body")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["data", "data.sha256"]
    assert made.saved["train"][0]["id"] == made.ids["train"][0]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_refused(source, tmp_path):
    source.chmod(0)
    assert "cannot be read: permission denied" in refusal(source, tmp_path / "out")


@pytest.fixture
def leaky(make_rows, tmp_path) -> Path:
    """80 rows of train and 20 of test, of which 3 repeat a training row: one of each kind."""
    rows = make_rows(100)
    long = "you are a winner and have been specially selected to receive a holiday, call our office"
    train = [*rows[:79], (long, "spam")]
    test = [*rows[79:96], rows[0], (rows[2][0].upper() + "!", rows[2][1])]
    test.append((long.replace("office", "desk"), "spam"))
    write(
        tmp_path / "data" / "train.csv", [(text.replace(",", ""), label) for text, label in train]
    )
    write(tmp_path / "data" / "test.csv", [(text.replace(",", ""), label) for text, label in test])
    return tmp_path / "data"


def listed(path: Path) -> list[tuple[str, ...]]:
    """Return the rows of leakage.csv without its header, sorted."""
    lines = path.read_text().splitlines()
    assert lines[0] == "id,split,action,reason,duplicate_of,duplicate_split,other_label"
    return sorted(tuple(line.split(",")) for line in lines[1:])


def test_drop_takes_out_of_train_what_is_in_test(leaky, tmp_path):
    made = prepare(leaky, tmp_path / "out", "--csv", tmp_path / "leakage.csv", "--validation", 8)
    assert dropped(made) == {"exact": 1, "normalised": 1, "near": 1}
    assert len(made.ids["test"]) == 20
    assert listed(tmp_path / "leakage.csv")[:2] == [
        ("train/0", "train", "dropped", "exact", "test/17", "test", "False"),
        ("train/2", "train", "dropped", "normalised", "test/18", "test", "False"),
    ]
    (near,) = listed(tmp_path / "leakage.csv")[2:]
    assert (near[0], near[2:5]) == ("train/79", ("dropped", "near", "test/19"))
    before, after = (made.described["duplicates"][stage] for stage in ("before", "after"))
    assert [before[kind]["across"]["test in train"] for kind in before] == [1, 2, 3]
    assert {count for kind in after.values() for count in kind["across"].values()} == {0}


def test_near_duplicates_may_count_from_elsewhere_or_not_at_all(leaky, tmp_path):
    made = prepare(leaky, tmp_path / "off", "--no-near-duplicates")
    assert dropped(made) == {"exact": 1, "normalised": 1}
    assert list(made.described["duplicates"]["before"]) == ["exact", "normalised"]
    made = prepare(leaky, tmp_path / "high", "--near-duplicates", 0.99)
    assert dropped(made) == {"exact": 1, "normalised": 1}


@pytest.mark.parametrize("number", ["0", "1.1", "nan", "much"])
def test_a_similarity_is_a_share(source, tmp_path, capsys, number):
    with pytest.raises(SystemExit):
        prepare(source, tmp_path / "out", "--near-duplicates", number)
    assert f"{number!r} is no number above 0 and at most 1" in capsys.readouterr().err


def test_warn_marks_what_repeats_a_training_row_and_drops_nothing(leaky, tmp_path):
    words = ["--leakage", "warn", "--csv", tmp_path / "leakage.csv", "--validation", 8]
    made = prepare(leaky, tmp_path / "out", *words)
    assert dropped(made) == {}
    assert sum(len(ids) for ids in made.ids.values()) == 100
    marked = [row["id"] for row in made.saved["test"] if not row["clean"]]
    in_train = {"test/17": "train/0", "test/18": "train/2", "test/19": "train/79"}
    assert marked == [name for name, of in in_train.items() if of in made.ids["train"]]
    assert all(made.saved["train"]["clean"])
    assert [row[0] for row in listed(tmp_path / "leakage.csv")] == marked
    assert made.described["splits"]["test"]["clean_rows"] == 20 - len(marked)
    assert sum(made.described["rows_marked"].values()) == len(marked) > 0


def test_group_drops_nothing_and_divides_no_group(make_rows, tmp_path):
    rows = make_rows(100)
    rows += [(f"{text.upper()}!", label) for text, label in rows[:40]]
    made = prepare(write(tmp_path / "rows.csv", rows), tmp_path / "out", "--leakage", "group")
    assert dropped(made) == {}
    assert sum(len(ids) for ids in made.ids.values()) == 140
    after = made.described["duplicates"]["after"]["near"]
    assert set(after["across"].values()) == {0}
    assert sum(after["within"].values()) >= 40
    assert abs(len(made.ids["test"]) - 28) <= 2
    assert abs(len(made.ids["validation"]) - 11) <= 2


def test_group_drops_from_train_what_a_given_test_split_has(leaky, tmp_path):
    made = prepare(leaky, tmp_path / "out", "--leakage", "group")
    assert dropped(made) == {"exact": 1, "normalised": 1, "near": 1}
    assert len(made.ids["test"]) == 20


def test_error_names_counts_and_the_first_pair(leaky, tmp_path):
    message = refusal(leaky, tmp_path / "out", "--leakage", "error", "--validation", 8)
    assert message.startswith("3 rows have a duplicate in a split that matters more (1 exact, 1 n")
    assert "the first: train/0 in " in message
    assert "test/17 in test): mend the data, or set `leakage` to drop, group or warn" in message


def test_error_has_nothing_against_clean_splits(source, tmp_path):
    made = prepare(source, tmp_path / "out", "--leakage", "error", "--no-near-duplicates")
    assert sum(len(ids) for ids in made.ids.values()) == 100


def test_conflicting_labels_may_be_kept_as_duplicates_like_any_other(make_rows, tmp_path):
    rows = make_rows(60)
    other = [(text, "spam" if label == "ham" else "ham") for text, label in rows[:3]]
    path = write(tmp_path / "rows.csv", rows + other)
    made = prepare(path, tmp_path / "out", "--conflicting-labels", "keep")
    assert dropped(made) == {"exact": 3}
    assert made.described["conflicting_labels"] == {"texts": 3, "rows": 6}


@pytest.mark.full
def test_the_record_is_the_same_in_every_process(leaky, tmp_path, run_script):
    written = []
    for seed in ("0", "1"):
        out = tmp_path / seed
        words = ["--source", leaky, "--output", out / "data", "--csv", out / "leakage.csv"]
        done = run_script("prepare_data", *words, env=os.environ | {"PYTHONHASHSEED": seed})
        assert done.returncode == 0, done.stderr
        written.append([(out / f).read_text() for f in ("data/preparation.json", "leakage.csv")])
    assert written[0] == written[1]


def test_a_mistake_ends_in_one_line_and_status_1(source, tmp_path, run_script):
    words = ["--source", source, "--text", "body", "--output", tmp_path / "out"]
    done = run_script("prepare_data", *words)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {source} has no column 'body': set `text` to one of 'text', 'label'\n"
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rows.csv"]


def test_a_group_stays_in_one_split(make_rows, tmp_path):
    rows = [(text, label, f"author{n % 20}") for n, (text, label) in enumerate(make_rows(200))]
    source = tmp_path / "rows.csv"
    pd.DataFrame(rows, columns=["text", "label", "author"]).to_csv(source, index=False)
    made = prepare(source, tmp_path / "out", "--group", "author", "--no-near-duplicates")
    authors = [{int(row.split("/")[1]) % 20 for row in ids} for ids in made.ids.values()]
    assert sum(map(len, authors)) == 20
    assert sum(len(ids) for ids in made.ids.values()) == 200
    assert set(made.described["duplicates"]["after"]["group"]["across"].values()) == {0}
    assert made.described["settings"]["group"] == "author"


def test_a_hash_keeps_every_row_in_its_split(make_rows, tmp_path):
    rows = make_rows(400)
    first, more = (
        prepare(write(tmp_path / f"{n}.csv", rows[:n]), tmp_path / str(n), "--split-by", "hash")
        for n in (300, 400)
    )
    assert all(set(first.ids[split]) <= set(more.ids[split]) for split in first.ids)
    assert {split: len(ids) > 10 for split, ids in more.ids.items()} == dict.fromkeys(
        ("train", "validation", "test"), True
    )
    assert "takes a share: set it below 1" in refusal(
        tmp_path / "300.csv", tmp_path / "no", "--split-by", "hash", "--test", 20
    )


@pytest.mark.full
def test_threads_change_nothing(make_rows, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "BATCH_ROWS", 16)
    source = write(tmp_path / "rows.csv", [*make_rows(150), *make_rows(40)])
    alone, helped = (
        prepare(source, tmp_path / str(n), "--threads", n, "--csv", tmp_path / f"{n}.csv")
        for n in (1, 2)
    )
    assert alone.rows == helped.rows
    assert alone.described == helped.described
    assert (tmp_path / "1.csv").read_text() == (tmp_path / "2.csv").read_text()


def test_nothing_but_the_splits_is_left_in_the_directory(source, tmp_path):
    made = tmp_path / "out" / "data"
    prepare(source, tmp_path / "out")
    assert {path.name for path in made.iterdir()} == {
        "dataset_dict.json", "digests.json", "preparation.json", "source.json",
        "test", "train", "validation",
    }  # fmt: skip


@pytest.mark.parametrize("policy", ["drop", "group", "warn"])
def test_every_row_that_was_read_is_accounted_for(make_rows, tmp_path, policy):
    rows = [(text, label, "en") for text, label in make_rows(200)]
    rows += [(text.upper(), label, "en") for text, label in make_rows(30)]
    rows += [("", "ham", "en")] * 3 + [("hallo", "ham", "de")] * 7 + [("x", "ham", "de")]
    rows += [("twice", "ham", "en"), ("twice", "spam", "en")]
    source = tmp_path / "rows.csv"
    pd.DataFrame(rows, columns=["text", "label", "lang"]).to_csv(source, index=False)
    words = [
        "--filter",
        "lang=en",
        "--on-bad-rows",
        "skip",
        "--train-rows",
        "60",
        "--test-rows",
        "20",
    ]
    made = prepare(source, tmp_path / "out", *words, "--leakage", policy).described
    found = sum(part["rows"] for part in made["found"].values())
    counts = [sum(made["rows"][key].values()) for key in ("filtered_out", "bad", "not_drawn")]
    filtered, bad, left = counts
    assert (filtered, bad) == (8, 3)
    assert found + filtered + bad == len(rows)
    kept = sum(part["rows"] for part in made["splits"].values())
    assert found + bad == sum(made["rows_dropped"].values()) + left + kept
    assert left > 50
    assert made["settings"]["train_rows"] == 60


@pytest.mark.parametrize(
    "words",
    [
        "--output {0}",
        "--output {0.parent}",
        "--csv {0}",
        "--text text text",
        "--text a b c",
        "--text label",
        "--split-by hash --leakage group",
    ],
)
def test_options_that_would_harm_are_refused(source, tmp_path, words):
    before = source.read_bytes()
    places = ["--source", source, "--output", tmp_path / "out"]
    with pytest.raises(InputError) as error:
        prepare_data.main([*map(str, places), *words.format(source).split()])
    assert "\n" not in str(error.value)
    assert source.read_bytes() == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", ["nan", "inf", "-1", "0", "many"])
def test_a_size_is_a_share_or_a_number(source, tmp_path, capsys, size):
    with pytest.raises(SystemExit):
        prepare(source, tmp_path / "out", "--test", size)
    assert f"{size!r} is neither a share nor a number of rows" in capsys.readouterr().err


def test_the_same_command_gives_the_same_files(source, tmp_path):
    first, again = (tmp_path / name for name in ("a", "b"))
    for root in (first, again):
        prepare(source, root)
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(names) > 8
    assert all((first / name).read_bytes() == (again / name).read_bytes() for name in names)


GLUE = ['" it begins', *(f"text number {n}" for n in range(38)), 'and ends "']


def write_tsv(path: Path, texts: list[str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    labels = ["ham", "spam"]
    lines = [f"{text}\t{labels[n % 2]}" for n, text in enumerate(texts)]
    path.write_text("\n".join(["text\tlabel", *lines]) + "\n")
    return path


def test_quotes_of_a_tsv_are_letters_where_they_do_not_balance(tmp_path, caplog):
    """In every file of the source, as one of them shows; and it is on record."""
    write_tsv(tmp_path / "data" / "train.tsv", GLUE)
    write_tsv(tmp_path / "data" / "test.tsv", [f'"quoted {n}"' for n in range(10)])
    made = prepare(tmp_path / "data", tmp_path / "out", "--no-near-duplicates", "--leakage", "warn")
    assert set(made.texts["train"] + made.texts["validation"]) == set(GLUE)
    assert made.texts["test"] == [f'"quoted {n}"' for n in range(10)]
    reason = (
        "with quotes around fields 1 records cannot be read, the first in train.tsv, line 2; with "
        "quotes as letters 0"
    )
    assert made.described["quoting"] == {"applied": "none", "reason": reason}
    assert made.described["settings"]["quoting"] == "auto"
    assert f"quotes are read as letters (`quoting: none`): {reason}" in caplog.messages
    assert passport.quoting(made.described["quoting"]) == [
        f"Quotes in the file are letters of the texts: {reason}."
    ]


def test_how_quotes_are_read_is_on_record(source, tmp_path):
    made = prepare(source, tmp_path / "a")
    assert made.described["quoting"] == {"applied": "standard", "reason": ""}
    assert passport.quoting(made.described["quoting"]) == []
    made = prepare(source, tmp_path / "b", "--quoting", "none")
    assert made.described["quoting"] == {"applied": "none", "reason": ""}
    assert passport.quoting(made.described["quoting"]) == [
        "Quotes in the file are letters of the texts, as configured."
    ]
    assert passport.quoting(None) == []


def test_more_rows_than_there_are_is_told(make_rows, tmp_path, caplog):
    source = tmp_path / "rows.csv"
    pd.DataFrame(make_rows(60), columns=["text", "label"]).to_csv(source, index=False)
    made = prepare(source, tmp_path / "out", "--train-rows", 1000, "--test-rows", 10)
    (said,) = [each for each in caplog.messages if "all are used" in each]
    assert said == f"train_rows is 1000, and there are {len(made.ids['train'])}: all are used"


def test_the_log_has_a_line_for_each_split(make_rows, tmp_path, caplog):
    caplog.set_level("INFO", logger="prepare_data")
    rows = make_rows(60)
    source = write(tmp_path / "rows.csv", [*rows, *rows[:3], ("", "ham")])
    prepare(source, tmp_path / "out", "--on-bad-rows", "skip", "--train-rows", 30)
    told = [record.message for record in caplog.records if record.name == "prepare_data"]
    assert told[0] == "64 rows read; left out: bad 1, exact duplicates 3, not drawn 13"
    assert [line.partition(", ")[0] for line in told[1:]] == [
        "train: 30 rows (ham 15", "validation: 5 rows (ham 3", "test: 12 rows (ham 6",
    ]  # fmt: skip
    assert all(len(line) < 100 for line in told)
    assert all(" words on average, at most " in line for line in told[1:])


def test_the_log_of_many_classes_names_the_first():
    words = {"mean": 1234.5, "max": 20}
    part = {"rows": 1200, "classes": {f"c{n}": 100 for n in range(12)}, "words": words}
    described = {
        "rows": {"filtered_out": {"train": 0}, "bad": {"train": 0}, "not_drawn": {"train": 0}},
        "rows_dropped": {"bad": 0}, "found": {"train": {"rows": 1200}}, "splits": {"train": part},
    }  # fmt: skip
    read, train = prepare_data.summary(described)
    assert read == "1,200 rows read; left out: none"
    assert train.endswith("c9 100, 2 classes more), 1,234.5 words on average, at most 20")


def test_the_list_of_actions_holds_nothing_of_the_source(make_rows, tmp_path):
    """It names rows by number, so that no text, label or group is a formula in a spreadsheet."""
    rows = [(f"=cmd|{text}", f"@{label}", "+group") for text, label in make_rows(40)]
    rows += [*rows[:3], ("=cmd|twice", "@ham", "+one"), ("=cmd|twice", "@spam", "+two")]
    lines = [",".join(row) for row in rows]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label,author", *lines]) + "\n")
    prepare(tmp_path / "rows.csv", tmp_path / "out", "--csv", tmp_path / "leakage.csv")
    content = (tmp_path / "leakage.csv").read_text()
    assert content.count("\n") == 1 + 3 + 2
    assert not set("=@+|") & set(content)
