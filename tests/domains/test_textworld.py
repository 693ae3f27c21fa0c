"""Text games: made alike everywhere, won by the guide from anywhere, played by sentences alone, and learnt from end to end."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from gymnasium import spaces

from opengato.checkpoint import Checkpoint
from opengato.collection import record_episode
from opengato.datasets.dataset import Episodes
from opengato.datasets.tokenise import tokenise
from opengato.domains import get_task
from opengato.domains.textworld import TASKS
from opengato.domains.textworld.games import GAMES, game_file
from opengato.errors import OpenGatoError
from opengato.evaluation.rollout import rollout
from opengato.mixture import Mixture, Sampling
from opengato.model.config import swift
from opengato.model.gato import Gato
from opengato.references import RandomAgent
from opengato.tokens.text import TextTokenizer
from opengato.training.loop import TrainConfig, Trainer
from opengato.training.optimiser import SWIFT

if not TASKS[0].available:
    pytest.skip("textworld", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore:Game .* is not fully supported")


def begin(name, seed=3):
    env = get_task(f"textworld/{name}").make()
    observation, info = env.reset(seed=seed)
    return env, observation, info


@pytest.mark.parametrize("name", ["treasure-guided", "cooking-prepare", pytest.param("cooking-far", marks=pytest.mark.slow)])
def test_the_guide_wins_and_reads_first(name):
    task = get_task(f"textworld/{name}")
    episode, last = record_episode(task, task.make(), task.make_expert(), 3)
    seen = [{key: values[t] for key, values in episode.observations.items()} for t in range(len(episode))]
    assert episode.success and episode.info["terminated"] and all(one in task.observation_space for one in [*seen, last])
    if name.startswith("cooking"):
        read = episode.actions.index("examine cookbook")
        assert not any(one["recipe"] for one in seen[: read + 1]) and all("Ingredients" in one["recipe"] for one in seen[read + 1 :])
        # What is prepared is told by the recipe that was read, not only by the game's own plan.
        prepared = [
            action.split(" with ")[0].replace(" ", " the ", 1)
            for action in episode.actions
            if action.split()[0] in ("slice", "dice", "chop")
        ]
        assert prepared and all(action in last["recipe"] for action in prepared)
        assert episode.episode_return >= 3
    else:
        assert episode.episode_return == 1 and len(episode) == 5
        told = ("north", "south", "east", "west")  # the way that the goal tells is the one that was gone
        goal = [word.strip(".,") for word in seen[0]["goal"].split() if word.strip(".,") in told]
        assert goal == [action.split()[1] for action in episode.actions if action.startswith("go ")]


def test_commands_for_the_program_are_not_passed_on():
    env, _, _ = begin("treasure-guided")
    before = env.step(env.advice[0])[0]
    for command in ("undo", "restart", "QUIT", "save", "restore", "tw-extra-infos moves", "script", ""):
        seen, reward, over, _, info = env.step(command)
        assert (seen["room"], reward, over, info["success"]) == (before["room"], 0.0, False, False), command
        assert seen["said"] == "You can do nothing of that kind."
    assert env.step("dance with the ceiling")[0]["room"] == before["room"]


def test_one_command_a_step_however_it_is_written():
    """The game's parser takes several in a row, of which TextWorld's own account of the game would miss all but the first."""
    env, first, _ = begin("treasure-guided")
    way = env.advice
    once = [env.step(way[0])[0], env.step("look")[0]]
    assert once[0]["room"] != first["room"] and once[0]["said"] == "" and env.advice == way[1:]
    for chained in (f"  {way[0].upper()}!\n then {way[1]}", f"{way[0]}. {way[1]}", f"{way[0]}, {way[1]}", f"{way[0]} THEN {way[1]}"):
        env.reset(seed=3)
        assert [env.step(chained)[0]["room"], env.step("look")[0]["room"]] in ([seen["room"] for seen in once], [first["room"]] * 2), (
            chained
        )


def test_the_clock_runs_out():
    env, _, _ = begin("treasure-guided")
    ends = [env.step("look")[2:4] for _ in range(GAMES["treasure-guided"].steps)]
    assert ends[-1] == (False, True) and not any(map(any, ends[:-1]))
    assert env.render().shape == (480, 640, 3)


def test_the_random_agent_says_what_means_something():
    task = get_task("textworld/cooking-prepare")
    env, _, info = begin("cooking-prepare")
    assert env.action_space == task.action_space and isinstance(env.action_space, spaces.Text)
    drawn = [env.action_space.sample() for _ in range(300)]
    assert set(drawn) == set(info["admissible_commands"])
    env.action_space.seed(0)
    first = record_episode(task, env, RandomAgent(), 3)[0]
    again = record_episode(task, env, RandomAgent(), 3)[0]
    assert first.actions == again.actions and first.observations == again.observations
    assert len(set(first.actions)) > 5


@pytest.mark.slow
def test_the_guide_finds_its_way_from_wherever_it_was_brought():
    """A third of the steps is the random agent's: where the game was not lost thereby, it is won."""
    won = lost = 0
    for name in ("treasure-medium", "cooking-house"):
        task = get_task(f"textworld/{name}")
        env, guide, rng = task.make(), task.make_expert(), np.random.default_rng(0)
        for seed in range(3):
            observation, _ = env.reset(seed=seed)
            guide.reset(env, observation, seed)
            env.action_space.seed(seed)
            over = late = False
            while not over and not late:
                advice = guide.act(observation)
                assert advice in env.action_space.admissible
                wander = rng.random() < 0.33 and env._steps < 40
                observation, _, over, late, info = env.step(env.action_space.sample() if wander else advice)
            won, lost = won + info["success"], lost + (over and not info["success"])
            assert not late
    assert won >= 3 and won + lost == 6


