"""Several agents for one robot, of which one acts: a human takes over from a policy while the loop runs, and hands back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from opengato.errors import OpenGatoError, unknown


class Agent(Protocol):
    """What acts: `opengato.Policy`, `opengato.client.Client`, or anything else with these two."""

    def reset(self, task: str, /) -> Any:
        """Begin an episode."""

    def act(self, observation: Any, /) -> Any:
        """The action for an observation."""


class Takeover:
    """Agents by name, one of which acts. `run` takes it in the place of an agent.

    Each agent thinks in a thread of its own, so that one that hangs keeps nobody from taking over. Who takes over begins an episode: it is
    reset, and is shown what the robot sees from then on; an answer of the one before that is still on its way is not sent.

    Args:
        agents: "policy": …, "human": …; a human's agent reads a joystick, say, or a leader arm.
        acting: who begins; default: the first of them.
    """

    def __init__(self, agents: Mapping[str, Agent], acting: str | None = None):
        if not agents:
            raise OpenGatoError("takeover has no agents: give at least one, {'policy': policy, 'human': human}")
        self.agents = dict(agents)
        self._acting = next(iter(self.agents))
        if acting is not None:
            self.hand_to(acting)

    @property
    def acting(self) -> str:
        """The name of the agent that acts."""
        return self._acting

    def hand_to(self, name: str) -> None:
        """Let another agent act from the next tick on; from any thread: a key, a button, a service."""
        if name not in self.agents:
            raise unknown("agent to hand over to", name, self.agents)
        self._acting = name
