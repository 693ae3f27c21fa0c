"""A run that is killed and started again goes on with the same losses, to the last digit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from opengato.errors import OpenGatoError
from opengato.model.config import preset
from opengato.model.gato import Gato
from opengato.training.optimiser import PAPER, SWIFT, make_optimisers, rate_factor
from opengato.training.parallel import Ranks
from opengato.training.state import States

RUN = Path(__file__).with_name("run.py")


def run(folder, steps, pause, kill_after=None, kill=signal.SIGKILL, options=()):
    process = subprocess.Popen([sys.executable, str(RUN), str(folder), str(steps), "--pause", str(pause), *options], start_new_session=True)
    if kill_after is not None:
        log = folder / "run" / "log.jsonl"
        while not (log.is_file() and len(log.read_text().splitlines()) >= kill_after) and process.poll() is None:
            time.sleep(0.01)
        (os.killpg if kill == signal.SIGTERM else os.kill)(process.pid, kill)  # schedulers tell all processes
    process.wait()
    return process.returncode


def losses(folder):
    return [(row["step"], row["loss"]) for row in map(json.loads, (folder / "run" / "log.jsonl").read_text().splitlines())]


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    assert run(tmp_path / "whole", 40, 0.0) == 0
    assert run(tmp_path / "cut", 40, 0.03, kill_after=9) == -signal.SIGKILL
    assert run(tmp_path / "cut", 40, 0.03, kill_after=25) == -signal.SIGKILL
    assert run(tmp_path / "cut", 40, 0.0) == 0
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_told_to_stop_it_saves_what_it_has(tmp_path):
    assert run(tmp_path / "whole", 40, 0.0) == 0
    rarely = ("--every", "1000")
    assert run(tmp_path / "cut", 40, 0.03, kill_after=9, kill=signal.SIGTERM, options=rarely) == 128 + signal.SIGTERM
    (last,) = saved(tmp_path / "cut" / "run")
    assert losses(tmp_path / "cut")[-1][0] == last < 40 and not (tmp_path / "cut" / "weights.pt").exists()
    assert run(tmp_path / "cut", 40, 0.0, options=rarely) == 0
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_state_survives_saving(tmp_path):
    model = Gato(preset("swift-nano"))
    optimisers = make_optimisers(model, SWIFT)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    for optimiser in optimisers:
        optimiser.step()
    States(tmp_path, Ranks()).save(model, optimisers, 7, 12.5)
    other = Gato(preset("swift-nano"))
    others = make_optimisers(other, SWIFT)
    assert States(tmp_path, Ranks()).load(other, others) == (7, 12.5)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    for a, b in zip(optimisers, others, strict=True):
        for p, q in zip(a.param_groups[0]["params"], b.param_groups[0]["params"], strict=True):
            assert a.state[p].keys() == b.state[q].keys()
            for key in a.state[p]:
                torch.testing.assert_close(a.state[p][key], b.state[q][key], rtol=0, atol=0)


def saved(folder):
    return [int(path.name.removeprefix("step-")) for path in sorted((folder / "states").iterdir())]


def test_as_many_states_are_kept_as_wanted_and_none_of_another_future(tmp_path):
    model = torch.nn.Linear(2, 2)
    optimisers = make_optimisers(model, PAPER)
    states = States(tmp_path, Ranks(), kept=3)
    for step in range(1, 6):
        states.save(model, optimisers, step, 0.0)
    assert saved(tmp_path) == [3, 4, 5]
    (tmp_path / "states" / "step-00000005" / "checksums.json").write_text("{")
    assert states.load(model, optimisers) == (4, 0.0)
    assert saved(tmp_path) == [3, 4, 5]  # nothing is lost before something new is whole
    States(tmp_path, Ranks(), kept=1).save(model, optimisers, 4, 0.0)
    assert saved(tmp_path) == [4]
    with pytest.raises(OpenGatoError, match="keep at least 1"):
        States(tmp_path, Ranks(), kept=0)


def test_the_papers_schedule():
    """Warm-up over 15,000 steps from 1e-7, then a cosine down to a tenth at a million."""
    rate = PAPER.learning_rate
    assert rate_factor(PAPER, 0, 1_000_000) * rate == pytest.approx(1e-7)
    assert rate_factor(PAPER, 15_000, 1_000_000) * rate == pytest.approx(1e-4)
    assert rate_factor(PAPER, 1_000_000, 1_000_000) * rate == pytest.approx(1e-5)
    assert rate_factor(PAPER, (1_000_000 + 15_000) // 2, 1_000_000) * rate == pytest.approx(5.5e-5, rel=1e-3)
