"""A policy that is saved is the policy that was loaded, whatever it was loaded to act with, and says of itself what it is."""

import filecmp

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load_file

from opengato import Policy
from opengato.checkpoint import Checkpoint
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

SMALL = ModelConfig("swift", 2, 2, 32, 64, 16, context=64, set_width=32, patches_per_position=8)
SCORES = {"tasks": {"t/arm": {"success": 0.25, "score": 37.5, "return": 3.5, "n": 8}}}


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    layouts = {"t/arm": Layout(spaces.Box(-9, 9, (3,)), spaces.Box(-1, 1, (2,)))}
    facts = {"steps": 12, "data": {"t/arm": {"episodes": 5, "timesteps": 40, "by": ["expert"]}}}
    return Checkpoint(Gato(SMALL).eval(), TextTokenizer.load(), layouts, facts=facts)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_what_was_loaded_is_saved_to_the_bit(trained, precision, tmp_path):
    trained.save(tmp_path / "first")
    policy = Policy.from_pretrained(tmp_path / "first", precision=precision)
    policy.reset("t/arm")
    policy.act(np.zeros(3, np.float32))
    policy.save_pretrained(tmp_path / "second", about="An arm.", scores=SCORES)
    for name in ("config.json", "model.safetensors", "tokenizer.model"):
        assert filecmp.cmp(tmp_path / "first" / name, tmp_path / "second" / name, shallow=False), name
    card = (tmp_path / "second" / "README.md").read_text()
    assert "# second" in card and "An arm." in card and "12 steps" in card and "| `t/arm` | 25% | 38 |" in card


def test_a_policy_of_a_checkpoint_in_memory_is_saved_too_and_rounded_where_it_is_asked_for(trained, tmp_path):
    policy = Policy(trained)
    policy.save_pretrained(tmp_path / "whole")
    again = Policy.from_pretrained(tmp_path / "whole")
    for agent in (policy, again):
        agent.reset("t/arm")
    seen = np.array([1.0, -2.0, 0.5], np.float32)
    np.testing.assert_allclose(policy.act(seen), again.act(seen), atol=1e-5)
    assert "Not measured." in (tmp_path / "whole" / "README.md").read_text()
    policy.save_pretrained(tmp_path / "small", bits=16)
    stored = load_file(tmp_path / "small" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
