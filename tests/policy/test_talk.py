"""Words as they come: what is said piece by piece is what the policy answers, and pictures find the tasks that read them."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from opengato.checkpoint import Checkpoint
from opengato.datasets import captions, questions
from opengato.datasets.photographs import read_image
from opengato.errors import OpenGatoError
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.policy.language import ask, caption, chat
from opengato.policy.policy import Policy
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer, Words
from opengato.word_tasks import picture_tasks

TOKENIZER = TextTokenizer.load()
SMALL = spaces.Box(0, 255, (32, 32, 3), np.uint8)
LAYOUTS = {
    "captions/emoji": Layout(captions.OBSERVATION_SPACE, captions.ACTION_SPACE),
    "questions/emoji": Layout(questions.OBSERVATION_SPACE, questions.ACTION_SPACE),
    "a/vqa": Layout(spaces.Dict(image=SMALL, question=text_space()), text_space()),
    "a/wide": Layout(spaces.Dict(image=spaces.Box(0, 255, (32, 64, 3), np.uint8)), text_space()),
    "dialogue/chitchat": Layout(text_space(), text_space()),
}


@pytest.fixture(scope="module")
def checkpoint():
    torch.manual_seed(0)
    model = Gato(ModelConfig("swift", 2, 2, 32, 64, 16, context=128, set_width=32, patches_per_position=2)).eval()
    for parameter in model.parameters():  # far from uniform, so that an answer depends on what was seen
        torch.nn.init.normal_(parameter, std=0.3)
    return Checkpoint(model, TOKENIZER, LAYOUTS)


@given(st.text())
def test_pieces_are_whole_characters_and_make_the_text(text):
    words = Words(TOKENIZER)
    pieces = [words.hear(int(token)) for token in TOKENIZER.encode(text)]
    assert "".join(pieces) + words.rest() == text
    if "\ufffd" not in text:
        assert all("\ufffd" not in piece for piece in pieces)


def test_bytes_that_make_no_character_are_said_at_the_end():
    words = Words(TOKENIZER)
    first = int(TOKENIZER.encode("\U0001fae0")[-4])  # the first byte of four
    assert words.hear(first) == "" and words.rest() == TOKENIZER.decode([first])


def test_pictures_find_their_tasks():
    assert picture_tasks(LAYOUTS, question=False) == ["captions/emoji", "a/wide"]
    assert picture_tasks(LAYOUTS, question=True) == ["questions/emoji", "a/vqa"]


def test_what_is_said_is_what_was_answered(checkpoint, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (40, 90, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "picture.png")
    policy, said = Policy(checkpoint), []
    for answer, task, observation in (
        (caption(policy, tmp_path / "picture.png", said.append), "captions/emoji", {}),
        (ask(policy, tmp_path / "picture.png", "what is it?", said.append), "questions/emoji", {"question": "what is it?"}),
    ):
        policy.reset(task)
        assert answer == policy.act({"image": read_image(tmp_path / "picture.png")} | observation)
    chat(policy, io.StringIO("hello\nwho are you?\n\nnever read\n"), said.append)
    policy.reset("dialogue/chitchat")
    answers = [policy.act("hello"), policy.act("who are you?")]
    assert "".join(said).endswith("".join(f"{answer}\n" for answer in answers))
    assert len(said) > 8  # in pieces


def test_a_checkpoint_without_the_task_says_so(checkpoint, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    blind = Policy(Checkpoint(checkpoint.model, TOKENIZER, {"dialogue/chitchat": LAYOUTS["dialogue/chitchat"]}))
    with pytest.raises(OpenGatoError, match=r"not trained on questions about images, such as questions/emoji"):
        ask(blind, tmp_path / "picture.png", "what is it?")
    with pytest.raises(OpenGatoError, match="not trained on images and their captions"):
        caption(blind, tmp_path / "picture.png")


def test_the_command_line_asks(checkpoint, tmp_path):
    checkpoint.save(tmp_path / "checkpoint")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "picture.png")
    command = [sys.executable, "-m", "opengato", "ask", str(tmp_path / "checkpoint"), str(tmp_path / "picture.png"), "what is it?"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == ask(Policy(checkpoint), tmp_path / "picture.png", "what is it?") + "\n", done.stderr
