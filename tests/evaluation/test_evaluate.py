"""Evaluation: scores depend on the checkpoint and the seeds alone."""

import dataclasses
import json
import platform
from functools import partial

import pytest
import torch
from gymnasium.wrappers import TimeLimit

pytest.importorskip("minigrid")

from opengato.checkpoint import Checkpoint
from opengato.domains import get_task
from opengato.domains.starts import evaluation_seeds
from opengato.errors import OpenGatoError
from opengato.evaluation.evaluate import _LongestFirst, evaluate
from opengato.evaluation.rollout import MOST_FRAMES, rollout
from opengato.evaluation.score import summarise
from opengato.evaluation.table import print_scores
from opengato.jobs import Job, Result
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.policy.engine import Engine
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

TASKS = [get_task("babyai/go-to-obj"), get_task("babyai/open-red-door")]


def untrained():
    """A network that has learned nothing, but whose actions are far from uniform."""
    torch.manual_seed(0)
    model = Gato(ModelConfig("swift", 1, 2, 32, 64, 16, context=64, set_width=32, patches_per_position=2))
    torch.nn.init.normal_(model.embedding.tokens.common.weight, std=0.3)
    return model.eval()


def at_most(steps, make_env):
    return TimeLimit(make_env(), steps)


def broken():
    raise RuntimeError("no display")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agent")
    Checkpoint(untrained(), TextTokenizer.load(), {t.id: Layout(t.observation_space, t.action_space) for t in TASKS}).save(folder)
    return folder


@pytest.mark.parametrize("looks", [1, 3])
def test_scores_are_the_same_for_any_batch_and_any_number_of_workers(folder, looks):
    heard = []
    one = evaluate(folder, TASKS, 5, batch=1, workers=1, action_steps=looks, show=False)
    two = evaluate(
        folder,
        TASKS,
        5,
        batch=3,
        workers=2,
        action_steps=looks,
        show=False,
        finished=lambda score, rollouts: heard.append((score, rollouts)),
    )
    assert one == two and one.unscored == {} and [s.task for s in one.scores] == [t.id for t in TASKS]
    assert sorted(s.task for s, _ in heard) == sorted(t.id for t in TASKS)
    assert all([r.seed for r in rollouts] == evaluation_seeds(get_task(s.task), 5) for s, rollouts in heard)


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
    """Sampled and continuous actions, 64 to 250 steps, so that memories slide; the states they are chosen from agree to the last bit."""
    task = get_task(name)
    if not task.available:
        pytest.skip(f"{task.requires} is not installed")
    task = dataclasses.replace(task, make_env=partial(at_most, 250, task.make_env))
    agent = Checkpoint(untrained(), TextTokenizer.load(), {name: Layout(task.observation_space, task.action_space)})
    states, forward = [], Engine._forward

    def keep_the_first(engine, new):
        out = forward(engine, new)
        if new.lengths[0]:
            states.append(out[0].clone())
        return out

    monkeypatch.setattr(Engine, "_forward", keep_the_first)
    done, first = {}, {}
    for batch in (1, 4, 10):
        states.clear()
        done[batch] = rollout(agent, task, 12, batch=batch)
        first[batch] = states[: done[batch][0].length]  # of the first seed
    assert done[1] == done[4] == done[10] and not torch.equal(*first[1][:2])
    if platform.machine() == "x86_64":  # elsewhere rounding may depend on what else is computed
        assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(first[1], first[4], first[10], strict=True))


def test_one_job_of_every_domain_then_those_of_the_longest():
    order = _LongestFirst([Job(name, (), seeds) for name in ("a/1", "a/2", "b/1", "b/2", "c/1") for seeds in ((1, 2), (3,))])
    first = [order.take() for _ in range(3)]
    assert [(job.name, job.seeds) for job in first] == [("a/1", (1, 2)), ("b/1", (1, 2)), ("c/1", (1, 2))]
    for name, seconds in (("a/1", 1.0), ("a/1", 3.0), ("b/1", 5.0), ("c/1", 3.0)):
        order.learn(Result(name, 1, None, None, seconds))
    rest = [(job.name, job.seeds) for job in iter(order.take, None)]
    assert rest == [("b/2", (1, 2)), ("b/1", (3,)), ("b/2", (3,)), ("a/2", (1, 2)), ("c/1", (3,)), ("a/1", (3,)), ("a/2", (3,))]


def test_environment_that_raises_is_an_error_of_a_single_rollout(folder):
    task = dataclasses.replace(TASKS[0], make_env=broken, few_starts=False)
    with pytest.raises(OpenGatoError, match=r"seed 100000 failed: RuntimeError\('no display'\)"):
        rollout(Checkpoint.load(folder), task, 2)


def test_frames_are_thinned_equally(folder):
    done = rollout(Checkpoint.load(folder), get_task("babyai/open-red-door"), 2, record=1)
    assert done[1].frames == []
    whole = dataclasses.replace(done[0])
    assert whole.length > 0 and len(whole.frames) == -(-whole.length // whole.stride) < MOST_FRAMES


def test_refuses_what_it_cannot_run(folder):
    with pytest.raises(OpenGatoError, match="task of this checkpoint 'babyai/go-to-local'"):
        evaluate(folder, [get_task("babyai/go-to-local")], 1, show=False)
    with pytest.raises(OpenGatoError, match="task of this checkpoint 'babyai/key-corridor'"):
        evaluate(folder, [get_task("babyai/key-corridor")], 1, show=False)


def test_task_without_references_has_a_return_and_no_score(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    measured = get_task("babyai/go-to-obj")
    task = dataclasses.replace(measured, id="babyai/never-measured", has_success=True)
    with pytest.raises(OpenGatoError, match="opengato reference babyai/never-measured"):
        _ = task.reference
    layout = Layout(task.observation_space, task.action_space)
    Checkpoint(untrained(), TextTokenizer.load(), {measured.id: layout, task.id: layout}).save(tmp_path)
    found = evaluate(tmp_path, [task, measured], 2, workers=1, show=False)
    without, other = found.scores
    assert without.score is without.random is without.expert is without.ci_low is without.ci_high is None
    assert without.mean_return == other.mean_return and without.n == 2 and without.success is not None
    summary = json.loads(json.dumps(summarise(found.scores)))
    assert summary["tasks"][task.id]["score"] is None and summary["tasks"][task.id]["return"] == without.mean_return
    assert summary["mean_score"] == other.score and summary["domains"] == {"babyai": other.score}
    assert sum(summary["count_at_or_above"].values()) <= len(summary["count_at_or_above"])
    print_scores(found)
    said = capsys.readouterr().out
    assert "over 1 tasks" in said and "no reference scores of babyai/never-measured" in said
    assert next(line for line in said.splitlines() if task.id in line).count("–") == 4
