"""Editing one thing reruns the stages that depend on it, and no other.

The table EDITS is the contract; docs/reruns.md shows it. The workflow it is tested on compares two
tiny models on two small datasets with two ranks and one seed (see conftest.py).
"""

import ast
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
STAGES = (
    "fetch_package", "fetch_dataset", "fetch_model", "prepare_data", "tokenize", "passport",
    "eval_baseline", "eval_embedding", "eval_base", "train_lora", "eval_lora", "verdicts", "report",
    "plot", "page", "predict",
)  # fmt: skip

# How many jobs of each stage follow from a new ...
REPORT = {"report": 1}
PAGE = {"page": 1}  # which shows the whole config
VERDICTS = {"verdicts": 1, "plot": 1, **PAGE, **REPORT}
EVALUATED = {"eval_lora": 8, **VERDICTS}
EVALUATIONS = {"eval_baseline": 4, "eval_embedding": 4, "eval_base": 4, **EVALUATED}
TRAINED = {"train_lora": 8, **EVALUATED}
TOKENIZED = {"tokenize": 4, "passport": 2, "eval_embedding": 4, "eval_base": 4, **TRAINED}
PREPARED = {"prepare_data": 2, "eval_baseline": 4, **TOKENIZED}
FETCHED = {"fetch_package": 1, "fetch_dataset": 1, "fetch_model": 2, **PREPARED}
ONE_DATASET = {"eval_baseline": 2, "tokenize": 2, "eval_base": 2, "train_lora": 4, "eval_lora": 4}
ONE_DATASET = {"prepare_data": 1, "passport": 1, "eval_embedding": 2, **ONE_DATASET, **VERDICTS}

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Edit:
    """An edit: what it is, of which file, what it does to it, and the jobs that it makes stale."""

    what: str
    file: str
    change: Change
    stale: dict[str, int] = field(default_factory=dict)
    words: tuple[str, ...] = ()  # on the command line of snakemake

    def __str__(self) -> str:
        return self.what.replace("`", "")


def append(text: str) -> Change:
    return lambda path: path.write_text(path.read_text() + text)


def replace(old: str, new: str) -> Change:
    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text, f"{old!r} is not in {path}"
        path.write_text(text.replace(old, new))

    return change


def code_edit(name: str, stale: dict[str, int]) -> Edit:
    return Edit(f"code of `scripts/{name}.py`", f"scripts/{name}.py", append("X = 1\n"), stale)


def function_edit(module: str, function: str, stale: dict[str, int]) -> Edit:
    """Return an edit of the last statement of a function."""

    def change(path: Path) -> None:
        tree = ast.parse(path.read_text())
        found: Any = next(each for each in tree.body if getattr(each, "name", "") == function)
        last = found.body[-1]
        lines = path.read_text().splitlines(keepends=True)
        lines.insert(last.lineno - 1, " " * last.col_offset + "None\n")
        path.write_text("".join(lines))

    file = f"scripts/common/{module}.py"
    return Edit(f"`{function}` of `{file}`", file, change, stale)


def config_edit(what: str, old: str, new: str, stale: dict[str, int]) -> Edit:
    return Edit(what, "config/config.yaml", replace(old, new), stale)


def setting(what: str, yaml: str, stale: dict[str, int]) -> Edit:
    return Edit(what, "config/config.yaml", append(yaml), stale)


TRAIN_SCRIPT = "scripts/train_lora.py"
SECOND_CONFIG = ("--configfile", "config/config.yaml", "config/more.yaml")
NEW_TEXT = "{new: {input: data/news.csv, dataset: news, cell: bert/lora-r2/seed0}}"
ONE_VARIANT_MORE = """
variants: {head: {kind: head}}
models: {bert: {variants: [lora]}, gpt2: {variants: [lora, head]}}
"""

