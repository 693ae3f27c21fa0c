"""What a robot is to the control loop: two spaces, a rate, and three verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from gymnasium import spaces


@runtime_checkable
class Robot(Protocol):
    """A body, ready to move: connecting and calibrating it is done before, disconnecting it after the loop.

    The loop calls all three verbs from one thread, and `stop` last and once.

    Attributes:
        observation_space, action_space: what `observe` returns and `act` takes, those that the agent was trained with.
        rate: control ticks a second.
    """

    @property
    def observation_space(self) -> spaces.Space: ...

    @property
    def action_space(self) -> spaces.Space: ...

    @property
    def rate(self) -> float: ...

    def observe(self) -> Any:
        """What the robot sees now, a member of its observation space; without waiting for a new camera frame, if it can."""

    def act(self, action: Any) -> Any:
        """Send a command, a member of the action space, and return at once.

        Returns the action that was really done, where the robot limits it (shaped like the command), or None: done as commanded.
        """

    def stop(self) -> None:
        """Come to rest safely. It must work in every state, after an error of its own too; what fails here is reported, not retried."""


@runtime_checkable
class Stamped(Robot, Protocol):
    """A robot that knows how old what it sees is.

    Attributes:
        ages: seconds, of every camera or other sensor that says so, between the capture of what `observe` returned last and its return.
    """

    @property
    def ages(self) -> Mapping[str, float]: ...


@runtime_checkable
class Scored(Robot, Protocol):
    """A robot that also knows how well it does, as a simulated one can.

    Attributes:
        reward: of the last action.
        done: the episode is over, so that the loop ends.
        success: whether the task is solved so far; None where it does not say.
        terminated: `done`, and not for want of time.
    """

    @property
    def reward(self) -> float: ...

    @property
    def done(self) -> bool: ...

    @property
    def success(self) -> bool | None: ...

    @property
    def terminated(self) -> bool: ...
