"""What an agent says, for a report: captions of pictures it knows and of such that it does not, texts, and the beginning of a talk."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from opengato.checkpoint import Checkpoint
from opengato.datasets import captions, dialogue, text
from opengato.datasets.captions import load_emoji

_SHOWN = 10, 6  # pictures of training, and held out


def captions_of(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """Of shipped pictures, as `write_report` takes them; none of an agent that learned none."""
    from opengato.policy.language import caption
    from opengato.policy.policy import Policy

    if captions.TASK not in checkpoint.layouts:
        return []
    policy = Policy(checkpoint)
    seen, held_out = _SHOWN
    pictures = [*list(load_emoji("train"))[::160][:seen], *list(load_emoji("test"))[:held_out]]
    return [
        {
            "png": _png(e.observations["image"][0]),
            "said": caption(policy, e.observations["image"][0]),
            "truth": e.actions[0] + ("" if i < seen else " (held out)"),
        }
        for i, e in enumerate(pictures)
    ]


def texts_of(checkpoint: Checkpoint) -> list[dict[str, str]]:
    """Sampled texts and replies, as `write_report` takes them, of what the agent learned of the two."""
    from opengato.policy.language import continue_text
    from opengato.policy.policy import Policy

    sampling = Policy(checkpoint, temperature=0.7, top_p=0.9)
    texts = []
    if text.TASK in checkpoint.layouts:
        texts += [{"prompt": "", "said": continue_text(sampling)} for _ in range(3)]
    if dialogue.TASK in checkpoint.layouts:
        sampling.reset(dialogue.TASK)
        texts += [{"prompt": line, "said": sampling.act(line)} for line in ("Hello! How are you today?", "What do you like to do?")]
    return texts


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
