"""What agents say, for a report: of pictures that they know and that they do not, texts, the beginning of a talk; and how it scores."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from opengato.checkpoint import Checkpoint
from opengato.datasets import captions, dialogue, questions, text
from opengato.datasets.captions import load_emoji
from opengato.datasets.dataset import Dataset
from opengato.errors import OpenGatoError
from opengato.evaluation.language import Row, score, task_of
from opengato.evaluation.report import Voice
from opengato.word_tasks import talk_tasks, text_tasks

_KNOWN, _UNKNOWN, _ASKED = (
    10,
    12,
    12,
)  # shown: captions of both, and questions about those held out
_SAMPLES, _TALKS = 200, 50  # of pictures, questions and texts, of which words are scored, and of conversations: replying takes longer

_BY_SPLIT: dict[str, Callable[[str], Dataset]] = {
    captions.TASK: captions.emoji_captions,
    questions.TASK: questions.emoji_questions,
    text.TASK: lambda split: text.shipped(split=split),
    dialogue.TASK: dialogue.chitchat,
}


def word_scores(agent: Checkpoint, seed: int = 0) -> list[Row]:
    """What it makes of shipped words and pictures that are kept from training, and the simplest writers, who learned from the others.

    Of those that it has learned to read.
    """
    rows: list[Row] = []
    for task, of_split in _BY_SPLIT.items():
        held_out = of_split("test")
        if _reads(agent, held_out):
            of = _TALKS if task == dialogue.TASK else _SAMPLES
            rows += score(agent, [held_out], [of_split("train")], of, seed=seed)
    return rows


def voice_of(agent: Checkpoint, heading: str, about: str) -> Voice:
    """What an agent says of shipped pictures, some that it knows and some kept from training, and what it writes and replies."""
    return Voice(heading, about, _captions(agent), _answers(agent), _texts(agent))


def _reads(agent: Checkpoint, dataset: Dataset) -> bool:
    try:
        return bool(task_of(agent, dataset))
    except OpenGatoError:
        return False


def _captions(agent: Checkpoint) -> list[dict[str, Any]]:
    from opengato.policy.language import caption
    from opengato.policy.policy import Policy

    if not _reads(agent, _BY_SPLIT[captions.TASK]("test")):
        return []
    policy = Policy(agent)
    pictures = [*list(load_emoji("train"))[::160][:_KNOWN], *list(load_emoji("test"))[:_UNKNOWN]]
    return [
        {
            "png": _png(e.observations["image"][0]),
            "said": caption(policy, e.observations["image"][0]),
            "truth": e.actions[0] + ("" if i < _KNOWN else " (held out)"),
        }
        for i, e in enumerate(pictures)
    ]


def _answers(agent: Checkpoint) -> list[dict[str, Any]]:
    from opengato.policy.language import ask
    from opengato.policy.policy import Policy

    held_out = _BY_SPLIT[questions.TASK]("test")
    if not _reads(agent, held_out):
        return []
    policy = Policy(agent)

    def asked() -> Iterator[tuple[np.ndarray, str, str]]:
        for e in held_out.episodes():
            if e.observations["question"][0] != questions.NAME:  # captions say it already
                yield np.asarray(e.observations["image"])[0], e.observations["question"][0], e.actions[0]

    return [
        {"png": _png(image), "said": ask(policy, image, question), "truth": f"{question} {answer} (held out)"}
        for image, question, answer in islice(asked(), _ASKED)
    ]


def _texts(agent: Checkpoint) -> list[dict[str, str]]:
    from opengato.policy.language import continue_text
    from opengato.policy.policy import Policy

    sampling = Policy(agent, temperature=0.7, top_p=0.9)
    texts = []
    if text_tasks(agent.layouts):
        texts += [{"prompt": "", "said": continue_text(sampling)} for _ in range(3)]
    if talks := talk_tasks(agent.layouts):
        sampling.reset(talks[0])
        texts += [{"prompt": line, "said": sampling.act(line)} for line in ("Hello! How are you today?", "What do you like to do?")]
    return texts


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
