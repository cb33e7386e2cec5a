"""What is said of rows: counts that are right, whatever is wrong with the rows."""

import pandas as pd
import pytest

from common import description


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
    found = description.encoding(pd.Series([text, "plain"], dtype="str"))
    assert [name for name, rows in found.items() if rows] == expected


def test_rows_in_are_counted_with_what_is_wrong_in_them():
    rows = [("a b", "x"), ("", "x"), (" ", "y"), ("c\ufffd", ""), ("d", "10"), ("e", "9")]
    found = description.found({"train": pd.DataFrame(rows, columns=["text", "label"], dtype="str")})
    assert found["train"]["rows"] == 6
    assert found["train"]["empty"] == {"text": 2, "label": 1}
    assert list(found["train"]["classes"].items()) == [("9", 1), ("10", 1), ("x", 2), ("y", 1)]
    assert found["train"]["encoding"]["replacement character"] == 1
