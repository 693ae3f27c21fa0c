"""Minari datasets: those that `opengato collect` writes, and everybody else's."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets.recompress import recompress
from opengato.domains.task import Task, dataset_id
from opengato.episode import Episode, Nested, leaves
from opengato.errors import OpenGatoError
from opengato.runs import versions

_SAID = ("ended", "start", "agents", "student")  # what an episode's info says in words
_COUNTED = ("round", "beta")  # and in numbers: of the corrections of a student
# Compressing writes the whole file anew: it waits until the file has doubled and what is new of it is much, or the work would be quadratic.
_MOST_GROWTH, _MOST_PLAIN = 2, 64 * 2**20  # times what was compressed, and bytes
_BATCH_STEPS = 4_000  # written at once, so that thousands of Atari frames need not fit into memory together


def import_minari() -> Any:
    """The package. Raises OpenGatoError where it is not installed."""
    try:
        import h5py  # noqa: F401  (Minari's usual format)
        import minari
    except ImportError:
        raise OpenGatoError('Minari datasets need the package minari: pip install "opengato[minari]"') from None
    return minari


def default_root() -> Path:
    """Minari's own folder of datasets: $MINARI_DATASETS_PATH, or .minari/datasets in the home folder."""
    return Path(os.environ.get("MINARI_DATASETS_PATH", Path.home() / ".minari" / "datasets"))


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


# ---- writing --------------------------------------------------------------------------------------------------------------------


def recorded_seeds(folder: Path) -> list[int]:
    """The seeds of the episodes in a dataset's folder, in order; empty where there is none. Finishes what a killed `write_minari` began."""
    return [seed for seed, _, _ in recorded_episodes(folder)]


def recorded_episodes(folder: Path) -> list[tuple[int, str, str]]:
    """As `recorded_seeds`: of every episode its seed, its source, and the digest of the student that acted, "" where none did."""
    work, old = _beside(folder)
    if old.is_dir():
        if folder.is_dir():
            shutil.rmtree(old)
        else:
            os.replace(old, folder)
    shutil.rmtree(work, ignore_errors=True)
    if not (folder / "data").is_dir():
        return []
    minari = import_minari()
    dataset = minari.MinariDataset(folder / "data")
    notes = dataset.storage.get_episode_metadata(dataset.episode_indices.tolist())
    usual = dataset.storage.metadata.get("opengato_source", "")
    return [(int(note["seed"]), str(note.get("source", usual)), str(note.get("student", ""))) for note in notes]


def _beside(folder: Path) -> tuple[Path, Path]:
    """Where the next version is made, and where the last one waits while they change places."""
    return folder.parent / f".{folder.name}.new", folder.parent / f".{folder.name}.old"


