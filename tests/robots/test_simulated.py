"""A simulated arm in real time: Meta-World's, moved by a network."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from robot_helpers import FakeClock, thinking

from opengato import Policy
from opengato.datasets.minari import load_minari
from opengato.domains import get_task
from opengato.errors import OpenGatoError
from opengato.robots import Recorder, Scored, Simulated, run
from opengato.robots.simulated import episodes

REACH = "metaworld/reach"


@pytest.fixture(scope="module")
def arm():
    pytest.importorskip("metaworld")
    with Simulated.of_task(REACH) as robot:
        yield robot


def replay(episode):
    """The observations and rewards of the same actions in a fresh environment."""
    env = get_task(REACH).make()
    seen, rewards = [env.reset(seed=episode.seed)[0]], []
    for action in episode.actions:
        observation, reward, *_ = env.step(action)
        seen.append(observation)
        rewards.append(reward)
    env.close()
    return np.array(seen), np.array(rewards, np.float32)


def test_the_arm_runs_in_real_time_and_its_episode_is_what_it_did(arm, reach):
    arm.reset(7)
    recorder = Recorder()
    report = run(arm, Policy(reach), REACH, seconds=2, patience=60, record=recorder)
    episode, observations = recorder.episodes[0]
    assert report.ended == "time" and report.timing.ticks + report.timing.missed == 40
    assert len(episode) == report.timing.ticks > 1 and episode.seed == 7 and episode.success is report.success is False
    # However late each tick was, from the first to the last it is a whole number of periods.
    timing = report.timing
    between = (sum(timing.periods) - timing.delays[-1] + timing.delays[0]) * 20
    assert between == pytest.approx(round(between), abs=1e-6) and timing.ticks - 1 <= round(between) <= 39
    seen, rewards = replay(episode)
    np.testing.assert_array_equal(observations, seen)
    np.testing.assert_array_equal(episode.rewards, rewards)
    assert report.episode_return == pytest.approx(rewards.sum(), rel=1e-5) and np.ptp(episode.actions, 0).max() > 0
    with pytest.raises(OpenGatoError, match="is stopped: reset it first"):
        arm.act(episode.actions[0])


def test_in_time_the_loop_acts_as_the_agent_does_without_it(arm, reach):
    arm.reset(3)
    clock, recorder = FakeClock(), Recorder()
    run(arm, Policy(reach), REACH, seconds=1.5, record=recorder, clock=clock, thinker=thinking(clock, lambda n: 0.01))
    env, policy = get_task(REACH).make(), Policy(reach)
    observation, _ = env.reset(seed=3)
    policy.reset(REACH)
    for action in recorder.episodes[0][0].actions:
        expected = policy.act(observation)
        np.testing.assert_array_equal(action, expected)
        observation = env.step(expected)[0]
    env.close()


def test_a_server_can_be_the_agent_if_its_spaces_are_the_robots(arm, reach):
    pytest.importorskip("aiohttp")
    from serving_helpers import running

    from opengato import Client

    class Wide(gym.Env):
        observation_space, action_space = arm.observation_space, spaces.Box(-2, 2, (4,), np.float32)

        def reset(self, *, seed=None, options=None):
            return np.zeros(39), {}

    with running(reach) as server, Client(server.url) as agent:
        arm.reset(3)
        clock, recorder = FakeClock(), Recorder()
        run(arm, agent, REACH, seconds=0.5, record=recorder, clock=clock, thinker=thinking(clock, lambda n: 0.01))
        arm.reset(3)
        local = Recorder()
        run(arm, Policy(reach), REACH, seconds=0.5, record=local, clock=clock, thinker=thinking(clock, lambda n: 0.01))
        np.testing.assert_array_equal(recorder.episodes[0][0].actions, local.episodes[0][0].actions)
        with pytest.raises(
            OpenGatoError, match=r"action space is not the one that the server has .* low -2\.0 where the checkpoint has -1\.0"
        ):
            run(Simulated(Wide()), agent, REACH)
        with pytest.raises(OpenGatoError, match="unknown task of this server 'metaworld/reech'"):
            run(arm, agent, "metaworld/reech")
        with pytest.raises(OpenGatoError, match="action space of task 'metaworld/reach' is not the one this checkpoint"):
            run(Simulated(Wide()), Policy(reach), REACH)


class Pole:
    """Pushes towards where the pole falls."""

    def reset(self, task):
        pass

    def act(self, observation):
        return int(observation[2] + observation[3] > 0)


def test_any_gymnasium_environment_is_a_robot_and_ends_when_it_does():
    clock = FakeClock()
    with Simulated(gym.make("CartPole-v1", max_episode_steps=30), rate=50) as robot:
        assert isinstance(robot, Scored)
        recorder, settings = Recorder(), {"clock": clock, "thinker": thinking(clock, lambda n: 0.0)}
        reports = list(episodes(robot, Pole(), "gym/cartpole", 1.5, record=recorder, **settings))
        assert [r.ended for r in reports] == ["done", "done", "time"] and [r.timing.ticks for r in reports] == [30, 30, 15]
        assert [e.seed for e, _ in recorder.episodes] == [0, 1, 2] and [r.episode_return for r in reports] == [30, 30, 15]
        assert [e.info["terminated"] for e, _ in recorder.episodes] == [False] * 3 and reports[0].success is None

        class Faller(Pole):
            def act(self, observation):
                return 0

        robot.reset(0)
        report = run(robot, Faller(), "gym/cartpole", record=recorder, **settings)
        assert report.ended == "done" and recorder.episodes[-1][0].info["terminated"] is True
        with pytest.raises(OpenGatoError, match="reset it first"):
            robot.act(0)


# ---- the command ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(reach, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    reach.save(folder)
    return str(folder)


def command(*arguments):
    return [sys.executable, "-m", "opengato", "robot", *arguments]


def test_the_command_records_and_reports(arm, checkpoint, tmp_path):
    arguments = command(checkpoint, REACH, "--seconds", "1", "--patience", "60", "--record", str(tmp_path), "--json")
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["ticks"] + facts["missed"] == 20 and [e["ended"] for e in facts["episodes"]] == ["time"]
    assert facts["jitter_max_ms"] >= facts["jitter_p99_ms"] >= facts["jitter_p50_ms"] >= 0
    dataset = load_minari(facts["recorded"])
    assert [len(e) for e in dataset] == [facts["ticks"]] and dataset[0].seed == 100_000
    seen, _ = replay(dataset[0])
    np.testing.assert_array_equal(dataset[0].observations, seen[:-1])


def test_the_rate_is_that_of_the_demonstrations_unless_told_otherwise(arm, reach, tmp_path):
    replace(reach, facts={"data": {REACH: {"rate": 25.0}}}).save(tmp_path)
    for arguments, ticks, warned in (([], 25, False), (["--rate", "10"], 10, True), (["--rate", "25.5"], 26, False)):
        words = command(str(tmp_path), REACH, "--seconds", "1", "--patience", "60", "--json", *arguments)
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        facts = json.loads(done.stdout)
        assert facts["ticks"] + facts["missed"] == pytest.approx(ticks, abs=1)
        assert ("demonstrated at 25 timesteps a second" in done.stderr) == warned


def test_a_rate_of_zero_is_refused_and_not_taken_for_none(arm, checkpoint):
    done = subprocess.run(command(checkpoint, REACH, "--rate", "0"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "rate" in done.stderr


def caught(process, number):
    """Whether a process has a handler of its own for a signal."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> (number - 1) & 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
def test_sigterm_ends_the_command_with_its_report_and_recording(arm, checkpoint, tmp_path):
    arguments = command(checkpoint, REACH, "--seconds", "600", "--patience", "60", "--record", str(tmp_path))
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        # Once it catches SIGTERM, the loop has begun; then its first action needs a moment.
        while not caught(process.pid, signal.SIGTERM) and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "interrupted" in output and "Traceback" not in errors
    assert "recorded: " in output and len(load_minari(output.split("recorded: ")[1].strip())[0]) > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere", REACH], "no checkpoint"),
        (["nowhere", "metaworld/reech"], "did you mean 'metaworld/reach'"),
        (["ws://127.0.0.1:9", REACH], "cannot connect to ws://127.0.0.1:9"),
        (["ws://127.0.0.1:9", REACH, "--token-file", "nowhere"], "token file nowhere does not exist"),
    ],
)
def test_errors_are_one_sentence(arm, arguments, sentence):
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and sentence in done.stderr and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
