"""The names that a wildcard stands for, as a regular expression."""

import re

import pytest

from rules.wildcards import one_of

NAMES = {
    "one": ["sms-spam"],
    "ranks": [f"lora-r{rank}" for rank in range(1, 1001)],
    "seeds": [*range(12)],
    "one begins as another": ["base", "lora", "lora-r1", "lora-r16", "full"],
    "signs": ["a.b", "a-b", "a_b", "a+b", "a^b", "a]b", "a|b"],
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_the_names_match_and_no_others(names):
    wanted = {str(name) for name in names}
    near = {name[:-1] for name in wanted} | {name + "1" for name in wanted} | {"", "axb"}
    pattern = re.compile(one_of(names))
    assert {name for name in wanted | near if pattern.fullmatch(name)} == wanted


def test_no_name_is_no_match():
    assert not re.compile(one_of([])).match("")


def test_it_is_short_where_names_begin_alike():
    """Snakemake reads it for each file of each job."""
    assert len(one_of(NAMES["ranks"])) < 120
