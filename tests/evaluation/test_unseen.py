"""Tasks that a checkpoint was not trained on, with and without demonstrations to act after."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

pytest.importorskip("minigrid")
pytest.importorskip("minari")

from opengato.checkpoint import Checkpoint
from opengato.cli import main
from opengato.collection import collect
from opengato.datasets.minari import load_minari
from opengato.domains import get_task
from opengato.errors import OpenGatoError
from opengato.evaluation.agent import introduced, load_agent, make_actor
from opengato.evaluation.evaluate import evaluate
from opengato.evaluation.rollout import rollout
from opengato.evaluation.score import read_scores, summarise
from opengato.evaluation.table import print_scores
from opengato.evaluation.unseen import introduce, settings_of_introductions
from opengato.layouts import new_layout
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.model.prompt import crop_prompt
from opengato.tokens.encode import encode
from opengato.tokens.layout import Layout
from opengato.tokens.statistics import Statistics
from opengato.tokens.text import TextTokenizer

KNOWN, HELD_OUT = get_task("memory/t-maze-short"), get_task("memory/t-maze")
PENDULUM, EMPTY = "gym/Pendulum-v1,max_steps=20", "gym/minigrid:MiniGrid-Empty-5x5-v0,max_steps=12"
STATISTICS = Statistics(10, np.arange(4.0), np.eye(4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network that has learned nothing, but whose actions are far from uniform, and that knows a single task."""
    folder = tmp_path_factory.mktemp("agent")
    torch.manual_seed(0)
    model = Gato(ModelConfig("swift", 1, 2, 32, 64, 16, context=64, set_width=32, patches_per_position=2)).eval()
    torch.nn.init.normal_(model.embedding.tokens.common.weight, std=0.3)
    layout = Layout(KNOWN.observation_space, KNOWN.action_space, STATISTICS)
    Checkpoint(model, TextTokenizer.load(), {KNOWN.id: layout}).save(folder)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Demonstrations of the held-out task, of which the longest corridors are the longest episodes."""
    root = tmp_path_factory.mktemp("data")
    collect([HELD_OUT, get_task("memory/t-maze-short")], 4, root, workers=1, progress=False)
    return root


def test_a_held_out_task_is_evaluated_as_one_that_is_known(folder, tmp_path, capsys):
    """Its layout is that of the data it was not trained on: had the checkpoint known it, it would do the same."""
    with pytest.raises(OpenGatoError, match="task of this checkpoint 'memory/t-maze'"):
        evaluate(folder, [HELD_OUT], 1, show=False)
    told = introduce(load_agent(folder), [KNOWN, HELD_OUT])
    assert set(told) == {HELD_OUT.id} and told[HELD_OUT.id].prompt is None and settings_of_introductions(told) == {}
    found = evaluate(folder, [KNOWN, HELD_OUT], 3, workers=1, show=False, introductions=told)
    assert [s.in_training for s in found.scores] == [True, False] and found.scores[1].score is not None
    knows = Checkpoint.load(folder)
    knows.layouts[HELD_OUT.id] = Layout(HELD_OUT.observation_space, HELD_OUT.action_space, STATISTICS)
    knows.save(tmp_path / "knows")
    known = evaluate(tmp_path / "knows", [HELD_OUT], 3, workers=1, show=False).scores[0]
    assert known == replace(found.scores[1], in_training=True) and known.in_training
    assert read_scores(json.loads(json.dumps(summarise(found.scores)))) == found.scores
    print_scores(found)
    said = capsys.readouterr().out
    one, other = (min(s.score, 100) for s in found.scores)
    assert f"mean score {one:.1f}% over the tasks in training, {other:.1f}% over those that were not" in said
    assert "memory/t-maze (not in training)" in said and "memory/t-maze-short (not in training)" not in said


def test_demonstrations_are_read_before_every_episode(folder, root):
    agent = load_agent(folder)
    told = introduce(agent, [HELD_OUT], ["opengato/memory/t-maze-v0"], root)
    episodes = list(load_minari("opengato/memory/t-maze-v0", root))
    middle = sorted(episodes, key=len)[2]  # all of them succeed: then it is that of middle length
    expected = crop_prompt(encode(told[HELD_OUT.id].layout, middle, agent.tokenizer), agent.model.config)
    np.testing.assert_array_equal(told[HELD_OUT.id].prompt.tokens, expected.tokens)

    heard = []
    actor = make_actor(introduced(agent, told), HELD_OUT, 1)
    actor.reset(0, 0)
    forward = actor._engine._forward
    actor._engine._forward = lambda new: heard.append(new.tokens) or forward(new)
    actor.plan({0: HELD_OUT.make().reset(seed=0)[0]}, 1)
    np.testing.assert_array_equal(heard[0][: len(expected.tokens)], expected.tokens)
    silent = make_actor(introduced(agent, told), HELD_OUT, 1, prompt=False)
    silent.reset(0, 0)
    assert silent._engine.slots[0].prompt is None


def test_other_demonstrations_are_other_results(folder, root):
    agent = load_agent(folder)
    one = introduce(agent, [HELD_OUT], ["opengato/memory/t-maze-v0"], root)
    again = introduce(agent, [HELD_OUT], ["opengato/memory/t-maze-v0"], root)
    other = {HELD_OUT.id: replace(one[HELD_OUT.id], prompt=one[HELD_OUT.id].prompt.take(np.arange(2)))}
    first, second, third = (settings_of_introductions(told) for told in (one, again, other))
    assert first == second != third and set(first) == {"demonstrations"}


def test_demonstrations_of_a_known_task_take_the_place_of_its_own(folder, root):
    agent = load_agent(folder)
    told = introduce(agent, [KNOWN], ["opengato/memory/t-maze-short-v0"], root)
    ready = introduced(agent, told)
    assert ready.prompts[KNOWN.id] is told[KNOWN.id].prompt and KNOWN.id not in agent.prompts
    assert ready.layouts[KNOWN.id].to_json() == agent.layouts[KNOWN.id].to_json()


def test_demonstrations_go_to_their_task_or_to_the_only_one_of_their_spaces(folder, root):
    agent, dataset = load_agent(folder), ["opengato/memory/t-maze-v0"]
    assert set(introduce(agent, [KNOWN], dataset, root)) == {KNOWN.id}  # recorded elsewhere, of the same spaces
    assert set(introduce(agent, [KNOWN, HELD_OUT], dataset, root)) == {HELD_OUT.id}
    with pytest.raises(OpenGatoError, match=r"demonstrations of 'memory/t-maze' are of no task that is evaluated.* beside gym/CartPole-v1"):
        introduce(agent, [get_task("gym/CartPole-v1")], dataset, root)
    twins = [replace(KNOWN, id=f"memory/{name}") for name in ("a", "b")]
    with pytest.raises(OpenGatoError, match="demonstrations of 'memory/t-maze' fit memory/a, memory/b: evaluate the one"):
        introduce(agent, twins, dataset, root)
    changed = replace(HELD_OUT, action_space=spaces.Discrete(5))
    with pytest.raises(OpenGatoError, match=r"action space of the demonstrations of 'memory/t-maze' is not the task's: .* n 3 where"):
        introduce(agent, [changed], dataset, root)
    with pytest.raises(OpenGatoError, match="two datasets have demonstrations of task 'memory/t-maze'"):
        introduce(agent, [HELD_OUT], [*dataset, str(root / dataset[0])], root)


def test_numbers_are_measured_as_the_agent_has_learned_to_read_them():
    known = {"a/b": Layout(KNOWN.observation_space, KNOWN.action_space, STATISTICS)}
    of_data = Statistics(5, np.ones(4), np.eye(4))
    assert new_layout(known, "a/c", KNOWN.observation_space, spaces.Discrete(9), of_data).statistics is STATISTICS
    other = spaces.Box(-np.inf, np.inf, (4,), np.float32)
    assert new_layout(known, "a/c", other, spaces.Discrete(2), of_data).statistics is of_data
    assert new_layout(known, "a/c", other, spaces.Discrete(2)).statistics is None


def test_actions_without_bounds_need_data():
    unbounded = spaces.Dict(arm=spaces.Box(np.array([-1, -1, 0], np.float32), np.array([1, np.inf, 1], np.float32)))
    with pytest.raises(OpenGatoError, match=r"task 'a/b' is not in training, and its action field arm has no bounds at entry 1, .*--demo"):
        new_layout({}, "a/b", spaces.Discrete(2), unbounded)
    assert new_layout({}, "a/b", spaces.Discrete(2), unbounded, demonstrated=True).action_space == unbounded
    with pytest.raises(OpenGatoError, match="task 'a/b': observation field x is a Sequence space"):
        new_layout({}, "a/b", spaces.Dict(x=spaces.Sequence(spaces.Discrete(2))), spaces.Discrete(2))


@pytest.mark.parametrize("name", ["gym/CartPole-v1", PENDULUM, EMPTY, "gym/Taxi-v4,max_steps=15", "gym/Blackjack-v1,max_steps=9"])
def test_registered_environments_are_acted_in(name, folder):
    agent, task = load_agent(folder), get_task(name)
    episodes = rollout(introduced(agent, introduce(agent, [task])), task, 3)
    assert all(0 < e.length <= task.make().spec.max_episode_steps and e.success is None for e in episodes)
    if "CartPole" in name:
        assert all(e.episode_return == e.length for e in episodes)


def test_registered_environments_are_reported_without_a_score(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")
    named = ["eval", str(folder), "--tasks", "gym/CartPole-v1", EMPTY, "--episodes", "2", "--workers", "1", "--out", str(tmp_path / "out")]
    main([*named, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["mean_score"] is None and set(found["tasks"]) == {"gym/CartPole-v1", EMPTY}
    for one in found["tasks"].values():
        assert one["n"] == 2 and one["score"] is None and one["success"] is None and one["in_training"] is False
        assert one["return"] == np.mean(one["returns"])
    main(named)  # again, out of what was kept
    said = capsys.readouterr().out
    assert "gym/CartPole-v1 (not in training)" in said
    assert f"gym/CartPole-v1, {EMPTY} have no score: there is no expert to measure by" in said
    assert "opengato reference" not in said


def test_two_checkpoints_are_compared_at_a_task_that_neither_knows(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the episodes are kept
    main(["compare", str(folder), str(folder), "--tasks", HELD_OUT.id, "--episodes", "2", "--workers", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert set(found["tasks"]) == {HELD_OUT.id} and found["mean_difference"] == 0 and found["tasks"][HELD_OUT.id]["n"] == 2


def test_a_video_of_a_task_that_was_not_trained_on(folder, root, tmp_path, capsys):
    pytest.importorskip("imageio_ffmpeg")
    main(["play", str(folder), PENDULUM, "--out", str(tmp_path / "a.mp4")])
    assert f"{PENDULUM} (not in training): return -" in capsys.readouterr().out and (tmp_path / "a.mp4").stat().st_size > 1000
    shown = ["--demonstrations", "opengato/memory/t-maze-v0", "--root", str(root)]
    main(["play", str(folder), HELD_OUT.id, "--out", str(tmp_path / "b.mp4"), *shown])
    assert "memory/t-maze (not in training): return" in capsys.readouterr().out


def test_a_baseline_cannot_be_told_anything(tmp_path):
    from opengato.baselines.settings import Settings
    from opengato.baselines.train import train_or_load

    collect([KNOWN], 3, tmp_path / "data", workers=1, progress=False)
    train_or_load(tmp_path / "mlp", "mlp", ("opengato/memory/t-maze-short-v0",), 0.5, 0, Settings(), tmp_path / "data", show=False)
    baseline = load_agent(tmp_path / "mlp")
    assert introduce(baseline, [HELD_OUT]) == {}
    with pytest.raises(OpenGatoError, match="the agent is a mlp, which reads none"):
        introduce(baseline, [KNOWN], ["opengato/memory/t-maze-short-v0"], tmp_path / "data")
