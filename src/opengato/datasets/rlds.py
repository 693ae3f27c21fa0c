"""RLDS datasets as TFDS writes them (Open X-Embodiment's are), TFRecord or ArrayRecord, without TensorFlow.

An episode is one record whose `steps` hold {observation, action, reward, is_first, is_last, …}. Fields under `observation` keep their
names; texts beside it, as `language_instruction`, join them. Step t's action was done after its observation. By RLDS's convention the last
step is only seen and has zeros for what was not done: where action, reward and discount are all zero it is left out, else it is a step like
others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets.columns import fingerprint, read_json
from opengato.datasets.frames import Pictures, decompress
from opengato.datasets.inferred import TEXT, Inferred, field_space, nest, number_of, space_of, task_name
from opengato.datasets.survey import is_picture
from opengato.datasets.tfrecord import parse_example, places, record
from opengato.episode import Episode
from opengato.errors import OpenGatoError

_SHARD = re.compile(r".+-(?P<split>[^-]+)\.(?P<format>tfrecord|array_record|arrayrecord)-(?P<number>\d{5})-of-(?P<of>\d{5})")
_FLAGS = ("is_first", "is_last", "is_terminal", "reward", "discount")


def _version(path: Path) -> Path:
    """The folder itself, or where it holds versions of a dataset, "0.1.0" say, that of the newest."""
    if (path / "features.json").is_file():
        return path
    versions = [found.parent for found in path.glob("*/features.json") if re.fullmatch(r"\d+\.\d+\.\d+", found.parent.name)]
    return max(versions, key=lambda folder: tuple(map(int, folder.name.split("."))), default=path)


def recognises(path: Path) -> bool:
    """Whether a folder is a TFDS dataset, or holds versions of one."""
    return (_version(path) / "features.json").is_file()


def load_rlds(path: Path, split: Path = Path("train")) -> Inferred:
    """A split of the dataset in a folder, `rlds:FOLDER[,SPLIT]`. Raises OpenGatoError where there is none, or it has no steps."""
    return Inferred(RLDS(path, str(split)))


class RLDS:
    """A split of a TFDS dataset of episodes, a `Source`."""

    exact = False

    def __init__(self, path: Path, split: str = "train"):
        folder = _version(path)
        if not recognises(path):
            raise OpenGatoError(f"{path} is no TFDS dataset: it has no features.json")
        self._folder, self._shards = folder, _shards(folder, split)
        info = read_json(folder / "dataset_info.json")
        self.task, self.name = f"rlds/{task_name(str(info['name']))}", f"rlds:{folder.resolve()},{split}"
        self.fingerprint = fingerprint([*self._shards, folder / "features.json"])
        top = _children(read_json(folder / "features.json"))
        if "steps" not in top or "sequence" not in top["steps"]:
            raise OpenGatoError(f"{folder} has no 'steps' in its episodes, so that it is not of RLDS: it has {', '.join(top)}")
        self._steps = dict(_flat(top["steps"]["sequence"]["feature"]))
        self.unused: dict[str, str] = {}
        self._seen: dict[str, tuple[str, spaces.Space]] = {}  # path of the field -> the step's key, the space
        self._done: dict[str, tuple[str, spaces.Space]] = {}
        self._collect()
        if not self._done:
            raise OpenGatoError(f"{folder} has no action of numbers in its steps: it has {', '.join(self._steps)}")
        self.observation_space = space_of({field: space for field, (_, space) in self._seen.items()})
        self.action_space = space_of({field: space for field, (_, space) in self._done.items()})
        used = [key for key, _ in (*self._seen.values(), *self._done.values())] + [flag for flag in _FLAGS if flag in self._steps]
        self._wanted = {f"steps/{key}" for key in used}

    def _collect(self) -> None:
        for key, feature in self._steps.items():
            side, _, path = key.partition("/")
            path = path.replace("/", ".")
            if key in _FLAGS:
                continue
            space = self._space(key, feature)
            if isinstance(space, str):
                self.unused[f"steps/{key}"] = space
            elif side in ("observation", "action"):
                (self._seen if side == "observation" else self._done)[path] = key, space
            elif space is TEXT:
                self._seen[key.replace("/", ".")] = key, space
            else:
                self.unused[f"steps/{key}"] = "it is neither an observation, an action nor a text"

    def _space(self, key: str, feature: dict[str, Any]) -> spaces.Space | str:
        if "text" in feature:
            return TEXT
        if "image" in feature:
            shape = _shape(feature["image"])
            if feature["image"].get("dtype", "uint8") != "uint8":
                return f"a picture of {feature['image']['dtype']}, a depth map say"
            if None in shape:
                blobs = self._first().get(f"steps/{key}") or [None]
                shape = decompress(blobs[0], f"steps/{key} of {self._folder}").shape
            return field_space(np.uint8, shape)  # type: ignore[arg-type]
        if "classLabel" in feature:
            return field_space(np.int64, ())
        if "tensor" not in feature:
            return f"it is a {feature.get('pythonClassName', 'feature').rpartition('.')[2]}"
        tensor = feature["tensor"]
        if tensor["dtype"] in ("string", "object"):
            return TEXT if not _shape(tensor) else "it holds several texts a step"
        if None in _shape(tensor):
            return "its shape varies"
        if tensor.get("encoding", "none").lower() != "none":
            return f"it is compressed by {tensor['encoding']}"
        return field_space(tensor["dtype"], _shape(tensor))  # type: ignore[arg-type]

    def _first(self) -> dict[str, Any]:
        return parse_example(_records(self._shards[0])(0), {f"steps/{key}" for key in self._steps})

    def readers(self, start: int = 0) -> Iterator[Callable[[], Episode]]:
        for shard in self._shards:
            count = _count(shard)
            for index in range(min(start, count), count):
                yield partial(self._episode, shard, index)
            start = max(start - count, 0)

    def count(self) -> int:
        return sum(_count(shard) for shard in self._shards)

    def mark(self, count: int) -> str | None:
        return None

    def _episode(self, shard: Path, index: int) -> Episode:
        what = f"record {index} of {shard}"
        found = parse_example(_records(shard)(index), self._wanted)
        flags = {flag: np.asarray(found[f"steps/{flag}"]) for flag in _FLAGS if f"steps/{flag}" in found}
        observations, actions = (
            {path: self._leaf(found, key, space, what) for path, (key, space) in fields.items()} for fields in (self._seen, self._done)
        )
        length = len(next(iter(actions.values())))
        if "is_last" in flags and (len(flags["is_last"]) != length or not flags["is_last"][-1:].all() or flags["is_last"][:-1].any()):
            raise OpenGatoError(f"{what} does not end with the one step that is its last (is_last): the episode lacks its end")
        for flag, values in flags.items():
            if len(values) != length:
                raise OpenGatoError(f"{what} has {len(values)} of {flag} and {length} actions: it is damaged")
        rewards = flags.get("reward", np.zeros(length)).astype(np.float32)
        last = [np.asarray(leaf[-1:]) for leaf in actions.values()] + [flags[flag][-1:] for flag in ("reward", "discount") if flag in flags]
        only_seen = length > 1 and not any(part.any() for part in last)
        terminated = bool(flags["is_terminal"][-1]) if "is_terminal" in flags else False
        episode = Episode(nest(observations), nest(actions), rewards, self.task, info={"terminated": terminated})
        return episode[: length - 1] if only_seen else episode

    def _leaf(self, found: dict[str, Any], key: str, space: spaces.Space, what: str) -> Any:
        name = f"steps/{key}"
        if name not in found:
            raise OpenGatoError(f"{what} has no {name}, which features.json announces: it is damaged, or of another version")
        values = found[name]
        if isinstance(values, list):
            if is_picture(space):
                return Pictures([blob if len(blob) else None for blob in values], space.shape, f"{name} of {what}")  # type: ignore[arg-type]
            if space is TEXT:
                return [bytes(text).decode(errors="replace") for text in values]
            raise OpenGatoError(f"{name} of {what} holds bytes where features.json announces numbers")
        size = int(np.prod(space.shape or ()))
        if len(values) % size:
            raise OpenGatoError(f"{name} of {what} has {len(values)} numbers, which are no steps of shape {space.shape}")
        return number_of(values.reshape(-1, *(space.shape or ())), space)


def _children(feature: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = feature.get("featuresDict", {}).get("features", {})
    return found


def _flat(feature: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The features inside one by their path, "observation/image"."""
    if "featuresDict" not in feature:
        yield path, feature
    for key, inner in _children(feature).items():
        yield from _flat(inner, f"{path}/{key}".lstrip("/"))


