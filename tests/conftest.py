"""Small things to test on: texts that can be learned, and tiny models of random weights."""

import gc
import hashlib
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import filelock
import pytest

from common import checksums, files
from common.data import corpus
from common.data.examples import Example
from tests.warm import COLD, Warm

# Where Slurm's tools are installed and no cluster is, Snakemake's plugin for it waits nine seconds
# for a controller whenever it is imported. An empty configuration ends that at once.
os.environ.setdefault("SLURM_CONF", os.devnull)

ROOT = Path(__file__).parents[1]

NO_WORKFLOW = shutil.ignore_patterns(
    ".*", "__pycache__", "results", "resources", "tests", "benchmarks", "docs",
)  # fmt: skip

# Two processes share the files out, and neither shall end with a long one.
LONGEST = {
    f"test_{name}.py": place
    for place, name in enumerate(
        ("rerun", "page", "torture", "matrix", "resuming", "recipes", "speed", "security", "travel",
         "workflow", "processes", "plot", "damage", "significance", "levels")
    )
}  # fmt: skip

HF_TOKEN = "hf_NeverToBeSeen"  # of every run of the workflow here; test_security looks for it

CONFIG = """
datasets:
  messages:
    source: {package: toy-messages==1.0, sha256: %s, member: toy_messages/messages.csv}
    validation: 10
  news:
    source: {path: data/news.csv}
    validation: 10
models:
  bert:
    source: {path: tiny/bert}
  gpt2:
    source: {path: tiny/gpt2}
    training: {learning_rate: 0.002}
variants:
  lora:
    r: [2, 4]
    lora_alpha: 8
seeds: [0]
training:
  max_steps: 2
"""

WORDS = {
    "ham": "see you at home for dinner tonight love mum call me later okay sure thanks",
    "spam": "win free cash prize claim now urgent text stop mobile offer reward winner",
    "other": "meeting agenda minutes budget quarter report invoice client project deadline",
}


# The libraries are a million objects. The collector of garbage is off while they are imported, and
# looks at none of them while tests run: see common.startup.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run all tests, with all parameters")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is marked `full` to `make test-all`, and begin with the files that take longest.

    Of a test marked `quick(n)`, the first n parameters are tried. pytest counts those that are left
    out as deselected.
    """
    last = len(LONGEST)
    items.sort(key=lambda item: LONGEST.get(item.path.name, last))
    if config.getoption("--full"):
        return
    chosen: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    parameters: Counter[tuple[Path, str]] = Counter()
    for item in items:
        few, test = item.get_closest_marker("quick"), (item.path, item.name.partition("[")[0])
        parameters[test] += 1
        is_left_out = item.get_closest_marker("full") or (few and parameters[test] > few.args[0])
        (left_out if is_left_out else chosen).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = chosen


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., list[tuple[str, str]]]:
    """Rows (text, label) of distinct texts whose words tell the label."""

    def make(count: int, labels: tuple[str, ...] = ("ham", "spam"), seed: int = 0):
        draw = random.Random(seed)
        rows = []
        for number in range(count):
            label = labels[number % len(labels)]
            words = draw.choices(WORDS[label].split(), k=draw.randint(3, 12))
            rows.append((" ".join([*words, f"number{number}"]), label))
        return rows

    return make


@pytest.fixture(scope="session")
def write_csv(make_rows) -> Callable[..., Path]:
    """Write a CSV with the columns text and label; returns its path."""

    def write(path: Path, count: int = 60, labels: tuple[str, ...] = ("ham", "spam")) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = ["text,label", *(f"{text},{label}" for text, label in make_rows(count, labels))]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def vocabulary() -> list[str]:
    """The words of the rows, and digits to spell the numbers in them."""
    return sorted(set(" ".join(WORDS.values()).split()) | {"number", *"0123456789"})


def save_tokenizer(directory: Path, vocabulary: list[str], special: dict[str, str]) -> int:
    """Save a word-level tokenizer; returns the size of its vocabulary."""
    import tokenizers
    import transformers

    words = {word: i for i, word in enumerate([*special.values(), "[UNK]", *vocabulary])}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.Whitespace(), tokenizers.pre_tokenizers.Digits(True)]
    )
    if "cls_token" in special:
        pair = [(special[key], words[special[key]]) for key in ("cls_token", "sep_token")]
        core.post_processor = tokenizers.processors.BertProcessing(pair[1], pair[0])
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", model_max_length=64, **special
    )
    wrapped.save_pretrained(directory)
    return len(words)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory, vocabulary) -> dict[str, Path]:
    """Directories of tiny random models without heads, as `fetch_model` leaves them.

    bert: an encoder with a padding token of its own. gpt2: a decoder without one.
    """
    import torch
    import transformers

    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    bert_tokens = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    size = save_tokenizer(root / "bert", vocabulary, bert_tokens)
    bert = transformers.BertConfig(
        vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    transformers.BertModel(bert).save_pretrained(root / "bert")
    size = save_tokenizer(root / "gpt2", vocabulary, {"eos_token": "<|endoftext|>"})
    gpt2 = transformers.GPT2Config(
        vocab_size=size,
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    transformers.GPT2Model(gpt2).save_pretrained(root / "gpt2")
    for name in ("bert", "gpt2"):
        source: dict[str, object] = {"kind": "path", "name": name, "weights_sha256": {}}
        files.write_json(source, root / name / files.SOURCE)
        checksums.write(root / name)
    return {name: root / name for name in ("bert", "gpt2")}


@pytest.fixture(scope="session")
def make_tokens(tmp_path_factory, write_csv, tiny_models) -> Callable[..., Path]:
    """Prepare and tokenise rows for a tiny model, by the scripts themselves; returns tokens/."""
    import prepare_data
    import tokenize_data

    def make(model: str, labels: tuple[str, ...] = ("ham", "spam"), count: int = 60) -> Path:
        root = tmp_path_factory.mktemp("tokens")
        source = write_csv(root / "rows.csv", count, labels)
        prepare_data.main(f"--source {source} --output {root}/data".split())
        tokenize_data.main(
            f"--data {root}/data --model {tiny_models[model]} --max-length 16 "
            f"--output {root}/tokens".split()
        )
        return root / "tokens"

    return cache(make)


@pytest.fixture(scope="session")
def warm(tmp_path_factory) -> Warm:
    """The process that all processes which run tests share, with the libraries imported."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    base = tmp_path_factory.getbasetemp()
    return Warm((base if alone else base.parent) / "warm", os.getpid() if alone else os.getppid())