def write_minari(
    task: Task,
    folder: Path,
    episodes: Iterable[tuple[Episode, Nested]],
    *,
    command: str = "",
    data_format: str = "hdf5",
    description: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Write episodes as the Minari dataset in `folder`, or add them to the one there, lossless; a kill leaves the old one or the new one.

    Args:
        task: whose spaces, expert and reference scores the dataset states.
        folder: <root>/opengato/<domain>/<name>-v0.
        episodes: each with its T + 1 observations, the last one included. What Minari keeps of every episode is joined by its
            return, success, executed share of random actions and, where it says so, how it ended.
        command: that made them.
        data_format: "hdf5", or "arrow" for text with NUL characters; a dataset that is extended keeps its own.
        description: of a new dataset; default: that they are the expert's demonstrations.
        metadata: what else the dataset's metadata says, in terms of JSON.
    """
    minari = import_minari()
    from minari import namespace

    name = dataset_id(task)
    folder = folder.absolute()  # Minari fails on relative ones
    root = folder.parents[len(Path(name).parts) - 1]
    work, old = _beside(folder)
    shutil.rmtree(work, ignore_errors=True)
    episodes = iter(episodes)
    first, observations = next(episodes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata that datasets without a gymnasium id do not have
        if folder.is_dir():
            shutil.copytree(folder, work / name)
            dataset = minari.MinariDataset(work / name / "data")
            batches = _batches(chain([(first, observations)], episodes))
        else:
            with _root(work):
                dataset = minari.create_dataset_from_buffers(
                    name,
                    [_buffer(first, observations, data_format)],
                    observation_space=task.observation_space,
                    action_space=task.action_space,
                    algorithm_name=task.expert_name,
                    author="OpenGato",
                    jpeg_encoding=False,
                    data_format=data_format,
                    description=description or f"Demonstrations of {task.id} by {task.expert_name}.",
                )
            _note(dataset, 0, [first])
            batches = _batches(episodes)
        compressed = _size(dataset)
        for batch in batches:
            start = int(dataset.total_episodes)
            dataset.update_dataset_from_buffer([_buffer(e, o, dataset.storage.FORMAT) for e, o in batch])
            _note(dataset, start, [e for e, _ in batch])
            if _size(dataset) > _MOST_GROWTH * compressed + _MOST_PLAIN:
                _recompress(dataset)
                compressed = _size(dataset)
        _recompress(dataset)
        dataset.storage.update_metadata(_metadata(dataset, task, first.source, command) | (metadata or {}))
        # A namespace is a folder that says so.
        with _root(root):
            if f"opengato/{task.domain}" not in namespace.list_local_namespaces():
                with suppress(ValueError):  # another process, with another task of the domain, was quicker
                    namespace.create_namespace(f"opengato/{task.domain}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        os.replace(folder, old)
    os.replace(work / name, folder)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)


def _metadata(dataset: Any, task: Task, source: str, command: str) -> dict[str, Any]:
    """What the whole dataset's metadata says beyond Minari's own fields; the noise is the share of random steps among all steps."""
    notes = list(dataset.storage.get_episode_metadata(dataset.episode_indices.tolist()))
    random_steps = sum(float(n["noise"]) * int(n["total_steps"]) for n in notes if "noise" in n)
    commands = [*dataset.storage.metadata.get("opengato_commands", []), *([command] if command else [])]
    metadata = {
        "opengato_task": task.id,
        "opengato_source": dataset.storage.metadata.get("opengato_source", source),  # of episodes that do not say by whom they are
        "opengato_noise": random_steps / sum(int(n["total_steps"]) for n in notes),
        "opengato_commands": list(dict.fromkeys(commands)),
        "opengato_versions": dict(versions()),  # of what wrote last
    }
    # Minari's own argument for these is ignored where there is no gymnasium id.
    if task.measured:
        metadata |= {"ref_min_score": task.reference.random, "ref_max_score": task.reference.expert}
    return metadata


def _batches(episodes: Iterable[tuple[Episode, Nested]]) -> Iterator[list[tuple[Episode, Nested]]]:
    batch: list[tuple[Episode, Nested]] = []
    for item in episodes:
        batch.append(item)
        if sum(len(e) for e, _ in batch) >= _BATCH_STEPS:
            yield batch
            batch = []
    if batch:
        yield batch


def _note(dataset: Any, start: int, episodes: list[Episode]) -> None:
    """Each episode's source, return, success, noise, end, start, round and beta, where Minari keeps its seed."""
    notes: list[dict[str, Any]] = []
    for e in episodes:
        notes.append({"source": e.source, "return": e.episode_return, "noise": float(e.info.get("noise", 0.0))})
        if e.success is not None:
            notes[-1]["success"] = bool(e.success)
        notes[-1] |= {key: str(e.info[key]) for key in _SAID if key in e.info}
        notes[-1] |= {key: e.info[key] for key in _COUNTED if key in e.info}
    dataset.storage.update_episode_metadata(notes, range(start, start + len(episodes)))


def _size(dataset: Any) -> int:
    """Bytes of the episodes' files."""
    return sum(path.stat().st_size for path in Path(dataset.storage.data_path).rglob("*") if path.is_file())


def _recompress(dataset: Any) -> None:
    """Minari itself does not compress, nor does it know what its files then take."""
    if dataset.storage.FORMAT == "hdf5":
        recompress(Path(dataset.storage.data_path) / "main_data.hdf5")
        dataset.storage.update_metadata({"dataset_size": dataset.storage.get_size()})


def _buffer(episode: Episode, observations: Nested, data_format: str) -> Any:
    from minari.data_collector import EpisodeBuffer

    if data_format == "hdf5":
        for path, leaf in chain(leaves(observations), leaves(episode.actions)):
            if isinstance(leaf, list) and any("\0" in text for text in leaf):
                raise OpenGatoError(
                    f"text field {path!r} of {episode.task!r} has a NUL character, which its HDF5 dataset cannot hold: "
                    "collect with another --out"
                )
    last = np.arange(len(episode)) == len(episode) - 1
    ended = bool(episode.info.get("terminated"))
    infos = {}
    if episode.success is not None:
        # As Minari's own collector has it: one entry for the reset and one a step.
        infos["success"] = [False] * len(episode) + [episode.success]  # not an array: Minari's arrow format cannot read those back
    return EpisodeBuffer(
        seed=episode.seed,
        observations=observations,
        actions=episode.actions,
        rewards=episode.rewards,  # type: ignore[arg-type]
        terminations=last & ended,  # type: ignore[arg-type]
        truncations=last & (not ended),  # type: ignore[arg-type]
        infos=infos,
    )


# ---- reading --------------------------------------------------------------------------------------------------------------------


class MinariEpisodes:
    """The episodes of a Minari dataset, a `Dataset`, read one by one.

    Attributes:
        name: its folder. task: the task that recorded it, or the dataset's id. source: the agent that acted, where an episode names none.
        observation_space, action_space: its spaces.
        metadata: what Minari says of it: dataset_id, total_episodes, total_steps, algorithm_name, ref_min_score …
        fingerprint: changes with its content.
    """

    def __init__(self, dataset: Any, folder: Path):
        self._dataset = dataset
        self.metadata: dict[str, Any] = dict(dataset.storage.metadata)
        self.task: str = self.metadata.get("opengato_task") or self.metadata["dataset_id"]
        self.source: str = self.metadata.get("opengato_source") or self.metadata.get("algorithm_name") or "unknown"
        self.observation_space: spaces.Space = dataset.observation_space
        self.action_space: spaces.Space = dataset.action_space
        files = [p.stat() for p in folder.rglob("*") if p.is_file()]
        size, changed = sum(f.st_size for f in files), max(f.st_mtime_ns for f in files)
        self.name = f"minari:{folder.resolve()}"
        self.fingerprint = f"{self.name} {self.metadata['total_episodes']} {self.metadata['total_steps']} {size} {changed}"

    def __len__(self) -> int:
        return int(self._dataset.total_episodes)

    def __getitem__(self, index: int) -> Episode:
        """The episode at `index`, counted from the end where negative."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        return next(self._read([index % len(self)]))

    def __iter__(self) -> Iterator[Episode]:
        return self.episodes()

    def episodes(self, start: int = 0) -> Iterator[Episode]:
        """From number `start` on."""
        return self._read(list(range(start, len(self))))

    def count(self) -> int:
        """How many there are."""
        return len(self)

    def mark(self, count: int) -> str:
        """What Minari keeps of each of the first `count` episodes: its seed, length and return, its start where the recorder left it …"""
        notes = self._dataset.storage.get_episode_metadata([int(index) for index in self._dataset.episode_indices[:count]])
        told = [sorted((key, str(value)) for key, value in note.items()) for note in notes]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    def _read(self, positions: list[int]) -> Iterator[Episode]:
        indices = [int(self._dataset.episode_indices[p]) for p in positions]
        notes = self._dataset.storage.get_episode_metadata(indices)
        for episode, note in zip(self._dataset.iterate_episodes(indices), notes):
            steps, seed = len(episode.rewards), note.get("seed")
            for path, leaf in leaves(episode.observations):
                if len(leaf) != steps + 1:
                    raise OpenGatoError(
                        f"episode {episode.id} of {self.name} has {len(leaf)} observations and {steps} actions (field {path or '(root)'}): "
                        "there is none after its last action, or some are lost"
                    )
            yield Episode(
                _cut(episode.observations, self.observation_space, steps),
                _cut(episode.actions, self.action_space, steps),
                np.asarray(episode.rewards, np.float32),
                self.task,
                str(note.get("source", self.source)),
                _success(episode.infos),
                int(seed) if seed is not None else None,
                {k: note[k].item() if hasattr(note[k], "item") else note[k] for k in ("noise", "return", *_SAID, *_COUNTED) if k in note},
            )


def _success(infos: Any) -> bool | None:
    """Whether the task was solved at any step; None where the dataset does not say."""
    if not isinstance(infos, dict) or "success" not in infos or isinstance(infos["success"], dict):
        return None
    return bool(np.any(np.asarray(infos["success"])))


def _cut(nested: Any, space: spaces.Space, steps: int) -> Nested:
    """Minari's structure to ours: the first `steps` timesteps, strings as lists."""
    if isinstance(space, spaces.Dict):
        return {k: _cut(nested[k], s, steps) for k, s in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_cut(n, s, steps) for n, s in zip(nested, space.spaces))
    if isinstance(space, spaces.Text):
        return [text.decode() if isinstance(text, bytes) else str(text) for text in nested[:steps]]
    return np.asarray(nested[:steps])


def load_minari(name: str | Path, root: Path | None = None) -> MinariEpisodes:
    """A Minari dataset by id (in `root` or Minari's own root) or by folder; raises OpenGatoError where there is none or Minari fails."""
    minari = import_minari()
    folder = Path(name)
    if not (folder / "data").is_dir():
        folder = (root or default_root()) / str(name)
    if not (folder / "data").is_dir():
        raise OpenGatoError(
            f"there is no Minari dataset {str(name)!r} in {folder.parent}: collect it with `opengato collect`, or fetch it with "
            "`minari download`"
        )
    try:
        return MinariEpisodes(minari.MinariDataset((folder / "data").absolute()), folder.absolute())
    except Exception as error:  # Minari asserts, or asks gymnasium for an environment that is not installed
        raise OpenGatoError(f"Minari cannot open the dataset in {folder}: {type(error).__name__}: {error}") from error