def _shape(feature: dict[str, Any]) -> tuple[int | None, ...]:
    """None: it varies."""
    return tuple(int(n) if int(n) >= 0 else None for n in feature.get("shape", {}).get("dimensions", []))


def _shards(folder: Path, split: str) -> list[Path]:
    found = {path: match for path in sorted(folder.iterdir()) if (match := _SHARD.fullmatch(path.name))}
    files = [path for path, match in found.items() if match["split"] == split]
    if not files:
        splits = sorted({match["split"] for match in found.values()})
        raise OpenGatoError(f"{folder} has no files of split {split!r}: it has {', '.join(splits) or 'none'}; give rlds:FOLDER,SPLIT")
    if len(files) != (of := int(found[files[0]]["of"])):
        raise OpenGatoError(f"{folder} has {len(files)} of the {of} files of split {split!r}: fetch the others")
    return files


def _count(shard: Path) -> int:
    return len(places(shard)) if "tfrecord" in shard.name else int(_array_record(shard).num_records())


def _records(shard: Path) -> Callable[[int], memoryview]:
    """What reads a record of a shard."""
    if "tfrecord" in shard.name:
        return lambda index: record(shard, places(shard)[index])
    return lambda index: memoryview(_read_array_record(shard, index))


def _read_array_record(shard: Path, index: int) -> bytes:
    try:
        return bytes(_array_record(shard).read([index])[0])
    except (RuntimeError, ValueError, IndexError) as error:
        raise OpenGatoError(f"record {index} of {shard} cannot be read: {error}: fetch the file again") from None


@lru_cache(maxsize=4)
def _array_record(shard: Path) -> Any:
    try:
        from array_record.python.array_record_module import ArrayRecordReader
    except ImportError:
        raise OpenGatoError('ArrayRecord files need the package array-record: pip install "opengato[rlds]"') from None
    try:
        return ArrayRecordReader(str(shard))
    except (RuntimeError, ValueError) as error:
        raise OpenGatoError(f"{shard} is no ArrayRecord file, or is cut short: {error}: fetch it again") from None
