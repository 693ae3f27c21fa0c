"""What is recorded is what was done, and Minari itself reads it."""

import numpy as np
import pytest
from robot_helpers import PERIOD, Cart, FakeClock, Numbered, thinking

from opengato.datasets.minari import load_minari
from opengato.errors import OpenGatoError
from opengato.robots import Recorder, Stopped, run

minari = pytest.importorskip("minari")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari.*")


class Named(Cart):
    names = {"action": ["left.pos", "right.pos"]}  # noqa: RUF012


def act(recorder, robot=None, ticks=12, **settings):
    clock, robot = FakeClock(), robot or Named(limit=0.25)
    settings = {"late": "interpolate"} | settings
    run(robot, Numbered(), "cart/push", seconds=ticks * PERIOD, clock=clock, thinker=thinking(clock, lambda n: 1.6 * PERIOD), **settings)
    return robot


def test_episodes_are_what_was_sent_and_read_back_by_minari(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    recorder = Recorder(tmp_path, source="agent-7")
    robots = [act(recorder, record=recorder)]
    folder = recorder.write("how it came")
    assert folder == tmp_path / "opengato/cart/push-v0" and recorder.episodes == [] and recorder.write() is None
    # Another session adds to it; one of its episodes ends by a fault.
    recorder = Recorder(tmp_path, source="agent-7")
    robots.append(act(recorder, record=recorder, ticks=5))
    broken = Named(limit=0.25, faults={("observe", 4): OSError("no camera")})
    with pytest.raises(Stopped):
        act(recorder, broken, record=recorder)
    robots.append(broken)
    recorder.write("and more")

    theirs, ours = minari.load_dataset("opengato/cart/push-v0"), load_minari(folder)
    assert theirs.total_episodes == len(ours) == 3
    for robot, episode, mine in zip(robots, theirs.iterate_episodes(), ours):
        # The limited commands: what the robot said that it did, not what it was told.
        np.testing.assert_array_equal(episode.actions, robot.done_)
        assert np.abs(episode.actions).max() == 0.25 < np.abs(robot.told).max()
        positions = np.cumsum([[0, 0], *robot.done_], 0)
        np.testing.assert_array_equal(episode.observations[:-1], positions[:-1])
        if robot is not broken:
            np.testing.assert_array_equal(episode.observations[-1], positions[-1])
        assert episode.truncations[-1] and not episode.terminations.any() and not episode.rewards.any()
        assert (mine.source, mine.task, mine.seed, mine.success) == ("agent-7", "cart/push", None, None)
    assert [e.info["ended"] for e in ours] == ["time", "time", "fault"] and [len(e) for e in ours] == [12, 5, 4]
    metadata = theirs.storage.metadata
    assert metadata["opengato_names"] == Named.names and metadata["opengato_rate"] == 1 / PERIOD
    assert list(metadata["opengato_commands"]) == ["how it came", "and more"]
    assert theirs.action_space == Cart.action_space and "agent-7" in metadata["description"]


def test_another_robot_source_or_rate_is_refused_before_anything_moves(tmp_path):
    class Swapped(Cart):
        names = {"action": ["right.pos", "left.pos"]}  # noqa: RUF012

    class Quick(Named):
        rate = 2 / PERIOD

    recorder = Recorder(tmp_path)
    act(recorder, record=recorder)
    with pytest.raises(OpenGatoError, match="that are not written"):
        act(recorder, Swapped(), record=recorder)
    recorder.write()
    for robot, source, sentence in (
        (Swapped(), "opengato", "its names is .*left.*, not .*right"),
        (Quick(), "opengato", r"its rate is 16\.0, not 32\.0"),
        (Named(), "expert", "its source is 'opengato', not 'expert'"),
    ):
        with pytest.raises(OpenGatoError, match=f"is another one: {sentence}.*: record into another folder"):
            act(recorder, robot, record=Recorder(tmp_path, source))
        assert robot.calls == {"observe": 0, "act": 0, "stop": 0}


def test_what_has_no_root_is_kept_in_memory():
    recorder = Recorder()
    robot = act(recorder, record=recorder)
    episode, observations = recorder.episodes[0]
    np.testing.assert_array_equal(episode.actions, robot.done_)
    assert len(observations) == len(episode) + 1 and episode.info["return"] == 0.0
    with pytest.raises(OpenGatoError, match="the recorder has no root"):
        recorder.write()
