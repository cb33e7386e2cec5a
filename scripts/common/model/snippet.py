"""Python that loads a trained cell with nothing but PEFT and transformers, for its model card."""

from pathlib import Path
from typing import Any

from common.markdown import flat
from common.model import variants

HUB = "hub"  # the kind of a source that has an id there
FLOAT32 = 'dtype="float32"'  # transformers takes that of the file unless told
CLASSIFIER = "AutoModelForSequenceClassification"
# The tokenizer cuts longer texts as in training: it was saved so.
TOKENIZER = ("tokenizer = AutoTokenizer.from_pretrained(path)", "")
ANSWER = (
    "probabilities = model(**inputs.to(model.device)).logits.softmax(-1)[0]",
    "number = int(probabilities.argmax())",
    'print(model.config.id2label[number], f"{probabilities[number].item():.4f}")',
)


def usage(record: dict[str, Any], directory: Path) -> str:
    """Python that loads the cell and prints the label of a text with its probability.

    Args:
        record: the content of the cell's metrics.json.
        directory: what ``variants.save`` wrote.
    """
    kind, base = record["run_info"]["kind"], record["meta_info"]["model_info"]
    config = variants.config_of(directory)
    saved = variants.read_record(directory)
    quantization, asked = quantized(saved.quantization), question(saved.separator)
    if kind == "adapter" and base.get("kind") == HUB:
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
    """Code that makes tokens of a text, or of a pair of texts.

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
    """Code that loads an adapter of a hub model; PEFT finds the model, and its commit, by itself.

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
    """Code that loads the base model as a classifier with the configuration of the cell."""
    if base.get("kind") == HUB:
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
    """The argument that quantises the base model as it was in training; "" for none."""
    words = ", ".join(f"{key}={value!r}" for key, value in (options or {}).items())
    return f"quantization_config=BitsAndBytesConfig({words})" if options else ""
