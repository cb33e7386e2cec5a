"""A model made faster is the same model: answers, gradients, and as it was afterwards."""

import platform

import datasets
import pytest
import torch

from common.cli import InputError
from common.data.encoding import TYPES
from common.model import acceleration, collator, models, packing, patches, roundtrip, variants
from common.model.collator import Padding
from common.model.training import ThroughputCounter
from tests.architectures import ARCHITECTURES, METHODS, PAD, make, rows

torch.set_num_threads(1)

PACKED = ["bert", "roberta", "distilbert", "electra", "gpt2", "opt", "llama", "qwen2", "qwen3",
          "gpt_neox"]  # fmt: skip
ALL = ["packing", "layers", "reading"]
SAME = 1e-5  # of a logit, or of the largest gradient


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    return {name: make(name, root / name) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def data() -> datasets.Dataset:
    return rows(9, 3)


def adapted(base, kind="adapter", config=METHODS["lora"]):
    """A classifier whose adapter does something: its weights are no longer 0."""
    classifier = models.load_classifier(base, ["a", "b", "c"], PAD, 0)
    model = variants.adapt(classifier, kind, config, 3)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def learned(model, split, padding) -> dict[str, torch.Tensor]:
    """Return the logits of a batch, and the gradients of what is trained, in training mode."""
    model.train()
    model.zero_grad()
    torch.manual_seed(2)
    batch = padding([split[row] for row in range(len(split))])
    outputs = model(**{key: value for key, value in batch.items() if key != "labels"})
    torch.nn.functional.cross_entropy(outputs.logits, batch["labels"]).backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return {"logits": outputs.logits.detach(), **grads}


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    largest = max(float(value.abs().max()) for value in wanted.values())
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=SAME * largest, msg=name)


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "attention_dropout"):  # OPT's and others' are numbers
            if isinstance(vars(module).get(name), float):
                setattr(module, name, 0.0)
    return model


