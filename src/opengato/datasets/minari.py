"""Minari datasets: those that `opengato collect` writes, and everybody else's."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from opengato.domains.task import Task, reference_scores
from opengato.episode import Episode
from opengato.errors import OpenGatoError


def _import_minari() -> Any:
    try:
        import minari
    except ImportError:
        raise OpenGatoError('Minari datasets need the package minari: pip install "opengato[minari]"') from None
    return minari


@contextmanager
def _root(folder: Path) -> Iterator[None]:
    """Minari takes its root from the environment only."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before


def _read_staged(path: Path) -> tuple[dict[str, Any], Any, Any, np.ndarray]:
    """An episode that collect.py staged: (meta, observations with the last one, actions, rewards)."""
    with np.load(path, allow_pickle=False) as data:
        arrays = {key: data[key] for key in data.files}
    sides: dict[str, dict[str, Any]] = {"o": {}, "a": {}}
    for key in arrays:
        if "|" not in key or key.endswith("|ends"):
            continue
        side, field, *text = key.split("|")
        if text:
            ends = arrays[f"{side}|{field}|ends"]
            raw = arrays[key].tobytes()
            sides[side][field] = [raw[a:b].decode() for a, b in zip([0, *ends[:-1]], ends)]
        else:
            sides[side][field] = arrays[key]
    meta = json.loads(arrays["meta"].tobytes())
    return meta, sides["o"], sides["a"], arrays["rewards"]


def _nest(fields: dict[str, Any], space: Any, path: str = "") -> Any:
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        return {k: _nest(fields, s, f"{path}.{k}".lstrip(".")) for k, s in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_nest(fields, s, f"{path}.{i}".lstrip(".")) for i, s in enumerate(space.spaces))
    return fields[path]


def write_minari(task: Task, folder: Path, staged: list[Path], extend: bool, noise: float) -> None:
    """Write staged episodes as the Minari dataset in `folder`, or add them to it; the folder is replaced as a whole."""
    minari = _import_minari()
    from minari.data_collector import EpisodeBuffer

    buffers, returns = [], []
    for path in staged:
        meta, observations, actions, rewards = _read_staged(path)
        steps = len(rewards)
        last = np.arange(steps) == steps - 1
        solved = np.zeros(steps + 1, bool)
        solved[-1] = bool(meta["success"])
        returns.append(float(rewards.sum(dtype=np.float64)))
        ended = bool(meta["info"].get("terminated"))
        buffers.append(
            EpisodeBuffer(
                seed=meta["seed"],
                observations=_nest(observations, task.observation_space),
                actions=_nest(actions, task.action_space),
                rewards=list(rewards),
                terminations=list(last & ended),
                truncations=list(last & (not ended)),
                infos={"success": solved} if meta["success"] is not None else {},
            )
        )
    work = folder.parent / f".assembling-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    name = f"opengato/{task.id}-v0"
    with _root(work), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if extend:
            shutil.copytree(folder, work / name)
            dataset = minari.load_dataset(name)
            dataset.update_dataset_from_buffer(buffers)
        else:
            reference = reference_scores().get(task.id)
            dataset = minari.create_dataset_from_buffers(
                name,
                buffers,
                observation_space=task.observation_space,
                action_space=task.action_space,
                algorithm_name=task.expert_name,
                code_permalink=None,
                author="OpenGato",
                jpeg_encoding=False,
                description=f"Demonstrations of {task.id} by {task.expert_name}.",
                **({"ref_min_score": reference["random"], "ref_max_score": reference["expert"]} if reference else {}),
            )
        dataset.storage.update_metadata({"opengato_task": task.id, "opengato_source": "expert", "opengato_noise": noise})
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    os.replace(work / name, folder)
    shutil.rmtree(work, ignore_errors=True)


class MinariEpisodes:
    """The episodes of a Minari dataset, read one by one.

    Attributes:
        task: the task that recorded it, or the dataset's id. observation_space, action_space: its spaces.
        fingerprint: changes with its content.
    """

    def __init__(self, dataset: Any, folder: Path):
        self._dataset = dataset
        metadata = dataset.storage.metadata
        self.task: str = metadata.get("opengato_task") or metadata["dataset_id"]
        self.source: str = metadata.get("opengato_source") or metadata.get("algorithm_name") or "unknown"
        self.observation_space, self.action_space = dataset.observation_space, dataset.action_space
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        self.fingerprint = f"minari {folder} {metadata['total_episodes']} {metadata['total_steps']} {size}"

    def __len__(self) -> int:
        return int(self._dataset.total_episodes)

    def __iter__(self) -> Iterator[Episode]:
        for episode in self._dataset.iterate_episodes():
            steps = len(episode.rewards)
            success = None
            if isinstance(episode.infos, dict) and "success" in episode.infos:
                success = bool(np.any(episode.infos["success"]))
            yield Episode(
                _cut(episode.observations, self.observation_space, steps),
                _cut(episode.actions, self.action_space, steps),
                np.asarray(episode.rewards, np.float32),
                self.task,
                self.source,
                success,
            )


def _cut(nested: Any, space: Any, steps: int) -> Any:
    """Minari's structure to ours: the first `steps` timesteps, strings as lists."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        return {k: _cut(nested[k], s, steps) for k, s in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_cut(n, s, steps) for n, s in zip(nested, space.spaces))
    if isinstance(space, spaces.Text):
        return [text.decode() if isinstance(text, bytes) else str(text) for text in nested[:steps]]
    return np.asarray(nested[:steps])


def load_minari(name: str | Path, root: Path | None = None) -> MinariEpisodes:
    """A Minari dataset by id (in `root` or Minari's own root) or by folder. Raises OpenGatoError where there is none."""
    minari = _import_minari()
    folder = Path(name)
    if not (folder / "data").is_dir():
        folder = (root or Path(os.environ.get("MINARI_DATASETS_PATH", Path.home() / ".minari" / "datasets"))) / str(name)
    if not (folder / "data").is_dir():
        raise OpenGatoError(
            f"there is no Minari dataset {str(name)!r} in {folder.parent}: collect it with `opengato collect`, or fetch it with "
            "`minari download`"
        )
    with _root(folder.parent):
        return MinariEpisodes(minari.load_dataset(folder.name), folder)
