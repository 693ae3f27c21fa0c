"""An episode as a page to look at: one HTML file with its pictures, curves and words, and a slider through its timesteps."""

from __future__ import annotations

import base64
import io
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from opengato.datasets.dataset import Dataset
from opengato.episode import Episode, leaves
from opengato.errors import OpenGatoError

_SIDE = 320  # pixels that a picture is made no larger than
_CURVES = 24  # numbers of one field that are drawn; the others are counted


def episode_of(dataset: Dataset, number: int) -> Episode:
    """The episode of that number. Raises OpenGatoError where there is none."""
    count = dataset.count()
    if number < 0 or (count is not None and number >= count):
        raise OpenGatoError(f"there is no episode {number} in {dataset.name}: it has {count if count is not None else 'some'}, from 0 on")
    found = next(iter(dataset.episodes(number)), None)
    if found is None:
        raise OpenGatoError(f"there is no episode {number} in {dataset.name}: it has fewer")
    return found


def page(dataset: Dataset, number: int) -> str:
    """The page of an episode, HTML that needs no other file and no network. Raises OpenGatoError where the episode cannot be read."""
    episode = episode_of(dataset, number)
    pictures, curves, words = [], [], []
    for side, nested in (("observation", episode.observations), ("action", episode.actions)):
        for path, leaf in leaves(nested):
            name = f"{side}.{path}".rstrip(".")
            if isinstance(leaf, list):
                words.append({"name": name, "values": runs(leaf)})
                continue
            values = np.asarray(leaf)
            if values.dtype == np.uint8 and values.ndim == 4:
                pictures.append({"name": name, "frames": [_jpeg(frame) for frame in values]})
            else:
                curves.append(_curve(name, values.reshape(len(values), -1)))
    if episode.rewards.any():
        curves.append(_curve("reward", episode.rewards[:, None]))
    count = dataset.count()
    data = {
        "dataset": dataset.name,
        "task": dataset.task,
        "episode": number,
        "episodes": count,
        "length": len(episode),
        "return": round(episode.episode_return, 6),
        "source": episode.source,
        "success": episode.success,
        "pictures": pictures,
        "curves": curves,
        "words": words,
    }
    template = Path(str(resources.files("opengato.datasets") / "data" / "view.html")).read_text()
    # "</" would end the script that it stands in.
    return template.replace("/*DATA*/", json.dumps(data, ensure_ascii=False).replace("</", "<\\/"))


def _curve(name: str, values: np.ndarray) -> dict[str, Any]:
    finite = np.where(np.isfinite(values), values, 0).astype(np.float64)
    shown = finite[:, :_CURVES]
    return {"name": name, "left_out": max(values.shape[1] - _CURVES, 0), "lines": [[float(f"{v:.5g}") for v in line] for line in shown.T]}


def runs(texts: list[str]) -> list[list[Any]]:
    """[first timestep, text] of every stretch of one text."""
    return [[t, text] for t, text in enumerate(texts) if t == 0 or text != texts[t - 1]]


def _jpeg(frame: np.ndarray) -> str:
    """A picture as the address that a page has it by."""
    from PIL import Image

    picture = Image.fromarray(frame if frame.shape[2] == 3 else frame[..., 0])
    picture.thumbnail((_SIDE, _SIDE))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
