"""Spaces as JSON, so that a checkpoint carries the description of every task it knows."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.errors import OpenGatoError

COVERED = "Box, Discrete, MultiDiscrete, MultiBinary, Text, Dict or Tuple"


def text_space(max_length: int = 1_000_000) -> spaces.Text:
    """A space of text. Its character set only matters to `contains` and `sample`: the tokenizer takes any Unicode."""
    return spaces.Text(max_length, min_length=0, charset=string.printable)


def _bound(values: np.ndarray) -> Any:
    flat = np.unique(values)
    return float(flat[0]) if len(flat) == 1 else values.astype(float).tolist()


def to_json(space: spaces.Space) -> dict[str, Any]:
    """A JSON description of a Box, Discrete, MultiDiscrete, MultiBinary, Text, Dict or Tuple space."""
    if isinstance(space, spaces.Box):
        return {"type": "Box", "shape": list(space.shape), "dtype": str(space.dtype), "low": _bound(space.low), "high": _bound(space.high)}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"type": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "shape": list(space.shape)}
    if isinstance(space, spaces.Text):
        return {"type": "Text", "max_length": int(space.max_length)}
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {key: to_json(sub) for key, sub in sorted(space.spaces.items())}}
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "spaces": [to_json(sub) for sub in space.spaces]}
    raise OpenGatoError(f"space {type(space).__name__} has no token layout: use {COVERED}")


def from_json(data: dict[str, Any]) -> spaces.Space:
    """The space that `to_json` described. A Text space's character set is not kept: text is any Unicode."""
    kind = data["type"]
    if kind == "Box":
        low, high = (np.broadcast_to(np.asarray(data[k], np.float64), data["shape"]).astype(data["dtype"]) for k in ("low", "high"))
        return spaces.Box(low, high, tuple(data["shape"]), np.dtype(data["dtype"]).type)
    if kind == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(np.asarray(data["nvec"]), start=np.asarray(data["start"]))
    if kind == "MultiBinary":
        return spaces.MultiBinary(data["shape"])
    if kind == "Text":
        return text_space(data["max_length"])
    if kind == "Dict":
        return spaces.Dict({key: from_json(sub) for key, sub in data["spaces"].items()})
    if kind == "Tuple":
        return spaces.Tuple([from_json(sub) for sub in data["spaces"]])
    raise OpenGatoError(f"space type {kind!r} in a checkpoint is unknown: it was written by a newer version")


def differences(known: dict[str, Any], given: dict[str, Any], path: str = "", owner: str = "the checkpoint") -> list[str]:
    """Where two descriptions differ, one line a field; empty where they agree. `owner`: of the known one."""
    here = path or "the space"
    if known["type"] != given["type"]:
        return [f"{here} is {given['type']} where {owner} has {known['type']}"]
    if known["type"] == "Dict":
        lines = [f"{path}.{k}".lstrip(".") + " is missing" for k in known["spaces"].keys() - given["spaces"].keys()]
        lines += [f"{path}.{k}".lstrip(".") + f" is unknown to {owner}" for k in given["spaces"].keys() - known["spaces"].keys()]
        for key in known["spaces"].keys() & given["spaces"].keys():
            lines += differences(known["spaces"][key], given["spaces"][key], f"{path}.{key}".lstrip("."), owner)
        return sorted(lines)
    if known["type"] == "Tuple":
        if len(known["spaces"]) != len(given["spaces"]):
            return [f"{here} has {len(given['spaces'])} entries where {owner} has {len(known['spaces'])}"]
        parts = enumerate(zip(known["spaces"], given["spaces"]))
        return [line for i, (a, b) in parts for line in differences(a, b, f"{path}.{i}".lstrip("."), owner)]
    if known["type"] == "Text":
        return []
    return [f"{here} has {key} {given[key]} where {owner} has {known[key]}" for key in known if known[key] != given[key]]
