"""Scores of words on held-out data: what is known by heart scores high, the simplest writers stand beside, long texts are read whole."""

import json
import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image

from opengato.checkpoint import Checkpoint
from opengato.datasets.dataset import Episodes
from opengato.datasets.open import find_dataset
from opengato.datasets.text import to_episode
from opengato.datasets.tokenise import tokenise
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.evaluation.language import kind_of, score, task_of
from opengato.evaluation.likelihood import said_nats
from opengato.evaluation.simple_words import SimpleAnswers, look
from opengato.evaluation.words import word_losses
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer

TOKENIZER = TextTokenizer.load()
IMAGE = spaces.Box(0, 255, (64, 64, 3), np.uint8)
SPACES = {
    "text/a": spaces.Dict({}),
    "captions/a": spaces.Dict(image=IMAGE),
    "questions/a": spaces.Dict(image=IMAGE, question=text_space()),
    "dialogue/a": text_space(),
}
SIZES = {"swift": {"patches_per_position": 20, "set_width": 16}, "gato": {}}


@pytest.fixture(scope="module", params=["swift", "gato"])
def checkpoint(request):
    torch.manual_seed(0)
    config = ModelConfig(request.param, 1, 2, 32, 64, 16, context=64, **SIZES[request.param])
    return Checkpoint(Gato(config).eval(), TOKENIZER, {task: Layout(space, text_space()) for task, space in SPACES.items()})


def test_nats_are_those_of_the_training_and_long_texts_are_read_whole(checkpoint, tmp_path):
    long = " ".join(map(str, range(1000, 1400)))
    episodes = [to_episode("a short one", "text/a"), to_episode(long, "text/a")]
    short, whole = said_nats(checkpoint, checkpoint.layouts["text/a"], episodes)
    data = tokenise(Episodes("text/a", SPACES["text/a"], text_space(), episodes[:1], "1"), TOKENIZER, tmp_path)
    np.testing.assert_allclose(short, word_losses(checkpoint, data).numpy(), rtol=1e-4)
    assert len(whole) == len(TOKENIZER.encode(long)) + 1
    beginning, _ = said_nats(checkpoint, checkpoint.layouts["text/a"], [to_episode(long[:60], "text/a"), episodes[0]])
    same = len(TOKENIZER.encode(long[:55]))
    np.testing.assert_allclose(whole[:same], beginning[:same], rtol=1e-4)  # the rest does not change how it begins
    talk = Episode(["hello there"] * 30, ["how are you"] * 30, np.zeros(30, np.float32), "dialogue/a")
    (said,) = said_nats(checkpoint, checkpoint.layouts["dialogue/a"], [talk])
    assert len(said) == 30 * (len(TOKENIZER.encode("how are you")) + 1)


