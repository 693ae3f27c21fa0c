"""The loop's promises: even ticks, what is sent while the agent is late, one stop at every end."""

import math
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from robot_helpers import PERIOD, Cart, FakeClock, Numbered, number, thinking

from opengato.errors import OpenGatoError
from opengato.robots import Recorder, Robot, Stopped, run
from opengato.robots.schedule import Schedule
from opengato.robots.thinker import Thinker
from opengato.robots.timing import Timing
from opengato.tokens.members import conform


def drive(robot=None, agent=None, latency=lambda n: 0.0, ticks=6, clock=None, **settings):
    clock = clock or FakeClock()
    robot = robot or Cart(clock)
    robot.clock = robot.clock or clock
    agent = agent or Numbered()
    report = run(robot, agent, "t/cart", seconds=ticks * PERIOD, clock=clock, thinker=thinking(clock, latency), **settings)
    return robot, agent, report


# ---- when ---------------------------------------------------------------------------------------------------------------------


def test_ticks_are_due_on_a_fixed_grid_however_long_the_robot_takes():
    rng = np.random.default_rng(0)
    robot, _, report = drive(Cart(work=lambda n: float(rng.uniform(0, 0.99 * PERIOD))), ticks=200)
    assert np.array_equal(np.diff(robot.times), np.full(199, PERIOD)) and report.timing.missed == 0
    assert len(robot.told) == report.timing.ticks == 200 and report.ended == "time"


def test_sleeping_too_long_is_jitter_and_never_drift():
    rng = np.random.default_rng(0)
    sleeps = []

    def oversleep():
        sleeps.append(float(rng.uniform(0, 0.5 * PERIOD)))
        return sleeps[-1]

    robot, _, report = drive(clock=FakeClock(oversleep), ticks=100)
    # Tick 0 is due when the first action is there, so nothing sleeps before it; the last sleep is the last command's period.
    delays = [0.0, *sleeps[:99]]
    np.testing.assert_allclose(report.timing.delays, delays)
    np.testing.assert_allclose(report.timing.jitter, np.abs(np.diff(delays)), atol=1e-12)
    np.testing.assert_allclose(np.array(robot.times) - robot.times[0], np.arange(100) * PERIOD + delays)


def test_a_robot_that_is_busy_for_periods_misses_ticks_and_does_not_catch_up():
    robot, _, report = drive(Cart(work=lambda n: 2.5 * PERIOD if n == 2 else 0.0), ticks=8)
    # Tick 2 lasts until 4.5: tick 3 is over, tick 4 begins at once, late, and tick 5 is in time again.
    np.testing.assert_allclose((np.array(robot.times) - robot.times[0]) / PERIOD, [0, 1, 2, 4.5, 5, 6, 7])
    assert (report.timing.ticks, report.timing.missed) == (7, 1)
    assert report.timing.delays[3] == 0.5 * PERIOD and report.timing.jitter.max() == 1.5 * PERIOD


@given(st.lists(st.floats(0, 5), max_size=40), st.floats(1, 1000), st.floats(0, 1e6))
def test_schedule(works, rate, start):
    """Whatever the ticks take, in periods: each is due on the grid, none begins a whole period late, all are held or counted as missed."""
    schedule, now, total = Schedule(rate, start), start, 0
    for number_, work in enumerate(works):
        due, missed = schedule.next(now)
        total += missed
        assert schedule.tick == number_ + total and due == start + schedule.tick / rate
        assert (now - due) * rate < 1 + 1e-3
        now = max(now, due) + work / rate


def test_the_summary_is_of_what_was_measured():
    timing = Timing(10.0, periods=[0.1, 0.2, 0.1], delays=[0.0, 0.0, 0.1, 0.0], work=[0.01] * 4, late=1)
    facts = timing.summary()
    assert facts["held_rate"] == pytest.approx(7.5) and facts["ticks"] == 4 and facts["jitter_max_ms"] == pytest.approx(100)
    assert facts["jitter_p50_ms"] == pytest.approx(0) and "age_p50_ms" not in facts and "inference" not in str(timing)
    both = timing + timing
    assert both.ticks == 8 and both.late == 2 and len(both.periods) == 6 and "8 ticks, 2 late" in str(both)


