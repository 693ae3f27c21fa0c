"""A baseline is evaluated, filmed and asked for on the command line as any checkpoint."""

import dataclasses
import json

import numpy as np
import pytest
from test_baselines import PICTURE, SMALL, TOKENIZER, dataset

pytest.importorskip("minigrid")

from opengato.baselines.train import train_baseline
from opengato.cli import main
from opengato.datasets import captions
from opengato.domains import get_task
from opengato.episode import stack
from opengato.errors import OpenGatoError
from opengato.evaluation.agent import agent_files, load_agent
from opengato.evaluation.evaluate import evaluate, known_tasks
from opengato.evaluation.rollout import rollout
from opengato.evaluation.words import held_out_nats

TASK = get_task("babyai/go-to-obj")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An mlp that has seen a few demonstrations for half a second."""
    episodes = []
    for seed in range(6):
        env, expert = TASK.make(), TASK.make_expert()
        observation, _ = env.reset(seed=seed)
        expert.reset(env, observation, seed)
        seen, done, over = [], [], False
        while not over:
            seen.append(observation)
            done.append(expert.act(observation))
            observation, _, terminated, truncated, _ = env.step(done[-1])
            over = terminated or truncated
        episodes.append((stack(seen), np.array(done)))
    root = tmp_path_factory.mktemp("baseline")
    data = dataset(root / "cache", TASK.id, TASK.observation_space, TASK.action_space, episodes)
    train_baseline("mlp", [data], 0.5, folder=root / "agent", show=False)
    return root / "agent"


def test_scores_are_those_of_rollouts_for_any_batch_and_any_number_of_workers(folder):
    assert known_tasks(load_agent(folder), None) == [TASK] and {p.name for p in agent_files(folder)} == {p.name for p in folder.iterdir()}
    heard = []
    one = evaluate(folder, [TASK], 4, batch=1, workers=1, show=False, finished=lambda score, done: heard.extend(done))
    two = evaluate(folder, [TASK], 4, batch=3, workers=2, show=False)
    assert one == two and one.scores[0].n == 4 and heard == rollout(load_agent(folder), TASK, 4)
    plain, hot, greedy = (rollout(load_agent(folder), TASK, 10, temperature=t) for t in (None, 100, 0))
    assert [r.seed for r in hot] == [r.seed for r in plain] and hot != plain
    assert [r.seed for r in greedy] == [r.seed for r in plain] and greedy != hot


def test_refuses_other_tasks_spaces_and_precisions(folder):
    with pytest.raises(OpenGatoError, match="task of this checkpoint 'babyai/go-to-local'"):
        evaluate(folder, [get_task("babyai/go-to-local")], 1, show=False)
    other = dataclasses.replace(TASK, action_space=PICTURE)
    with pytest.raises(OpenGatoError, match="the action space of task 'babyai/go-to-obj' is not the one"):
        rollout(load_agent(folder), other, 1)
    with pytest.raises(OpenGatoError, match="precision is int8"):
        evaluate(folder, [TASK], 1, precision="int8", show=False)


def test_command_line(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where results are kept
    monkeypatch.setenv("COLUMNS", "80")
    main(["eval", str(folder), "--episodes", "1", "--workers", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["tasks"][TASK.id]["n"] == 1 and "nats_a_token" not in found
    main(["eval", str(folder), "--baseline", "mlp", "--seconds", "0.5", "--episodes", "1", "--workers", "1"])
    assert TASK.id in capsys.readouterr().out
    for arguments, sentence in (
        (["--baseline", "gru"], "has another kind than was asked for"),
        (["--root", "here"], "data and root are of a baseline's training"),
        (["--data", "captions/emoji"], "data and root are of a baseline's training"),
    ):
        with pytest.raises(SystemExit):
            main(["eval", str(folder), *arguments])
        said = capsys.readouterr().err
        assert said.startswith("error: ") and sentence in said and said.count("\n") == 1


def test_words_are_weighed_on_held_out_pictures(tmp_path, monkeypatch, capsys):
    """Without an environment there is nothing else to say of it."""
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path / "cache"))
    episodes = [e for _, e in zip(range(60), captions.load_emoji())]
    seen = {"image": np.concatenate([e.observations["image"] for e in episodes])}
    names = [e.actions[0] for e in episodes]
    data = dataset(tmp_path, captions.TASK, captions.OBSERVATION_SPACE, captions.ACTION_SPACE, [(seen, names)])
    baseline = train_baseline("cnn", [data], 0.5, folder=tmp_path / "agent", settings=SMALL, show=False)
    nats = held_out_nats(baseline)
    assert list(nats) == [captions.TASK] and 2 < nats[captions.TASK] < np.log(32_000 / 0.01)
    main(["eval", str(tmp_path / "agent"), "--json"])
    assert json.loads(capsys.readouterr().out) == {"nats_a_token": nats}
    assert TOKENIZER.fingerprint == baseline.tokenizer.fingerprint
