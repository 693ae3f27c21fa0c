"""Who is told of a run's rows: TensorBoard always, Weights & Biases and trackio where they are asked for, offline unless told otherwise."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from opengato.console import is_quiet
from opengato.errors import OpenGatoError, unknown

PROJECT = "opengato"


class Tracker(Protocol):
    """Something that shows the curves of a run."""

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """A row's numbers, after `step` steps."""

    def close(self) -> None:
        """Everything is written."""


class TensorBoard:
    """Event files in the run's folder: `tensorboard --logdir FOLDER`."""

    def __init__(self, folder: Path, config: Mapping[str, Any], step: int):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step)

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """Below `wandb/` in the run's folder, for `wandb sync`; on its server at once where $WANDB_MODE is online."""

    def __init__(self, folder: Path, config: Mapping[str, Any], step: int):
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.name,
            id=_identity(folder),  # gone on with, it is the same run
            resume="allow",
            dir=str(folder),
            config=dict(config),
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
            settings=wandb.Settings(silent=is_quiet(), console="off"),
        )

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        self._run.finish()


class Trackio:
    """In trackio's own database on this machine ($TRACKIO_DIR): `trackio show --project opengato`."""

    def __init__(self, folder: Path, config: Mapping[str, Any], step: int):
        import trackio

        self._trackio = trackio
        project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        trackio.init(project=project, name=f"{folder.name}-{_identity(folder)}", config=dict(config), resume="allow", embed=False)

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._trackio.log(dict(numbers), step=step)

    def close(self) -> None:
        self._trackio.finish()


# Name -> (package, tracker); each package is of an extra of that name.
TRACKERS: dict[str, tuple[str, type[WeightsAndBiases] | type[Trackio]]] = {
    "wandb": ("wandb", WeightsAndBiases),
    "trackio": ("trackio", Trackio),
}


def _identity(folder: Path) -> str:
    """Of the run in a folder, the same for as long as it is there."""
    return hashlib.blake2b(str(folder.resolve()).encode(), digest_size=4).hexdigest()


def check_trackers(names: Sequence[str]) -> None:
    """Raise OpenGatoError for a tracker that is unknown or not installed, before any work."""
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
        if find_spec(TRACKERS[name][0]) is None:
            raise OpenGatoError(f'tracker {name} needs {TRACKERS[name][0]!r}, which is not installed: pip install "opengato[{name}]"')


class Trackers:
    """TensorBoard and those that are named, all told the same; a context manager."""

    def __init__(self, names: Sequence[str], folder: Path, config: Mapping[str, Any], step: int):
        self._all: list[Tracker] = [TensorBoard(folder, config, step)]
        self._all += [TRACKERS[name][1](folder, config, step) for name in names]

    def __enter__(self) -> Trackers:
        return self

    def __exit__(self, *exception: Any) -> None:
        for tracker in self._all:
            tracker.close()

    def log(self, row: Mapping[str, float]) -> None:
        """A row of the log, {"step", "loss", …}."""
        for tracker in self._all:
            tracker.log({name: value for name, value in row.items() if name != "step"}, int(row["step"]))
