"""The short form of the torture test; ``make torture`` is the long one."""

from pathlib import Path

import pytest
import yaml

from tests.torture import torture

KILLS = 4


@pytest.mark.full
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(
    tiny_workflow, tmp_path, capsys
):
    def make(place: Path) -> Path:
        tiny_workflow(place)
        config = yaml.safe_load((place / "config/config.yaml").read_text())
        config = {key: config[key] for key in ("datasets", "models", "variants", "seeds")}
        del config["datasets"]["messages"], config["models"]["gpt2"]
        torture.change(place, config)
        return place

    told = torture.torture(make, tmp_path, KILLS, seed=1)
    print(capsys.readouterr().err)
    assert sum(told.kills.values()) >= KILLS
    assert told.different == []
