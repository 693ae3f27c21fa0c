"""Captions in COCO's format: a JSON file that lists images and annotations, and the folder of the images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from opengato.datasets import captions, files
from opengato.datasets.photographs import Picture
from opengato.datasets.reading import Budget, Reading
from opengato.datasets.records import Unreadable, words
from opengato.episode import Episode
from opengato.errors import OpenGatoError

PATHS = "ANNOTATIONS.json[,IMAGES]"


def open_coco(paths: Sequence[str], reading: Reading) -> CocoCaptions:
    """Of coco:ANNOTATIONS.json[,IMAGES]."""
    if len(paths) > 2:
        raise OpenGatoError(f"coco has {len(paths)} paths: give coco:{PATHS}")
    return CocoCaptions(paths[0], paths[1] if len(paths) == 2 else None, reading.pictures)


class CocoCaptions:
    """Captions in the COCO format, a `Dataset`.

    Args:
        annotations: a JSON file with `images` and `annotations`. images: the folder of the image files; default: where the JSON is.
        pictures: what they may take.
    """

    action_space = captions.ACTION_SPACE

    def __init__(self, annotations: str, images: str | None = None, pictures: Budget | None = None):
        at, inside = files.system(str(annotations))
        if not at.isfile(inside):
            raise OpenGatoError(f"there is no file {annotations}: give COCO captions as coco:ANNOTATIONS.json,FOLDER_OF_IMAGES")
        self.annotations, self.images = str(annotations), str(images) if images else str(annotations).rpartition("/")[0] or "."
        self.pictures = pictures or Budget()
        self.observation_space = captions.observation_space(self.pictures)
        self.task = f"captions/{files.title(self.annotations)}"
        self.name = f"coco:{files.absolute(self.annotations)},{files.absolute(self.images)} {self.pictures}"
        self.fingerprint = f"{self.name} {files.facts([self.annotations])}"

    @cached_property
    def _pairs(self) -> list[tuple[str, str, str]]:
        """The file name and the caption of each, or why it is none."""
        with files.reading(self.annotations, "COCO captions"), files.open_file(self.annotations) as stream:
            data = json.load(stream)
            names = {image["id"]: image["file_name"] for image in data["images"]}
            listed = list(data["annotations"])
        return [self._pair(number, annotation, names) for number, annotation in enumerate(listed)]

    def _pair(self, number: int, annotation: dict, names: dict[int, str]) -> tuple[str, str, str]:
        try:
            if annotation["image_id"] not in names:
                raise ValueError(f"it names image {annotation['image_id']}, which is not listed in it")
            return names[annotation["image_id"]], words(annotation["caption"], "its caption"), ""
        except (ValueError, KeyError, TypeError) as error:
            said = f"no field {error}" if isinstance(error, KeyError) else str(error)
            which = annotation.get("id", number) if isinstance(annotation, dict) else number
            return "", "", f"annotation {which} of {self.annotations}: {said}"

    def episodes(self, start: int = 0) -> Iterator[Episode]:
        """The pictures are read when they are looked at."""
        for file, caption, wrong in self._pairs[start:]:
            if wrong:
                yield Episode({"image": Unreadable(wrong)}, [""], np.zeros(1, np.float32), self.task)
                continue
            path = files.join(self.images, file)
            yield captions.to_episode(Picture((path,), self.pictures.size), caption, self.task, file)

    def count(self) -> int:
        return len(self._pairs)

    def mark(self, count: int) -> str:
        """The first captions, and what their pictures' files are called; a picture that has changed under its name is not noticed."""
        return hashlib.sha256(repr(self._pairs[:count]).encode()).hexdigest()[:16]
