"""Commands about this machine: doctor, cache list, cache clear."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from opengato.cli.app import command, print_columns, print_json


@command
def doctor(as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
    """Look at this machine: versions, extras and what brings the missing ones, whether pictures can be drawn, disks and caches.

    Ends with status 1 where something keeps the package itself from working.

    Args:
        as_json: print an object instead of lines.
    """
    from opengato.doctor import examine

    report = examine()
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report["problems"]:
        sys.exit(1)


def _print(report: dict[str, Any]) -> None:
    print(f"Python {report['python']} on {report['platform']}")
    print(", ".join(f"{name} {version}" for name, version in report["versions"].items()))
    if "processor" in report:
        found = report["processor"]
        gpus = ", ".join(found["gpus"]) or "none"
        bfloat16 = "multiplied in hardware" if found["bfloat16"] else "not multiplied in hardware: training is in float32"
        print(f"\n{found['cores']} cores, {found['torch_threads']} threads of PyTorch; bfloat16 is {bfloat16}; GPUs: {gpus}")
        print(f"a C++ compiler for --compiled: {found['compiler'] or 'none (Debian: apt-get install g++)'}")
    drawing = report["drawing"]
    said = {True: "works", False: f"fails: {drawing['problem']}", None: f"not tried: {drawing['problem']}"}[drawing["works"]]
    print(f"drawing by MuJoCo through {drawing['backend']}: {said}" + (f"; {drawing['command']}" if drawing["command"] else ""))
    print()
    state = {name: ", ".join(extra["missing"]) or "installed" for name, extra in report["extras"].items()}
    rows = [[name, f"lacks {said}" if report["extras"][name]["command"] else said] for name, said in state.items()]
    print_columns(["extra", "state", "to install"], [[*row, report["extras"][row[0]]["command"]] for row in rows])
    print()
    print_columns(["folder", "is", "free, GB"], [[d["folder"], name, f"{d['free'] / 1e9:,.1f}"] for name, d in report["disks"].items()])
    print(f"the cache has {sum(part['bytes'] for part in report['cache'].values()) / 1e6:,.1f} MB, see `opengato cache list`")
    for problem in report["problems"]:
        print(f"problem: {problem}")


@command
def cache_list(as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
    """List what the cache ($OPENGATO_CACHE, or opengato/ in the user's cache folder) has, part by part.

    Args:
        as_json: print a list of objects instead of a table.
    """
    from opengato.cache import PARTS, parts

    found = parts()
    if as_json:
        print_json([{"name": p.name, "folder": str(p.folder), "bytes": p.bytes, "files": p.files} for p in found])
        return
    rows = [[part.name, f"{part.bytes / 1e6:,.1f}", f"{part.files:,}", PARTS[part.name], str(part.folder)] for part in found]
    print_columns(["part", "MB", "files", "has", "folder"], rows)


@command
def cache_clear(names: Positional[tuple[str, ...]] = ()) -> None:
    """Delete what the cache has; all of it is made again when it is needed, and no recording, run or checkpoint is in it.

    Args:
        names: parts, as `opengato cache list` names them; default: all.
    """
    from opengato.cache import clear

    for part in clear(names):
        print(f"{part.name}: {part.bytes / 1e6:,.1f} MB in {part.files:,} files are gone")
