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

# More that are tried with LoRA alone: the config of each, and the modules that are its head.
MORE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "bart": (
        {**NAMES, "init_std": 0.2, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2,
         "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
         "decoder_ffn_dim": 64, "max_position_embeddings": 64, "decoder_start_token_id": END,
         "forced_eos_token_id": END},
        ["classification_head"],
    ),
    "big_bird": ({**SIZE, "attention_type": "original_full"}, ["classifier"]),
    "camembert": (SIZE, ["classifier"]),
    "ctrl": (
        {**NAMES, **LARGE, "n_embd": 32, "dff": 64, "n_layer": 2, "n_head": 2, "n_positions": 64},
        ["classifier"],
    ),
    "esm": ({**SIZE, "mask_token_id": 2}, ["classifier"]),
    "falcon": (
        {**NAMES, **LARGE, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
        ["score"],
    ),
    "gemma": ({**SIZE, "num_key_value_heads": 1, "head_dim": 16}, ["score"]),
    "gemma2": ({**SIZE, "num_key_value_heads": 1, "head_dim": 16}, ["score"]),
    "gpt_neo": (
        {**NAMES, **LARGE, "hidden_size": 32, "num_layers": 2, "num_heads": 2,
         "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 64,
         "intermediate_size": 64},
        ["score"],
    ),
    "gptj": (
        {**NAMES, **LARGE, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64,
         "rotary_dim": 8},
        ["score"],
    ),
    "layoutlm": (SIZE, ["classifier"]),
    "longformer": (
        {**SIZE, "attention_window": [8, 8], "max_position_embeddings": 70}, ["classifier"]
    ),
    "mistral": ({**SIZE, "num_key_value_heads": 1}, ["score"]),
    "mobilebert": (
        {**SIZE, "embedding_size": 16, "true_hidden_size": 16, "intra_bottleneck_size": 16,
         "num_feedforward_networks": 1},
        ["classifier"],
    ),
    "phi": (SIZE, ["score"]),
    "phi3": ({**SIZE, "num_key_value_heads": 1}, ["score"]),
    "rembert": (
        {**SIZE, "input_embedding_size": 16, "output_embedding_size": 16}, ["classifier"]
    ),
    "roformer": ({**SIZE, "embedding_size": 32}, ["classifier"]),
    "xlm": (
        {**NAMES, "emb_dim": 32, "n_layers": 2, "n_heads": 2, "embed_init_std": 0.2,
         "init_std": 0.2, "max_position_embeddings": 64},
        ["sequence_summary"],
    ),
    "xlm-roberta": (SIZE, ["classifier"]),
}  # fmt: skip
# What is refused whatever the variant, or with what adapts linear layers.
UNFIT: dict[str, dict[str, Any]] = {
    "nystromformer": {**SIZE, "num_landmarks": 4, "segment_means_seq_len": 4},
    "squeezebert": {**SIZE, "embedding_size": 32},
}

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
    known = ARCHITECTURES | MORE
    values = (known[architecture][0] if architecture in known else UNFIT[architecture]) | changes
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