# ---- what -----------------------------------------------------------------------------------------------------------------------


def actions(*numbers):
    return np.stack([number(n) for n in numbers])


def test_an_agent_in_time_acts_as_without_a_clock():
    robot, agent, report = drive(latency=lambda n: 0.99 * PERIOD, ticks=20)
    other, twin = Cart(), Numbered()
    for _ in range(20):
        other.act(twin.act(other.observe()))
    np.testing.assert_array_equal(robot.told, other.told)
    np.testing.assert_array_equal(agent.seen[:20], twin.seen)
    assert report.timing.late == 0 and set(report.timing.ages) == {PERIOD}


def test_hold_sends_the_last_action_again():
    # 1.6 periods an action: answers are there at 1.6, 3.2, 4.8, 6.4 … after tick 0.
    robot, agent, report = drive(latency=lambda n: 1.6 * PERIOD, ticks=8)
    np.testing.assert_array_equal(robot.told, actions(0, 0, 1, 1, 2, 3, 3, 4))
    assert report.timing.late == 3
    # And it was shown the newest observation each time: 0, 1, then those of before ticks 2, 4, 5.
    positions = np.cumsum([[0, 0], *robot.told], 0)
    np.testing.assert_allclose(agent.seen, positions[[0, 1, 2, 4, 5]])


def test_interpolate_glides_to_a_late_action_in_as_many_steps_as_it_took():
    # Answers are there for ticks 3, 6, 9: every third.
    robot, _, report = drive(latency=lambda n: 2.5 * PERIOD if n == 1 else 3 * PERIOD, ticks=10, late="interpolate")
    line = [0, 0, 0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2, 7 / 3]
    np.testing.assert_allclose(robot.told, actions(*line), rtol=1e-6)
    assert report.timing.late == 6


def test_interpolation_begins_where_the_last_command_was():
    # Answers at ticks 3 (two late before it: three steps) and 4, which cuts the glide short: at 1/3 it goes to 2 at once.
    robot, _, _ = drive(latency=lambda n: {1: 2.5}.get(n, 1.0) * PERIOD, ticks=5, late="interpolate")
    np.testing.assert_allclose(robot.told, actions(0, 0, 0, 1 / 3, 2), rtol=1e-6)


def test_interpolation_without_lateness_is_none():
    robot, _, _ = drive(late="interpolate", ticks=10)
    np.testing.assert_array_equal(robot.told, actions(*range(10)))


def test_nested_actions_are_interpolated_leaf_by_leaf():
    class Arms(Cart):
        action_space = spaces.Dict(left=spaces.Tuple((Cart.action_space,)), right=spaces.Box(-1, 1, (1,), np.float64))

        def act(self, action):
            self.told.append(action)

    class Both(Numbered):
        def act(self, observation):
            action = super().act(observation)
            return {"left": (action,), "right": action[:1].astype(np.float64)}

    robot, _, _ = drive(Arms(), Both(), latency=lambda n: 2 * PERIOD, ticks=4, late="interpolate")
    np.testing.assert_allclose([a["left"][0] for a in robot.told], actions(0, 0, 0.5, 1))
    np.testing.assert_allclose([a["right"] for a in robot.told], actions(0, 0, 0.5, 1)[:, :1])
    assert robot.told[2]["left"][0].dtype == np.float32 and robot.told[2]["right"].dtype == np.float64


# ---- how it ends ------------------------------------------------------------------------------------------------------------------


IMPATIENT = r"gave no new action for 4 ticks: .* raise the patience of 0\.25 s"


