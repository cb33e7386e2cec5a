from typing import NamedTuple


class Example(NamedTuple):
    number: int
    text: str
    label: str
    group: str | None
    oddities: tuple[str, ...]
