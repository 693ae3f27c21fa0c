"""What a run was asked for, in its folder: `run.json` has the command, all of its arguments, the seed, and the versions it ran with.

`opengato COMMAND --config run.json` runs it again, with the arguments on the line in place of those in the file.
"""

from __future__ import annotations

import inspect
import json
import os
import platform
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from opengato.atomic import write_text
from opengato.console import notice
from opengato.errors import OpenGatoError

FILE = "run.json"

# What a result may depend on; those that are not installed are left out.
_PACKAGES = (
    "opengato torch numpy gymnasium pyarrow safetensors sentencepiece minari mujoco dm_control metaworld minigrid ale-py procgen-mirror "
    "miniworld vizdoom gymnasium-robotics ogbench nle minihack textworld open_spiel ray lerobot"
).split()


@cache
def versions() -> Mapping[str, str]:
    """Of Python, this package, and the packages that a result depends on, of those that are installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


@contextmanager
def recorded(folder: Path, command: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Keep what a run in this folder was asked for: from its beginning on, and again at its end, where the folder had another before.

    A run that is refused with an OpenGatoError leaves the file, or its absence, as it was. With several ranks the first one writes.

    Args:
        arguments: of the command, as its function takes them, with what was left to defaults filled in.
    """
    path = folder / FILE
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    seed = arguments.get("seed", (arguments.get("settings") or {}).get("seed"))
    text = json.dumps(
        {"command": command, "arguments": _plain(arguments), "seed": seed, "versions": dict(versions()), "platform": platform.platform()},
        indent=1,
    )
    fresh = not path.is_file()
    if fresh:
        made = not folder.exists()
        write_text(path, text)
    try:
        yield
    except OpenGatoError:
        if fresh and sum(1 for _ in folder.iterdir()) == 1:  # it has not begun
            path.unlink()
            if made:
                folder.rmdir()
        raise
    write_text(path, text)


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def replayed(function: Callable[..., None], command: str, path: Path) -> Callable[..., None]:
    """The function of a command, whose defaults are what a run.json says.

    Raises OpenGatoError where the file is none of this command's, or names arguments that the command does not have.
    """
    try:
        read = json.loads(path.read_text())
        recorded_command, arguments, before = read["command"], dict(read["arguments"]), dict(read["versions"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OpenGatoError(
            f"--config {path} is no {FILE} of a run ({type(error).__name__}: {error}): name the one in a run's folder"
        ) from None
    if recorded_command != command:
        raise OpenGatoError(f"--config {path} is of `opengato {recorded_command}`, not of `opengato {command}`: use it with that command")
    hints = typing.get_type_hints(function)
    if strange := sorted(set(arguments) - set(hints)):
        raise OpenGatoError(
            f"--config {path} has {strange[0]!r}, which `opengato {command}` does not take, as version {before.get('opengato')} did that "
            "wrote it: take it out of the file"
        )
    if changed := [f"{name} {was}, now {versions().get(name)}" for name, was in before.items() if versions().get(name) != was]:
        notice(f"{path} was recorded with other versions ({'; '.join(changed)}): results may differ")
    defaults = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in arguments:
            defaults.append(_typed(hints[name], arguments[name]))
        elif parameter.default is not parameter.empty or defaults:
            if parameter.default is parameter.empty:
                raise OpenGatoError(f"--config {path} lacks {name!r}, which `opengato {command}` needs: add it to its arguments")
            defaults.append(parameter.default)
    assert isinstance(function, types.FunctionType)
    copy = types.FunctionType(function.__code__, function.__globals__, function.__name__, tuple(defaults))
    copy.__doc__, copy.__annotations__, copy.__module__ = function.__doc__, function.__annotations__, function.__module__
    return copy


def _typed(hint: Any, value: Any) -> Any:
    """A value from JSON as a parameter's annotation has it: paths, tuples and dataclasses."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if value is None:
        return None
    if origin in (typing.Union, types.UnionType):
        return _typed(next(part for part in inner if part is not types.NoneType), value)
    if origin in (tuple, list):
        return origin(_typed(inner[0], part) for part in value)
    if hint is Path:
        return Path(value)
    if (is_dataclass(hint) and isinstance(hint, type)) or typing.is_typeddict(hint):
        types_of = typing.get_type_hints(hint)
        return hint(**{name: _typed(types_of[name], part) for name, part in value.items()})
    return value
