"""The worked diffs of CONTRIBUTING.md: each applies to the code as it is, and does what it says."""

import hashlib
import http.server
import json
import re
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from tests import results

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"


def apply(name: str, tree: Path) -> None:
    """Apply one of the diffs to a copy of the workflow."""
    command = ["git", "apply", "--unsafe-paths", str(EXAMPLES / f"{name}.diff")]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"make docs/examples/{name}.diff anew: {done.stderr}"


def run(tree: Path, *words: object) -> str:
    """Run a script of a copy of the workflow; returns what it logs."""
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_contributing_names_every_diff():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert set(re.findall(r"docs/examples/(\w+)\.diff", text)) == {
        path.stem for path in EXAMPLES.glob("*.diff")
    }


@pytest.mark.full
def test_a_figure(copy_workflow, tmp_path):
    tree = copy_workflow(tmp_path / "tree")
    apply("figure", tree)
    made = results.make(tmp_path, results.Comparison({"sms": ["ham", "spam"]}, seeds=(0,)))
    read = ["--results", made, "--verdicts", made / "verdicts.json"]
    run(tree, "scripts/plot.py", *read, "--figures", tmp_path / "recall.svg")
    assert "recall on the test rows" in (tmp_path / "recall.svg").read_text()
    look = ["--config", made / "config.yaml", "--templates", "scripts/templates"]
    run(tree, "scripts/page.py", *read, *look, "--page", tmp_path / "page.html")
    assert "Recall by class" in (tmp_path / "page.html").read_text()


@pytest.mark.full
def test_a_source(copy_workflow, tmp_path):
    tree = copy_workflow(tmp_path / "tree")
    apply("source", tree)
    served = tmp_path / "served"
    served.mkdir()
    (served / "rows.csv").write_text("text,label\nhello,ham\nwin cash,spam\n")
    digest = hashlib.sha256((served / "rows.csv").read_bytes()).hexdigest()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/rows.csv"
        (tree / "url.yaml").write_text(
            f"datasets: {{mine: {{source: {{url: {url!r}, sha256: {digest!r}}}}}}}\n"
        )
        run(tree, "-m", "rules.config", "url.yaml")
        words = ["--url", url, "--sha256", digest, "--output", tmp_path / "fetched"]
        run(tree, "scripts/fetch_dataset.py", *words)
        server.shutdown()
    assert (tmp_path / "fetched/train.csv").read_text().startswith("text,label\n")
    assert json.loads((tmp_path / "fetched/source.json").read_text())["kind"] == "url"


@pytest.mark.full
def test_a_stage(work, snakemake):
    apply("stage", work)
    planned = snakemake("-n", cwd=work).stdout
    stages = dict(re.findall(r"^(\w+) +(\d+)$", planned, re.MULTILINE))
    assert stages == {"mistakes": "20", "all": "1", "total": "21"}
    snakemake("--cores", "2", cwd=work)
    cell = work / "results/messages/bert/lora-r2/seed0"
    assert (cell / "mistakes.csv").read_text().startswith("id,label,prediction,confidence\n")
    assert "Nothing to be done" in snakemake("-n", cwd=work).stdout