@pytest.fixture
def folder(tmp_path):
    """Two pictures with captions and questions, a text and a talk, in the public formats."""
    for n, colour in enumerate(("red", "blue")):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{n}.png")
    images = [{"id": n, "file_name": f"{n}.png"} for n in range(2)]
    said = [(0, "a red square"), (0, "something red"), (1, "a blue square"), (1, "all is blue")]
    annotations = [{"id": i, "image_id": n, "caption": caption} for i, (n, caption) in enumerate(said)]
    (tmp_path / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    asked = [{"image_id": n, "question": "which colour is it?", "question_id": n} for n in range(2)]
    answers = [[{"answer": colour, "answer_confidence": "yes", "answer_id": i} for i in range(10)] for colour in ("red", "blue")]
    (tmp_path / "questions.json").write_text(json.dumps({"questions": asked}))
    (tmp_path / "answers.json").write_text(json.dumps({"annotations": [{"question_id": n, "answers": a} for n, a in enumerate(answers)]}))
    (tmp_path / "text.txt").write_text("it was a dark night " * 20)
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    (tmp_path / "talk.jsonl").write_text(json.dumps({"messages": talk}) + "\n")
    return tmp_path


def names(folder):
    questions = f"vqa:{folder / 'questions.json'},{folder / 'answers.json'},{folder}"
    return [f"coco:{folder / 'captions.json'},{folder}", questions, f"text:{folder / 'text.txt'}", f"chat:{folder / 'talk.jsonl'}"]


def test_every_kind_has_its_scores_and_baselines(checkpoint, folder):
    datasets = [find_dataset(name) for name in names(folder)]
    assert [kind_of(dataset) for dataset in datasets] == ["captions", "questions", "text", "dialogue"]
    rows = list(score(checkpoint, datasets, datasets, samples=10))
    by = {(row.dataset.partition(":")[0], row.who): row for row in rows}
    assert {who for kind, who in by if kind == "coco"} == {"agent", "most frequent", "nearest picture"}
    assert {who for kind, who in by if kind == "vqa"} == {"agent", "most frequent", "question only", "nearest picture"}
    assert {who for kind, who in by if kind == "text"} == {"agent", "unigram", "5-gram, Kneser-Ney"}
    assert by["coco", "agent"].count == 2  # pictures
    assert by["coco", "nearest picture"].scores["BLEU-4"] > 99 or by["coco", "nearest picture"].scores["ROUGE-L"] > 99
    assert by["vqa", "nearest picture"].scores["VQA accuracy"] == 100 and by["vqa", "question only"].scores["VQA accuracy"] == 50
    agent, unigram, grams = (by["text", who].scores["bits a byte"] for who in ("agent", "unigram", "5-gram, Kneser-Ney"))
    assert grams < 0.3 < unigram < agent  # what it counted it knows by heart
    text = "it was a dark night " * 20
    words = len(TOKENIZER.encode(text)) + 1
    assert agent == pytest.approx(words * math.log2(33_024) / len(text), rel=0.15)  # nobody has taught it anything
    assert by["chat", "agent"].scores["perplexity"] > 1000 and 0 < by["chat", "agent, its own replies"].scores["distinct-1"] <= 1
    assert not [row for row in score(checkpoint, datasets[2:3], [], samples=1) if row.who != "agent"]


def test_yes_or_no_questions_are_told_apart_from_the_others(checkpoint, folder):
    """As VQA's own script tells its scores by the sort of answer; the nearest picture's answers to the same pictures are all right."""
    questions = [
        {"image_id": n, "question": ask, "question_id": 2 * n + k} for n in range(2) for k, ask in enumerate(("is it red?", "what?"))
    ]
    said = ["yes", "red", "no", "blue"]
    answers = [{"question_id": q, "answers": [{"answer": a, "answer_id": i} for i in range(10)]} for q, a in enumerate(said)]
    (folder / "both.json").write_text(json.dumps({"questions": questions}))
    (folder / "said.json").write_text(json.dumps({"annotations": answers}))
    dataset = find_dataset(f"vqa:{folder / 'both.json'},{folder / 'said.json'},{folder}")
    by = {row.who: row.scores for row in score(checkpoint, [dataset], [dataset], samples=10)}
    assert by["nearest picture"] == {"VQA accuracy": 100, "yes or no": 100, "others": 100}
    assert by["question only"] == {"VQA accuracy": 50, "yes or no": 50, "others": 50}
    assert by["agent"].keys() == by["most frequent"].keys() == {"VQA accuracy", "yes or no", "others"}


def test_a_dataset_is_read_by_a_task_of_its_spaces(checkpoint, folder):
    dataset = find_dataset(names(folder)[0])
    assert task_of(checkpoint, dataset) == "captions/a"
    wide = {"captions/wide": Layout(spaces.Dict(image=spaces.Box(0, 255, (64, 96, 3), np.uint8)), text_space())}
    with pytest.raises(OpenGatoError, match=r"no task of the spaces of coco:.*--pictures"):
        task_of(Checkpoint(checkpoint.model, TOKENIZER, wide), dataset)


def test_the_simplest_agents():
    def episode(colour, question, answer):
        picture = np.full((1, 20, 30, 3), colour, np.uint8)
        return Episode({"image": picture, "question": [question]}, [answer], np.zeros(1, np.float32), "questions/a")

    seen = [
        episode(0, "q", "dark"),
        episode(250, "q", "light"),
        episode(240, "q", "light"),
        episode(0, "r", "no"),
        episode(0, "s", "light"),
    ]
    simple = SimpleAnswers().see(seen)
    assert simple.answers(episode(20, "q", "?")) == {"most frequent": "light", "question only": "light", "nearest picture": "dark"}
    assert simple.answers(episode(0, "r", "?"))["question only"] == "no"
    assert simple.answers(episode(249, "new", "?")) == {"most frequent": "light", "question only": "light", "nearest picture": "light"}
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None, None], (16, 24, 3))
    np.testing.assert_allclose(look(ramp).reshape(8, 8, 3)[:, 0, 0], np.arange(8) * 2 + 0.5)
