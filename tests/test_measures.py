"""Figures of texts: lengths, digests that tell equal texts, signs of a wrong encoding."""

import pytest

from common.measures import encoding_signs, measure


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
        ("plain", []),
    ],
)
def test_signs_of_a_wrong_encoding(text, expected):
    assert encoding_signs(text) == expected


def test_lengths_in_characters_and_in_words():
    found = measure(["one two", " é\u00a0😀\n", "x"], None)
    assert found.characters.tolist() == [7, 5, 1]
    assert found.words.tolist() == [2, 2, 1]


def test_equal_texts_have_equal_digests():
    found = measure(["Win 1!", "win 2", "Win 1!", "lose"], None)
    assert [len({tuple(row) for row in rows}) for rows in (found.exact, found.normalised)] == [3, 2]
    assert found.exact.shape == found.normalised.shape == (4, 2)


def test_buckets_only_where_near_duplicates_count():
    assert measure(["a", "b"], None).buckets.shape == (2, 0)
    assert measure(["a", "b"], 0.8).buckets.shape[1] > 1


def test_texts_of_several_signs_are_counted_per_sign():
    found = measure(["caf\ufffd \ufffd", "caf\ufffd", "plain"], None)
    assert found.encoding == {"replacement character": 2}
