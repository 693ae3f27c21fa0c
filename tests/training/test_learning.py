"""That a folded network learns from demonstrations: numbers that matter by centimetres, and what was seen long ago."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from opengato.checkpoint import Checkpoint
from opengato.collection import record_episode
from opengato.datasets.dataset import Episodes
from opengato.datasets.tokenise import tokenise
from opengato.domains import get_task
from opengato.episode import Episode
from opengato.evaluation.rollout import rollout
from opengato.mixture import Mixture, Sampling
from opengato.model.config import swift
from opengato.model.gato import Gato
from opengato.policy.engine import Engine
from opengato.tokens.text import TextTokenizer
from opengato.training.loop import TrainConfig, Trainer
from opengato.training.optimiser import SWIFT

TOKENIZER = TextTokenizer.load()


def learn(datasets, steps, folder, context=64, short_share=0.8):
    config = swift(2, context=context)
    torch.manual_seed(0)
    mixture = Mixture(datasets, {datasets[0].domain: 1.0}, context, config.fold, 0, Sampling(0.1, config.moments, short_share))
    trainer = Trainer(Gato(config), mixture, TrainConfig(steps=steps, batch=8, optimiser=SWIFT, checkpoint_every=1e9), folder)
    trainer.run(show=False)
    return Checkpoint(trainer.model.eval(), TOKENIZER, mixture.layouts)


@pytest.mark.slow
def test_an_arm_is_steered_by_centimetres(tmp_path):
    """The action is ten times the difference of two of twelve numbers around half a metre. A sum that hardly tells places apart, bins of a
    centimetre, or long windows only: the error is 0.2 and more."""
    rng = np.random.default_rng(0)

    def episodes(count):
        for _ in range(count):
            seen = rng.normal(rng.uniform(0.3, 0.7, 12), 0.04, (100, 12))
            wanted = np.clip(10 * (seen[:, :3] - seen[:, 4:7]), -1, 1)
            yield Episode(seen, wanted.astype(np.float32), np.ones(100, np.float32), "arm/a")

    box = spaces.Box(-np.inf, np.inf, (12,)), spaces.Box(-1, 1, (3,), np.float32)
    agent = learn([tokenise(Episodes("arm/a", *box, list(episodes(60)), "1"), TOKENIZER, tmp_path)], 300, tmp_path / "run")
    engine, errors = Engine(agent.model, TOKENIZER, 4), []
    for slot, episode in enumerate(episodes(4)):
        engine.reset(slot, agent.layouts["arm/a"])
        for seen, wanted in zip(episode.observations[:40], episode.actions):
            errors.append(abs(engine.act({slot: seen})[slot] - wanted).mean())
    assert np.mean(errors) < 0.1


@pytest.mark.slow
def test_a_maze_is_remembered_and_lost_without_a_memory(tmp_path):
    task = get_task("memory/t-maze-short")
    env, expert = task.make(), task.make_expert()
    recorded = [record_episode(task, env, expert, seed)[0] for seed in range(300)]
    data = tokenise(Episodes(task.id, task.observation_space, task.action_space, recorded, "1"), TOKENIZER, tmp_path)
    agent = learn([data], 250, tmp_path / "run")
    remembering = np.mean([r.success for r in rollout(agent, task, 60)])
    agent.model.config = swift(2, context=1)
    assert remembering > 0.9
    assert np.mean([r.success for r in rollout(agent, task, 60)]) < 0.7