@pytest.mark.parametrize("kind", ["adapter", "full", "head"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_answers_and_gradients_stay(bases, data, architecture, kind):
    model = without_dropout(adapted(bases[architecture], kind, METHODS["lora"]))
    padding, _ = roundtrip.choose_padding(model, data, PAD)
    wanted, before = learned(model, data, padding), answers(model, data, padding)
    with acceleration.accelerated(model, roundtrip.probe(data), padding) as used:
        found = learned(model, data, padding)
    assert used == (ALL if architecture in PACKED else ["layers"])
    assert_same(found, wanted)
    assert torch.equal(answers(model, data, padding), before)  # bit for bit: nothing is left


def answers(model, split, padding):
    return collator.logits(model, [split[row] for row in range(len(split))], padding)


@pytest.mark.parametrize("method", ["dora", "ia3", "oft", "vera", "prompt-tuning"])
@pytest.mark.parametrize("architecture", ["bert", "opt"])
def test_other_methods_are_packed_too(bases, data, architecture, method):
    model = without_dropout(adapted(bases[architecture], config=METHODS[method]))
    padding, _ = roundtrip.choose_padding(model, data, PAD)
    wanted = learned(model, data, padding)
    with acceleration.accelerated(model, roundtrip.probe(data), padding) as used:
        found = learned(model, data, padding)
    assert "packing" in used
    assert_same(found, wanted)


def test_token_types_are_packed_too(bases, data):
    model = adapted(bases["bert"])
    typed = data.map(lambda row: {TYPES: [n % 2 for n in range(len(row["input_ids"]))]})
    wanted = answers(model, typed, Padding(PAD))
    with acceleration.accelerated(model, roundtrip.probe(typed), Padding(PAD)) as used:
        torch.testing.assert_close(answers(model, typed, Padding(PAD)), wanted, rtol=0, atol=SAME)
    assert used == ALL


def test_padding_on_the_left_is_packed_too(bases, data):
    model, left = adapted(bases["opt"]), Padding(PAD, "left")
    wanted = answers(model, data, left)
    with acceleration.accelerated(model, roundtrip.probe(data), left) as used:
        torch.testing.assert_close(answers(model, data, left), wanted, rtol=0, atol=SAME)
    assert used == ALL


def test_dropout_of_the_adapter_acts_in_training_alone(bases, data):
    model = adapted(bases["bert"], config={"r": 4, "lora_dropout": 0.5})
    wanted = answers(model, data, Padding(PAD))
    with acceleration.accelerated(model, roundtrip.probe(data), Padding(PAD)):
        torch.testing.assert_close(answers(model, data, Padding(PAD)), wanted, rtol=0, atol=SAME)
        model.train()
        batch = Padding(PAD).texts([data[0]])
        first, second = (model(**batch).logits for _ in range(2))
    assert not torch.equal(first, second)


def test_layers_compute_real_tokens_and_the_last_one_what_is_read(bases, data):
    """Counts rows of products: padding and unread tokens are in none."""
    model = adapted(bases["bert"])
    lengths = data["length"]
    with acceleration.accelerated(model, roundtrip.probe(data), Padding(PAD)):
        batch = Padding(PAD).texts([data[row] for row in range(len(data))])
        with torch.no_grad(), CountProducts() as counted:
            model(**batch)
    tokens, texts = sum(lengths), len(lengths)
    assert texts * max(lengths) > 1.3 * tokens  # there was padding to save
    # Six linear layers: of the first layer all, of the last one those of keys and values. The other
    # four are for what is read; so are pooler and head.
    assert counted.rows.count(tokens) == 6 + 2
    assert counted.rows.count(texts) == 4 + 2


class CountProducts:
    """Notes how many rows each product has."""

    def __enter__(self):
        self.rows: list[int] = []
        self.plain = patches.product

        def product(rows, weight, bias=None):
            self.rows.append(rows.reshape(-1, rows.shape[-1]).shape[0])
            return self.plain(rows, weight, bias)

        patches.product = product
        return self

    def __exit__(self, *_):
        patches.product = self.plain


def test_the_proof_is_of_short_rows_of_different_lengths():
    """Else rows that are all long would be a batch without padding, which proves nothing."""
    cut = acceleration.shortened([{"input_ids": [1] * 300, "label": 0}, {"input_ids": [1] * 500}])
    assert [len(row["input_ids"]) for row in cut] == [16, 32]
    short = acceleration.shortened([{"input_ids": [1] * 3}, {"input_ids": [1] * 9}])
    assert [len(row["input_ids"]) for row in short] == [3, 9]


def test_what_moves_an_answer_is_left_out(bases, data, monkeypatch, caplog):
    """The proof refuses: here, attention that is off by a thousandth."""
    attention = packing.Packing.attention

    def off(self, *args, **kwargs):
        outputs, _ = attention(self, *args, **kwargs)
        return 1.001 * outputs, None

    monkeypatch.setattr(packing.Packing, "attention", off)
    model = adapted(bases["bert"])
    caplog.set_level("INFO")
    with acceleration.accelerated(model, roundtrip.probe(data), Padding(PAD)) as used:
        assert used == ["layers"]
    assert "without packing: it would move answers or gradients by" in caplog.text


def test_an_error_leaves_the_model_as_it_was(bases, data):
    model = adapted(bases["gpt2"])
    before, config = answers(model, data, Padding(PAD)), model.config.to_dict()
    failed = pytest.raises(RuntimeError, match="out of memory")
    with failed, acceleration.accelerated(model, roundtrip.probe(data), Padding(PAD)):
        raise RuntimeError("out of memory")
    assert torch.equal(answers(model, data, Padding(PAD)), before)
    assert model.config.to_dict() == config
    assert not any("forward" in vars(module) for module in model.modules())


def test_attention_over_a_window_is_not_packed(bases):
    """How far a text reaches would be lost, and short rows would not show it."""
    made = packing.Packing(models.load_classifier(bases["bert"], ["a", "b"], PAD, 0).model)
    made.layout = packing.Layout.of(torch.ones(1, 3))
    query = torch.zeros(1, 2, 3, 4)
    with pytest.raises(packing.UnsupportedError):
        made.attention(None, query, query, query, None, sliding_window=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_products_and_their_gradients(dtype):
    torch.manual_seed(0)
    make_leaf = lambda *shape: torch.randn(*shape, dtype=dtype).requires_grad_()  # noqa: E731
    inputs, weight, bias = make_leaf(2, 5, 8), make_leaf(6, 8), make_leaf(6)
    ours = patches.Linear.apply(inputs, weight, bias)
    grads = torch.autograd.grad(ours.square().sum(), (inputs, weight, bias))
    plain = torch.nn.functional.linear(inputs, weight, bias)
    wanted = torch.autograd.grad(plain.square().sum(), (inputs, weight, bias))
    tolerance = {torch.bfloat16: 0.1}.get(dtype, 1e-4)
    for found, value in zip([ours, *grads], [plain, *wanted], strict=True):
        torch.testing.assert_close(found, value, rtol=tolerance, atol=tolerance)


def test_lora_in_one_is_lora_in_parts():
    torch.manual_seed(0)
    inputs, dropped = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    weight, bias, a, b = torch.randn(6, 8), torch.randn(6), torch.randn(3, 8), torch.randn(6, 3)
    for leaf in (inputs, dropped, a, b):
        leaf.requires_grad_()
    for second in (dropped, None):
        ours = patches.Lora.apply(inputs, second, weight, bias, a, b, 0.7)
        through = inputs if second is None else second
        plain = inputs @ weight.t() + bias + 0.7 * through @ a.t() @ b.t()
        leaves = [inputs, a, b, *([] if second is None else [second])]
        found = torch.autograd.grad(ours.square().sum(), leaves)
        wanted = torch.autograd.grad(plain.square().sum(), leaves)
        for one, other in zip([ours, *found], [plain, *wanted], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_without_a_gradient_the_matrices_are_merged():
    torch.manual_seed(0)
    inputs, weight, bias = torch.randn(2, 5, 8), torch.randn(6, 8), torch.randn(6)
    a, b = torch.randn(3, 8).requires_grad_(), torch.randn(6, 3).requires_grad_()
    wanted = patches.Lora.apply(inputs, None, weight, bias, a, b, 0.7)
    with torch.no_grad(), CountProducts() as counted:
        found = patches.Lora.apply(inputs, None, weight, bias, a, b, 0.7)
    assert counted.rows == [10]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


SIZES = [(70, 128), (64, 96)]  # of a thick product; rows no multiple of patches.ROWS, and one


@pytest.mark.parametrize(("count", "outputs"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("onednn", [True, False])
def test_products_are_as_exact_as_their_type(monkeypatch, onednn, dtype, count, outputs):
    """Checked with fp64; in bf16, rows and weight have 8 bits, and so has a result."""
    monkeypatch.setattr(patches, "onednn_pays", lambda: onednn and patches.ONEDNN is not None)
    torch.manual_seed(0)
    rows, bias = torch.randn(1, count, 160).requires_grad_(), torch.randn(outputs)
    weight = torch.randn(outputs, 160).to(dtype)
    a, b = torch.randn(4, 160).requires_grad_(), torch.randn(outputs, 4).requires_grad_()
    leaves = [rows, a, b]
    ours = patches.Lora.apply(rows, None, weight, bias, a, b, 0.5)
    found = [ours, *torch.autograd.grad(ours.square().sum(), leaves)]
    x, p, q = exact = [each.detach().double().requires_grad_() for each in leaves]
    plain = x @ weight.double().t() + bias + 0.5 * x @ p.t() @ q.t()
    wanted = [plain, *torch.autograd.grad(plain.square().sum(), exact)]
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == torch.float32
        gap = float((one - other).abs().max() / other.abs().max())
        assert gap < tolerance
        assert dtype != torch.bfloat16 or gap > 1e-5  # it was computed in bf16


def test_rows_in_bf16_are_filled_up():
    """Else oneDNN would compile a product for every number of tokens."""
    rows = torch.randn(33, 5)
    found = patches.rounded(rows)
    assert found.shape == (64, 5)
    assert torch.equal(found[:33], rows.bfloat16())
    assert not found[33:].any()
    assert len(patches.rounded(rows[:32])) == 32


def with_rounded_weights(model):
    """Round the frozen weights of linear layers of a model, in fp32."""
    for module in model.modules():
        if patches.is_linear(module) and not patches.is_trained(module):
            module.weight.data.copy_(module.weight.data.bfloat16().float())
    return model


@pytest.mark.parametrize("units", [False, True])
@pytest.mark.parametrize("architecture", ["bert", "gpt2", "deberta-v2"])
def test_frozen_weights_are_rounded_for_a_while(bases, data, monkeypatch, architecture, units):
    """Without units for bf16, the model is that of rounded weights; with them, nearly."""
    monkeypatch.setattr(patches, "bf16_pays", lambda: units)
    model = without_dropout(adapted(bases[architecture]))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pair = roundtrip.probe(data)
    with acceleration.accelerated(model, pair, Padding(PAD), "bf16") as used:
        found = learned(model, data, Padding(PAD))
    assert ("bf16" in used) == units
    assert "layers" in used
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    wanted = learned(with_rounded_weights(model), data, Padding(PAD))
    assert all(value.dtype == torch.float32 for value in found.values())
    if not units:
        return assert_same(found, wanted)
    scale = max(float(value.abs().max()) for value in wanted.values())
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0.05 * scale, msg=name)
    return None


def test_without_units_the_log_says_so(bases, data, monkeypatch, caplog):
    monkeypatch.setattr(patches, "bf16_pays", lambda: False)
    caplog.set_level("INFO")
    model = adapted(bases["bert"])
    with acceleration.accelerated(model, roundtrip.probe(data), Padding(PAD), "bf16"):
        pass
    assert caplog.text.count("this processor has no fast units for bf16") == 1


def test_layers_that_stay_as_they_are_cannot_be_rounded(bases, data, monkeypatch):
    monkeypatch.setattr(patches, "product", lambda rows, *_: rows)
    model = adapted(bases["bert"])
    refused = pytest.raises(InputError, match="`precision: bf16` on the CPU")
    with refused, acceleration.accelerated(model, roundtrip.probe(data), Padding(PAD), "bf16"):
        pass
    assert not any("forward" in vars(module) for module in model.modules())


def test_where_all_is_trained_large_weights_are_rounded(monkeypatch):
    monkeypatch.setattr(patches, "bf16_pays", lambda: True)
    thick, thin = torch.nn.Linear(64, 64), torch.nn.Linear(64, 2)
    held = patches.Held()
    held.round(torch.nn.Sequential(thick, thin))
    assert held.weight(thick).dtype == torch.bfloat16
    assert held.weight(thin).dtype == torch.float32
    (grad,) = torch.autograd.grad(held.weight(thick).float().sum(), thick.weight)
    assert grad.dtype == torch.float32
    assert held.copies == {}


INTEL, AMD = {"cpu_name": "Intel Xeon"}, {"cpu_name": "AMD EPYC"}
BF16 = {"avx512_bf16": True}


@pytest.mark.parametrize(
    ("processor", "onednn", "bf16"),
    [
        (INTEL, False, False),
        (INTEL | BF16, False, False),
        (INTEL | BF16 | {"amx_bf16": True}, False, True),
        (AMD, True, False),
        (AMD | BF16, True, True),
        ({}, True, False),
    ],
)
def test_the_processor_decides(monkeypatch, processor, onednn, bf16):
    monkeypatch.setattr(patches, "processor", lambda: processor)
    monkeypatch.setattr(patches, "ONEDNN", "some")
    assert patches.onednn_pays.__wrapped__() == onednn
    assert patches.bf16_pays.__wrapped__() == bf16


def test_dropout_keeps_the_mean_and_the_share():
    torch.manual_seed(0)
    ones = torch.ones(1000, 333, requires_grad=True)
    found = patches.fast_dropout(ones, 0.1)
    share = float((found == 0).float().mean())
    assert share == pytest.approx(0.1, abs=0.003)  # five standard deviations
    kept = found[found != 0]
    assert float(kept.min()) == float(kept.max()) == pytest.approx(1 / 0.9, rel=1e-4)
    (grad,) = torch.autograd.grad(found.sum(), ones)
    assert torch.equal(grad, found.detach())  # the same elements


def test_dropout_is_drawn_from_the_seed():
    torch.manual_seed(3)
    first, second = (patches.fast_dropout(torch.ones(7, 5), 0.5) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(patches.fast_dropout(torch.ones(7, 5), 0.5), first)
    assert not torch.equal(first, second)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of glibc")
def test_freed_memory_is_kept():
    assert patches.disable_malloc_trim()


@pytest.mark.parametrize(("architecture", "packs"), [("bert", True), ("mpnet", False)])
def test_work_is_counted(bases, data, architecture, packs):
    model = adapted(bases[architecture])
    lengths = data["length"]
    with (
        acceleration.accelerated(model, roundtrip.probe(data), Padding(PAD)),
        ThroughputCounter(model) as work,
    ):
        answers(model, data, Padding(PAD))  # in eval mode: not training
        assert work.passes == 0
        learned(model, data, Padding(PAD))
    assert (work.passes, work.rows, work.tokens) == (1, len(data), sum(lengths))
    padded = len(lengths) * max(lengths)
    assert work.padding_share == (0 if packs else round(1 - sum(lengths) / padded, 4))


def test_on_another_device_nothing_is_done(bases, data):
    """What pays on a GPU has yet to be measured; here a device that cannot compute stands in."""
    model = adapted(bases["bert"]).to("meta")
    with acceleration.accelerated(model, roundtrip.probe(data), Padding(PAD)) as used:
        assert used == []
        assert not any("forward" in vars(module) for module in model.modules())