def test_an_agent_that_falls_silent_is_waited_for_as_long_as_its_patience():
    robot = Cart()
    with pytest.raises(Stopped, match=IMPATIENT) as stopped:
        drive(robot, latency=lambda n: 1e9 if n == 2 else 0.0, ticks=50, patience=4 * PERIOD)
    # Two actions, the second of them four times more.
    np.testing.assert_array_equal(robot.told, actions(0, 1, 1, 1, 1, 1))
    assert robot.calls["stop"] == 1 and stopped.value.report.ended == "fault"


def test_ticks_that_a_busy_robot_missed_count_as_late_ones():
    robot = Cart(work=lambda n: 6 * PERIOD if n == 3 else 0.0)
    with pytest.raises(Stopped, match=IMPATIENT):
        drive(robot, latency=lambda n: 1e9 if n == 4 else 0.0, ticks=50, patience=4 * PERIOD)
    assert len(robot.told) == 4 and robot.calls["stop"] == 1


def test_a_first_action_that_does_not_come_stops_the_robot():
    robot, forever = Cart(), threading.Event()

    class Silent(Numbered):
        def act(self, observation):
            forever.wait(2)
            return number(0)

    with pytest.raises(Stopped, match=r"gave no first action within 0\.01 s: raise first_action_within"):
        run(robot, Silent(), "t/cart", first_action_within=0.01)
    forever.set()
    assert robot.calls == {"observe": 1, "act": 0, "stop": 1}


def test_pythons_threads_are_switched_quickly_while_it_runs_only():
    before, inside = sys.getswitchinterval(), []
    with pytest.raises(Stopped):
        drive(Cart(faults={("act", 1): lambda: inside.append(sys.getswitchinterval()), ("act", 2): OSError()}))
    assert inside[0] < before == sys.getswitchinterval()


NAN = np.array([0.0, np.nan], np.float32)
FAULTS = {
    "the agent raises": ({}, {3: ValueError("boom")}, "the agent failed: ValueError: boom", 3),
    "the agent's first action raises": ({}, {0: ValueError("boom")}, "the agent failed: ValueError: boom", 0),
    "the agent's NaN": ({}, {3: NAN}, "the agent's action is nan at entry 1", 3),
    "the agent's shape": ({}, {3: np.zeros(3, np.float32)}, r"the agent's action has shape \(3,\) where its space has \(2,\)", 3),
    "the agent out of bounds": ({}, {3: np.full(2, 5.5, np.float32)}, "the agent's action is 5.5 at entry 0", 3),
    "the agent's nothing": ({}, {3: "left"}, "the agent's action is left: give floats", 3),
    "observe raises": ({("observe", 3): OSError("no camera")}, {}, r"the robot's observe\(\) failed: OSError: no camera", 3),
    "observe's first raises": ({("observe", 0): OSError("no camera")}, {}, r"the robot's observe\(\) failed: OSError: no camera", 0),
    "observe's NaN": ({("observe", 3): NAN}, {}, "the observation is nan at entry 1", 3),
    "observe's shape": ({("observe", 3): np.zeros((2, 1), np.float32)}, {}, "the observation has shape", 3),
    "observe out of bounds": ({("observe", 3): np.full(2, -11, np.float32)}, {}, "the observation is -11.0 at entry 0", 3),
    "act raises": ({("act", 3): OSError("no motor")}, {}, r"the robot's act\(\) failed: OSError: no motor", 3),
    "act's NaN": ({("act", 3): NAN}, {}, r"what the robot's act\(\) returned is nan", 3),
}


