"""The control loop: a robot at a fixed rate, an agent beside it that may be late, and one way to end, which is to stop the robot.

Tick k, at its due time: the newest action (or the held one, or one on the way to it) goes to the robot, the robot is observed, and the
agent is shown what it sees. So the agent has one period for its answer, commands leave at an even pace however long it takes, and an
agent that is never late acts exactly as in a loop without a clock.
"""

from __future__ import annotations

import inspect
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opengato.errors import OpenGatoError, unknown
from opengato.robots.limits import Limiter, Limits
from opengato.robots.record import Recorder
from opengato.robots.robot import Robot, Scored, Stamped
from opengato.robots.schedule import Command, Late, Schedule, refuse_discrete
from opengato.robots.takeover import Agent, Takeover
from opengato.robots.thinker import Answer, Thinker
from opengato.robots.timing import Timing
from opengato.tokens.members import conform
from opengato.tokens.spaces import differences, to_json

_SWITCH = 0.0005  # seconds after which Python takes the interpreter from the agent's thread for a tick that is due; usually 5 ms
_ATTEMPTS = 5  # of a first action that is fresh enough: the first one warms the agent up, and a machine may be busy for a moment
_GLANCE = 0.05  # seconds between two looks at whether the user wants to stop, while the first action is waited for


class Clock:
    """Time as the loop has it; tests have another one."""

    def now(self) -> float:
        """Seconds since some fixed point."""
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass
class Report:
    """What became of a run.

    Attributes:
        ended: "time" (as many ticks as asked for), "done" (the robot said so), "interrupted" (Ctrl-C or SIGTERM) or "fault".
        timing: how well the rate was held.
        limited: how many commands were cut by each of `Limits`' "step", "velocity" and "workspace"; only those that were.
        acted: how many commands each agent gave, by its name in a `Takeover`.
        episode_return: sum of the rewards, success: whether the task was solved; None of a robot that does not score itself.
    """

    ended: str
    timing: Timing
    limited: dict[str, int] = field(default_factory=dict)
    acted: dict[str, int] = field(default_factory=dict)
    episode_return: float | None = None
    success: bool | None = None


class Stopped(OpenGatoError):
    """The robot was stopped because something failed; the sentence says what, `report` what was measured until then."""

    def __init__(self, sentence: str, report: Report):
        super().__init__(sentence)
        self.report = report


