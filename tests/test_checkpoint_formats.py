"""Checkpoints of every format that was released still load and act as they did, and newer ones are refused with a sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from opengato.checkpoint import FORMAT, Checkpoint, read_config
from opengato.cli import main
from opengato.errors import OpenGatoError
from opengato.policy.policy import Policy

RELEASED = sorted(path.parent for path in (Path(__file__).parent / "checkpoints").glob("format-*/*/config.json"))


def test_there_is_one_of_every_format():
    assert {path.parent.name for path in RELEASED} == {f"format-{number}" for number in range(1, FORMAT + 1)}


@pytest.mark.parametrize("folder", RELEASED, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_it_acts_as_it_did(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    assert f"format-{config['format']}" == folder.parent.name
    expected = np.load(folder / "expected.npz")
    checkpoint = Checkpoint.load(folder)
    assert checkpoint.layouts and set(checkpoint.prompts) == set(checkpoint.starts) == set(checkpoint.layouts)
    checkpoint.save(tmp_path / "again")  # in the present format
    for found in (checkpoint, Checkpoint.load(tmp_path / "again")):
        policy = Policy(found, temperature=0.0)
        for task in found.layouts:
            policy.reset(task)
            actions = [policy.act(seen) for seen in expected[f"{task}|observations"]]
            np.testing.assert_allclose(actions, expected[f"{task}|actions"], atol=0.02, err_msg=task)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": FORMAT + 1}, rf"has format {FORMAT + 1}, and .* reads formats up to {FORMAT}: pip install --upgrade opengato"),
        ({"format": None}, "has format None, which is none of a checkpoint"),
    ],
)
def test_another_format_is_refused(tmp_path, change, sentence, capsys):
    folder = tmp_path / "checkpoint"
    shutil.copytree(RELEASED[0], folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(OpenGatoError, match=sentence):
        Checkpoint.load(folder)
    with pytest.raises(SystemExit):
        main(["info", str(folder)])
    assert capsys.readouterr().err.startswith("error: ")
    path.write_text("{")
    with pytest.raises(OpenGatoError, match="is damaged"):
        Checkpoint.load(folder)


def test_a_layout_that_many_tasks_have_is_written_once_and_shared(tmp_path):
    folder = next(path for path in RELEASED if path.parent.name == f"format-{FORMAT}" and path.name == "swift")
    written = json.loads((folder / "config.json").read_text())["tasks"]
    assert written["arm/again"] == "arm/follow" and isinstance(written["board/where"], dict)
    checkpoint = Checkpoint.load(folder)
    assert checkpoint.layouts["arm/again"] is checkpoint.layouts["arm/follow"] is not checkpoint.layouts["board/where"]
    assert read_config(folder)["tasks"]["arm/again"] == written["arm/follow"]
    checkpoint.save(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["tasks"] == written
