"""Domains as plug-ins: a module with `TASKS`, and an entry point of the group `opengato.domains` that names it (docs/domains.md).

The package's own domains are loaded by the same function from a list of their own, so that a checkout works before it is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from opengato.domains.task import Task
from opengato.errors import OpenGatoError

GROUP = "opengato.domains"


@dataclass(frozen=True)
class Domain:
    """A domain, its module imported when it is first asked for.

    Attributes:
        name: the first part of its tasks' ids. package: the distribution that brings it.
    """

    name: str
    package: str
    entry_point: EntryPoint

    @cached_property
    def module(self) -> ModuleType:
        """Its module. Raises OpenGatoError, in one sentence that names the package, whatever goes wrong in there."""
        try:
            return self.entry_point.load()
        except Exception as error:
            reason = " ".join(str(error).split())
            raise self._broken(f"cannot be imported ({type(error).__name__}: {reason}): mend or uninstall it") from error

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks that it lists, by id. Raises OpenGatoError where its module is none of a domain's."""
        listed = getattr(self.module, "TASKS", None)
        if not isinstance(listed, list) or not all(isinstance(task, Task) for task in listed):
            raise self._broken(f"has no list TASKS of `Task`s in {self.entry_point.value}: see docs/domains.md")
        found = {task.id: task for task in listed}
        if len(found) < len(listed):
            twice = next(task.id for task in listed if sum(other.id == task.id for other in listed) > 1)
            raise self._broken(f"lists {twice!r} twice: give each task a name of its own")
        for task in listed:
            if task.domain != self.name:
                raise self._broken(f"lists {task.id!r}, which is another domain's: name it '{self.name}/…'")
        return found

    @property
    def find(self) -> Callable[[str], Task] | None:
        """Of a domain whose tasks cannot all be listed: its function from an id to a task, `find_task`; else None."""
        return getattr(self.module, "find_task", None)

    @property
    def about(self) -> str:
        """The first sentence of its module's docstring."""
        return " ".join((self.module.__doc__ or "").split("\n\n")[0].split()).removesuffix(".")

    def _broken(self, what: str) -> OpenGatoError:
        return OpenGatoError(f"domain {self.name!r} of package {self.package!r} {what}")


_OWN = tuple(
    Domain(name, "opengato", EntryPoint(name, f"opengato.domains.{module}", GROUP))
    for name, module in {
        "babyai": "babyai",
        "metaworld": "metaworld",
        "dm-control": "dm_control",
        "dm-control-pixels": "dm_control.pixels",
        "dm-control-random-small": "dm_control.random_small",
        "dm-control-random-large": "dm_control.random_large",
        "atari": "atari",
        "atari-extended": "atari_extended",
        "memory": "memory",
        "babyai-pixels": "babyai_pixels",
        "minigrid": "minigrid",
        "procgen": "procgen",
        "sokoban": "sokoban",
        "miniworld": "miniworld",
        "vizdoom": "vizdoom",
        "playroom": "playroom",
        "ogbench": "ogbench",
        "gymnasium-robotics": "gymnasium_robotics",
        "gymnasium-mujoco": "gymnasium_mujoco",
        "modular-rl": "modular_rl",
        "dm-manipulation": "dm_manipulation",
        "dm-lab": "dm_lab",
        "textworld": "textworld",
        "openspiel": "openspiel",
        "rgb-stacking": "rgb_stacking",
        "rgb-stacking-real": "rgb_stacking.real",
        "minihack": "minihack",
        "gym": "registered",
    }.items()
)


@cache
def domains() -> dict[str, Domain]:
    """All domains by name, the package's own first; no module is imported. Raises OpenGatoError where two are of the same name."""
    brought = [Domain(point.name, point.dist.name if point.dist else "?", point) for point in entry_points(group=GROUP)]
    found: dict[str, Domain] = {}
    for domain in (*_OWN, *sorted(brought, key=lambda domain: (domain.name, domain.package))):
        if domain.name in found:
            raise OpenGatoError(
                f"two packages bring a domain {domain.name!r}, {found[domain.name].package!r} and {domain.package!r}: uninstall one of them"
            )
        found[domain.name] = domain
    return found
