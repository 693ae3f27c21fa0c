"""Questions in the format of VQAv2 and OKVQA: questions, what ten annotators answered, and the folder of the images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets import files, questions
from opengato.datasets.photographs import Folder, Picture, image_space
from opengato.datasets.reading import Reading
from opengato.datasets.records import Unreadable, words
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.spaces import text_space

PATHS = "QUESTIONS.json,ANNOTATIONS.json,IMAGES"


class VqaQuestions:
    """Questions about pictures and their answers, a `Dataset`; of vqa:QUESTIONS.json,ANNOTATIONS.json,IMAGES.

    Of each question one of its annotators' answers is the action, drawn by (seed, question): in a run over many questions an answer
    comes as often as it was given. All of them are in the episode's `info["answers"]`, by which an evaluation scores.
    """

    action_space = questions.ACTION_SPACE

    def __init__(self, paths: Sequence[str], reading: Reading):
        if len(paths) != 3:
            raise OpenGatoError(f"vqa has {len(paths)} paths: give vqa:{PATHS}")
        self._questions, self._annotations = files.expand(paths[:2], (".json",), f"vqa:{PATHS}")
        self._folder, self._size, self._seed = Folder(paths[2]), reading.pictures.size, reading.seed
        self.observation_space = spaces.Dict(image=image_space(reading.pictures), question=text_space())
        self.task = f"questions/{files.title(paths[0])}"
        self.name = f"vqa:{','.join(map(files.absolute, paths))} {reading.pictures} seed {reading.seed}"
        self.fingerprint = f"{self.name} {files.facts([self._questions, self._annotations])}"

    @cached_property
    def _asked(self) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]], str]:
        """The questions in order, annotations by question, and the images' subtype, "train2014" say."""
        with files.reading(self._questions, "VQA questions"), files.open_file(self._questions) as stream:
            data = json.load(stream)
            asked, subtype = list(data["questions"]), str(data.get("data_subtype", ""))
        with files.reading(self._annotations, "VQA annotations"), files.open_file(self._annotations) as stream:
            answered = {annotation["question_id"]: annotation for annotation in json.load(stream)["annotations"]}
        return asked, answered, subtype

    def episodes(self, start: int = 0) -> Iterator[Episode]:
        """The pictures are read when they are looked at."""
        asked, answered, subtype = self._asked
        for number, entry in enumerate(asked[start:], start):
            try:
                yield self._episode(entry, answered, subtype)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                said = f"no field {error}" if isinstance(error, KeyError) else str(error)
                which = entry.get("question_id", number) if isinstance(entry, dict) else number
                broken = Unreadable(f"question {which} of {self._questions}: {said}")
                yield Episode({"image": broken, "question": [""]}, [""], np.zeros(1, np.float32), self.task)

    def _episode(self, entry: dict[str, Any], answered: dict[int, dict[str, Any]], subtype: str) -> Episode:
        question, number = words(entry["question"], "its text"), entry["question_id"]
        if number not in answered:
            raise ValueError(f"it has no annotation in {self._annotations}")
        answers = [words(answer["answer"], "an answer") for answer in answered[number]["answers"]]
        if not answers:
            raise ValueError("it has no answers")
        picture = self._folder.first(image_names(entry["image_id"], subtype))
        if picture is None:
            raise ValueError(f"there is no picture of image {entry['image_id']} in {self._folder.path}")
        drawn = int.from_bytes(hashlib.blake2b(f"{self._seed} {number}".encode(), digest_size=8).digest(), "little") % len(answers)
        seen = {"image": Picture((picture,), self._size), "question": [question]}
        info = {"picture": picture, "answers": answers}
        return Episode(seen, [answers[drawn]], np.zeros(1, np.float32), self.task, source="human", info=info)

    def count(self) -> int:
        return len(self._asked[0])

    def mark(self, count: int) -> str:
        """The first questions and their annotations; a picture that has changed under its name is not noticed."""
        asked, answered, subtype = self._asked
        first = [(entry, answered.get(entry.get("question_id", -1))) for entry in asked[:count] if isinstance(entry, dict)]
        return hashlib.sha256(repr((subtype, first)).encode()).hexdigest()[:16]


def image_names(image: Any, subtype: str) -> list[str]:
    """What the file of an image may be called: as in COCO 2014, as in COCO 2017, or by the plain number."""
    stems = [f"COCO_{subtype}_{image:012d}", f"{image:012d}"] if isinstance(image, int) else []
    return [stem + ending for stem in (*stems, str(image)) for ending in (".jpg", ".png")]
