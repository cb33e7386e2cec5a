"""The methods section of a paper on a comparison, with the figures of the run itself."""

from typing import Any

from common.baselines import BASELINES
from common.cells import Cell, full_name, is_baseline
from common.markdown import shown
from common.source import pinned

PEFT_KEYS = ("peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "bias",
             "target_modules")  # fmt: skip
NAMES = {"max_seq_length": "max_length"}  # of a train_config, as the config has them
OF_CELL = ("model_id", "seed")  # in a train_config; stated elsewhere
POLICIES = {
    "drop": "duplicates were dropped, near ones where they would straddle splits",
    "group": "rows that are duplicates of each other were kept in one split",
    "warn": "duplicates were kept, and rows that repeat a training row marked",
    "error": "the data were refused if duplicates straddled splits",
}
STATISTICS = """\
The figure of a variant is its mean over the seeds whose training did not fail; trainings that \
failed, by their loss on training rows, are counted. Intervals are at {level:g} %: of several \
seeds, Student's from the variances due to rows and to seeds (Obuchowski and Rockette 1995; Hillis \
2014), on the logit scale of the range of the metric; of a single model, percentiles of a Bayesian \
bootstrap of the test rows ({resamples:,} resamples, stratified by class; Rubin 1981), and for its \
accuracy Wilson's (1927). Differences in {metrics} were tested on the same test rows with \
Student's t of the difference of means, paired by seed, whose variance is that over {resamples:,} \
paired, stratified bootstrap resamples of the rows and that over seeds; its degrees of freedom are \
Satterthwaite's (1946), and with fewer than eight seeds smaller ones. No p-value is smaller than \
that of a sign test of the rows on which two variants disagree. {single}P-values were corrected \
by Holm's (1979) method within each question ({counts}) at {alpha:g} %; "better than every \
baseline" is an intersection-union test (Berger 1982). Equivalence is within {margin:g}, by \
two one-sided tests of {alpha:g} % each (Goeman et al. 2010). Detectable differences and plans are \
at 80 % power; shares of the gap from head to full fine-tuning have Fieller's (1954) interval. \
Calibration is measured by the expected calibration error of 15 bins (Guo et al. 2017), beside \
that of a calibrated model, and by the Brier (1950) score."""
SINGLE = "Two single models were compared by McNemar's (1947) test with mid-p, too. "
Record = dict[str, Any]


def text(verdicts: Record, preparations: dict[str, Record], records: list[Record]) -> str:
    """Return the section, as Markdown.

    Args:
        verdicts: verdicts.json.
        preparations: by dataset, its preparation.json.
        records: every metrics.json, each with the ``dataset``, ``model``, ``variant`` and ``seed``
            of its cell under ``cell``.
    """
    parts = ["# Methods", "## Data"]
    parts += [data(name, found, records) for name, found in preparations.items()]
    parts += ["## Models and variants", *models(records), *variants(records), seeds(records)]
    parts += [
        "## Evaluation",
        evaluation(records, preparations),
        statistics(verdicts),
        "## Software",
    ]
    return "\n\n".join([*parts, *software(records)]) + "\n"


def data(dataset: str, found: Record, records: list[Record]) -> str:
    """Return one dataset: source, rows, policy on duplicates, splits."""
    record = next(each for each in records if each["cell"]["dataset"] == dataset)
    settings, splits = found["settings"], found["splits"]
    read = sum(part["rows"] for part in found["found"].values())
    near = settings["near_duplicates"]
    similar = "near duplicates did not count" if near is None else f"near: similarity of {near:g}"
    by_group = f", rows of one {settings['group']} together" if settings["group"] else ""
    sizes = "; ".join(size(name, part, found) for name, part in splits.items())
    return shown(
        f"{dataset} ({pinned(record['meta_info']['dataset_info'].get('source'))}): of {read:,} "
        f"usable rows, {counted(found['rows_dropped'])} were dropped and "
        f"{counted(found['rows_marked'])} marked; {POLICIES[settings['leakage']]} ({similar}), "
        f"rows of equal texts with contradicting labels: {settings['conflicting_labels']}. Splits "
        f"that the source lacks were drawn by {settings['split_by']} sampling with seed "
        f"{settings['split_seed']}{by_group}: {sizes}.{redrawn(dataset, found, records)}"
    )


def redrawn(dataset: str, found: Record, records: list[Record]) -> str:
    """Return a sentence on training rows that each seed draws; "" where they are drawn once."""
    own = (each for each in records if each["cell"]["dataset"] == dataset)
    rows = {each["meta_info"]["dataset_info"].get("train_rows") for each in own} - {None}
    if not rows or max(rows) == (pool := found["splits"]["train"]["rows"]):
        return ""
    return (
        f" Of these {pool:,} training rows, each seed drew {max(rows):,}, stratified by class; "
        "variants and baselines of one seed share the draw."
    )


def size(name: str, part: Record, found: Record) -> str:
    """Return the rows of a split: test 300 of 1,114 (ham 265, spam 35).

    Of itself where all were taken.
    """
    left = found.get("rows", {}).get("not_drawn", {}).get(name, 0)
    of = f" of {part['rows'] + left:,}" if left else ""
    classes = ", ".join(f"{label} {rows:,}" for label, rows in part["classes"].items())
    return f"{name} {part['rows']:,}{of} ({classes})"


