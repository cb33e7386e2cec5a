"""What others wrote (data, weights, configs) is read and never executed; secrets stay secret."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from common.cli import InputError
from common.data import encoding
from common.model import models
from tests.conftest import HF_TOKEN

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted([*(ROOT / "scripts").rglob("*.py"), *(ROOT / "rules").rglob("*.py")])

# In front of all modules: whatever unpickles, by whichever name, fails.
NO_PICKLE = """
import pickle

def refuse(*_, **__):
    raise RuntimeError("something was unpickled")

class Refusing(pickle._Unpickler):  # libraries make subclasses of it
    __init__ = refuse

pickle.load = pickle.loads = refuse
pickle.Unpickler = pickle._Unpickler = Refusing
"""
SHELL = "$(touch made-by-a-shell)"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_program_names_what_executes_data(path):
    assert not re.findall(
        r"\bpickle\.|\bdill\b|\bjoblib\b|torch\.load\b|allow_pickle|(?<![.\w])(?:eval|exec)\("
        r"|os\.system|shell=True|trust_remote_code\W{1,4}True|yaml\.load\((?!stream, Strict)"
        r"|extractall\((?!folder, filter=.data)",
        path.read_text(encoding="utf-8"),
    )


@pytest.fixture
def without_pickle(tmp_path) -> dict[str, str]:
    """An environment in which nothing is unpickled."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(NO_PICKLE)
    return os.environ | {"PYTHONPATH": str(tmp_path / "guard")}


@pytest.mark.full
def test_a_cell_is_trained_resumed_evaluated_and_used_without_unpickling(
    without_pickle, tmp_path, make_tokens, tiny_models, run_script
):
    model, tokens = tiny_models["bert"], make_tokens("bert")
    inputs = ["--model", model, "--tokens", tokens]
    outputs = ["--output", tmp_path / "adapter", "--record", tmp_path / "training.json"]
    words = [*inputs, "--epochs", 40, "--checkpoint-seconds", 0, *outputs]
    command = [sys.executable, ROOT / "scripts/train_lora.py", *words]
    first = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    assert any("checkpoint at step" in line for line in first.stderr)
    first.kill()
    first.communicate()
    trained = run_script("train_lora", *words, env=without_pickle)
    assert trained.returncode == 0, trained.stderr
    assert "going on from step" in trained.stderr

    made = ["--adapter", tmp_path / "adapter", "--training", tmp_path / "training.json"]
    made += ["--metrics", tmp_path / "metrics.json", "--predictions", tmp_path / "rows.parquet"]
    evaluated = run_script("eval_lora", *inputs, *made, env=without_pickle)
    assert evaluated.returncode == 0, evaluated.stderr

    (tmp_path / "new.txt").write_text("win a prize\n")
    used = run_script(
        "predict", "--input", tmp_path / "new.txt", "--model", model,
        "--adapter", tmp_path / "adapter", "--output", tmp_path / "new.csv", env=without_pickle,
    )  # fmt: skip
    assert used.returncode == 0, used.stderr


def test_the_guard_against_unpickling_does_see_it(without_pickle):
    code = "import pickle; pickle.loads(pickle.dumps(1))"
    done = subprocess.run([sys.executable, "-c", code], env=without_pickle, capture_output=True)
    assert b"something was unpickled" in done.stderr


