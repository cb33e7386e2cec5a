"""The passport: what is on record, for programs, in words and in pictures."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import passport
import prepare_data
import tokenize_data
from common import checksums, files
from common.cli import InputError
from common.data import passport as common_passport

HOSTILE = {"ham": "a|b <script>\\`c`", "spam": "[x](y) **z** ~~q~~", "other": "$5-$10"}
TEXT = "{http://www.w3.org/2000/svg}text"
FILES = ("passport.json", "passport.md", "classes.svg", "lengths.svg")


def test_bad_rows_are_shown_up_to_twenty():
    place = {"split": "train", "file": "a|b.csv"}
    listed = [{**place, "line": n, "column": None, "problem": "no JSON object"} for n in range(25)]
    title, said, shown = common_passport.bad_rows({"count": 30, "listed": listed})
    assert title == "## Bad rows"
    assert said.startswith("30 rows could not be used and were left out, the first 20 of them here")
    lines = shown.splitlines()
    assert len(lines) == 22
    assert lines[-1] == r"| train | a\|b.csv | 19 |  | no JSON object |"
    assert common_passport.bad_rows({"count": 0, "listed": []}) == []


@pytest.fixture
def prepare(make_rows, tmp_path):
    """Prepare rows of three classes, whose names and file name are out to break Markdown."""

    def run(*words: str) -> Path:
        source = tmp_path / "*a|b* <i>.csv"
        rows = [(text, HOSTILE[label]) for text, label in make_rows(90, tuple(HOSTILE))]
        rows += [(rows[0][0].upper(), rows[0][1]), rows[1], ("twice", HOSTILE["ham"])]
        rows += [("twice", HOSTILE["spam"])]
        pd.DataFrame(rows, columns=["text", "label"]).to_csv(source, index=False)
        data = tmp_path / "data"
        prepare_data.main([*map(str, ["--source", source, "--output", data]), *words])
        return data

    return run


@pytest.fixture
def tokenize(tiny_models, tmp_path):
    """Tokenise prepared rows for a tiny model; the directory of the tokens, by a name of choice."""

    def run(data: Path, model: str, name: str, max_length: int) -> Path:
        tokens = tmp_path / name / "tokens"
        places = ["--data", data, "--model", tiny_models[model], "--output", tokens]
        tokenize_data.main([str(word) for word in (*places, "--max-length", max_length)])
        return tokens

    return run


@pytest.fixture
def write(tmp_path):
    """Write a passport; its content as JSON, its text, and the paths of its files."""

    def run(data: Path, *tokens: Path, folder: str = "out", more: tuple = ()) -> SimpleNamespace:
        paths = [tmp_path / folder / name for name in FILES]
        flags = ("--passport", "--markdown", "--classes", "--lengths")
        places = [word for pair in zip(flags, paths, strict=True) for word in pair]
        passport.main(list(map(str, ["--data", data, "--tokens", *tokens, *places, *more])))
        return SimpleNamespace(made=files.read_json(paths[0]), text=paths[1].read_text(), at=paths)

    return run


def test_training_rows_of_which_each_seed_draws_some_are_called_a_pool(prepare, write):
    data = prepare()
    rows = files.read_json(data / "preparation.json")["splits"]["train"]["rows"]
    found = write(data, more=("--train-rows", 20))
    assert (
        f"**The {rows:,} training rows are a pool: each seed draws 20 of them anew**" in found.text
    )
    assert found.made["drawn_per_seed"] == 20
    assert "are a pool" not in write(data, folder="other").text
    with pytest.raises(InputError, match=f"cannot draw {rows} of {rows} training rows anew"):
        write(data, folder="third", more=("--train-rows", rows))


def tables(text: str) -> list[list[int]]:
    """Return the number of cells in each line of each table."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [[len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()] for block in blocks]


def texts(path: Path) -> set[str]:
    """Return all texts in an SVG."""
    return {node.text for node in ET.parse(path).getroot().iter(TEXT) if node.text}


@pytest.mark.quick(1)
@pytest.mark.parametrize("policy", ["drop", "group", "warn"])
def test_names_are_shown_letter_by_letter(prepare, tokenize, write, policy):
    data = prepare("--leakage", policy)
    written = write(data, tokenize(data, "bert", "be|rt $1$", 8))
    assert len(tables(written.text)) == 7
    assert all(len(set(widths)) == 1 for widths in tables(written.text))
    assert not re.search(r"<(script|i)>", written.text)
    assert r"class a\|b &lt;script&gt;\\\`c\`" in written.text
    assert r"\*\*z\*\*" in written.text
    assert r"- name: \*a\|b\* &lt;i&gt;.csv" in written.text
    assert r"| be\|rt \$1\$ | train |" in written.text
    assert set(HOSTILE.values()) <= texts(written.at[2])
    assert "be|rt $1$" in texts(written.at[3])


