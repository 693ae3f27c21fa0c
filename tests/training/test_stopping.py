"""A training that is told to stop leaves an agent to look at, and goes on from there."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from run import CONFIGS, datasets

from opengato.checkpoint import Checkpoint
from opengato.recipes import recipe
from opengato.tokens.text import TextTokenizer
from opengato.training.stopping import Stopped
from opengato.training.train import finish, make_model, make_trainer


def trainer(folder: Path, stop_at: int | None = None):
    chosen = recipe("swift-nano")
    chosen = replace(chosen, train=replace(chosen.train, steps=6, batch=2, workers=0, device="cpu", checkpoint_every=1000.0))
    data = datasets(folder)
    made = make_trainer(make_model(CONFIGS["swift"], 0), data, {"arm": 1.0, "grid": 1.0}, chosen, folder / "run")
    step = made.train_step

    def told(batches):
        if made.step == stop_at:
            signal.raise_signal(signal.SIGTERM)
        return step(batches)

    made.train_step = told
    return made, data


def test_what_is_stopped_can_be_looked_at_and_finished(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as stopped:
        finish(*trainer(tmp_path, stop_at=2), TextTokenizer.load(), tmp_path / "run")
    assert stopped.value.code == 143 and signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "run" / "checkpoint").exists()
    assert Checkpoint.load(tmp_path / "run" / "unfinished").facts["steps"] == 3
    made, data = trainer(tmp_path)
    assert made.step == 3
    assert finish(made, data, TextTokenizer.load(), tmp_path / "run").facts["steps"] == 6
    assert not (tmp_path / "run" / "unfinished").exists() and Checkpoint.load(tmp_path / "run" / "checkpoint").facts["steps"] == 6