def run(
    robot: Robot,
    agent: Agent | Takeover,
    task: str,
    *,
    seconds: float | None = None,
    limits: Limits | Mapping[str, Limits] | None = None,
    late: Late = "hold",
    patience: float = 1.0,
    stale_after: float = 0.5,
    first_action_within: float = 120.0,
    oldest: float = 2.0,
    stop_within: float = 10.0,
    record: Recorder | None = None,
    clock: Clock | None = None,
    thinker: type[Thinker] = Thinker,
) -> Report:
    """Let an agent move a robot for one episode, at the robot's rate. The robot is stopped exactly once, however the episode ends.

    The first action is waited for at rest, so that an agent may warm up; the clock of the ticks starts with it. Where it took longer than
    `oldest` periods, what it was decided from is past: the agent begins again, warm, with what the robot sees now; then it is only shown
    that anew, since it may be reading its prompt, and after five attempts refused. Numbers are checked before they go on: an observation
    or an action with another shape, a NaN, or a value outside its space stops the robot.

    Args:
        robot: connected and ready. task: that the agent knows.
        agent: reset here; or several of them, of which one acts at a time, see `Takeover`.
        limits: what every command is held to, see `Limits`; in an action space of several arrays, of each by its path.
        seconds: of ticks, rounded to a whole number of them; None: until the robot is done, or Ctrl-C.
        late: what is sent while the agent's action is late, see `Command`: the last action again, or a glide to a newer one.
        patience: seconds without a new action after which the robot is stopped.
        stale_after: seconds after which a picture, or whatever else a robot says the age of (`Stamped`), is too old to act on: the robot
            is stopped.
        first_action_within: seconds that the agent may take for its first action, warming up included.
        oldest: periods that may have passed since the observation that the first command answers; a slower agent needs more.
        stop_within: seconds after which a stop() that has not come back is given up, and reported.
        record: where the episode is kept, faulty ones included, up to the last command that was sent.
        clock, thinker: for tests.

    Raises OpenGatoError before anything moves, where an argument, the task or a space is wrong; `Stopped` where the robot, the agent or
    the time failed. Ctrl-C and SIGTERM are no errors: the report says "interrupted".
    """
    ticks = _ticks(robot.rate, seconds)
    if late not in ("hold", "interpolate"):
        raise OpenGatoError(f"late is {late!r}: choose 'hold' or 'interpolate'")
    if late == "interpolate":
        refuse_discrete(robot.action_space)
    if not patience > 0:
        raise OpenGatoError(f"patience is {patience}: choose more than 0 seconds")
    for name, value, unit in (
        ("stop_within", stop_within, "seconds"),
        ("stale_after", stale_after, "seconds"),
        ("oldest", oldest, "periods"),
    ):
        if not value > 0:
            raise OpenGatoError(f"{name} is {value}: choose more than 0 {unit}")
    limiter = Limiter(robot.action_space, limits, robot.rate) if limits is not None else None
    agents = agent if isinstance(agent, Takeover) else Takeover({"agent": agent})
    for one in agents.agents.values():
        _reset(one, task, robot)
    if record is not None:
        record.begin(robot, task)

    loop = _Loop(robot, agents, task, Command(late), limiter, patience, stale_after, record, clock or Clock(), thinker)
    report = Report("fault", loop.timing)
    failure: BaseException | None = None
    sentences: list[str] = []
    with _Asked() as asked, _quick_switching():
        try:
            try:
                report.ended = loop.run(ticks, first_action_within, oldest, asked)
            finally:
                asked.stopping = True
        except KeyboardInterrupt:
            report.ended = "interrupted"
        except BaseException as error:
            failure = error
            sentences.append(
                f"the robot was stopped after {loop.timing.ticks / robot.rate:g} s, at tick {loop.timing.ticks}: {_said(error)}"
            )
        try:
            _stop(robot, stop_within)
        except BaseException as error:
            failure, report.ended = failure or error, "fault"
            sentences.append(f"the robot's stop() failed, so see to it yourself: {_said(error)}")
        if asked and report.ended != "fault":
            report.ended = "interrupted"
        report.limited, report.acted = dict(limiter.counts) if limiter else {}, loop.acted
        if loop.scored is not None:
            report.episode_return, report.success = loop.rewards, loop.scored.success
        if record is not None:
            record.end(report.ended)
        loop.close()
    if failure is not None and not isinstance(failure, Exception):
        raise failure  # an exit that somebody asked for
    if failure is not None:
        raise Stopped("; ".join(sentences), report) from failure
    return report


