"""Which PEFT methods cannot be right on which architectures, and why.

Known before anything is downloaded or trained. tests/test_matrix.py keeps the table honest: what is
not refused here must come back from disk bit for bit, padded or not; what is refused must fail.
Pairs that no one has listed are checked by scripts/common/model/roundtrip.py when their cell begins
to train and when it is evaluated.
"""

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

# By PEFT method, then by the `model_type` of the model's config.json: the reason.
NO_PAST = "it takes no past keys and values, in which the prefix is handed over"
NO_MASK = "with the prefix, its keys are longer than the mask that it makes for them"
NO_EMBEDDINGS = "it takes token ids alone, and the prompt is made of embeddings"
NO_SIDE = (
    "it is handed embeddings, in which it cannot see where a text ends: padded on the right it "
    "classifies by a padding token, padded on the left its positions shift"
)
NO_CONV1D = "its layers are of the kind Conv1D, which this method does not know"

PROMPTS = {"t5": NO_EMBEDDINGS} | dict.fromkeys(
    ("gpt2", "llama", "qwen2", "qwen3", "gpt_neox", "xlnet"), NO_SIDE
)
WITHOUT_CONV1D = (
    "ADAMSS", "BEFT", "BOFT", "C3A", "DELORA", "GLORA", "HRA", "LILY", "LOHA", "LOKR", "MISS",
    "OFT", "OSF", "PEANUT", "PSOFT", "ROAD", "SHIRA", "SUPERTUNING",
)  # fmt: skip
REASONS: dict[str, dict[str, str]] = {
    "PREFIX_TUNING": {"t5": NO_MASK}
    | dict.fromkeys(
        ("albert", "deberta-v2", "distilbert", "modernbert", "mpnet", "xlnet"), NO_PAST
    ),
    "PROMPT_TUNING": PROMPTS,
    "P_TUNING": PROMPTS,
    **{method: {"gpt2": NO_CONV1D} for method in WITHOUT_CONV1D},
}
# Methods that find no linear layer in it; LN_TUNING and the prompts want none.
NO_LINEAR = {"squeezebert": "its layers are convolutions, and the method adapts linear layers"}
WITHOUT_LINEAR = ("LN_TUNING", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING")
# Models that no variant is right on, the base included.
UNFIT = {
    "nystromformer": "its attention depends on how far a text is padded, so its figures would be "
    "those of the batch",
}
OLORA = {"gpt2": NO_CONV1D}  # LORA with `init_lora_weights: olora`

# Starts that are drawn at random, or made of data, anew whenever the adapter is loaded: what was
# trained on top of one start would be put on top of another.
MOVING_STARTS = ("corda", "eva", "loftq", "lora_ga", "pissa_niter")
# Methods that need more than a config, or that do not train a classifier.
NOT_HERE = ("CPT", "MULTITASK_PROMPT_TUNING", "POLY", "TRAINABLE_TOKENS", "XLORA")


def why_not(model_type: str, peft: dict[str, Any]) -> str | None:
    """Return why a PEFT config cannot be right on an architecture.

    None where nothing is known against it.

    Args:
        model_type: as the model's config.json has it.
        peft: a literal PEFT config.
    """
    return reasons(peft).get(model_type)


def reasons(peft: dict[str, Any]) -> dict[str, str]:
    """Return why a PEFT config cannot be right, by architecture."""
    linear = {} if method_of(peft) in WITHOUT_LINEAR else NO_LINEAR
    if method_of(peft) == "LORA" and start_of(peft) == "olora":
        return linear | OLORA
    return linear | REASONS.get(method_of(peft), {})


@cache
def methods() -> tuple[str, ...]:
    """Return the methods of the PEFT that is installed; () where it is not, as under --use-conda.

    They are read off its source: to import it takes seconds.
    """
    found = importlib.util.find_spec("peft")
    if found is None or found.origin is None:
        return ()
    source = Path(found.origin).parent / "utils" / "peft_types.py"
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except OSError:
        return ()
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef))
    members = next((node.body for node in classes if node.name == "PeftType"), [])
    return tuple(
        target.id
        for node in members
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    )


def unsupported(peft: dict[str, Any]) -> str | None:
    """Return why a PEFT config cannot be right on any architecture; None where it can."""
    method, start = method_of(peft), start_of(peft)
    if method in NOT_HERE:
        return f"{method} needs more than a config, or does not train a classifier; choose another"
    if method == "ADALORA" and "r" in peft:
        return "ADALORA does not read `r`: set `init_r` and `target_r`"
    if method == "LORA" and start.startswith(MOVING_STARTS):
        return (
            f"`init_lora_weights: {start}` starts from another point whenever it is loaded; use "
            "`pissa`, `olora` or the default"
        )
    return None


def clash(peft: dict[str, Any], training: dict[str, Any]) -> str | None:
    """Return why a PEFT config cannot be trained with some settings; None where it can."""
    method = method_of(peft)
    if training["lora_plus_ratio"] is not None and method != "LORA":
        return f"`lora_plus_ratio` is for LORA, not for {method}"
    if training["gradient_checkpointing"] and method == "PREFIX_TUNING":
        return "`gradient_checkpointing` drops what PREFIX_TUNING hands over"
    own_loss = training["class_weights"] == "none" and training["gradient_accumulation_steps"] == 1
    if method == "ADALORA" and not own_loss:
        return (
            "`class_weights` and `gradient_accumulation_steps` do not go with ADALORA, which has a "
            "loss of its own"
        )
    return None


def method_of(peft: dict[str, Any]) -> str:
    """Return the PEFT method of a literal PEFT config."""
    return str(peft.get("peft_type", "LORA")).upper()


def start_of(peft: dict[str, Any]) -> str:
    """Return how the matrices of a LoRA start."""
    return str(peft.get("init_lora_weights", "")).lower()
