"""Several actions from one look: those that the network predicts at once, and no others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from opengato.checkpoint import Checkpoint
from opengato.datasets.dataset import Episodes
from opengato.datasets.tokenise import tokenise
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.mixture import Mixture, Sampling
from opengato.model.config import ModelConfig, swift
from opengato.model.gato import Gato
from opengato.policy.engine import Engine
from opengato.policy.policy import Policy
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import BIN_START, BINS
from opengato.training.loop import TrainConfig, Trainer
from opengato.training.optimiser import SWIFT

TOKENIZER = TextTokenizer.load()
CONFIG = ModelConfig("swift", 2, 2, 32, 64, 16, context=128, set_width=32, patches_per_position=2, sees_choices=True, chunk=4)
ARM = Layout(spaces.Box(-9, 9, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32))
KEYS = Layout(spaces.Box(-9, 9, (3,), np.float32), spaces.Discrete(9))
TALK = Layout(text_space(), text_space())


def engine(chunk=4, slots=2, layouts=(ARM, ARM), **settings):
    torch.manual_seed(0)
    made = Engine(Gato(replace(CONFIG, chunk=chunk)), TOKENIZER, slots, **settings)
    for slot, layout in enumerate(layouts):
        made.reset(slot, layout, seed=slot)
    return made


def centres(logits):
    """The likeliest bins' values in [-1, 1]."""
    return (logits.argmax(-1).numpy() + 0.5) * 2 / BINS - 1


def test_a_plan_is_what_the_head_says_for_each_rank_after_one_pass():
    rng = np.random.default_rng(0)
    seen = {0: rng.normal(size=3).astype(np.float32), 1: rng.normal(size=3).astype(np.float32)}
    ours, hidden = engine(), []
    forward = ours._forward
    ours._forward = lambda new: hidden.append(forward(new)) or hidden[-1]
    found = ours.plan(seen, 3)
    (state,) = hidden
    for slot in seen:
        expected = centres(ours.model.logits(state[[slot] * 6], BIN_START, BIN_START + BINS, torch.arange(6)))
        np.testing.assert_allclose(np.stack(found[slot]).ravel(), expected, atol=1e-6)


def test_a_plan_longer_than_the_chunk_looks_again_at_the_same_observation():
    seen = {0: np.ones(3, np.float32), 1: np.zeros(3, np.float32)}
    ours, by_hand = engine(), engine()
    found = ours.plan(seen, 6)
    parts = [by_hand.plan(seen, 4), by_hand.plan(seen, 2)]
    for slot in seen:
        np.testing.assert_array_equal(np.stack(found[slot]), np.concatenate([np.stack(part[slot]) for part in parts]))
    assert ours.slots[0].position == by_hand.slots[0].position == 2


def test_one_action_is_what_act_gives_and_what_a_network_of_single_actions_gives():
    seen = {0: np.ones(3, np.float32), 1: np.zeros(3, np.float32)}
    acted, planned, single = engine(), engine(), engine(chunk=1)
    for _ in range(3):
        one, (other, last) = acted.act(seen), (planned.plan(seen, 1), single.plan(seen, 1))
        for slot in seen:
            np.testing.assert_array_equal(one[slot], other[slot][0])
            np.testing.assert_array_equal(one[slot], last[slot][0])


def test_layouts_beside_one_another_and_answers_in_words():
    ours = engine(slots=3, layouts=(ARM, KEYS, TALK), max_text=3)
    found = ours.plan({0: np.ones(3, np.float32), 1: np.ones(3, np.float32), 2: "hello"}, 3)
    assert [len(actions) for actions in found.values()] == [3, 3, 3]
    assert all(action in KEYS.action_space for action in found[1]) and all(isinstance(text, str) for text in found[2])
    # What is remembered of a plan is the action before the next observation.
    assert [token for token, _ in ours.slots[1].carried] == [int(found[1][-1])]
    with pytest.raises(OpenGatoError, match="slot 0 was not reset"):
        Engine(ours.model, TOKENIZER, 1).plan({0: np.ones(3, np.float32)}, 2)


def test_policy_plans(tmp_path):
    agent = Checkpoint(engine().model, TOKENIZER, {"t/arm": ARM}, {})
    agent.save(tmp_path / "agent")
    policy = Policy.from_pretrained(tmp_path / "agent")
    assert policy.checkpoint.model.config.chunk == 4
    policy.reset("t/arm")
    found = policy.plan(np.ones(3, np.float32), 4)
    np.testing.assert_array_equal(np.stack(found), np.stack(engine().plan({0: np.ones(3, np.float32)}, 4)[0]))


@pytest.mark.slow
def test_what_is_seen_once_is_done_for_four_steps(tmp_path):
    """Four numbers stand in every fourth observation, to be done one after the other; between them nothing is seen."""
    rng = np.random.default_rng(0)

    def episode():
        wanted = rng.uniform(-1, 1, (25, 4)).astype(np.float32)
        seen = np.zeros((25, 4, 4), np.float32)
        seen[:, 0] = wanted
        return Episode(seen.reshape(100, 4), wanted.reshape(100, 1), np.ones(100, np.float32), "arm/a")

    spaces_of = spaces.Box(-9, 9, (4,), np.float32), spaces.Box(-1, 1, (1,), np.float32)
    data = tokenise(Episodes("arm/a", *spaces_of, [episode() for _ in range(60)], "1"), TOKENIZER, tmp_path)
    config = replace(swift(2, context=64), chunk=4)
    torch.manual_seed(0)
    mixture = Mixture([data], {"arm": 1.0}, 64, config.fold, 0, Sampling(0.0, config.moments, 1.0), chunk=4)
    trainer = Trainer(Gato(config), mixture, TrainConfig(steps=400, batch=8, optimiser=SWIFT, checkpoint_every=1e9), tmp_path / "run")
    trainer.run(show=False)
    ours, errors, blind = Engine(trainer.model.eval(), TOKENIZER, 1), [], []
    for _ in range(20):
        one = episode()
        ours.reset(0, mixture.layouts["arm/a"])
        errors.append(np.abs(np.stack(ours.plan({0: one.observations[0]}, 4)[0]) - one.actions[:4]).mean())
        blind.append(np.abs(np.stack([ours.act({0: seen})[0] for seen in one.observations[1:4]]) - one.actions[1:4]).mean())
    assert np.mean(errors) < 0.1 < 0.3 < np.mean(blind)