@pytest.fixture(scope="session")
def run_script(warm) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script as a user would, in a process of its own; returns the completed process.

    With an environment of its own it starts cold, since libraries read theirs on import.
    """

    def run(name: str, *words: object, env: dict[str, str] | None = None):
        python = warm.python if env is None else sys.executable
        command = [python, str(ROOT / "scripts" / f"{name}.py"), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env=env, check=False)

    return run


@pytest.fixture(scope="session")
def copy_workflow() -> Callable[[Path], Path]:
    """Copy the workflow, without its tests and anything it made, to a directory."""

    def copy(target: Path) -> Path:
        return Path(shutil.copytree(ROOT, target, ignore=NO_WORKFLOW, dirs_exist_ok=True))

    return copy


@pytest.fixture(scope="session")
def snakemake(warm) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Snakemake in a copy of the workflow; its output is all in `stdout`.

    Its jobs are warm, but those of scripts that are to start cold, since libraries read the
    environment when they are imported.
    """

    def run(
        *words: str, cwd: Path, status: int = 0, cold: Iterable[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        # Toy packages lie in wheels/: where there is such a folder, no index is asked.
        local = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(cwd / "wheels")}
        env = (
            os.environ
            | {"HF_HUB_OFFLINE": "1", "HF_TOKEN": HF_TOKEN, COLD: " ".join(cold)}
            | (local if (cwd / "wheels").exists() else {})
        )
        done = subprocess.run(
            [warm.python, "-m", "snakemake", *words],
            cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == status, done.stdout
        return done

    return run


@pytest.fixture(scope="session")
def tiny_workflow(copy_workflow, write_csv, tiny_models) -> Callable[[Path], Path]:
    """Make a workflow on small local things: CONFIG, two datasets, two models, one wheel."""

    def make(root: Path) -> Path:
        copy_workflow(root)
        write_csv(root / "data" / "news.csv", labels=("ham", "other"))
        for name, path in tiny_models.items():
            shutil.copytree(path, root / "tiny" / name)
        wheel = root / "wheels" / "toy_messages-1.0-py3-none-any.whl"
        wheel.parent.mkdir()
        about = "toy_messages-1.0.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.write(write_csv(root / "messages.csv"), "toy_messages/messages.csv")
            archive.writestr(f"{about}/METADATA", "Name: toy-messages\nVersion: 1.0\n")
            archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (root / "config" / "config.yaml").write_text(CONFIG % digest)
        return root

    return make


@pytest.fixture(scope="session")
def finished(request, tmp_path_factory, copy_workflow, tiny_workflow, snakemake) -> Path:
    """The tiny workflow with all outputs up to date. Only to read: see `work`.

    It is made once for all processes that run tests, and kept for the next call of pytest as long
    as no file of the workflow changes.
    """
    kept = request.config.cache.mkdir("finished")
    place = kept / digest_of(copy_workflow(tmp_path_factory.mktemp("code")), Path(__file__))
    with filelock.FileLock(kept / "lock"):
        if not place.exists():
            for old in (path for path in kept.iterdir() if path.is_dir()):
                shutil.rmtree(old)
            aside = place.with_suffix(".partial")
            snakemake("--cores", "2", cwd=tiny_workflow(aside))
            aside.rename(place)
    return place


def digest_of(directory: Path, *files: Path) -> str:
    """Return a digest of Python's version, of the files below a directory, and of more files."""
    found = hashlib.sha256(sys.version.encode())
    below = sorted(path for path in directory.rglob("*") if path.is_file())
    for path in (*below, *files):
        found.update(f"{path.relative_to(directory) if path in below else path.name}".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


@pytest.fixture
def work(finished, tmp_path) -> Path:
    """A finished workflow of one's own, with the times of its files, to run and to change."""
    return Path(shutil.copytree(finished, tmp_path / "workflow"))


@pytest.fixture
def take_in(tmp_path) -> Callable[..., corpus.Corpus]:
    """Take in rows of text, label and perhaps group, given by split."""

    def taken(threshold: float | None = 0.8, **splits: list[tuple[str, ...]]) -> corpus.Corpus:
        rows = {
            split: [
                Example(number, text, label, group[0] if group else None)
                for number, (text, label, *group) in enumerate(texts)
            ]
            for split, texts in splits.items()
        }
        return corpus.ingest(rows, tmp_path, threshold, processes=1)

    return taken
