"""Weights that come with the package, each a checkpoint folder with a model card: `opengato pretrained` lists them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from opengato.errors import OpenGatoError
from opengato.hub import CARD, HUB, download


def shipped() -> Path:
    """The folder of all of them."""
    return Path(str(resources.files("opengato"))) / "weights"


def names() -> list[str]:
    """Of the weights that are there."""
    return sorted(path.parent.name for path in shipped().glob("*/config.json"))


def agent_folder(name: str | Path) -> Path:
    """The folder of an agent: as it was given where there is one, that of the weights of this name, or of what hub:OWNER/NAME has.

    Only the last asks the network. Raises OpenGatoError where a plain name is neither of the first two, or the Hub does not give it.
    """
    folder = Path(name)
    if str(name).startswith(HUB) and not folder.exists():
        return download(name)
    if folder.exists() or len(folder.parts) != 1:
        return folder
    if folder.name in names():
        return shipped() / folder.name
    raise OpenGatoError(
        f"{name} is no checkpoint: there is no such folder, and no weights of that name come along ({', '.join(names()) or 'none do'})"
    )


def about(name: str) -> str:
    """The first paragraph of a model card, on one line."""
    text = (shipped() / name / CARD).read_text()
    body = text.split("---\n", 2)[-1]
    paragraphs = (part.strip() for part in body.split("\n\n"))
    return next(" ".join(part.split()) for part in paragraphs if part and not part.startswith("#"))
