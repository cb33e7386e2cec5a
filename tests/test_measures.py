"""Figures of texts: lengths, digests that tell equal texts, signs of a wrong encoding."""

import pytest

from common.data.corpus import Measures, encoding_signs, measure


def measured(*texts: str, threshold: float | None = None) -> Measures:
    return measure([(text, None) for text in texts], threshold)


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
    found = measured("one two", " é\u00a0😀\n", "x")
    assert found.characters.tolist() == [7, 5, 1]
    assert found.words.tolist() == [2, 2, 1]


def test_equal_texts_have_equal_digests():
    found = measured("Win 1!", "win 2", "Win 1!", "lose")
    assert [len({tuple(row) for row in rows}) for rows in (found.exact, found.normalised)] == [3, 2]
    assert found.exact.shape == found.normalised.shape == (4, 2)


def test_buckets_only_where_near_duplicates_count():
    assert measured("a", "b").buckets.shape == (2, 0)
    assert measured("a", "b", threshold=0.8).buckets.shape[1] > 1


def test_texts_of_several_signs_are_counted_per_sign():
    found = measured("caf\ufffd \ufffd", "caf\ufffd", "plain")
    assert found.encoding == {"replacement character": 2}


def test_a_pair_is_measured_as_both_of_its_texts():
    pairs = [("He is here", "not true"), ("He is here not", "true"), ("he is HERE!", "not true")]
    found = measure([*pairs], 0.8)
    assert found.characters.tolist() == [18, 18, 19]
    assert found.words.tolist() == [5, 5, 5]
    keys = [tuple(row) for row in found.normalised]
    assert keys[0] == keys[2] != keys[1]
