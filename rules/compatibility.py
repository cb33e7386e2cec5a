"""Which PEFT methods cannot be right on which architectures, and why.

Known before anything is downloaded or trained. tests/test_matrix.py keeps the table honest: it
trains every method on every architecture, and what is not refused here must come back from disk bit
for bit, padded or not; what is refused must fail. Pairs that no one has listed are put to the same
proof when their cell begins to train (scripts/common/padding.py) and when it is evaluated
(scripts/common/gate.py).
"""

from typing import Any

# By PEFT method, then by the `model_type` of the model's config.json: the reason.
NO_PAST = "it takes no past keys and values, in which the prefix is handed over"
NO_EMBEDDINGS = "it takes token ids alone, and the prompt is made of embeddings"
NO_SIDE = (
    "it is handed embeddings, in which it cannot see where a text ends: padded on the right it "
    "classifies by a padding token, padded on the left its positions shift"
)
NO_CONV1D = "its layers are of the kind Conv1D, which this method does not know"

PROMPTS = {"t5": NO_EMBEDDINGS} | dict.fromkeys(
    ("gpt2", "llama", "qwen2", "qwen3", "gpt_neox", "xlnet"), NO_SIDE
)
REASONS: dict[str, dict[str, str]] = {
    "PREFIX_TUNING": dict.fromkeys(
        ("albert", "deberta-v2", "distilbert", "modernbert", "mpnet", "t5", "xlnet"), NO_PAST
    ),
    "PROMPT_TUNING": PROMPTS,
    "P_TUNING": PROMPTS,
    "LOHA": {"gpt2": NO_CONV1D},
    "LOKR": {"gpt2": NO_CONV1D},
    "OFT": {"gpt2": NO_CONV1D},
}
OLORA = {"gpt2": NO_CONV1D}  # LORA with `init_lora_weights: olora`

# Starts that are drawn at random, or made of data, anew whenever the adapter is loaded: what was
# trained on top of one start would be put on top of another.
MOVING_STARTS = ("corda", "eva", "loftq", "lora_ga", "pissa_niter")


def why_not(model_type: str, peft: dict[str, Any]) -> str | None:
    """Why a PEFT config cannot be right on an architecture; None where nothing is known against it.

    Args:
        model_type: as the model's config.json has it.
        peft: a literal PEFT config.
    """
    return reasons(peft).get(model_type)


def reasons(peft: dict[str, Any]) -> dict[str, str]:
    """By architecture, why a PEFT config cannot be right on it."""
    if method_of(peft) == "LORA" and peft.get("init_lora_weights") == "olora":
        return OLORA
    return REASONS.get(method_of(peft), {})


def never(peft: dict[str, Any]) -> str | None:
    """Why a PEFT config cannot be right on any architecture; None where it can."""
    start = str(peft.get("init_lora_weights", "")).lower()
    if method_of(peft) == "LORA" and start.startswith(MOVING_STARTS):
        return (
            f"`init_lora_weights: {start}` starts from another point whenever it is loaded; use "
            "`pissa`, `olora` or the default"
        )
    return None


def method_of(peft: dict[str, Any]) -> str:
    """The PEFT method of a literal PEFT config."""
    return str(peft.get("peft_type", "LORA")).upper()