def test_the_json_holds_every_record(prepare, tokenize, write):
    data = prepare()
    models = {"one": tokenize(data, "bert", "one", 8), "two": tokenize(data, "gpt2", "two", 64)}
    made = write(data, *models.values()).made
    nothing = {"license": None, "license_origin": "not on record"}
    assert made["source"] == files.read_source(data) | nothing
    recorded = files.read_json(data / "preparation.json")
    assert {key: made[key] for key in recorded} == recorded
    assert list(made) == ["source", *recorded, "models", "drawn_per_seed"]
    assert list(made["models"]) == ["one", "two"]
    for name, tokens in models.items():
        statistics = files.read_json(tokens / "statistics.json")
        assert made["models"][name] == {key: statistics[key] for key in made["models"][name]}
        assert made["models"][name]["splits"]["test"]["histogram"]


def test_the_text_tells_what_the_json_tells(prepare, write):
    written = write(prepare())
    assert written.made["rows_dropped"] == {
        "bad": 0,
        "conflicting": 2,
        "exact": 1,
        "normalised": 1,
        "near": 0,
        "group": 0,
    }
    assert written.made["by_splits"][0] == {
        "action": "dropped",
        "reason": "conflicting",
        "split": "train",
        "duplicate_split": "train",
        "rows": 2,
        "other_label": 2,
    }
    assert "| dropped | exact | train | train | 1 | 0 |" in written.text
    assert "Texts under several labels: 1, in 2 rows." in written.text
    assert "`conflicting_labels: drop`; `leakage: drop`; `near_duplicates: 0.8`" in written.text
    assert "| before | within train | 2 | 3 | 3 |" in written.text
    assert all(part["sha256"] in written.text for part in written.made["splits"].values())


def test_lengths_in_tokens_have_a_line_per_model_and_split(prepare, tokenize, write):
    data = prepare()
    cut, whole = tokenize(data, "bert", "cut", 8), tokenize(data, "gpt2", "whole", 64)
    written = write(data, cut, whole)
    for name, length in (("cut", 8), ("whole", 64)):
        for split, part in written.made["models"][name]["splits"].items():
            figures = " | ".join(f"{x:.1f}".removesuffix(".0") for x in part["lengths"].values())
            share = f"{100 * part['truncated_share']:.1f} %"
            assert f"| {name} | {split} | {figures} | {length} | {share} |" in written.text
            assert f"longer than {length}: {share}" in texts(written.at[3])
    shares = {
        name: model["splits"]["train"]["truncated_share"]
        for name, model in written.made["models"].items()
    }
    assert shares["cut"] > 0.5 > shares["whole"] == 0
    assert "longer than 64: 0.0 %" in texts(written.at[3])
    assert {"train", "validation", "test", "cut", "whole"} <= texts(written.at[3])


def test_classes_are_drawn_with_count_and_share(prepare, write):
    written = write(prepare())
    for split, part in written.made["splits"].items():
        assert f"{split}: {part['rows']:,} rows" in texts(written.at[2])
        for count in part["classes"].values():
            assert f"{count:,} ({100 * count / part['rows']:.1f} %)" in texts(written.at[2])


def test_the_pictures_are_where_the_text_says(prepare, write):
    written = write(prepare())
    linked = re.findall(r"!\[[^]]*\]\(([^)]*)\)", written.text)
    assert linked == ["classes.svg"]  # no model, no picture of its tokens
    assert all((written.at[1].parent / link).exists() for link in linked)


def test_a_picture_elsewhere_is_linked_from_there(prepare, tokenize, write, tmp_path):
    data = prepare()
    more = ("--lengths", tmp_path / "pictures of (it)" / "lengths.svg")
    written = write(data, tokenize(data, "bert", "bert", 8), more=more)
    assert "](classes.svg)" in written.text
    assert "](../pictures%20of%20%28it%29/lengths.svg)" in written.text


def test_clean_rows_are_shown_where_rows_are_marked(prepare, write):
    written = write(prepare("--leakage", "warn"))
    clean = [f"{part['clean_rows']:,}" for part in written.made["splits"].values()]
    assert f"| clean rows | {' | '.join(clean)} |" in written.text
    assert "clean rows" not in write(prepare()).text


def test_near_duplicates_that_do_not_count_are_no_column(prepare, write):
    written = write(prepare("--no-near-duplicates"))
    assert written.made["settings"]["near_duplicates"] is None
    assert "| where | exact | normalised |\n" in written.text
    assert "`near_duplicates: null`" in written.text


def test_a_dataset_without_models_has_a_passport(prepare, write):
    written = write(prepare())
    assert written.made["models"] == {}
    assert "No model is compared on this dataset." in written.text
    assert "No model is compared on this dataset" in texts(written.at[3])