@pytest.mark.parametrize(("robot_faults", "agent_faults", "sentence", "recorded"), FAULTS.values(), ids=FAULTS)
def test_a_fault_stops_the_robot_once_and_is_reported(robot_faults, agent_faults, sentence, recorded):
    robot, recorder = Cart(faults=robot_faults), Recorder()
    with pytest.raises(Stopped, match=sentence) as stopped:
        drive(robot, Numbered(agent_faults), ticks=50, record=recorder)
    assert robot.calls["stop"] == 1 and stopped.value.report.ended == "fault" and stopped.value.__cause__ is not None
    # What was done until then is kept, what may not have been is not.
    assert sum(len(e) for e, _ in recorder.episodes) == recorded
    if recorded:
        episode, observations = recorder.episodes[0]
        np.testing.assert_array_equal(episode.actions, robot.told[:recorded])
        assert episode.info["ended"] == "fault" and len(observations) == recorded + 1


@pytest.mark.parametrize("verb", ["observe", "act"])
def test_keyboard_interrupt_stops_the_robot_once_and_is_no_error(verb):
    robot, _, report = drive(Cart(faults={(verb, 3): KeyboardInterrupt()}), ticks=50)
    assert report.ended == "interrupted" and robot.calls["stop"] == 1 and len(robot.told) == 3


@pytest.mark.parametrize("number_", [signal.SIGINT, signal.SIGTERM])
def test_signals_let_the_tick_be_finished_and_then_stop_the_robot(number_):
    before = signal.getsignal(number_)
    robot = Cart(faults={("act", 3): lambda: os.kill(os.getpid(), number_)})
    _, _, report = drive(robot, ticks=50)
    assert report.ended == "interrupted" and robot.calls == {"observe": 5, "act": 4, "stop": 1} and report.timing.ticks == 4
    assert signal.getsignal(number_) is before


def test_a_second_signal_interrupts_a_robot_that_hangs_but_none_its_stopping():
    def hang():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second one should have interrupted")

    def stop():
        os.kill(os.getpid(), signal.SIGINT)
        finished.append(True)

    finished = []
    robot, _, report = drive(Cart(faults={("act", 1): hang, ("stop", 0): stop}), ticks=50)
    assert report.ended == "interrupted" and robot.calls["stop"] == 1 and finished == [True]


def test_a_signal_ends_the_wait_for_the_first_action():
    robot, forever = Cart(), threading.Event()

    class Silent(Numbered):
        def act(self, observation):
            os.kill(os.getpid(), signal.SIGINT)
            forever.wait(5)

    report = run(robot, Silent(), "t/cart")
    forever.set()
    assert report.ended == "interrupted" and robot.calls == {"observe": 1, "act": 0, "stop": 1}


def test_a_stop_that_fails_is_said_together_with_what_was_before_it():
    robot = Cart(faults={("stop", 0): OSError("no motor")})
    with pytest.raises(Stopped, match=r"^the robot's stop\(\) failed, so see to it yourself: OSError: no motor$"):
        drive(robot)
    robot = Cart(faults={("stop", 0): OSError("no motor"), ("observe", 2): OSError("no camera")})
    with pytest.raises(Stopped, match=r"tick 2: .*no camera; the robot's stop\(\) failed.*no motor") as stopped:
        drive(robot)
    assert robot.calls["stop"] == 1 and "no camera" in str(stopped.value.__cause__)


def test_a_stop_that_hangs_is_given_up_and_said():
    forever = threading.Event()
    robot = Cart(faults={("stop", 0): forever.wait})
    with pytest.raises(Stopped, match=r"the robot's stop\(\) failed, so see to it yourself: it did not come back within 0\.05 s"):
        run(robot, Numbered(), "t/cart", seconds=2 * PERIOD, stop_within=0.05)
    forever.set()