@pytest.fixture
def model_with_code(tiny_models, tmp_path) -> Path:
    """A model whose config asks for code beside it, which leaves a trace when it is executed."""
    place = Path(shutil.copytree(tiny_models["bert"], tmp_path / "model"))
    trace = tmp_path / "executed"
    (place / "evil.py").write_text(f"open({str(trace)!r}, 'w')\n")
    config = json.loads((place / "config.json").read_text())
    classes = {"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}
    config |= {"model_type": "unheard-of", "auto_map": classes}
    (place / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((place / "tokenizer_config.json").read_text())
    tokenizer |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": [None, "evil.Tokens"]}}
    (place / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return place


@pytest.mark.parametrize(
    "load",
    [
        pytest.param(lambda place: models.load_classifier(place, ["a", "b"], 0, 0), id="model"),
        pytest.param(encoding.load_tokenizer, id="tokenizer"),
    ],
)
def test_code_that_comes_with_a_model_is_not_executed(model_with_code, tmp_path, load):
    with pytest.raises(InputError):
        load(model_with_code)
    assert not (tmp_path / "executed").exists()


def test_code_that_comes_with_a_model_is_not_even_fetched(model_with_code, tmp_path, run_script):
    done = run_script("fetch_model", "--path", model_with_code, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "out").glob("*.py"))


@pytest.mark.full
def test_names_out_of_configs_and_data_never_reach_a_shell(tiny_workflow, snakemake, tmp_path):
    """Of columns, labels, files and filters; a dataset or model of such a name is refused."""
    place = tiny_workflow(tmp_path / "workflow")
    rows = (place / "data/news.csv").read_text().splitlines()[1:]
    source = place / f"data/{SHELL}; touch made-by-a-shell; `touch made-by-a-shell`.csv"
    kept = [f"{row.replace(',ham', f',{SHELL}')},{SHELL}" for row in rows]
    source.write_text("\n".join([f"{SHELL},'label' && {SHELL},&x", *kept]) + "\n")
    config = yaml.safe_load((place / "config/config.yaml").read_text())
    config["datasets"] = {
        "news": {
            "source": {"path": str(source.relative_to(place))},
            "text": SHELL,
            "label": f"'label' && {SHELL}",
            "filter": [f"&x={SHELL}"],
            "validation": 10,
            "evaluation": {"positive_label": SHELL},
            "about": {"license": SHELL},
        }
    }
    config["datasets"]["dashes"] = {
        # Words that begin with a dash would be options.
        "source": {"path": "data/-news.csv"}, "text": ["-text"], "label": "--label",
        "labels": ["-ham", "--other"], "validation": 10,
        "evaluation": {"positive_label": "-ham"},
    }  # fmt: skip
    lines = [row.replace(",ham", ",-ham").replace(",other", ",--other") for row in rows]
    (place / "data/-news.csv").write_text("\n".join(["-text,--label", *lines]) + "\n")
    config["models"] = {"bert": config["models"]["bert"]}
    config["variants"] = {"lora": {"r": 2, "target_modules": f"(?!{re.escape(SHELL)}).*query"}}
    (place / "config/config.yaml").write_text(yaml.safe_dump(config))
    snakemake("--cores", "2", cwd=place)
    assert not list(place.rglob("made-by-a-shell"))
    comparison = (place / "results/comparison.md").read_text()
    assert "touch" in comparison or "touch" in (place / "results/news/passport.md").read_text()


@pytest.mark.parametrize("kind", ["datasets", "models", "variants"])
def test_a_name_that_a_shell_would_read_is_refused(tiny_workflow, snakemake, tmp_path, kind):
    place = tiny_workflow(tmp_path / "workflow")
    config = yaml.safe_load((place / "config/config.yaml").read_text())
    config[kind][SHELL] = config[kind].popitem()[1]
    (place / "config/config.yaml").write_text(yaml.safe_dump(config))
    done = snakemake("--cores", "2", cwd=place, status=1)
    assert f"bad name '{SHELL}'" in done.stdout
    assert not list(place.rglob("made-by-a-shell"))


def test_no_log_and_no_record_holds_the_token_of_the_hub(finished):
    """Every run of the workflow in these tests has one in its environment."""
    files = [path for path in finished.rglob("*") if path.is_file() and ".venv" not in path.parts]
    made = [path for path in files if path.is_relative_to(finished / "results")]
    assert len(made) > 50
    telling = [path for path in files if HF_TOKEN.encode() in path.read_bytes()]
    assert telling == []


@pytest.mark.quick(1)
@pytest.mark.parametrize("script", ["fetch_model", "fetch_dataset"])
def test_a_hub_that_cannot_be_reached_does_not_make_the_token_known(run_script, tmp_path, script):
    env = os.environ | {"HF_TOKEN": HF_TOKEN, "HF_ENDPOINT": "http://127.0.0.1:9"}
    place = ["--revision", "0" * 40, "--output", tmp_path / "out"]
    done = run_script(script, "--hub", "owner/name", *place, env=env)
    assert done.returncode == 1
    assert HF_TOKEN not in done.stderr + done.stdout


def test_the_password_of_a_package_index_stays_secret(run_script, tmp_path):
    index = "http://someone:not-to-be-seen@127.0.0.1:9/simple"
    env = os.environ | {"PIP_INDEX_URL": index, "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    words = ["--requirement", "a==1.0", "--sha256", "0" * 64, "--output", tmp_path / "a.whl"]
    done = run_script("fetch_package", *words, env=env)
    assert done.returncode == 1
    assert "not-to-be-seen" not in done.stderr + done.stdout
