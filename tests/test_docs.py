"""The documentation says what the code does."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import generate  # noqa: E402

README = (ROOT / "README.md").read_text(encoding="utf-8")
MARKDOWN = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "config" / "README.md"])


def test_the_configuration_readme_is_in_step_with_the_schema():
    written = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    assert written == generate.config_readme(), "run `make docs`"


def test_the_table_of_methods_is_in_step_with_what_is_refused():
    written = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert written == generate.methods_page(), "run `make docs`"


def test_texts_are_in_step_with_what_their_parts_are_made_from():
    for name, parts in generate.generated_parts().items():
        written = (ROOT / name).read_text(encoding="utf-8")
        assert generate.with_parts(name, written, parts) == written, "run `make docs`"


@pytest.mark.parametrize("file", MARKDOWN, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file):
    for path, _, heading in re.findall(
        r"\]\((?!https?:)([^)#]*)(#([^)]+))?\)", file.read_text(encoding="utf-8")
    ):
        target = file.parent / path if path else file
        assert target.exists(), path
        assert not heading or heading in anchors(target), f"{path}#{heading}"


def anchors(file: Path) -> set[str]:
    """Return the names by which the headings of a Markdown file are linked to on GitHub."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_page_is_linked_from_the_readme():
    linked = re.findall(r"\]\((docs/\w+\.md|\w+\.md)", README)
    pages = {str(file.relative_to(ROOT)) for file in MARKDOWN}
    assert set(linked) == pages - {"README.md", "config/README.md"}


def test_the_readme_is_short():
    assert len(README.split()) <= 900


def test_the_table_of_rules_lists_every_script():
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    scripts = {path.name for path in (ROOT / "scripts").glob("*.py")}
    assert scripts - {"diff.py", "partial.py"} <= set(re.findall(r"[a-z_]+\.py", reference))


def documented_command(script: Path) -> str:
    """Return the first command in a script's docstring, on one line."""
    text = script.read_text(encoding="utf-8").split('"""')[1]
    lines = text[text.index("    python ") :].split("\n\n")[0].replace("\\\\\n", " ")
    return " ".join(lines.split())


@pytest.mark.parametrize(
    "script", sorted((ROOT / "scripts").glob("*.py")), ids=lambda script: script.name
)
def test_every_script_opens_with_its_command(script):
    command = documented_command(script)
    assert command.startswith(f"python scripts/{script.name} --")