class _Loop:
    """The ticks of one episode."""

    def __init__(
        self,
        robot: Robot,
        agents: Takeover,
        task: str,
        command: Command,
        limiter: Limiter | None,
        patience: float,
        stale_after: float,
        record: Recorder | None,
        clock: Clock,
        thinker: type[Thinker],
    ):
        self.robot, self.agents, self.task, self.record, self.clock = robot, agents, task, record, clock
        self.scored = robot if isinstance(robot, Scored) else None
        self.stamped = robot if isinstance(robot, Stamped) else None
        self.command, self.patience, self.most_late = command, patience, max(1, round(patience * robot.rate))
        self.limiter, self.stale_after = limiter, stale_after
        self.timing, self.rewards = Timing(robot.rate), 0.0
        self.acted: dict[str, int] = {}
        self.acting, self.turn = agents.acting, 0
        self._begun = {self.acting: 0}  # in which turn each agent was reset last
        self._make_thinker, self._thinkers = thinker, {self.acting: thinker(self._act_of(self.acting))}

    @property
    def thinker(self) -> Thinker:
        """Of the agent that acts."""
        return self._thinkers[self.acting]

    def close(self) -> None:
        """End the agents' threads."""
        for thinker in self._thinkers.values():
            thinker.close()

    def _act_of(self, name: str) -> Callable[[tuple[int, Any]], tuple[int, Any]]:
        """What an agent's thread does with an observation, and the turn in which it was shown: its action, and the turn it is for."""
        agent, space, who = self.agents.agents[name], self.robot.action_space, "the agent"
        if len(self.agents.agents) > 1:
            who = f"the agent {name!r}"

        def act(shown: tuple[int, Any]) -> tuple[int, Any]:
            turn, observation = shown
            if turn != self.turn:
                return turn, None  # the agent was busy while its turn passed
            with _blame(who):
                if self._begun.get(name) != turn:
                    _reset(agent, self.task, self.robot)
                    self._begun[name] = turn
                action = agent.act(observation)
            return turn, conform(space, action, f"{who}'s action")

        return act

    def _show(self, observation: Any) -> None:
        """Give the agent that acts the newest observation."""
        self.thinker.show((self.turn, observation))

    def _take_over(self, observation: Any) -> None:
        """Let the agent act that was handed over to, if one was; what the one before still answers is nobody's."""
        if (name := self.agents.acting) == self.acting:
            return
        self.acting, self.turn = name, self.turn + 1
        if name not in self._thinkers:
            self._thinkers[name] = self._make_thinker(self._act_of(name))
        self._show(observation)

    def _answer(self, timeout: float = 0.0) -> Answer | None:
        """The newest answer of this turn within `timeout` seconds, if there is one."""
        answer = self.thinker.answer(timeout)
        return answer if answer is not None and answer.action[0] == self.turn else None

    def run(self, ticks: int | None, first_action_within: float, oldest: float, asked: _Asked) -> str:
        """Returns how it ended, see `Report`; raises what failed."""
        until = time.monotonic() + first_action_within
        for attempt in range(_ATTEMPTS):
            observation = self._observe()
            self._show(observation)
            answer = self._first_answer(observation, first_action_within, until, asked)
            if answer is None:
                return "interrupted"
            fresh = answer.seconds * self.robot.rate <= oldest + 1e-3
            if fresh and answer.seconds <= self.patience:
                break
            if attempt + 1 == _ATTEMPTS and fresh:
                raise OpenGatoError(
                    f"the agent takes {answer.seconds:.2g} s for an action, more than the patience of {self.patience:g} s: take a faster "
                    "agent, or raise it"
                )
            if attempt + 1 == _ATTEMPTS:
                raise OpenGatoError(
                    f"the agent takes {answer.seconds:.2g} s for an action, so that its first command would be from what was seen more "
                    f"than {oldest:g} periods before: take a faster agent, lower the rate of {self.robot.rate:g} Hz, or raise oldest"
                )
            if attempt == 0:
                _reset(self.agents.agents[self.acting], self.task, self.robot)
            # Still too slow, it may be reading its prompt, which it then has read: it is only shown what is there now.
        timing, schedule, sent = self.timing, Schedule(self.robot.rate, self.clock.now()), None
        while True:
            due, missed = schedule.next(self.clock.now())
            while (wait := due - self.clock.now()) > 0:
                self.clock.sleep(wait)
            if asked:
                return "interrupted"
            timing.missed += missed
            if ticks is not None and schedule.tick >= ticks:  # the last command has had its period
                return "time"
            self.command.skip(missed)
            if timing.ticks:
                self._take_over(observation)
                answer = self._answer()
            command = self._command(answer)
            if self.limiter is not None:
                command = self.limiter(command, observation)
            began = self.clock.now()
            timing.delays.append(began - due)
            if sent is not None:
                timing.periods.append(began - sent)
            sent = began
            if answer is not None and timing.ticks > 1:
                timing.inference.append(answer.seconds)
                timing.ages.append(began - answer.shown)
            self._act(observation, command)
            observation = self._observe()
            timing.work.append(self.clock.now() - began)
            if self.record is not None:
                self.record.see(observation)
            if self.scored is not None and self.scored.done:
                return "done"
            self._show(observation)

    def _first_answer(self, observation: Any, within: float, until: float, asked: _Asked) -> Answer | None:
        """The first answer, None where the user wants to stop first; raises after `until` (`within` seconds in all)."""
        while not asked:
            self._take_over(observation)
            if (answer := self._answer(_GLANCE)) is not None:
                return answer
            if time.monotonic() > until:
                raise OpenGatoError(
                    f"the agent gave no first action within {within:g} s: raise first_action_within, or take a smaller agent"
                )
        return None

    def _command(self, answer: Answer | None) -> Any:
        if answer is not None:
            return self.command.fresh(answer.action[1])
        self.timing.late += 1
        command = self.command.again()
        if self.command.late > self.most_late:
            raise OpenGatoError(
                f"the agent gave no new action for {self.most_late} ticks: take a faster agent, lower the rate of {self.robot.rate:g} Hz "
                f"or raise the patience of {self.patience:g} s"
            )
        return command

    def _act(self, observation: Any, command: Any) -> None:
        self.acted[self.acting] = self.acted.get(self.acting, 0) + 1
        with _blame("the robot's act()"):
            done = self.robot.act(command)
        # What a robot did may lie outside the bounds of what it may be told: it starts from where it is.
        done = command if done is None else conform(self.robot.action_space, done, "what the robot's act() returned", bounded=False)
        reward = 0.0
        if self.scored is not None:
            reward = float(self.scored.reward)
            self.rewards += reward
        if self.record is not None:
            self.record.add(observation, done, reward, self.acting)

    def _observe(self) -> Any:
        with _blame("the robot's observe()"):
            observation = self.robot.observe()
            ages = dict(self.stamped.ages) if self.stamped is not None else {}
        if ages:
            oldest = max(ages, key=ages.__getitem__)
            if not ages[oldest] <= self.stale_after:
                raise OpenGatoError(
                    f"what {oldest!r} gives is {ages[oldest]:.3g} s old, more than stale_after, {self.stale_after:g} s: check the "
                    "camera, or raise it"
                )
            self.timing.frames.append(ages[oldest])
        return conform(self.robot.observation_space, observation, "the observation")


