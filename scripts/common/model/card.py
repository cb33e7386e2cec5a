"""The model card of a trained cell: what it is, what it reached, and how to use it elsewhere.

The head is YAML that the Hugging Face hub reads (base model, datasets, results); the body is for
people, with Python that loads the cell by PEFT and transformers alone. A card holds nothing that
the records of the cell do not.
"""

import json
from pathlib import Path
from typing import Any

from common import files
from common.markdown import flat, shown, table
from common.model import variants
from common.source import describe, of_record

FLOAT32 = 'dtype="float32"'  # transformers takes that of the file by default

CLASSIFIER = "AutoModelForSequenceClassification"
# The tokenizer cuts longer texts as in training: it was saved so.
TOKENIZER = ("tokenizer = AutoTokenizer.from_pretrained(path)", "")

ANSWER = (
    "probabilities = model(**inputs.to(model.device)).logits.softmax(-1)[0]",
    "number = int(probabilities.argmax())",
    'print(model.config.id2label[number], f"{probabilities[number].item():.4f}")',
)


def usage(record: dict[str, Any], directory: Path) -> str:
    """Return Python that loads the cell and prints the label of a text with its probability.

    Args:
        record: the content of the cell's metrics.json.
        directory: what ``variants.save`` wrote.
    """
    kind, base = record["run_info"]["kind"], record["meta_info"]["model_info"]
    config = variants.config_of(directory)
    saved = variants.read_record(directory)
    quantization, asked = quantized(saved.quantization), question(saved.separator)
    if kind == "adapter" and of_record(base).on_hub:
        modules, load = {"peft": ["AutoPeftModelForSequenceClassification"]}, auto_adapter(config)
    elif kind == "adapter":
        modules, load = {"peft": ["PeftModel"]}, on_base(base)
        load.append("model = PeftModel.from_pretrained(model, path)")
    elif kind == "head":
        modules, load = {"safetensors.torch": ["load_file"]}, on_base(base)
        load.append(f'head = load_file(f"{{path}}/{variants.HEAD_WEIGHTS}")')
        load.append("model.load_state_dict(head, strict=False)")
    else:
        modules, load = {}, [f"model = {CLASSIFIER}.from_pretrained(path, {FLOAT32})"]
    transformers = [name for name in ("AutoConfig", CLASSIFIER) if f"{name}." in " ".join(load)]
    modules["transformers"] = sorted([*transformers, "AutoTokenizer"])
    if quantization:
        modules["transformers"].append("BitsAndBytesConfig")
        load = [line.replace(FLOAT32, f"{FLOAT32}, {quantization}") for line in load]
    imports = [f"from {module} import {', '.join(names)}" for module, names in modules.items()]
    load = ["", 'path = "."  # this directory', *load, "model.eval()", *TOKENIZER]
    return "\n".join([*imports, *load, *asked, *ANSWER])


def question(separator: str | None) -> list[str]:
    """Return code that makes tokens of a text, or of a pair of texts.

    Args:
        separator: put before the second text of a pair; None where texts are no pairs.
    """
    if separator is None:
        texts, words = 'text = "Put your text here."', "text"
    else:
        texts = 'text, text_pair = "Put your text here.", "Put its pair here."'
        words = f"text, {separator!r} + text_pair" if separator else "text, text_pair"
    return [texts, f'inputs = tokenizer({words}, truncation=True, return_tensors="pt")']


def auto_adapter(config: dict[str, Any]) -> list[str]:
    """Return code that loads an adapter of a hub model.

    PEFT finds the model, and its commit, by itself.

    The head is drawn before the saved one takes its place, hence the number of classes; and a head
    for other classes that came with the model has to give way.
    """
    names = {int(number): label for number, label in config["id2label"].items()}
    return [
        "model = AutoPeftModelForSequenceClassification.from_pretrained(",
        "    path,",
        f"    num_labels={len(names)},",
        f"    id2label={names!r},",
        f"    label2id={ ({label: number for number, label in names.items()})!r},",
        f"    pad_token_id={config['pad_token_id']},",
        "    ignore_mismatched_sizes=True,",
        f"    {FLOAT32},",
        ")",
    ]


def on_base(base: dict[str, Any]) -> list[str]:
    """Return code that loads the base model as a classifier with the configuration of the cell."""
    if of_record(base).on_hub:
        place = [f"base = {flat(base['name'])!r}"]
        revision = f"\n    revision={base.get('revision')!r},"
    else:
        name = flat(base.get("version") or base["name"])
        place = [f'base = "path/to/the/base"  # set it to a directory of {name} as safetensors']
        revision = ""
    return [
        *place,
        f"model = {CLASSIFIER}.from_pretrained(",
        f"    base,{revision}",
        "    config=AutoConfig.from_pretrained(path),",
        "    ignore_mismatched_sizes=True,",
        f"    {FLOAT32},",
        ")",
    ]


def quantized(options: dict[str, Any] | None) -> str:
    """Return the argument that quantises the base model as it was in training; "" for none."""
    words = ", ".join(f"{key}={value!r}" for key, value in (options or {}).items())
    return f"quantization_config=BitsAndBytesConfig({words})" if options else ""


