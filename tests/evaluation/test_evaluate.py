"""Evaluation: scores depend on the checkpoint and the seeds alone."""

import dataclasses
import platform

import pytest
import torch

pytest.importorskip("minigrid")

from opengato.checkpoint import Checkpoint
from opengato.domains import get_task
from opengato.errors import OpenGatoError
from opengato.evaluation.evaluate import evaluate
from opengato.evaluation.rollout import MOST_FRAMES, rollout
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

TASKS = [get_task("babyai/go-to-obj"), get_task("babyai/open-red-door")]


def untrained():
    """A network that has learned nothing, but whose actions are far from uniform."""
    torch.manual_seed(0)
    model = Gato(ModelConfig("swift", 1, 2, 32, 64, 16, context=64, set_width=32, patches_per_position=2))
    torch.nn.init.normal_(model.embedding.tokens.weight, std=0.3)
    return model.eval()


def broken():
    raise RuntimeError("no display")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agent")
    Checkpoint(untrained(), TextTokenizer.load(), {t.id: Layout(t.observation_space, t.action_space) for t in TASKS}).save(folder)
    return folder


def test_scores_are_the_same_for_any_batch_and_any_number_of_workers(folder):
    heard = []
    one = evaluate(folder, TASKS, 5, batch=1, workers=1, show=False)
    two = evaluate(folder, TASKS, 5, batch=3, workers=2, show=False, finished=lambda score, rollouts: heard.append((score, rollouts)))
    assert one == two and one.unscored == {} and [s.task for s in one.scores] == [t.id for t in TASKS]
    assert sorted(s.task for s, _ in heard) == sorted(t.id for t in TASKS)
    assert all([r.seed for r in rollouts] == list(range(100_000, 100_005)) for _, rollouts in heard)


@pytest.fixture
def one_thread():
    """As in the processes of an evaluation: several would split a product where its size, and so the batch, tells them to."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["babyai/open-red-door", "metaworld/reach", "dm-control/cartpole-balance"])
def test_batch_changes_nothing(name, monkeypatch):
    """Sampled and continuous actions, 64 to 1000 steps long; the states that they are chosen from agree to the last bit."""
    task = get_task(name)
    if not task.available:
        pytest.skip(f"{task.requires} is not installed")
    agent = Checkpoint(untrained(), TextTokenizer.load(), {name: Layout(task.observation_space, task.action_space)})
    states, step = [], Gato.step
    monkeypatch.setattr(Gato, "step", lambda *arguments: states.append(step(*arguments)) or states[-1])
    done, first = {}, {}
    for batch in (1, 3, 5):
        states.clear()
        done[batch] = rollout(agent, task, 5, batch=batch)
        first[batch] = [state[0, -1].clone() for state in states[: done[batch][0].length]]  # of the first seed
    assert done[1] == done[3] == done[5] and not torch.equal(*first[1][:2])
    if platform.machine() == "x86_64":  # elsewhere rounding may depend on what else is computed
        assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(first[1], first[3], first[5], strict=True))


def test_environment_that_raises_is_an_error_of_a_single_rollout(folder):
    task = dataclasses.replace(TASKS[0], make_env=broken)
    with pytest.raises(OpenGatoError, match=r"seed 100000 failed: RuntimeError\('no display'\)"):
        rollout(Checkpoint.load(folder), task, 2)


def test_frames_are_thinned_equally(folder):
    done = rollout(Checkpoint.load(folder), get_task("babyai/open-red-door"), 2, record=1)
    assert done[1].frames == []
    whole = dataclasses.replace(done[0])
    assert whole.length > 0 and len(whole.frames) == -(-whole.length // whole.stride) < MOST_FRAMES


def test_refuses_what_it_cannot_score(folder):
    with pytest.raises(OpenGatoError, match="task of this checkpoint 'babyai/go-to-local'"):
        evaluate(folder, [get_task("babyai/go-to-local")], 1, show=False)
    with pytest.raises(OpenGatoError, match="opengato reference babyai/key-corridor"):
        evaluate(folder, [get_task("babyai/key-corridor")], 1, show=False)
