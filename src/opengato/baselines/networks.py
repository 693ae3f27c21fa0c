"""The kinds of baselines, and the network of each."""

from __future__ import annotations

from opengato.baselines.cnn import Cnn
from opengato.baselines.features import Features
from opengato.baselines.gru import Gru
from opengato.baselines.lookup import Lookup
from opengato.baselines.mlp import Mlp
from opengato.baselines.settings import Settings
from opengato.baselines.targets import Targets
from opengato.errors import OpenGatoError, unknown
from opengato.tokens.layout import Layout
from opengato.tokens.vocabulary import ACTION_TEXT, IMAGE

Network = Mlp | Gru | Cnn | Lookup
_NETWORKS: dict[str, type[Network]] = {"mlp": Mlp, "gru": Gru, "cnn": Cnn, "lookup": Lookup}


def make_network(kind: str, features: Features, targets: Targets, settings: Settings) -> Network:
    """A fresh network of a kind; a lookup's is empty."""
    check_kind(kind)
    return _NETWORKS[kind](features, targets, settings)


def check_kind(kind: str) -> None:
    """Raise OpenGatoError for a kind that does not exist."""
    if kind not in _NETWORKS:
        raise unknown("baseline", kind, _NETWORKS)


def check_task(kind: str, task: str, layout: Layout) -> None:
    """Raise OpenGatoError where a kind cannot see or do what a task has, naming the field."""
    images = [field.path or "(root)" for field in layout.observation if field.kind == IMAGE]
    texts = [field.path or "(root)" for field in layout.action if field.kind == ACTION_TEXT]
    if images and kind != "cnn":
        raise OpenGatoError(f"observation field {images[0]} of task {task!r} is an image, which a baseline {kind} does not see: use cnn")
    if texts and kind != "cnn":
        raise OpenGatoError(f"action field {texts[0]} of task {task!r} is a text, which a baseline {kind} does not write: use cnn")
    if texts and (not images or len(layout.action) > 1):
        raise OpenGatoError(
            f"action field {texts[0]} of task {task!r} is a text, but there is no image to write about or more to do: leave its dataset out"
        )