CARD = "README.md"

# Key in a record's metrics; name for people; id that the hub knows.
FIGURES = (
    ("accuracy", "Accuracy", "accuracy"),
    ("macro_f1", "Macro-F1", "f1"),
    ("f1", "F1", "f1"),
    ("precision", "Precision", "precision"),
    ("recall", "Recall", "recall"),
    ("mcc", "Matthews correlation", "matthews_correlation"),
    ("loss", "Log loss", "loss"),
)

OF_POSITIVE = ("f1", "precision", "recall")

WHAT = {
    "adapter": "{method} adapter and a classification head",
    "head": "classification head alone, a linear probe of the frozen model",
    "full": "full fine-tune",
}

METHODS = {"LORA": "LoRA", "ADALORA": "AdaLoRA", "VERA": "VeRA", "LOHA": "LoHa", "LOKR": "LoKr"}


def write(
    directory: Path,
    record: dict[str, Any],
    *,
    options: dict[str, Any],
    train_rows: int,
    max_length: int,
) -> None:
    """Write the card of a trained cell into the directory that it was saved to.

    Args:
        directory: what ``variants.save`` wrote; class names and padding token come from its
            config.json.
        record: the content of the cell's metrics.json.
        options: of the training; ``seed`` and ``peft``, the PEFT keys as given, are read.
        train_rows: how many rows it was trained on.
        max_length: tokens kept of each text.
    """
    facts = {"train_rows": train_rows, "max_length": max_length}
    text = f"---\n{metadata(record).to_yaml()}\n---\n\n" + "\n\n".join(
        [
            *summary(record, options.get("seed"), **facts),
            "## Figures",
            *figures(record),
            "## Hyper-parameters",
            hyper_parameters(record, options.get("peft") or {}),
            "## How to use",
            f"```python\n{usage(record, directory)}\n```",
            "## Versions",
            versions(record),
        ]
    )
    with files.atomic_write(directory / CARD) as aside:
        aside.write_text(text + "\n", encoding="utf-8")


def metadata(record: dict[str, Any]):
    """Return the head of the card, as ``huggingface_hub.ModelCardData``.

    The hub takes ids of its own for ``base_model`` and ``datasets`` and refuses other names, so
    that a base out of a package or a directory stands in the body alone.
    """
    from huggingface_hub import ModelCardData

    kind, base = record["run_info"]["kind"], record["meta_info"]["model_info"]
    source = record["meta_info"]["dataset_info"].get("source") or {}
    base_id = base["name"] if of_record(base).on_hub else None
    return ModelCardData(
        base_model=base_id,
        library_name="peft" if kind == "adapter" else "transformers",
        pipeline_tag="text-classification",
        tags=tags(record, base_id),
        datasets=[source["name"]] if of_record(source).on_hub else None,
        model_name=name_of(record),
        eval_results=results(record),
    )


def tags(record: dict[str, Any], base_id: str | None) -> list[str]:
    """Return what the cell is found by on the hub; of an adapter, those that PEFT gives it."""
    if record["run_info"]["kind"] != "adapter":
        return ["lora-bench"]
    found = [record["run_info"]["peft_config"]["peft_type"].lower(), "transformers", "lora-bench"]
    return found + ([f"base_model:adapter:{base_id}"] if base_id else [])


def results(record: dict[str, Any]) -> list[Any]:
    """Return the figures of the test rows, as ``huggingface_hub.EvalResult``.

    None claims to be verified.

    A dataset that is not on the hub has its name in the place of its id.
    """
    from huggingface_hub import EvalResult

    source = record["meta_info"]["dataset_info"].get("source") or {}
    on_hub, dataset = of_record(source).on_hub, dataset_of(record)
    return [
        EvalResult(
            task_type="text-classification",
            task_name="Text classification",
            dataset_type=source["name"] if on_hub else dataset,
            dataset_name=dataset,
            dataset_config=source.get("subset") if on_hub else None,
            dataset_revision=source.get("revision") if on_hub else None,
            dataset_split="test",
            metric_type=kind,
            metric_name=title,
            metric_value=record["metrics"]["test"][key],
            metric_args=arguments(key, record),
        )
        for key, title, kind in named_figures(record)
    ]


