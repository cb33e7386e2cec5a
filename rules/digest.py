"""The code of a stage as params: a digest of its script and of what it uses of each module.

Snakemake compares them, so that a stage reruns when its code changes, and not when a file is
touched, checked out, reformatted or explained better. ``common.syntax`` says what counts.
"""

from pathlib import Path

from common import syntax


def code_params(script: Path, root: Path) -> dict[str, str]:
    """Return a digest of a script, and of what it uses of each module.

    Each file is a param of its own, so a dry run names the one that changed.

    Args:
        script: a Python file under ``root``.
        root: the directory that absolute imports start from.

    Returns:
        ``{"train_lora": "train_lora.py 0123456789ab", "common_files": ...}``; modules of which
        nothing counts are left out.

    """
    digests = syntax.code(script, root)
    return {
        name.removesuffix(".py").replace("/", "_"): f"{name} {digest}"
        for name, digest in digests.items()
    }