@pytest.mark.slow
def test_games_are_the_same_wherever_and_after_whatever_they_were_made(tmp_path):
    """Another process, hashing strings otherwise, that has made others before: TextWorld's own generator makes another game then."""
    environment = os.environ | {"OPENGATO_CACHE": str(tmp_path), "PYTHONHASHSEED": "7"}
    code = "from opengato.domains.textworld.games import game_file as f; f('treasure-easy', 8); print(f('cooking-house', 3))"
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert other.startswith(str(tmp_path))
    mine = game_file("cooking-house", 3)
    with open(other, "rb") as one, open(mine, "rb") as two:
        content = one.read()
        assert content == two.read() and content[0x12:0x18] == b"000000"  # not the day of its making
    with open(other.replace(".z8", ".json")) as one, open(mine.with_suffix(".json")) as two:
        assert json.load(one)["quests"] == json.load(two)["quests"]


@pytest.mark.slow
def test_a_game_is_learnt_by_heart_from_recording_to_acting(tmp_path):
    """The whole road of an environment whose only action is text: recorded, tokenised, trained on, and won by what is said."""
    task = get_task("textworld/treasure-easy")
    episode, _ = record_episode(task, task.make(), task.make_expert(), 3)
    data = tokenise(Episodes(task.id, task.observation_space, task.action_space, [episode], "1"), TextTokenizer.load(), tmp_path)
    config = swift(2, context=256)
    torch.manual_seed(0)
    mixture = Mixture([data], {"textworld": 1.0}, 256, config.fold, 0, Sampling(0.0))
    trainer = Trainer(Gato(config), mixture, TrainConfig(steps=40, batch=2, optimiser=SWIFT, checkpoint_every=1e9), tmp_path / "run")
    trainer.run(show=False)
    agent = Checkpoint(trainer.model.eval(), TextTokenizer.load(), mixture.layouts)
    (played,) = rollout(agent, task, 1, seed=3, prompt=False)
    assert played.success and played.length == len(episode)
    (elsewhere,) = rollout(agent, task, 1, seed=4, prompt=False)  # what it says there is text all the same
    assert elsewhere.length <= GAMES["treasure-easy"].steps


def test_what_cannot_be_made_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path))
    monkeypatch.setitem(GAMES, "nowhere", GAMES["coin-5"])  # which the process that makes them does not know
    with pytest.raises(OpenGatoError, match="game 5 of 'textworld/nowhere' cannot be made: KeyError: 'nowhere'"):
        game_file("nowhere", 5)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
