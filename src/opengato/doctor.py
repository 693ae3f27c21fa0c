"""What this machine has of what OpenGato needs, and the command that brings what is missing: `opengato doctor`."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from opengato.cache import cache_root, parts

_NAME = "opengato"
_RENDER_SECONDS = 60.0
_LIBRARIES = "apt-get install libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri"
_LEAST_FREE = 2 * 10**9  # bytes: of an environment with all simulators, or of a day's recordings

# A red box in front of a black background: what has been drawn is the share of pixels that are red.
_DRAW = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><visual><headlight ambient="1 1 1"/></visual><worldbody><camera name="c" pos="0 0 3"/>'
    '<geom type="box" size="1 1 .1" rgba="1 0 0 1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 64, 64) as renderer:
    renderer.update_scene(data, camera="c")
    picture = renderer.render().astype(int)
print((picture[..., 0] > picture[..., 1] + 50).mean(), flush=True)
"""


@dataclass(frozen=True)
class Extra:
    """One of the package's extras.

    Attributes:
        missing: requirements that no installed package fulfils, as pip takes them. command: that brings them, "" where none is missing.
    """

    name: str
    missing: tuple[str, ...]
    command: str


def needed(extra: str = "") -> Iterator[Requirement]:
    """What the package needs by itself, or besides for one of its extras, those that the extra is made of among it."""
    for line in metadata(_NAME).get_all("Requires-Dist") or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is not None and not marker.evaluate({"extra": extra}):
            continue
        if extra and (marker is None or marker.evaluate({"extra": ""})):
            continue  # the base's
        if canonicalize_name(requirement.name) == _NAME:
            for other in sorted(requirement.extras):
                yield from needed(other)
        else:
            yield requirement


def missing(requirement: Requirement) -> str | None:
    """The requirement as pip takes it, where no installed package fulfils it; None where one does."""
    wanted = f"{requirement.name}{requirement.specifier}"
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return wanted
    return None if requirement.specifier.contains(found, prereleases=True) else f"{wanted} (there is {found})"


@cache
def extras() -> tuple[Extra, ...]:
    """Every extra of the package, and what of it is not installed; of domains whose extra alone is not enough, the simulator too."""
    from opengato.domains import tasks

    # A package's own domain names the whole command, where its simulator cannot be a requirement of the extra.
    beside = {task.extra: task for task in tasks().values() if task.install}
    found = []
    for name in metadata(_NAME).get_all("Provides-Extra") or []:
        lacking = dict.fromkeys(text for requirement in needed(name) if (text := missing(requirement)) is not None)
        command = f'pip install "{_NAME}[{name}]"'
        if name in beside:
            command = beside[name].install
            lacking |= {} if beside[name].available else {beside[name].requires: None}
        found.append(Extra(name, tuple(lacking), command if lacking else ""))
    return tuple(found)


def drawing() -> dict[str, Any]:
    """Whether MuJoCo draws without a display, tried in a process of its own, since a driver may take it down.

    Returns {"works": True, False, or None where it was not tried, "backend", "problem", "command"}.
    """
    backend = os.environ.get("MUJOCO_GL", "egl")
    said: dict[str, Any] = {"works": None, "backend": backend, "problem": None, "command": ""}
    if missing(Requirement("mujoco")) is not None:
        return said | {"problem": "mujoco is not installed", "command": f'pip install "{_NAME}[mujoco]"'}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _DRAW],
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            text=True,
            timeout=_RENDER_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return said | {"works": False, "problem": f"nothing was drawn in {_RENDER_SECONDS:.0f} s", "command": _LIBRARIES}
    if done.returncode == 0 and float(done.stdout or 0) > 0.1:
        return said | {"works": True}
    reason = "the picture is empty" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    return said | {"works": False, "problem": reason[:200], "command": _LIBRARIES}


def processor() -> dict[str, Any]:
    """What PyTorch computes with: threads, products of bfloat16, accelerators, a C++ compiler for torch.compile."""
    import torch

    from opengato.model.bfloat16 import multiplies_bfloat16

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    compilers = (os.environ.get("CXX"), "g++", "clang++", "c++")
    return {
        "cores": usable,
        "torch_threads": torch.get_num_threads(),
        "bfloat16": multiplies_bfloat16(torch.device("cpu")),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "compiler": next((found for name in compilers if name and (found := shutil.which(name))), None),
    }


def disks() -> dict[str, dict[str, Any]]:
    """Of the folders that are written to, how many bytes their disks have left: the current one, the cache, the recordings."""
    from opengato.datasets.minari import default_root

    found = {}
    for name, folder in {"here": Path.cwd(), "cache": cache_root(), "recordings": default_root()}.items():
        there = next(path for path in (folder, *folder.parents) if path.exists())
        found[name] = {"folder": str(folder), "free": shutil.disk_usage(there).free}
    return found


def examine() -> dict[str, Any]:
    """All of it. `problems` are sentences about what keeps the package itself from working well."""
    base = [text for requirement in needed() if (text := missing(requirement)) is not None]
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {requirement.name: version(requirement.name) for requirement in needed() if missing(requirement) is None},
        "extras": {extra.name: {"missing": list(extra.missing), "command": extra.command} for extra in extras()},
        "drawing": drawing(),
        "disks": disks(),
        "cache": {part.name: {"folder": str(part.folder), "bytes": part.bytes, "files": part.files} for part in parts()},
    }
    problems = [f"{text} is missing: pip install {_NAME}" for text in base]
    if not any("torch" in text for text in base):
        report["processor"] = processor()
    if report["drawing"]["works"] is False:
        problems.append(f"MuJoCo cannot draw ({report['drawing']['problem']}): {report['drawing']['command']}")
    for name, disk in report["disks"].items():
        if disk["free"] < _LEAST_FREE:
            problems.append(f"the disk of {disk['folder']} ({name}) has {disk['free'] / 1e9:.1f} GB left: free some space")
    return report | {"problems": problems}
