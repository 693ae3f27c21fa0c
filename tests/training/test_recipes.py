"""Recipes, their weights, and fine-tuning."""

import io
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from opengato.checkpoint import Checkpoint
from opengato.errors import OpenGatoError
from opengato.model.config import PRESETS, ModelConfig
from opengato.model.gato import Gato
from opengato.recipes import FINETUNE, RECIPES, TABLE_1, recipe, resolve_weights
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import ACTION_TEXT
from opengato.training import train as training
from opengato.training.lora import add_adapters, merge_adapters
from opengato.training.train import finetune, train

SMALL = ModelConfig("swift", 2, 2, 32, 64, 16, context=64, set_width=32, patches_per_position=8)


def test_table_1_is_whole():
    """Control 85.3, vision and language 14.7 (gato, Table 1); the printed weights add up to 99.94."""
    language = sum(TABLE_1[d] for d in ("text", "pages", "captions", "questions"))
    assert sum(TABLE_1.values()) == pytest.approx(100, abs=0.7) and language == pytest.approx(14.7, abs=0.05)


@given(st.sets(st.sampled_from(sorted(TABLE_1)), min_size=1))
def test_weights_of_what_is_there_keep_their_proportions(present):
    weights, missing = resolve_weights(TABLE_1, present)
    assert set(weights) == present and set(missing) == set(TABLE_1) - present
    assert sum(weights.values()) == pytest.approx(1)
    one = min(present)
    assert all(weights[d] / weights[one] == pytest.approx(TABLE_1[d] / TABLE_1[one]) for d in present)


def test_a_domain_without_a_weight_is_an_error():
    with pytest.raises(OpenGatoError, match=r"--weights atari [0-9.]+ dialogue [0-9.]+$"):
        resolve_weights(TABLE_1, {"dialogue", "atari"})
    assert resolve_weights(None, {"a", "b"}) == ({"a": 0.5, "b": 0.5}, [])
    with pytest.raises(OpenGatoError, match="did you mean 'swift-nano'"):
        recipe("swift-nana")


def test_a_recipe_of_any_depth_trains_as_the_tiny_one():
    found, tiny = recipe("swift-d6"), recipe("swift-tiny")
    assert found.model == "swift-d6" and (found.train, found.sampling) == (tiny.train, tiny.sampling)


def test_every_recipe_has_a_preset_and_says_what_it_needs():
    assert set(RECIPES) == set(PRESETS)
    assert all(r.model in PRESETS and r.needs and r.takes and r.reaches for r in RECIPES.values())
    rates = {name: r.train.optimiser.learning_rate for name, r in RECIPES.items() if name.startswith("gato")}
    assert rates == {"gato-1.2b": 1e-4, "gato-364m": 2e-4, "gato-79m": 1e-4}  # appendix C


def test_adapters_change_nothing_at_first_and_are_merged_without_a_trace():
    torch.manual_seed(0)
    model = Gato(SMALL)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = add_adapters(model, rank=3)
    matrices = [m for m in model.blocks.modules() if isinstance(m, torch.nn.Linear)]
    assert trained == sum(3 * (m.in_features + m.out_features) for m in matrices)
    for linear in matrices:
        torch.testing.assert_close(linear.weight, linear.parametrizations.weight.original)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    weights = [linear.weight.clone() for linear in matrices]
    merge_adapters(model)
    after = model.state_dict()
    assert after.keys() == before.keys()
    for linear, weight in zip(matrices, weights, strict=True):
        torch.testing.assert_close(linear.weight, weight)
    assert all(torch.equal(after[name], before[name]) for name in before if not name.startswith("blocks"))


@given(st.dictionaries(st.sampled_from(sorted(TABLE_1)), st.floats(0.1, 9), max_size=3))
def test_the_advice_for_a_domain_without_a_weight_helps(wanted):
    present = {*wanted, "spoons", "forks"}
    with pytest.raises(OpenGatoError, match="'forks' has no weight") as error:
        resolve_weights(wanted, present)
    words = str(error.value).split("--weights ")[1].split()
    advised = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    resolved, missing = resolve_weights(advised, present)
    assert set(resolved) == present and not missing
    assert all(advised[domain] == pytest.approx(weight, rel=1e-4) for domain, weight in wanted.items())


@pytest.fixture(scope="module")
def other_tokenizer():
    """One that is not the shipped one."""
    written = io.BytesIO()
    words = ["red cat", "blue dog", "green bird", "a face with tears of joy", "the flag of a far country"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words * 20), model_writer=written, vocab_size=300, byte_fallback=True, hard_vocab_limit=False, minloglevel=2
    )
    return TextTokenizer(written.getvalue())


