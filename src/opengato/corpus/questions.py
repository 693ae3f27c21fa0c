"""Questions about pictures in VQA's format: those of easy-vqa, and those that captions and kinds answer."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

WHAT, KIND, IS_IT = "what is it?", "what kind of thing is it?", "is it of the kind {}?"

Asked = tuple[int, str, str]  # an image's number, the question, the answer


def easy_vqa(folder: Path, split: str, most: int) -> Iterator[Asked]:
    """The first questions of easy-vqa's split "train" or "test", of shapes and their colours."""
    asked = json.loads((folder / "easy_vqa/data" / split / "questions.json").read_text())
    yield from ((image, question, answer) for question, answer, image in asked[:most])


def of_captions(captions: Path) -> Iterator[Asked]:
    """Of every picture with a kind, in a COCO file of `write_captions`: what it is, its kind, and whether it is of one, half the time."""
    annotations = [entry for entry in json.loads(captions.read_text())["annotations"] if entry["kind"]]
    kinds = sorted({entry["kind"] for entry in annotations})
    for entry in annotations:
        yield entry["image_id"], WHAT, entry["caption"]
        yield entry["image_id"], KIND, entry["kind"]
        others = [kind for kind in kinds if kind != entry["kind"]]
        digest = hashlib.sha256(f"{entry['image_id']} {entry['caption']}".encode()).digest()  # the same choice in every build
        if others:
            guess = entry["kind"] if digest[0] % 2 else others[digest[1] % len(others)]
            yield entry["image_id"], IS_IT.format(guess), "yes" if guess == entry["kind"] else "no"


def write_questions(asked: Iterator[Asked], folder: Path, side: str) -> int:
    """VQA's two JSON files of a side, "train" or "test"; what is given is what all ten annotators said. How many there are."""
    questions, annotations = [], []
    for number, (image, question, answer) in enumerate(asked):
        questions.append({"image_id": image, "question": question, "question_id": number})
        answers = [{"answer": answer, "answer_confidence": "yes", "answer_id": i} for i in range(1, 11)]
        kind = "yes/no" if answer in ("yes", "no") else "other"
        annotations.append(
            {"question_id": number, "image_id": image, "answer_type": kind, "multiple_choice_answer": answer, "answers": answers}
        )
    (folder / f"{side}_questions.json").write_text(json.dumps({"data_subtype": side, "questions": questions}))
    (folder / f"{side}_annotations.json").write_text(json.dumps({"data_subtype": side, "annotations": annotations}))
    return len(questions)


def write_easy(package: Path, folder: Path, most: int, advance: Callable[[], object]) -> None:
    """easy-vqa's questions and pictures, the split that it holds out held out; `most` to train on."""
    for side in ("train", "test"):
        images = folder / f"{side}_images"
        images.mkdir(parents=True, exist_ok=True)
        for path in sorted((package / "easy_vqa/data" / side / "images").glob("*.png")):
            shutil.copyfile(path, images / f"{int(path.stem):012d}.png")
            advance()
        write_questions(easy_vqa(package, side, most if side == "train" else most // 5), folder, side)


def write_derived(captions: Path, folder: Path) -> None:
    """The questions that a folder of captions answers, train and test as there; their pictures are the captions' own."""
    for side in ("train", "test"):
        write_questions(of_captions(captions / f"{side}.json"), folder, side)
