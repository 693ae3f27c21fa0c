"""Whatever the agent says, no command goes farther, faster or elsewhere than the limits allow, and what is allowed stays as it is."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from robot_helpers import PERIOD, Cart, FakeClock, Numbered, thinking

from opengato.errors import OpenGatoError
from opengato.robots import Limits, run
from opengato.robots.limits import Limiter

SPACE = spaces.Box(-5, 5, (2,), np.float32)
COMMANDS = arrays(np.float32, (20, 2), elements=st.floats(-5, 5, width=32))
SLACK = 1e-5  # of float32


class Wild(Numbered):
    """Anything inside the action space."""

    def act(self, observation):
        super().act(observation)
        return np.random.default_rng(len(self.seen)).uniform(-5, 5, 2).astype(np.float32)


def drive(limits, ticks=200, agent=None):
    clock = FakeClock()
    cart = Cart(clock)
    report = run(
        cart, agent or Wild(), "t/cart", seconds=ticks * PERIOD, clock=clock, thinker=thinking(clock, lambda n: 0.0), limits=limits
    )
    return cart, report


@given(COMMANDS, st.floats(0.1, 3), st.floats(0.1, 3), st.floats(0, 4))
def test_positions(commands, step, velocity, edge):
    """A robot that follows half of the way: the step counts from where it is, the velocity from where it was sent last."""
    rate = 4.0
    limits = Limits(step=step, velocity=velocity, low=-edge, high=edge, position=lambda seen: seen)
    limiter, here, last = Limiter(SPACE, limits, rate), np.zeros(2), np.zeros(2)
    for command in commands:
        sent = limiter(command, here)
        assert sent.dtype == np.float32 and (np.abs(sent) <= edge + SLACK).all()
        assert (np.abs(sent - here) <= step + SLACK).all() and (np.abs(sent - last) <= velocity / rate + SLACK).all()
        # As near to what was wanted as any other that is allowed.
        low = np.maximum(np.maximum(-edge, last - velocity / rate), here - step)
        high = np.minimum(np.minimum(edge, last + velocity / rate), here + step)
        np.testing.assert_allclose(sent, np.clip(command, low, high), atol=SLACK)
        assert np.array_equal(sent, command) or sum(limiter.counts.values())
        last, here = sent, here + (sent - here) / 2


@given(
    COMMANDS, st.sampled_from(["displacements", "velocities"]), st.floats(0.1, 3), st.floats(0.1, 20), st.floats(0, 3), st.floats(0.1, 4)
)
def test_displacements_and_velocities(commands, kind, step, velocity, edge, unit):
    rate = 4.0
    limits = Limits(step, velocity, -edge, edge, kind, unit, position=lambda seen: seen)
    limiter, here = Limiter(SPACE, limits, rate), np.zeros(2)
    a_second = unit * (rate if kind == "displacements" else 1.0)
    for command in commands:
        sent = limiter(command, here)
        moved = sent * a_second / rate
        assert (np.abs(moved) <= step + SLACK).all() and (np.abs(moved) * rate <= velocity + SLACK).all()
        assert (np.sign(sent) * np.sign(command) >= 0).all() and (np.abs(sent) <= np.abs(command)).all()
        here = here + moved
        assert (np.abs(here) <= edge + 20 * SLACK).all()


def test_who_is_outside_may_come_back_and_go_no_farther():
    limits = Limits(low=-1, high=1, commands="displacements", position=lambda seen: seen)
    limiter = Limiter(SPACE, limits, 10.0)
    out = np.array([3.0, -3.0])
    np.testing.assert_array_equal(limiter(np.float32([1, -1]), out), [0, 0])
    np.testing.assert_array_equal(limiter(np.float32([-1, 5]), out), [-1, 4])
    assert limiter.counts == {"workspace": 2}


def test_the_loop_holds_every_command_to_them_and_counts():
    free, report = drive(None)
    assert np.abs(free.position).max() > 3 and report.limited == {}
    held, report = drive(Limits(step=0.5, low=-1, high=1, commands="displacements", position=lambda seen: seen))
    np.testing.assert_array_less(np.abs(held.told), 0.5 + SLACK)
    np.testing.assert_array_less(np.abs(np.cumsum(held.told, 0)), 1 + SLACK)
    wanted = np.stack([Wild.act(Wild(), 0) for _ in range(1)])  # the first
    assert not np.array_equal(held.told[0], wanted[0])
    assert report.limited["step"] > 150 and report.limited["workspace"] > 10 and "velocity" not in report.limited


def test_what_is_allowed_is_sent_to_the_last_digit():
    free, _ = drive(None, 20, Numbered())
    held, report = drive(Limits(step=3.1, velocity=1e6, commands="displacements"), 20, Numbered())
    small = np.abs(np.array(free.told)).max(1) <= 3.1
    assert small.any() and not small.all()
    np.testing.assert_array_equal(np.array(held.told)[small], np.array(free.told)[small])
    assert report.limited == {"step": int((~small).sum())}


def test_arrays_of_a_nested_command_have_limits_of_their_own():
    space = spaces.Dict(arms=spaces.Tuple((SPACE, SPACE)), grip=spaces.Discrete(2))
    limiter = Limiter(space, {"arms.1": Limits(step=[1, np.inf], commands="displacements")}, 10.0)
    told = {"arms": (np.float32([4, 4]), np.float32([4, 4])), "grip": 1}
    sent = limiter(told, None)
    assert sent["grip"] == 1 and sent["arms"][0].tolist() == [4, 4] and sent["arms"][1].tolist() == [1, 4]
    with pytest.raises(OpenGatoError, match=r"field of floats in limits 'grip': known: arms\.0"):
        Limiter(space, {"grip": Limits()}, 10.0)
    with pytest.raises(OpenGatoError, match="limits are of one array, but the action space is Dict"):
        Limiter(space, Limits(), 10.0)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (Limits(step=1.0), "step of positions needs to know where the robot is: give position="),
        (Limits(velocity=1.0), "velocity of positions needs to know"),
        (Limits(low=-1, commands="velocities"), "low of velocities needs to know"),
        (Limits(step=0.0, commands="displacements"), r"step is 0\.0: give numbers above 0"),
        (Limits(velocity=[1, 2, 3], commands="displacements"), r"velocity is \[1, 2, 3\] where the command has shape \(2,\)"),
        (Limits(low=[0, 2], high=[1, 1]), r"low is \[0, 2\], above high"),
        (Limits(low=np.nan), "low is nan: give numbers"),
        (Limits(unit=-1.0), r"unit is -1\.0"),
        (Limits(commands="torques"), "commands is 'torques'"),
    ],
)
def test_limits_that_make_no_sense_are_refused_before_anything_moves(limits, sentence):
    cart = Cart()
    with pytest.raises(OpenGatoError, match=sentence):
        run(cart, Numbered(), "t/cart", seconds=1.0, limits=limits)
    assert cart.calls == {"observe": 0, "act": 0, "stop": 0}


@pytest.mark.parametrize("position", [lambda seen: seen[:1], lambda seen: [np.nan, 0], lambda seen: seen["x"]])
def test_a_position_that_is_none_stops_the_robot(position):
    with pytest.raises(OpenGatoError, match=r"the robot was stopped after .* position\(observation\)"):
        drive(Limits(step=1.0, position=position))