def named_figures(record: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return those of FIGURES that the record has; with more than two classes, none is positive."""
    positive = flat(positive_class(record))
    return [
        (key, f"{title} of {positive}" if key in OF_POSITIVE else title, kind)
        for key, title, kind in FIGURES
        if record["metrics"]["test"].get(key) is not None
    ]


def arguments(key: str, record: dict[str, Any]) -> dict[str, str] | None:
    """Return how a figure is averaged over the classes; None where there is nothing to choose."""
    if key in OF_POSITIVE:
        return {"average": "binary", "pos_label": flat(positive_class(record))}
    return {"average": "macro"} if key == "macro_f1" else None


def positive_class(record: dict[str, Any]) -> str:
    """Return the class of F1, precision and recall.

    The one named for the evaluation, or the last.
    """
    labels = record["meta_info"]["dataset_info"]["labels"]
    return record["run_info"]["options"].get("positive_label") or labels[-1]


def name_of(record: dict[str, Any]) -> str:
    """Return the name of the cell: dataset/model/variant/seed."""
    return flat(record["run_info"]["experiment_name"]).strip("/") or "text classifier"


def dataset_of(record: dict[str, Any]) -> str:
    """Return the name of the dataset: the first part of the cell's."""
    return name_of(record).partition("/")[0]


def summary(
    record: dict[str, Any], seed: int | None, train_rows: int, max_length: int
) -> list[str]:
    """Return the first paragraphs of the body: what the model is, and what it is made of."""
    run, meta = record["run_info"], record["meta_info"]
    method = (run.get("peft_config") or {}).get("peft_type", "")
    quantization = run.get("quantization")
    rows = {"training": train_rows} | {
        split: values["rows"] for split, values in record["metrics"].items()
    }
    labels = enumerate(map(shown, meta["dataset_info"]["labels"]))
    rows_from = meta["dataset_info"].get("source")
    facts = [
        f"Base model: {describe(meta['model_info'])}",
        *([f"Base model loaded in {quantization} by bitsandbytes"] if quantization else []),
        "Classes in order: " + "; ".join(f"{number}: {label}" for number, label in labels),
        f"Dataset: {shown(dataset_of(record))}, from {describe(rows_from)}",
        "Rows: " + ", ".join(f"{count:,} {split}" for split, count in rows.items()),
        f"Texts: cut after {max_length} tokens",
        f"Seed: {'not on record' if seed is None else seed}",
        *training(record),
    ]
    return [
        f"# {shown(name_of(record))}",
        f"A text classifier: {WHAT[run['kind']].format(method=METHODS.get(method, method))}.",
        "\n".join(f"- {fact}" for fact in facts),
        round_trip_sentence(record["round_trip"]),
    ]


def training(record: dict[str, Any]) -> list[str]:
    """Return what was trained, for how long and on what machine."""
    info, system = record["train_info"], record["meta_info"]["system_info"]
    trainable, total = (info[f"num_{part}_params"] for part in ("trainable", "total"))
    parts = ", ".join(
        f"{info[f'num_{part}_params']:,} in the {part}" for part in ("adapter", "head")
    )
    machine = system.get("accelerator") or system.get("processor") or system.get("machine")
    return [
        f"Trained parameters: {trainable:,} of {total:,} ({parts})",
        f"Training: {info['steps']:,} steps in {info['train_time']:.1f} s on {shown(machine)}",
    ]


def round_trip_sentence(check: dict[str, Any]) -> str:
    """Return how exactly the saved model answers as the trained one did."""
    return (
        "Loaded from this directory in a new process, the model gives the logits that it gave when "
        f"it was trained: the largest difference is {check['reload_difference']:.3g}, "
        f"{check['tolerance']:.3g} is allowed; padding moves a probability by at most "
        f"{check['padding_difference']:.3g}."
    )


def figures(record: dict[str, Any]) -> list[str]:
    """Return the figures of every split in a table, and what to know of them."""
    metrics = record["metrics"]
    clean = metrics["test"].get("clean", {})
    columns = metrics | ({"test, clean rows": clean} if "accuracy" in clean else {})
    rows = [
        [title, *(f"{values[key]:.4f}" for values in columns.values())]
        for key, title, *_ in named_figures(record)
    ]
    notes = "The figures are those of one seed; no row of validation or test was trained on."
    if "clean" in metrics["test"]:
        leaked = metrics["test"]["rows"] - clean["rows"]
        notes = (
            "The figures are those of one seed. "
            f"**{leaked:,} of the test rows have a duplicate that was trained on**; "
            f"{of_the_others(clean)}."
        )
    if metrics["test"].get("collapsed"):
        notes += " **The model predicts one class for nearly every row: it has learned nothing.**"
    return [table(["metric", *columns], rows), notes]


def of_the_others(clean: dict[str, Any]) -> str:
    """Return what is known of the clean rows, in words: where they lack a class, no metric."""
    if "accuracy" in clean:
        return "the clean rows are the others"
    if not clean["rows"]:
        return "no row is left to give figures of"
    missing = ", ".join(shown(name) for name, count in clean["classes"].items() if not count)
    return f"the other {clean['rows']:,} have no row of class {missing}, and hence no figures"


def hyper_parameters(record: dict[str, Any], peft: dict[str, Any]) -> str:
    """Return what was set, as a table; keys that are not set are left out."""
    run = record["run_info"]
    given = {f"peft: {key}": value for key, value in peft.items()}
    settings = {key: value for key, value in run["train_config"].items() if value is not None}
    rows = [[key, as_json(value)] for key, value in (settings | given).items()]
    return table(["key", "value"], rows)


def versions(record: dict[str, Any]) -> str:
    """Return the versions of the packages it was made with."""
    packages = record["meta_info"]["package_info"]
    return ", ".join(
        f"{name.removesuffix('-version')} {shown(version)}"
        for name, version in packages.items()
        if version
    )


def as_json(value: Any) -> str:
    """Return a setting as one would write it in the config; a text goes without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