@pytest.mark.parametrize("lora", [None, 2])
def test_finetuning_on_spaces_never_seen(lora, other_tokenizer, tmp_path, monkeypatch):
    """A checkpoint that knows an arm learns to name pictures in its own words, and still knows the arm."""
    torch.manual_seed(0)
    arm = Layout(spaces.Box(-9, 9, (3,)), spaces.Box(-1, 1, (2,)))
    Checkpoint(Gato(SMALL).eval(), other_tokenizer, {"t/arm": arm}).save(tmp_path / "start")
    start = Checkpoint.load(tmp_path / "start").model.state_dict()
    opened, tokenise = [], training.open_datasets
    monkeypatch.setattr(training, "open_datasets", lambda *a, **k: opened.extend(tokenise(*a, **k)) or opened)
    quick = replace(FINETUNE, train=replace(FINETUNE.train, steps=3, batch=2, device="cpu"))
    out = finetune(tmp_path / "start", quick, ["captions/emoji"], tmp_path / "run", lora=lora, freeze=["embedding"])
    saved = Checkpoint.load(tmp_path / "run" / "checkpoint")
    assert set(saved.layouts) == {"t/arm", "captions/emoji"} == set(out.layouts)
    assert saved.tokenizer.fingerprint == other_tokenizer.fingerprint
    encoded = [d.gather(np.arange(d.timesteps)) for d in opened]
    words = np.concatenate([e.tokens[e.kinds == ACTION_TEXT] for e in encoded])
    assert len(words) and words.max() < 300  # of its pieces
    moved = {name for name, value in saved.model.state_dict().items() if not torch.equal(value, start[name])}
    assert moved and all(name.startswith(("blocks", "norm", "actions") if lora is None else "blocks") for name in moved)
    with pytest.raises(OpenGatoError, match="did you mean 'embedding'"):
        finetune(tmp_path / "start", quick, ["captions/emoji"], tmp_path / "other", freeze=["embeding"])


def test_datasets_of_several_rates_and_none_train_together_and_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path / "cache"))
    official = Path(__file__).parents[1] / "datasets" / "official"
    data = {name: official / name for name in ("lerobot_v3", "lerobot_v21")}
    said = {name: json.loads((path / "meta" / "info.json").read_text())["fps"] for name, path in data.items()}
    shutil.copytree(data["lerobot_v21"], tmp_path / "faster")
    info = tmp_path / "faster" / "meta" / "info.json"
    info.write_text(info.read_text().replace(f'"fps": {said["lerobot_v21"]},', '"fps": 50,', 1))
    quick = recipe("swift-nano")
    quick = replace(quick, train=replace(quick.train, steps=2, batch=1, device="cpu"))
    names = [f"lerobot:{data['lerobot_v3']}", f"lerobot:{tmp_path / 'faster'}", "captions/emoji"]
    agent = train(quick, names, tmp_path / "run", model=asdict(SMALL))
    wanted = {"lerobot/lerobot_v3": said["lerobot_v3"], "lerobot/faster": 50, "captions/emoji": None}
    assert {task: agent.rate(task) for task in agent.layouts} == wanted
    again = Checkpoint.load(tmp_path / "run" / "checkpoint")
    assert {task: again.rate(task) for task in agent.layouts} == wanted


def test_domains_that_a_stage_does_not_name_rest_in_it(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path / "cache"))
    quick = recipe("swift-nano")
    quick = replace(quick, train=replace(quick.train, steps=6, batch=2, log_every=1, device="cpu"))
    names, stages = ["captions/emoji", "questions/emoji"], {2: {"captions": 1.0}, 4: {"questions/emoji": 3.0}}
    train(quick, names, tmp_path / "run", weights={"questions": 1.0, "captions": 0.0}, stages=stages)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    learned = [{name.removeprefix("loss/") for name in row if name.startswith("loss/")} for row in rows]
    assert learned[:4] == [{"questions"}] * 2 + [{"captions"}] * 2
    assert set().union(*learned[4:]) == {"captions", "questions"}  # of tasks alone: the domains are the recipe's again
    with pytest.raises(OpenGatoError, match=r"begun with stages\.2\.captions"):
        train(quick, names, tmp_path / "run", weights={"questions": 1.0, "captions": 0.0}, stages={4: {"questions/emoji": 3.0}})
