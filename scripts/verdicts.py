"""Tell which differences between the variants of a comparison are real.

    python scripts/verdicts.py --results results --baselines majority tfidf \\
        --cells sms-spam/minilm/base,lora-r4,lora-r16/0,1 --metric macro_f1 \\
        --output results/verdicts.json --digests results/cells.json

On each dataset all variants are compared with each other on the same test rows; Holm's correction
is within a question. What to use is chosen by the loss on validation rows. Nothing is read that was
published elsewhere. Equal predictions give equal files, byte for byte, but for what training took
(``costs``). The digests of all metrics stand for the cells in what follows.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

from common import cells, checksums, cli, files, warm
from common.metrics import METRICS

log = logging.getLogger("verdicts")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    datasets = {
        dataset: judged(args, identities)
        for dataset, identities in by_dataset(args.cells, args.baselines).items()
    }
    verdicts = {
        "metric": args.metric,
        "level": args.level,
        "alpha": alpha(args),
        "margin": args.margin,
        "resamples": args.resamples,
        "sizes": {name: [size for size in sizes if size in datasets] for name, sizes in args.sizes},
        "datasets": datasets,
    }
    add_over_several(verdicts)
    files.write_json(verdicts, args.output)
    if args.digests:
        files.write_json(digests(args), args.digests)
    for dataset, found in verdicts["datasets"].items():
        log.info("%s: %s", dataset, found["verdict"][0])


def parse(argv: list[str] | None):
    """Return the command line.

    What each option means is described once more in config/README.md.
    """
    parser = cli.parser(__doc__)
    parser.add_argument("--results", required=True, type=Path, help="directory of all results")
    parser.add_argument("--cells", required=True, nargs="+", help="DATASET/MODEL/VARIANTS/SEEDS")
    parser.add_argument("--baselines", nargs="*", default=[], help="of every dataset")
    cells.add_sizes_option(parser)
    parser.add_argument("--metric", choices=[*METRICS], default="macro_f1", help="to compare by")
    parser.add_argument("--level", type=level, default=0.95, help="of confidence, 0.5 to 0.999")
    parser.add_argument(
        "--margin", type=margin, default=0.02, help="a difference that does not matter"
    )
    parser.add_argument(
        "--resamples", type=cli.int_at_least(200), default=2000, help="of the test rows"
    )
    parser.add_argument("--output", required=True, type=Path, help="JSON file to write")
    parser.add_argument(
        "--digests", type=Path, help="JSON file to write, of the metrics of all cells"
    )
    return parser.parse_args(argv)


def level(text: str) -> float:
    """Return the type of --level: a number from 0.5 to 0.999."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.5 <= number <= 0.999:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0.5 to 0.999")
    return number


def margin(text: str) -> float:
    """Return the type of --margin: a finite number above 0."""
    number = cli.finite(0.0)(text)
    if not number:
        raise argparse.ArgumentTypeError("0 is no margin: name a difference that does not matter")
    return number


def alpha(args) -> float:
    """Return the level of the tests; a plain subtraction gives 0.050000000000000044."""
    return round(1 - args.level, 10)


def by_dataset(words: list[str], baselines: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the cells and baselines of each dataset, as ``cells.identities`` names them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for identity in cells.identities(words, baselines):
        found.setdefault(identity["dataset"], []).append(identity)
    return found


def digests(args) -> dict[str, str]:
    """Return the digests of every metrics.json by path; in each is that of its predictions."""
    rows = cells.identities(args.cells, args.baselines)
    found = [cells.directory(args.results, row) / cells.METRICS for row in rows]
    return checksums.digests(found, args.results)


def add_over_several(verdicts: dict[str, Any]) -> None:
    """Add what several datasets say together.

    Of the sizes of one, from how many training rows on training pays, to the verdict of the
    largest; and ``over_datasets``, the mean differences, for which sizes of one are one dataset.
    """
    from common.statistics import ranking, verdict

    datasets, smaller = verdicts["datasets"], set()
    for names in verdicts["sizes"].values():
        ordered = sorted(names, key=lambda name: datasets[name]["train_rows"] or 0)
        smaller |= {*ordered[:-1]}
        for largest in ordered[-1:]:
            datasets[largest]["verdict"] += verdict.crossings([datasets[name] for name in ordered])
    own = {name: found for name, found in datasets.items() if name not in smaller}
    verdicts["over_datasets"] = ranking.over_datasets(own, verdicts["level"])


def judged(args, identities: list[dict[str, Any]]) -> dict[str, Any]:
    """Return all that is said of one dataset."""
    from common.statistics import predictions, ranking, verdict

    answers = predictions.read(args.results, identities)
    found = ranking.compare_variants(answers, args.metric, args.level, args.resamples, args.margin)
    found |= {"train_rows": train_rows([cell.record for cell in answers.cells])}
    return found | {"verdict": verdict.sentences(found, args.metric)}


def train_rows(records: list[dict[str, Any]]) -> int | None:
    """Return how many rows the cells of a dataset were trained on; None if it is on no record."""
    counts = (record["meta_info"]["dataset_info"].get("train_rows") for record in records)
    return next((count for count in counts if count is not None), None)


if __name__ == "__main__":
    warm.run(main, "pandas", "pyarrow.parquet", "scipy.stats")
