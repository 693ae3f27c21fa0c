"""An episode as a recording for Rerun's viewer (https://rerun.io): pictures, curves and words along one timeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from opengato.datasets.dataset import Dataset
from opengato.datasets.rate import rate_of
from opengato.datasets.view import episode_of, runs
from opengato.episode import leaves
from opengato.errors import OpenGatoError

_QUALITY = 90  # of JPEG


def write_rerun(dataset: Dataset, number: int, path: Path) -> int:
    """Write an episode of a dataset; returns how many timesteps it has.

    Fields are entities, `observation/images/front`, `action`, `reward`, words where they change; the timeline is `timestep`, and beside it
    `time` in seconds where the dataset says its rate.

    Raises OpenGatoError where there is no such episode, and without the extra `rerun`.
    """
    try:
        import rerun as rr
    except ImportError:
        raise OpenGatoError('a recording for Rerun needs the package rerun-sdk: pip install "opengato[rerun]"') from None
    episode, rate = episode_of(dataset, number), rate_of(dataset)
    recording = rr.RecordingStream("opengato", recording_id=f"{dataset.name} {number}")
    recording.save(path)

    def times(timesteps: np.ndarray) -> list[rr.TimeColumn]:
        return [rr.TimeColumn("timestep", sequence=timesteps), *([rr.TimeColumn("time", duration=timesteps / rate)] if rate else [])]

    every = np.arange(len(episode))
    for side, nested in (("observation", episode.observations), ("action", episode.actions), ("reward", episode.rewards)):
        for name, leaf in leaves(nested):
            entity = "/".join([side, *name.split(".")]) if name else side
            if isinstance(leaf, list):
                found = runs(leaf)
                at, texts = np.array([t for t, _ in found]), [text for _, text in found]
                recording.send_columns(entity, times(at), rr.TextDocument.columns(text=texts))
                continue
            values = np.asarray(leaf)
            if values.dtype == np.uint8 and values.ndim == 4:
                for t, frame in enumerate(values):
                    recording.set_time("timestep", sequence=t)
                    if rate:
                        recording.set_time("time", duration=t / rate)
                    recording.log(entity, rr.Image(frame if frame.shape[2] == 3 else frame[..., 0]).compress(jpeg_quality=_QUALITY))
                recording.reset_time()
            else:
                numbers = values.reshape(len(values), -1).astype(np.float64)
                recording.send_columns(entity, times(every), rr.Scalars.columns(scalars=numbers))
    recording.disconnect()  # writes what is left
    return len(episode)
