"""Tiny models of every architecture, and settings of every PEFT method, that the tests go through.

Weights are drawn large, so that what is wrong shows: with the usual small ones, a text that padding
has moved is still classified almost as before.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datasets

PAD, END = 0, 1  # token ids
WORDS = range(2, 80)

NAMES = {"vocab_size": 80, "pad_token_id": PAD, "bos_token_id": END, "eos_token_id": END}
LARGE = {"initializer_range": 0.2}
SIZE = {
    **NAMES,
    **LARGE,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
NARROW = {"embedding_size": 16}  # embeddings

# The config of each, and the modules that are its head.
ARCHITECTURES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "bert": (SIZE, ["classifier"]),
    "roberta": (SIZE, ["classifier"]),
    "distilbert": (
        {**NAMES, **LARGE, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
        ["pre_classifier", "classifier"],
    ),
    "albert": ({**SIZE, **NARROW}, ["classifier"]),
    "electra": ({**SIZE, **NARROW}, ["classifier"]),
    "mpnet": (SIZE, ["classifier"]),
    "deberta-v2": (SIZE, ["pooler", "classifier"]),
    "modernbert": ({**SIZE, "cls_token_id": END, "sep_token_id": END}, ["head", "classifier"]),
    "xlnet": (
        {**NAMES, **LARGE, "d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64},
        ["sequence_summary", "logits_proj"],
    ),
    "t5": (
        {**NAMES, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2,
         "decoder_start_token_id": PAD},
        ["classification_head"],
    ),
    "gpt2": (
        {**NAMES, **LARGE, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
        ["score"],
    ),
    "opt": ({**SIZE, "init_std": 0.2, "ffn_dim": 64, "word_embed_proj_dim": 16}, ["score"]),
    "llama": (SIZE, ["score"]),
    "qwen2": ({**SIZE, "num_key_value_heads": 1}, ["score"]),
    "qwen3": ({**SIZE, "num_key_value_heads": 1, "head_dim": 16}, ["score"]),
    "gpt_neox": (SIZE, ["score"]),
    "bloom": ({**NAMES, **LARGE, "hidden_size": 32, "n_layer": 2, "n_head": 2}, ["score"]),
}  # fmt: skip

VIRTUAL = {"num_virtual_tokens": 4}
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"r": 4},
    "rslora": {"r": 4, "use_rslora": True},
    "dora": {"r": 4, "use_dora": True},
    "lora+": {"r": 4},
    "pissa": {"r": 4, "init_lora_weights": "pissa"},
    "olora": {"r": 4, "init_lora_weights": "olora"},
    "adalora": {"peft_type": "ADALORA", "init_r": 4, "target_r": 2},
    "ia3": {"peft_type": "IA3"},
    "vera": {"peft_type": "VERA", "r": 8},
    "loha": {"peft_type": "LOHA", "r": 2},
    "lokr": {"peft_type": "LOKR", "r": 2},
    "oft": {"peft_type": "OFT", "oft_block_size": 8},
    "fourierft": {"peft_type": "FOURIERFT", "n_frequency": 8},
    "ln-tuning": {"peft_type": "LN_TUNING"},
    "prefix-tuning": {"peft_type": "PREFIX_TUNING", **VIRTUAL},
    "prompt-tuning": {"peft_type": "PROMPT_TUNING", **VIRTUAL},
    "p-tuning": {"peft_type": "P_TUNING", "encoder_hidden_size": 16, **VIRTUAL},
}
# Keys of `training` that make a method.
TRAINING: dict[str, dict[str, Any]] = {"lora+": {"lora_plus_ratio": 16.0}}


def make(architecture: str, directory: Path, **changes: Any) -> Path:
    """Save a tiny model of random weights, without a head; returns its directory."""
    import torch
    import transformers

    torch.manual_seed(0)
    values = ARCHITECTURES[architecture][0] | changes
    config = transformers.AutoConfig.for_model(architecture, **values)
    transformers.AutoModel.from_config(config).save_pretrained(directory)
    return directory


def rows(count: int, classes: int) -> "datasets.Dataset":
    """Tokenised rows of many lengths; the words tell the class, and each ends in the end token."""
    import datasets
    import torch

    draw = torch.Generator().manual_seed(count)
    texts, labels = [], []
    for number in range(count):
        label = number % classes
        length = int(torch.randint(2, 12, (1,), generator=draw))
        words = torch.randint(0, len(WORDS) // classes, (length,), generator=draw)
        texts.append([*(words * classes + label + WORDS.start).tolist(), END])
        labels.append(label)
    lengths = [len(text) for text in texts]
    return datasets.Dataset.from_dict({"input_ids": texts, "label": labels, "length": lengths})
