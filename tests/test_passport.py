"""The passport: counts that are right, and names that cannot break its Markdown."""

import re

import pandas as pd
import pytest

import prepare_data
from common import files, passport


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("caf\ufffd", ["replacement character"]),
        ("it\u0092s", ["C1 control character"]),
        ("cafÃ©", ["UTF-8 read as another encoding"]),
        ("Â£5", ["UTF-8 read as another encoding"]),
        ("donâ€™t", ["UTF-8 read as another encoding"]),
        ("Ã\u0089cole", ["C1 control character", "UTF-8 read as another encoding"]),
        ("naïve café – £5, SÃO, crème brûlée, 日本 😀", []),
    ],
)
def test_signs_of_a_wrong_encoding(text, expected):
    found = passport.encoding(pd.Series([text, "plain"], dtype="str"))
    assert [name for name, rows in found.items() if rows] == expected


def test_lengths():
    assert passport.lengths(pd.Series(range(101))) == {
        "mean": 50.0,
        "median": 50.0,
        "p95": 95.0,
        "max": 100,
    }


def test_rows_in_are_counted_with_what_is_odd_in_them():
    rows = [("a b", "x"), ("c\ufffd", "y"), ("d", "10"), ("e", "9"), ("f", "x")]
    given = {"train": pd.DataFrame(rows, columns=["text", "label"], dtype="str")}
    found = passport.found(given, {"train": {"non-string text": 2}})
    assert found["train"]["rows"] == 5
    assert found["train"]["oddities"] == {"non-string text": 2}
    assert list(found["train"]["classes"].items()) == [("9", 1), ("10", 1), ("x", 2), ("y", 1)]
    assert found["train"]["encoding"]["replacement character"] == 1


def test_bad_rows_are_shown_up_to_twenty():
    place = {"split": "train", "file": "a|b.csv"}
    listed = [{**place, "line": n, "column": None, "problem": "no JSON object"} for n in range(25)]
    title, said, shown = passport.bad_rows({"count": 30, "listed": listed})
    assert title == "## Bad rows"
    assert said.startswith("30 rows could not be used and were left out, the first 20 of them here")
    lines = shown.splitlines()
    assert len(lines) == 22
    assert lines[-1] == r"| train | a\|b.csv | 19 |  | no JSON object |"
    assert passport.bad_rows({"count": 0, "listed": []}) == []


HOSTILE = {"ham": "a|b <script>\\`c`", "spam": "[x](y) **z** ~~q~~"}


@pytest.fixture
def written(make_rows, tmp_path):
    """The passport of data whose labels and file name are out to break Markdown."""
    source = tmp_path / "*a|b* <i>.csv"
    rows = [(text, HOSTILE[label]) for text, label in make_rows(60)]
    rows += [(rows[0][0].upper(), rows[0][1]), rows[1], ("twice", HOSTILE["ham"])]
    rows += [("twice", HOSTILE["spam"])]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(source, index=False)
    places = ["--source", source, "--output", tmp_path / "data"]
    places += ["--passport", tmp_path / "p.json", "--markdown", tmp_path / "p.md"]

    def run(*words: str) -> tuple[dict, str]:
        prepare_data.main([*map(str, places), *words])
        return files.read_json(tmp_path / "p.json"), (tmp_path / "p.md").read_text()

    return run


def tables(text: str) -> list[list[int]]:
    """The number of cells in each line of each table."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [[len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()] for block in blocks]


@pytest.mark.parametrize("policy", ["drop", "group", "warn"])
def test_names_cannot_break_the_markdown(written, policy):
    _, text = written("--leakage", policy)
    assert len(tables(text)) == 6
    assert all(len(set(widths)) == 1 for widths in tables(text))
    assert not re.search(r"<(script|i)>", text)
    assert r"class a\|b &lt;script&gt;\\\`c\`" in text
    assert r"\*\*z\*\*" in text
    assert r"- name: \*a\|b\* &lt;i&gt;.csv" in text


def test_the_markdown_tells_what_the_json_tells(written):
    made, text = written()
    assert made["rows_dropped"] == {
        "bad": 0,
        "conflicting": 2,
        "exact": 1,
        "normalised": 1,
        "near": 0,
    }
    assert made["by_splits"][0] == {
        "action": "dropped",
        "reason": "conflicting",
        "split": "train",
        "duplicate_split": "train",
        "rows": 2,
        "other_label": 2,
    }
    assert "| dropped | exact | train | train | 1 | 0 |" in text
    assert "Texts under several labels: 1, in 2 rows." in text
    assert "`leakage: drop`; `near_duplicates: 0.8`; `conflicting_labels: drop`" in text
    assert "| before | within train | 2 | 3 | 3 |" in text
    assert all(part["sha256"] in text for part in made["splits"].values())


def test_clean_rows_are_shown_where_rows_are_marked(written):
    made, text = written("--leakage", "warn")
    clean = [f"{part['clean_rows']:,}" for part in made["splits"].values()]
    assert f"| clean rows | {' | '.join(clean)} |" in text
    assert "clean rows" not in written("--no-near-duplicates")[1]


def test_near_duplicates_that_do_not_count_are_no_column(written):
    made, text = written("--no-near-duplicates")
    assert made["settings"]["near_duplicates"] is None
    assert "| where | exact | normalised |\n" in text
    assert "`near_duplicates: null`" in text