def _ticks(rate: float, seconds: float | None) -> int | None:
    if not (rate > 0 and math.isfinite(rate)):
        raise OpenGatoError(f"the robot's rate is {rate} Hz: give it a rate above 0")
    if seconds is None:
        return None
    if not (seconds > 0 and math.isfinite(seconds)):
        raise OpenGatoError(f"seconds is {seconds}: choose more than 0, or None for no limit")
    return max(1, round(seconds * rate))


def _reset(agent: Agent, task: str, robot: Robot) -> None:
    """Begin an episode; the robot's spaces must be those that the agent knows for the task, as far as it tells."""
    if "observation_space" in inspect.signature(agent.reset).parameters:  # a Policy checks them itself
        agent.reset(task, observation_space=robot.observation_space, action_space=robot.action_space)  # type: ignore[call-arg]
        return
    known = getattr(agent, "metadata", {}).get("tasks", {})  # a Client has them from its server
    if known and task not in known:
        raise unknown("task of this server", task, known)
    for name, space in (("observation", robot.observation_space), ("action", robot.action_space)):
        if known and (lines := differences(known[task][f"{name}_space"], to_json(space))):
            raise OpenGatoError(f"the robot's {name} space is not the one that the server has for task {task!r}: {'; '.join(lines)}")
    agent.reset(task)


def _stop(robot: Robot, within: float) -> None:
    """Stop it, in a thread of its own: whoever waits for the robot must not hang with it."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            robot.stop()
        except BaseException as error:  # raised where it is reported
            failures.append(error)

    thread = threading.Thread(target=work, name="opengato-stop", daemon=True)
    thread.start()
    thread.join(within)
    if thread.is_alive():
        raise OpenGatoError(f"it did not come back within {within:g} s")
    if failures:
        raise failures[0]


@contextmanager
def _quick_switching() -> Iterator[None]:
    """While an agent computes in Python, a tick's delay is the switch interval, measured: 5.2 ms with 5 ms, 0.7 with 0.5."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def _blame(who: str) -> Iterator[None]:
    """An error says whose it is."""
    try:
        yield
    except Exception as error:
        raise OpenGatoError(f"{who} failed: {_said(error)}") from error


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, OpenGatoError) else f"{type(error).__name__}: {error}"


class _Asked:
    """Whether the user wants the robot to stop: Ctrl-C or SIGTERM, as a flag, so that no command is cut in half.

    A second signal interrupts at once, for a robot or an agent that hangs; none interrupts the stopping.
    """

    def __init__(self) -> None:
        self._asked, self.stopping = False, False
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self._asked

    def __enter__(self) -> _Asked:
        if threading.current_thread() is threading.main_thread():  # no other one may have handlers
            self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _hear(self, *_: object) -> None:
        if self._asked and not self.stopping:
            raise KeyboardInterrupt
        self._asked = True