def counted(by_reason: dict[str, int]) -> str:
    """Return how many rows, and for what reason: 530 (exact 403, near 127)."""
    reasons = ", ".join(f"{name} {rows:,}" for name, rows in by_reason.items() if rows)
    return f"{sum(by_reason.values()):,}" + (f" ({reasons})" if reasons else "")


def models(records: list[Record]) -> list[str]:
    """Return each model: its source."""
    found = {
        record["cell"]["model"]: record["meta_info"].get("model_info")
        for record in records
        if record["cell"]["model"]
    }
    return [shown(f"Model {name}: {pinned(origin)}.") for name, origin in found.items()]


def variants(records: list[Record]) -> list[str]:
    """Return each trained variant with its settings; datasets of the same settings in one item."""
    where: dict[str, list[str]] = {}
    for record in records:
        if record["run_info"].get("train_config"):
            datasets = where.setdefault(trained(record), [])
            if record["cell"]["dataset"] not in datasets:
                datasets.append(record["cell"]["dataset"])
    items = [shown(f"On {', '.join(on)}: {what}") for what, on in where.items()]
    return ["\n".join(f"- {item}" for item in items)] if items else []


def trained(record: Record) -> str:
    """Return how one cell was trained."""
    run, cell = record["run_info"], record["cell"]
    peft = run.get("peft_config") or {}
    made = [f"{key} {plain(peft[key])}" for key in PEFT_KEYS if is_set(peft.get(key))]
    made += [f"quantization {run['quantization']}"] if run.get("quantization") else []
    options = [
        f"{NAMES.get(key, key)} {plain(value)}"
        for key, value in run["train_config"].items()
        if key not in OF_CELL and is_set(value)
    ]
    counted = record["train_info"].get("num_trainable_params")
    parameters = "" if counted is None else f"; {counted:,} trainable parameters"
    kind = run.get("kind", "adapter")
    described = f"{kind} ({', '.join(made)})" if made else kind
    name = full_name(cell["model"], cell["variant"])
    return f"{name}, {described}: AdamW, {', '.join(options)}{parameters}."


def is_set(value: Any) -> bool:
    """Return whether a setting is worth a word: 0 is; what is off or not set is not."""
    return value is not None and value is not False and value != []


def plain(value: Any) -> str:
    """Return a setting in words: a list without its brackets, a whole number without its point."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def seeds(records: list[Record]) -> str:
    """Return which seeds, and what the baselines are."""
    numbers = sorted({r["cell"]["seed"] for r in records if r["cell"]["seed"] is not None})
    cells = [Cell(**record["cell"]) for record in records]
    named = list(dict.fromkeys(cell.variant for cell in cells if is_baseline(cell)))
    said = f"Seeds: {', '.join(map(str, numbers))}."
    about = "; ".join(BASELINES[name].about for name in named)
    return shown(f"{said} Baselines: {about}." if named else said)


def evaluation(records: list[Record], preparations: dict[str, Record]) -> str:
    """Return what was measured on what."""
    tested = {name: found["splits"]["test"]["rows"] for name, found in preparations.items()}
    rows = ", ".join(f"{name}: {count:,}" for name, count in tested.items())
    return shown(
        f"Every cell was loaded anew from disk and measured on the test rows ({rows}), which "
        f"nothing was fitted to or chosen by; what to recommend is chosen by the loss on "
        f"validation rows.{kept(records)}"
    )


def kept(records: list[Record]) -> str:
    """Return which epoch was kept, of which variants; nothing where it is always the last."""
    names: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for record in records:
        if config := record["run_info"].get("train_config"):
            name = full_name(record["cell"]["model"], record["cell"]["variant"])
            # To stop early is to keep the best.
            best = config.get("keep") == "best" or config.get("patience") is not None
            names[best][f"{name} on {record['cell']['dataset']}"] = None
    if not names[True]:
        return ""
    if not names[False]:
        return " The epoch that was best on validation was kept."
    which = ", ".join(names[True])
    return f" The epoch that was best on validation was kept of {which}; of others, the last."


def statistics(verdicts: Record) -> str:
    """Return the tests, with the numbers of this run."""
    datasets = verdicts["datasets"]
    pairs = [pair for found in datasets.values() for pair in found["comparisons"]]
    counts = "; ".join(f"{name}: {tested(found)}" for name, found in datasets.items())
    metrics = ", ".join(dict.fromkeys(found["metric"] for found in datasets.values()))
    return STATISTICS.format(
        level=100 * verdicts["level"],
        alpha=100 * verdicts["alpha"],
        margin=verdicts["margin"],
        resamples=verdicts["resamples"],
        metrics=shown(metrics),
        counts=shown(counts),
        single=SINGLE if any(pair["mcnemar_p"] is not None for pair in pairs) else "",
    )


def tested(found: Record) -> str:
    """Return how many pairs of a dataset answer each question."""
    families = {pair["question"]: pair["family"] for pair in found["comparisons"]}
    return ", ".join(f"{asked} {count}" for asked, count in families.items() if asked) or "none"


def software(records: list[Record]) -> list[str]:
    """Return versions and hardware; each once, however many cells it made."""
    lines: dict[str, None] = {}
    for record in records:
        meta = record["meta_info"]
        versions = ", ".join(
            f"{name.removesuffix('-version')} {version}"
            for name, version in meta.get("package_info", {}).items()
            if version
        )
        system = meta.get("system_info", {})
        parts = [system.get(key) for key in ("processor", "accelerator", "system", "machine")]
        lines[shown(f"{versions}; {', '.join(part for part in parts if part)}.")] = None
    return list(lines)
