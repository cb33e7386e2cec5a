"""Where models and rows come from: one class per kind, and the words for each."""

import json
import zipfile

import pytest

from common import source
from common.source import SOURCES, of_config, of_record

HUB = {"hub": "owner/name", "revision": "c0ffee"}
PACKAGE = {"package": "name==1.0", "sha256": "0" * 64, "member": "name/model"}


def test_every_kind_has_one_class():
    assert tuple(SOURCES) == source.KINDS
    assert [of_config(each).kind for each in ({"path": "x"}, PACKAGE, HUB)] == list(source.KINDS)
    assert of_record({"kind": "?"}).kind == ""
    assert of_record(None).kind == ""


def test_local_inputs_are_the_files(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.csv", "a.csv", "sub/c.csv"):
        (tmp_path / name).touch()
    found = SOURCES["path"].inputs({"path": str(tmp_path)})
    assert found == [str(tmp_path / name) for name in (".", "a.csv", "b.csv", "sub/c.csv")]
    assert SOURCES["hub"].inputs(HUB) == []


def test_a_file_of_a_model_is_read_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = SOURCES["package"]
    assert package.read(PACKAGE, "config.json") is None
    wheel = tmp_path / package.inputs(PACKAGE)[0]
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("name/model/config.json", json.dumps({"model_type": "bert"}))
    assert json.loads(package.read(PACKAGE, "config.json") or "") == {"model_type": "bert"}
    assert package.read(PACKAGE, "other.json") is None
    assert SOURCES["path"].read({"path": str(tmp_path)}, "config.json") is None


@pytest.mark.parametrize(
    ("config", "record", "same"),
    [
        (HUB, {"name": "owner/name", "revision": "c0ffee"}, True),
        (HUB, {"name": "owner/name", "revision": "other"}, False),
        (PACKAGE, {"version": "name==1.0", "member": "name/model"}, True),
        (PACKAGE, {"version": "name==1.1", "member": "name/model"}, False),
        ({"path": "x"}, {"name": "x"}, False),
    ],
)
def test_a_record_is_of_the_source_that_it_names(config, record, same):
    assert of_config(config).is_recorded(config, record) is same


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (None, "a source that is not on record"),
        ({"kind": "path", "name": "my_rows"}, "my_rows, a local file or directory"),
        ({"kind": "package", "version": "a==1", "member": "b"}, "b in the Python package a==1"),
        ({"kind": "hub", "name": "a/b", "revision": "c", "subset": "d"},
         "a/b on the Hugging Face hub, revision c, subset d"),
    ],
)  # fmt: skip
def test_a_source_in_words(record, words):
    assert source.describe(record) == words
