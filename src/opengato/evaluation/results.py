"""A folder of results: every finished episode is a line, so that an evaluation that is interrupted goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import opengato
from opengato.atomic import write_text
from opengato.errors import OpenGatoError
from opengato.evaluation.agent import agent_files
from opengato.evaluation.rollout import Rollout

_KEPT = ("seed", "episode_return", "length", "success", "start", "first")  # of an episode; its pictures are not


def settings_of(folder: Path, **sampling: Any) -> dict[str, Any]:
    """All that an episode depends on but its task and its seed: the agent's files, how it samples, the code of this package.

    Simulators and plug-ins are not among it: after another version of one was installed, results belong into another folder.
    """
    return {"agent": _digest(agent_files(folder)), "code": _code(), **sampling}


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


@cache
def _code() -> str:
    """Of the package as it is installed: its version alone would let an edited environment keep the results of before."""
    return _digest(sorted(Path(opengato.__file__).parent.rglob("*.py")))


def default_folder(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Where the results of an agent with these settings are kept, unless another place is named: runs/eval/<agent>-<8 digits>."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=4).hexdigest()
    resolved = folder.resolve()
    name = resolved.parent.name if resolved.name == "checkpoint" else resolved.name
    return Path("runs") / "eval" / f"{name}-{digest}"


class Results:
    """The finished episodes in a folder, all under the same settings; failures are not kept, so that they are tried again.

    Args:
        folder: is made where there is none.
        settings: see `settings_of`.

    Raises:
        OpenGatoError: where the folder holds results of other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "settings.json"
        if not path.is_file():
            write_text(path, json.dumps(dict(settings), indent=1))
        kept = json.loads(path.read_text())
        for name in {**kept, **settings}:
            if kept.get(name) != settings.get(name):
                raise OpenGatoError(
                    f"{folder} holds results of another {name} ({kept.get(name)}, not {settings.get(name)}): "
                    "name another folder with --out, or delete it"
                )

    def of(self, task: str) -> dict[int, Rollout]:
        """seed -> episode. A line that was being written as the machine went down is passed over."""
        found = {}
        if self._path(task).is_file():
            for line in self._path(task).read_text().splitlines():
                try:
                    episode = Rollout(**json.loads(line))
                except (json.JSONDecodeError, TypeError):
                    continue
                found[episode.seed] = episode
        return found

    def add(self, task: str, episode: Rollout) -> None:
        """Keep an episode."""
        line = json.dumps({name: getattr(episode, name) for name in _KEPT})
        # A newline first ends whatever an interruption left half written.
        with open(self._path(task), "a") as file:
            file.write(f"\n{line}\n")

    def _path(self, task: str) -> Path:
        return self.folder / f"{task.replace('/', '--')}.jsonl"