EDITS = [
    Edit("nothing", "README.md", lambda path: path),
    Edit("a script touched", TRAIN_SCRIPT, lambda path: path.touch()),
    Edit("a comment in a script", TRAIN_SCRIPT, append("# why not\n")),
    Edit("a docstring in a script", TRAIN_SCRIPT, replace('"""Train one', '"""Train just one')),
    Edit("the layout of a script", TRAIN_SCRIPT, append("\n\n\n")),
    Edit("the text of an error in a script", TRAIN_SCRIPT, replace("is no JSON object", "is not")),
    Edit("README.md", "README.md", append("More.\n")),
    code_edit("fetch_package", {"fetch_package": 1, "fetch_dataset": 1, **ONE_DATASET}),
    code_edit("fetch_dataset", {"fetch_dataset": 1, **ONE_DATASET}),
    code_edit("fetch_model", {"fetch_model": 2, **TOKENIZED}),
    code_edit("prepare_data", PREPARED),
    code_edit("tokenize_data", TOKENIZED),
    code_edit("passport", {"passport": 2, "page": 1}),
    code_edit("eval_baseline", {"eval_baseline": 4, **VERDICTS}),
    code_edit("eval_embedding", {"eval_embedding": 4, **VERDICTS}),
    code_edit("eval_base", {"eval_base": 4, **VERDICTS}),
    code_edit("train_lora", TRAINED),
    code_edit("eval_lora", EVALUATED),
    code_edit("verdicts", VERDICTS),
    code_edit("report", REPORT),
    code_edit("plot", {"plot": 1}),
    code_edit("page", {"page": 1}),
    Edit("the template of the page", "scripts/templates/report.html", append("\n"), {"page": 1}),
    Edit("the style of the page", "scripts/templates/report.css", append("\n"), {"page": 1}),
    Edit("a script of the page", "scripts/templates/report/table.js", append("\n"), {"page": 1}),
    code_edit("predict", {}),
    # Commands beside the workflow.
    code_edit("diff", {}),
    code_edit("partial", {}),
    # Of a module, a function that some stages use.
    function_edit("cli", "parser", FETCHED),
    function_edit("cli", "finite", TOKENIZED),
    function_edit("files", "write_json", {"fetch_dataset": 1, "fetch_model": 2, **PREPARED}),
    function_edit("files", "atomic_write", {}),
    function_edit("gpus", "lease", {}),
    function_edit("data/wheels", "copy_members", {"fetch_model": 2, **TOKENIZED}),
    function_edit("data/reading", "read_csv", PREPARED),
    function_edit("data/splits", "carve", PREPARED),
    function_edit("data/leakage", "find_duplicates", PREPARED),
    function_edit("data/encoding", "load_tokenizer", TOKENIZED),
    function_edit("data/encoding", "plain_ids", TOKENIZED),
    function_edit("data/passport", "markdown", {"passport": 2, "page": 1}),
    function_edit("model/packing", "by_run", {"eval_base": 4, **TRAINED}),
    function_edit(
        "model/models", "load_classifier", {"eval_embedding": 4, "eval_base": 4, **TRAINED}
    ),
    function_edit("model/adapters", "attach", TRAINED),
    function_edit("model/adapters", "load", EVALUATED),
    function_edit("model/variants", "save", TRAINED),
    function_edit("model/variants", "load", EVALUATED),
    function_edit("model/training", "train", TRAINED),
    function_edit("model/roundtrip", "choose_padding", {"eval_base": 4, **TRAINED}),
    function_edit("model/roundtrip", "check", EVALUATED),
    function_edit("model/scoring", "classification_metrics", EVALUATIONS),
    function_edit("model/card", "write", EVALUATED),
    function_edit("statistics/significance", "compare", VERDICTS),
    function_edit("report/figures", "rank_panels", {"plot": 1, "page": 1}),
    function_edit("report/latex", "table", REPORT),
    function_edit("report/comparison", "by_variant", REPORT),
    function_edit("report/difference", "figures", {}),
    function_edit("report/progress", "standing", {}),
    Edit(
        "a module more imported by `scripts/report.py`",
        "scripts/report.py",
        append("from common.data import splits\n"),
        REPORT,
    ),
    config_edit(
        "a rank more", "[2, 4]", "[2, 4, 8]", {"train_lora": 4, "eval_lora": 4, **VERDICTS}
    ),
    config_edit("a rank less", "[2, 4]", "[4]", VERDICTS),
    config_edit("another `lora_alpha`", "lora_alpha: 8", "lora_alpha: 4", TRAINED),
    config_edit(
        "a seed more",
        "seeds: [0]",
        "seeds: [0, 1]",
        {"eval_base": 4, "train_lora": 8, "eval_lora": 8, **VERDICTS},
    ),
    config_edit("`training`: `max_steps`", "max_steps: 2", "max_steps: 3", TRAINED),
    config_edit(
        "one model's `learning_rate`",
        "learning_rate: 0.002",
        "learning_rate: 0.001",
        {"train_lora": 4, "eval_lora": 4, **VERDICTS},
    ),
    config_edit("the same number written 2e-3", "learning_rate: 0.002", "learning_rate: 2e-3", {}),
    config_edit(
        "the order of keys",
        "    r: [2, 4]\n    lora_alpha: 8",
        "    lora_alpha: 8\n    r: [2, 4]",
        {},
    ),
    config_edit(
        "one dataset's `validation`",
        "news.csv}\n    validation: 10",
        "news.csv}\n    validation: 12",
        ONE_DATASET,
    ),
    config_edit(
        "one dataset's `train_rows`, two numbers",
        "messages.csv}\n",
        "messages.csv}\n    train_rows: [20, 40]\n",
        {
            "prepare_data": 2,
            "tokenize": 4,
            "passport": 2,
            "eval_baseline": 4,
            "eval_embedding": 4,
            "eval_base": 4,
            "train_lora": 8,
            "eval_lora": 8,
            **VERDICTS,
        },
    ),
    config_edit(
        "one dataset's `draw_train_rows`: `per_seed`",
        "news.csv}\n",
        "news.csv}\n    train_rows: 20\n    draw_train_rows: per_seed\n",
        {
            "passport": 1,
            "eval_baseline": 2,
            "eval_embedding": 2,
            "train_lora": 4,
            "eval_lora": 4,
            **VERDICTS,
        },
    ),
    config_edit(
        "one dataset's `leakage`",
        "news.csv}\n",
        "news.csv}\n    leakage: warn\n",
        ONE_DATASET,
    ),
    config_edit(
        "one dataset's `near_duplicates`",
        "news.csv}\n",
        "news.csv}\n    near_duplicates: 0.9\n",
        ONE_DATASET,
    ),
    config_edit(
        "one dataset's `near_duplicates` switched off",
        "news.csv}\n",
        "news.csv}\n    near_duplicates: null\n",
        ONE_DATASET,
    ),
    config_edit(
        "one dataset's `conflicting_labels`",
        "news.csv}\n",
        "news.csv}\n    conflicting_labels: keep\n",
        ONE_DATASET,
    ),
    config_edit(
        "one dataset's `split_by`",
        "news.csv}\n    validation: 10\n",
        "news.csv}\n    validation: 0.2\n    split_by: hash\n",
        ONE_DATASET,
    ),
    config_edit(
        "one dataset's `about`: `license`",
        "news.csv}\n",
        "news.csv}\n    about: {license: CC BY 4.0}\n",
        {"passport": 1, "page": 1},
    ),
    config_edit(
        "one dataset's `evaluation`",
        "news.csv}\n",
        "news.csv}\n    evaluation: {positive_label: ham}\n",
        {"eval_baseline": 2, "eval_embedding": 2, "eval_base": 2, "eval_lora": 4, **VERDICTS},
    ),
    config_edit(
        "one model no longer on all `datasets`",
        "tiny/gpt2}",
        "tiny/gpt2}\n    datasets: [news]",
        {"passport": 1, **VERDICTS},
    ),
    config_edit(
        "one model no longer with all `variants`",
        "tiny/gpt2}",
        "tiny/gpt2}\n    variants: [lora-r2]",
        VERDICTS,
    ),
    Edit(
        "a variant more, in one model's `variants`",
        "config/more.yaml",
        lambda path: path.write_text(ONE_VARIANT_MORE),
        {"train_lora": 2, "eval_lora": 2, **VERDICTS},
        SECOND_CONFIG,
    ),
    setting("`tokenization`: `max_length`", "tokenization: {max_length: 12}\n", TOKENIZED),
    setting(
        "`evaluation`: `positive_label`",
        "evaluation: {positive_label: ham}\n",
        EVALUATIONS,
    ),
    setting(
        "`execution`: `evaluation_batch_tokens`", "execution: {evaluation_batch_tokens: 4}\n", PAGE
    ),
    setting("`execution`: `threads`", "execution: {threads: 2}\n", PAGE),
    setting("`execution`: `checkpoint_seconds`", "execution: {checkpoint_seconds: 0}\n", PAGE),
    setting("`execution`: `jobs_per_gpu`", "execution: {jobs_per_gpu: 2}\n", PAGE),
    setting("`execution`: `cells_per_process`", "execution: {cells_per_process: 2}\n", PAGE),
    setting("`execution`: `warm`", "execution: {warm: false}\n", PAGE),
    config_edit(
        "one model's `resources`", "tiny/gpt2}", "tiny/gpt2}\n    resources: {mem_mb: 9000}", PAGE
    ),
    config_edit(
        "`training`: `failed_above`", "max_steps: 2", "max_steps: 2\n  failed_above: 0.9", TRAINED
    ),
    config_edit(
        "one model's `retries`",
        "learning_rate: 0.002",
        "learning_rate: 0.002, retries: 1",
        {"train_lora": 4, "eval_lora": 4, **VERDICTS},
    ),
    config_edit(
        "a control with `permute_labels`",
        "variants:\n",
        "variants:\n  control: {r: 4, training: {permute_labels: true}}\n",
        {"train_lora": 4, "eval_lora": 4, **VERDICTS},
    ),
    config_edit("`training`: `gpus`", "max_steps: 2", "max_steps: 2\n  gpus: 2", TRAINED),
    setting("`report`: `metrics`", "report: {metrics: [mcc]}\n", VERDICTS),
    setting(
        "`report`: a further metric", "report: {metrics: [macro_f1, mcc]}\n", {**REPORT, **PAGE}
    ),
    setting("`report`: `verdicts`", "report: {verdicts: {level: 0.9}}\n", VERDICTS),
    setting("`predictions`: an entry", f"predictions: {NEW_TEXT}\n", {"predict": 1, **PAGE}),
    setting(
        "`published`: a reference row",
        "published: [{dataset: news, variant: LoRA, source: a paper, metrics: {f1: 0.9}}]\n",
        {**REPORT, **PAGE},
    ),
    setting("a baseline less", "baselines: [majority]\n", VERDICTS),
    Edit(
        "a second config file",
        "config/more.yaml",
        lambda path: path.write_text("training: {max_steps: 4}\n"),
        TRAINED,
        SECOND_CONFIG,
    ),
    Edit("a row more in a local dataset", "data/news.csv", append("new words,ham\n"), ONE_DATASET),
]