def test_the_first_command_is_from_what_the_robot_sees_now():
    """An agent that warms up for long begins again; one that is always as slow is refused before anything moves, unless it may be."""

    class Warming(Numbered):
        slow = 1

        def act(self, observation):
            if len(self.seen) < self.slow:
                time.sleep(3 * PERIOD)
            return super().act(observation)

    robot, agent = Cart(), Warming()
    run(robot, agent, "t/cart", seconds=3 * PERIOD)
    assert len(agent.resets) == 2 and robot.calls["observe"] == 2 + 3
    np.testing.assert_array_equal(robot.told[0], number(1))  # not the answer to its first observation
    robot, agent = Cart(), Warming()
    agent.slow = 1000
    with pytest.raises(
        Stopped, match=r"takes 0\..* s for an action, so that its first command .* more than 2 periods before: .* raise oldest"
    ):
        run(robot, agent, "t/cart")
    assert robot.told == [] and robot.calls["stop"] == 1 and robot.calls["observe"] == 5 and len(agent.resets) == 2
    robot, agent = Cart(), Warming()
    agent.slow = 3  # its warming up, and its prompt, which it reads once it has begun again
    run(robot, agent, "t/cart", seconds=3 * PERIOD)
    np.testing.assert_array_equal(robot.told[0], number(3))
    robot, agent = Cart(), Warming()
    agent.slow = 1000
    with pytest.raises(Stopped, match=r"takes 0\..* s for an action, more than the patience of .*: take a faster agent, or raise it"):
        run(robot, agent, "t/cart", patience=2 * PERIOD, oldest=20.0)
    assert robot.told == [] and robot.calls["stop"] == 1
    robot, agent = Cart(), Warming()
    agent.slow = 1000
    assert run(robot, agent, "t/cart", seconds=3 * PERIOD, oldest=20.0).ended == "time" and len(robot.told) == 3


def test_an_exit_goes_on_after_the_stop():
    robot = Cart(faults={("act", 2): SystemExit(3)})
    with pytest.raises(SystemExit):
        drive(robot)
    assert robot.calls["stop"] == 1


def test_wrong_arguments_are_refused_before_anything_moves():
    class Buttons(Cart):
        action_space = spaces.Dict(grip=spaces.Discrete(2), arm=Cart.action_space)

    class Still(Cart):
        rate = 0.0

    for robot, settings, sentence in (
        (Buttons(), {"late": "interpolate"}, r"action field grip is Discrete\(2\), without values in between: take 'hold'"),
        (Cart(), {"late": "never"}, "late is 'never'"),
        (Cart(), {"ticks": 0}, "seconds is 0"),
        (Cart(), {"ticks": math.inf}, "seconds is inf"),
        (Cart(), {"patience": 0.0}, "patience is 0.0"),
        (Still(), {}, "rate is 0.0 Hz"),
        (Cart(), {"record": Recorder("nowhere")}, None),
    ):
        agent = Numbered()
        if sentence is None:
            with pytest.raises(OpenGatoError, match="task 'cart' cannot be recorded"):
                run(robot, agent, "cart", **settings)
        else:
            with pytest.raises(OpenGatoError, match=sentence):
                drive(robot, agent, **settings)
        assert robot.calls == {"observe": 0, "act": 0, "stop": 0} and agent.seen == []
    assert isinstance(Cart(), Robot)


# ---- in real time -----------------------------------------------------------------------------------------------------------------


def test_a_slow_agent_delays_no_tick():
    """In real time and with the real thread: the agent sleeps for four periods an action."""

    class Slow(Numbered):
        def act(self, observation):
            time.sleep(4 * PERIOD)
            return super().act(observation)

    robot, agent = Cart(), Slow()
    report = run(robot, agent, "t/cart", seconds=24 * PERIOD, patience=60, oldest=60)
    # Each of its actions but the first takes at least four ticks, held or missed.
    assert report.timing.ticks + report.timing.missed == 24 and robot.calls["stop"] == 1
    assert report.timing.late >= 24 - report.timing.missed - 7
    assert not [t for t in threading.enumerate() if t.name == "opengato-thinker"]