@pytest.mark.parametrize(
    ("source", "words", "line"),
    [
        ({"kind": "path", "name": "x"}, (), "not on record"),
        (
            {"kind": "package", "name": "x", "license": "MIT"},
            (),
            "MIT (of the package; that of the rows in it may be another)",
        ),
        ({"kind": "hub", "name": "x", "license": "mit"}, (), "mit (of the dataset card)"),
        ({"kind": "hub", "name": "x", "license": None}, (), "not on record"),
        (
            {"kind": "hub", "name": "x", "license": "mit"},
            ("--license", "CC BY <4.0>"),
            "CC BY &lt;4.0&gt; (as configured)",
        ),
    ],
)
def test_a_licence_is_named_with_who_says_so(prepare, write, source, words, line):
    data = prepare()
    files.write_json(source, data / "source.json")
    checksums.write(data)
    written = write(data, more=words)
    assert f"- licence: {line}\n" in written.text
    origin = written.made["source"]["license_origin"]
    assert origin in line
    assert (written.made["source"]["license"] is None) == (origin == "not on record")


@pytest.mark.full
def test_equal_records_give_equal_files(prepare, tokenize, write, run_script, tmp_path):
    data = prepare()
    tokens = [tokenize(data, "bert", "cut", 8), tokenize(data, "gpt2", "whole", 64)]
    here, again = write(data, *tokens), write(data, *tokens, folder="again")
    there = [tmp_path / "there" / name for name in FILES]
    words = ["--data", data, "--tokens", *tokens, "--passport", there[0], "--markdown", there[1]]
    done = run_script("passport", *words, "--classes", there[2], "--lengths", there[3])
    assert done.returncode == 0, done.stderr
    expected = [path.read_bytes() for path in here.at]
    assert [path.read_bytes() for path in again.at] == expected
    assert [path.read_bytes() for path in there] == expected


def test_the_pictures_follow_the_records(prepare, tokenize, write):
    data = prepare()
    first = write(data, tokenize(data, "bert", "bert", 8)).at[3].read_bytes()
    assert write(data, tokenize(data, "bert", "bert", 9)).at[3].read_bytes() != first


@pytest.mark.parametrize(
    ("lengths", "cut"), [([1], 4), ([5, 100_000], 128), ([3, 4, 5], 100_000), ([0, 2], 4)]
)
def test_texts_of_any_length_are_drawn(lengths, cut, tmp_path):
    import numpy as np

    from common.data.lengths import bin_edges, histogram
    from common.report import vega

    edges = bin_edges(max(lengths))
    counts = histogram(np.array(lengths), edges)
    share = sum(length > cut for length in lengths) / len(lengths)
    part = {"rows": len(lengths), "truncated_share": share, "histogram": counts}
    model = {"max_length": cut, "histogram_edges": edges, "splits": {"train": part}}
    vega.save(passport.draw_lengths({"bert": model}), tmp_path / "lengths.svg")
    assert f"longer than {cut:,}: {100 * share:.1f} %" in texts(tmp_path / "lengths.svg")


@pytest.mark.full
def test_twenty_classes_have_a_line_each_and_long_names_are_shortened(tmp_path):
    from common.report import vega

    classes = {f"class {number}": 50 + number for number in range(19)} | {"x" * 100: 1}
    part = {"rows": sum(classes.values()), "classes": classes}
    vega.save(passport.draw_classes({"train": part}), tmp_path / "classes.svg")
    assert {*list(classes)[:19], "x" * 20 + "…" + "x" * 19} <= texts(tmp_path / "classes.svg")


def test_control_characters_of_a_name_are_not_drawn(tmp_path):
    from common.report import vega

    part = {"rows": 3, "classes": {"h\x00a\x1bm\ufffe": 1, "\x07": 2}}
    vega.save(passport.draw_classes({"train": part}), tmp_path / "classes.svg")
    assert "ham" in texts(tmp_path / "classes.svg")


def test_settings_are_shown_letter_by_letter():
    line = common_passport.settings_line({"leakage": "drop", "group": "a`b|c"})
    assert line == "`leakage: drop`; ``group: a`b|c``"


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ("bert/tokens/statistics.json", "histogram_edges"),
        ("data/preparation.json", "found"),
        ("data/source.json", None),
    ],
)
def test_a_record_that_is_not_there_or_not_whole_is_one_line(
    prepare, tokenize, write, tmp_path, record, key
):
    data = prepare()
    tokens = tokenize(data, "bert", "bert", 8)
    content = files.read_json(tmp_path / record)
    if key:
        del content[key]
        files.write_json(content, tmp_path / record)
        with pytest.raises(InputError, match=f"{record} has no '{key}': another version wrote it"):
            write(data, tokens)
    (tmp_path / record).unlink()
    with pytest.raises(
        InputError, match=f"{record} cannot be read .*: delete .* and run again"
    ) as error:
        write(data, tokens)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_model_named_twice_is_refused(prepare, tokenize, write):
    data = prepare()
    tokens = tokenize(data, "bert", "bert", 8)
    with pytest.raises(InputError, match="there are tokens of 'bert' already; name them once"):
        write(data, tokens, tokens)


def test_a_mistake_ends_in_one_line_and_status_1(run_script, tmp_path):
    places = [f"--{name}={tmp_path / name}" for name in ("passport", "markdown", "classes")]
    done = run_script("passport", "--data", tmp_path, "--lengths", tmp_path / "lengths", *places)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/source.json cannot be read")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