def planned(plan: str) -> Counter:
    """Return how many jobs of each stage a dry run lists."""
    return Counter(re.findall(r"^(?:local)?rule (\w+):", plan, re.MULTILINE)) - Counter(all=1)


# Of each kind of edit one or two; `make test-all` tries them all.
QUICK = {
    "nothing", "a script touched", "a comment in a script", "the text of an error in a script",
    "code of scripts/prepare_data.py", "code of scripts/train_lora.py", "code of scripts/report.py",
    "load of scripts/common/model/adapters.py",
    "atomic_write of scripts/common/files.py", "the template of the page", "a rank more",
    "a rank less", "a seed more", "one model's learning_rate", "the same number written 2e-3",
    "the order of keys", "one dataset's validation", "one dataset's draw_train_rows: per_seed",
    "one dataset's train_rows, two numbers", "one model no longer with all variants",
    "a variant more, in one model's variants", "tokenization: max_length", "report: metrics",
    "execution: threads", "predictions: an entry", "a row more in a local dataset",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(finished, tmp_path_factory) -> Path:
    """A finished workflow that is edited and put back for each dry run, which writes no result."""
    return Path(shutil.copytree(finished, tmp_path_factory.mktemp("rerun") / "workflow"))


@contextmanager
def edited(file: Path, change: Change) -> Iterator[None]:
    """Change a file for the time of a ``with`` block; then it has its content and times again."""
    before = (file.read_bytes(), file.stat()) if file.exists() else None
    try:
        change(file)
        yield
    finally:
        if before is None:
            file.unlink(missing_ok=True)
        else:
            content, status = before
            file.write_bytes(content)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def quick(edit: Edit) -> object:
    """Return the edit as a parameter, marked `full` unless it is QUICK."""
    return pytest.param(edit, id=str(edit), marks=() if str(edit) in QUICK else pytest.mark.full)


def test_the_quick_edits_are_in_the_table():
    assert {str(edit) for edit in EDITS} >= QUICK


@pytest.mark.parametrize("edit", map(quick, EDITS))
def test_an_edit_reruns_what_depends_on_it(place, snakemake, edit):
    with edited(place / edit.file, edit.change):
        plan = snakemake("-n", *edit.words, cwd=place).stdout
    assert planned(plan) == Counter(edit.stale)


def test_the_plan_names_the_changed_file(place, snakemake):
    with edited(place / "scripts/common/model/training.py", append("print()\n")):
        assert "common/model/training.py" in snakemake("-n", cwd=place).stdout


def test_a_fresh_checkout_of_the_code_reruns_nothing(work, snakemake):
    templates = work.glob("scripts/templates/**/*.*")
    rules = work.glob("*/*.smk")
    for file in (work / "Snakefile", *rules, *templates, *work.glob("[rsc]*/**/*.[py]*")):
        if "results" not in file.parts:
            file.touch()
    assert planned(snakemake("-n", cwd=work).stdout) == Counter()


def test_every_script_is_in_the_table():
    scripts = {f"scripts/{path.name}" for path in (ROOT / "scripts").glob("*.py")}
    assert scripts == {edit.file for edit in EDITS if edit.what.startswith("code of")}