def test_the_newest_observation_wins():
    entered, go = threading.Semaphore(0), threading.Semaphore(0)
    seen = []

    def act(observation):
        seen.append(observation)
        entered.release()
        go.acquire()
        return -observation

    thinker = Thinker(act)
    assert thinker.answer() is None
    thinker.show(1)
    entered.acquire()
    thinker.show(2)
    thinker.show(3)
    assert thinker.answer() is None
    go.release()
    assert thinker.answer(10).action == -1
    entered.acquire()
    go.release()
    assert thinker.answer(10).action == -3 and thinker.answer() is None and seen == [1, 3]
    thinker.close()


def test_the_agents_observation_is_a_copy():
    """The robot's buffer is overwritten while the agent still looks at it."""
    _, agent, _ = drive(latency=lambda n: 1.6 * PERIOD, ticks=6)
    assert len({tuple(seen) for seen in agent.seen}) == len(agent.seen) > 3


# ---- what passes -------------------------------------------------------------------------------------------------------------------


def test_members_of_a_space_pass_in_its_types():
    space = spaces.Dict(
        image=spaces.Box(0, 255, (2, 2, 3), np.uint8),
        joints=spaces.Box(-1, 1, (2,), np.float32),
        more=spaces.Tuple((spaces.Discrete(3, start=1), spaces.MultiBinary(2), spaces.MultiDiscrete([2, 5]), spaces.Text(9))),
    )
    image = np.zeros((2, 2, 3), np.uint8)
    value = {"image": image, "joints": np.array([0.5, 1.0]), "more": [np.int64(3), [True, False], [1, 4], "go"]}
    found = conform(space, value, "observation")
    assert found["joints"].dtype == np.float32 and found["more"][0] == 3 and found["more"][3] == "go"
    assert type(found["more"][0]) is int and isinstance(found["more"], tuple) and space.contains(found)
    image[:] = 1
    assert found["image"].sum() == 0


@pytest.mark.parametrize(
    ("space", "value", "sentence"),
    [
        (spaces.Discrete(3), 3, "x is 3: its space is"),
        (spaces.Discrete(3), -1, "x is -1"),
        (spaces.Discrete(3), 1.0, r"x is 1.0: give integers of shape \(\)"),
        (spaces.MultiDiscrete([2, 5]), [0, 5], "x is 5 at entry 1"),
        (spaces.MultiBinary(2), [0, 2], "x is 2 at entry 1"),
        (spaces.Box(0, 255, (1, 1, 3), np.uint8), np.full((1, 1, 3), 300), r"x is 300 at entry \(0, 0, 0\)"),
        (spaces.Box(0, 255, (1, 1, 3), np.uint8), np.zeros((1, 1, 3)), r"x is float64: give uint8 of shape \(1, 1, 3\)"),
        (spaces.Box(-np.inf, np.inf, (2,), np.float32), [0, np.inf], "x is inf at entry 1"),
        (spaces.Text(9), b"go", "x is b'go': give a text"),
        (spaces.Dict(a=spaces.Discrete(2)), {"b": 0}, "x lacks a: give a"),
        (spaces.Dict(a=spaces.Discrete(2)), 0, "x is 0: give a map of a"),
        (spaces.Dict(a=spaces.Discrete(2)), {"a": 2}, "x field a is 2"),
        (spaces.Tuple((spaces.Discrete(2),)), (0, 0), "x is a tuple of 2: give a list of 1"),
        (spaces.Tuple((spaces.Discrete(2),)), (2,), "x field 0 is 2"),
        (spaces.Box(-1, 1, (2,), np.float32), None, r"x is None: give floats of shape \(2,\)"),
    ],
)
def test_what_is_no_member_is_refused_by_name(space, value, sentence):
    with pytest.raises(OpenGatoError, match=sentence):
        conform(space, value, "x")


def test_it_imports_nothing_heavy():
    code = "import opengato.robots, opengato.robots.lerobot, opengato.client, sys\n"
    code += "assert not {'torch', 'minari', 'h5py', 'mujoco', 'aiohttp', 'pyarrow'} & set(sys.modules), 'heavy'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
