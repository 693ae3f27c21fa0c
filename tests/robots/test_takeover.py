"""Another agent takes over while the loop runs; and a robot whose pictures are old is stopped."""

import json
import threading

import numpy as np
import pytest
from robot_helpers import PERIOD, Cart, FakeClock, Numbered, number, thinking

from opengato.datasets.minari import load_minari
from opengato.errors import OpenGatoError
from opengato.robots import Recorder, Stopped, Takeover, run


class Human(Numbered):
    """Its actions are those of nobody else."""

    def act(self, observation):
        super().act(observation)
        return np.array([4, len(self.seen) / 8], np.float32)


class Handing(Cart):
    """Somebody presses a key at its n-th act: {n: name}."""

    def __init__(self, clock, takeover, keys, **settings):
        super().__init__(clock, **settings)
        self.takeover, self.keys = takeover, keys

    def act(self, action):
        if (name := self.keys.get(len(self.told))) is not None:
            self.takeover.hand_to(name)
        return super().act(action)


def drive(keys, latency=lambda n: 0.0, ticks=10, **settings):
    clock, agents = FakeClock(), {"policy": Numbered(), "human": Human()}
    takeover = Takeover(agents)
    cart = Handing(clock, takeover, keys)
    report = run(cart, takeover, "t/cart", seconds=ticks * PERIOD, clock=clock, thinker=thinking(clock, latency), **settings)
    return cart, agents, report


def test_the_human_acts_from_the_next_tick_on_and_hands_back():
    cart, agents, report = drive({3: "human", 6: "policy"}, latency=lambda n: 0.5 * PERIOD)
    told = np.array(cart.told)
    np.testing.assert_array_equal(told[:4], [number(n) for n in range(4)])
    # The tick after the key has the last command once more: the human is shown the robot then, and again after it. What the policy
    # answers to what it was shown before is not sent.
    np.testing.assert_array_equal(told[4], number(3))
    np.testing.assert_array_equal(told[5:7], [[4, 2 / 8], [4, 3 / 8]])
    np.testing.assert_array_equal(told[7], told[6])
    np.testing.assert_array_equal(told[8:], [number(5), number(6)])
    assert report.acted == {"policy": 7, "human": 3} and report.timing.late == 2
    assert agents["human"].resets == ["t/cart"] * 2 and agents["policy"].resets == ["t/cart"] * 2
    # Each is shown what the robot sees while it acts, and nothing else.
    positions = np.cumsum([[0, 0], *cart.told], 0)
    np.testing.assert_allclose(agents["human"].seen[:2], np.clip(positions[[4, 5]], -10, 10))


def test_an_agent_that_hangs_keeps_nobody_from_taking_over():
    forever = threading.Event()

    class Hanging(Numbered):
        def act(self, observation):
            if len(self.seen) == 2:
                forever.wait(20)
            return super().act(observation)

    takeover = Takeover({"policy": Hanging(), "human": Human()})
    cart = Handing(None, takeover, {4: "human"})
    report = run(cart, takeover, "t/cart", seconds=20 * PERIOD)
    forever.set()
    assert report.ended == "time" and report.acted == {"policy": 5, "human": 15}
    assert {told[0] for told in cart.told[-10:]} == {4.0}


def test_a_human_takes_over_from_an_agent_that_hangs_before_its_first_action():
    forever = threading.Event()

    class Hanging(Numbered):
        def act(self, observation):
            forever.wait(20)
            return super().act(observation)

    takeover = Takeover({"policy": Hanging(), "human": Human()})
    threading.Timer(0.2, takeover.hand_to, ["human"]).start()
    cart = Cart()
    report = run(cart, takeover, "t/cart", seconds=5 * PERIOD)
    forever.set()
    assert report.ended == "time" and report.acted == {"human": 5} and {told[0] for told in cart.told} == {4.0}


def test_an_answer_that_was_on_its_way_when_another_took_over_is_never_sent():
    """The policy takes 2.5 periods: its answer of before comes while the human acts, and after it is handed back to."""
    cart, agents, _ = drive({3: "human", 4: "policy"}, latency=lambda n: 2.5 * PERIOD, ticks=14)
    told = [tuple(command) for command in cart.told]
    # Its own answers are there at 2.5, 5 and 7.5, the last two to what it saw before tick 4, and at 10; the human's at 6.5, too late.
    assert told == [tuple(number(n)) for n in (0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3)] and len(agents["human"].seen) == 0
    assert agents["policy"].resets == ["t/cart"] * 2


def test_who_acted_is_recorded(tmp_path):
    pytest.importorskip("minari")
    recorder = Recorder(tmp_path)
    drive({3: "human", 6: "policy"}, record=recorder)
    drive({}, record=recorder)
    episodes = list(load_minari(recorder.write()))
    assert json.loads(episodes[0].info["agents"]) == [[0, "policy"], [4, "human"], [7, "policy"]]
    assert "agents" not in episodes[1].info


def test_unknown_agents_are_refused():
    with pytest.raises(OpenGatoError, match="agent to hand over to 'humans': did you mean 'human'"):
        Takeover({"policy": Numbered(), "human": Human()}).hand_to("humans")
    with pytest.raises(OpenGatoError, match="takeover has no agents"):
        Takeover({})
    assert Takeover({"policy": Numbered(), "human": Human()}, "human").acting == "human"


class Filmed(Cart):
    """A cart with two cameras, of which one stops giving new pictures at its 5th observation."""

    def __init__(self, clock):
        super().__init__(clock)
        self.frozen = None

    @property
    def ages(self):
        if self.calls["observe"] == 5:
            self.frozen = self.clock.now() - 0.01
        return {"side": 0.02, "front": 0.01 if self.frozen is None else self.clock.now() - self.frozen}


def test_a_camera_that_froze_stops_the_robot():
    clock = FakeClock()
    cart = Filmed(clock)
    settings = {"clock": clock, "thinker": thinking(clock, lambda n: 0.0)}
    with pytest.raises(Stopped, match=r"what 'front' gives is 0\.26 s old, more than stale_after, 0\.2 s: check the camera") as stopped:
        run(cart, Numbered(), "t/cart", seconds=50 * PERIOD, stale_after=0.2, **settings)
    # Four periods of a sixteenth, and the hundredth that it was old before.
    assert cart.calls == {"observe": 9, "act": 8, "stop": 1}
    frames = stopped.value.report.timing.frames
    np.testing.assert_allclose(frames, [0.02] * 5 + [0.01 + PERIOD * n for n in (1, 2, 3)])
    assert "frame " in str(stopped.value.report.timing)
    cart = Filmed(clock)
    assert run(cart, Numbered(), "t/cart", seconds=10 * PERIOD, **settings).ended == "time"
    with pytest.raises(OpenGatoError, match="stale_after is 0"):
        run(cart, Numbered(), "t/cart", stale_after=0)
