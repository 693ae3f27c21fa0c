"""ViZDoom: stated spaces, seeds that decide, scripts that play well, and no game that outlives its Python."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from opengato.collection import record_episode
from opengato.domains import get_task
from opengato.domains.vizdoom import SCENARIOS

pytest.importorskip("vizdoom")


@pytest.mark.parametrize("name", SCENARIOS)
def test_spaces_and_seeds(name):
    task = get_task(f"vizdoom/{name}")
    env = task.make()
    try:
        assert env.action_space == task.action_space and env.observation_space == task.observation_space
        traces = []
        for seed in (5, 5, 6):
            observation, _ = env.reset(seed=seed)
            start, trace = task.start(env), [observation]
            env.action_space.seed(1)
            for _ in range(6):
                observation, reward, *_ = env.step(env.action_space.sample())
                assert observation in task.observation_space and type(reward) is float
                trace.append(observation)
            traces.append((np.stack(trace), start))
        np.testing.assert_array_equal(traces[0][0], traces[1][0])
        assert all(np.array_equal(traces[0][1][key], traces[1][1][key]) for key in traces[0][1])
        assert any(not np.array_equal(traces[0][1][key], traces[2][1][key]) for key in traces[0][1])
    finally:
        env.close()


@pytest.mark.parametrize(("name", "least"), [("basic", 60), ("predict-position", 0.3), ("my-way-home", 0.9)])
def test_scripts_play_well(name, least):
    task = get_task(f"vizdoom/{name}")
    env = task.make()
    assert np.mean([record_episode(task, env, task.make_expert(), seed)[0].episode_return for seed in range(3)]) > least
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("defend-the-center", 15), ("deadly-corridor", 600), ("deathmatch", 8)])
def test_scripts_shoot_well(name, least):
    task = get_task(f"vizdoom/{name}")
    env = task.make()
    assert np.mean([record_episode(task, env, task.make_expert(), seed)[0].episode_return for seed in range(3)]) > least
    env.close()


# ---- processes ------------------------------------------------------------------------------------------------------------------


def games_below(parent: int) -> set[int]:
    """The processes of games among a process's descendants, by what Linux says of each."""
    parents, games = {}, set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            name = os.readlink(folder / "exe")
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
        if name.endswith("/vizdoom/vizdoom"):
            games.add(int(folder.name))
    below, found = {parent}, set()
    while found != below:
        found = set(below)
        below |= {process for process, its in parents.items() if its in below}
    return games & below


def wait_until(true, seconds=60):
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.1)
    return true()


def is_alive(process):
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


PLAY = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
from opengato.domains import make
envs = [make("vizdoom/basic") for _ in range(2)]
for env in envs:
    env.reset(seed=0)
print("playing", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's /proc")
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_game_outlives_its_python(ending):
    python = subprocess.Popen([sys.executable, "-c", PLAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert python.stdout.readline() == b"playing\n"
        games = games_below(python.pid)
        assert len(games) == 2 and all(map(is_alive, games))
        python.send_signal(ending)
        python.wait(60)
        assert wait_until(lambda: not any(map(is_alive, games)))
    finally:
        python.kill()
        python.communicate()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's /proc")
@pytest.mark.parametrize("interrupted", [False, True])
def test_collecting_leaves_no_game_behind(tmp_path, interrupted):
    episodes = "2000" if interrupted else "2"
    command = [sys.executable, "-m", "opengato", "collect", "vizdoom/basic", "--episodes", episodes, "--workers", "1"]
    environment = {**os.environ, "MINARI_DATASETS_PATH": str(tmp_path)}
    collecting = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it, and so would this one
    )
    games: set[int] = set()
    try:

        def seen():
            games.update(games_below(collecting.pid))
            return games or collecting.poll() is not None

        assert wait_until(seen, 120) and games
        if interrupted:
            os.killpg(collecting.pid, signal.SIGINT)  # as Ctrl-C does
        collecting.wait(120)
        assert (collecting.returncode == 0) == (not interrupted)
        assert wait_until(lambda: not any(map(is_alive, games)))
    finally:
        collecting.kill()
        collecting.wait()


# ---- maps to explore ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["explore-e1m1", "explore-map01"])
def test_exploring_is_worth_the_squares_entered(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    task = get_task(f"vizdoom/{name}")
    env, expert = task.make(), task.make_expert()
    assert env.action_space == task.action_space
    (first, start), (again, same) = (((env.reset(seed=seed)[0]), task.start(env)) for seed in (3, 3))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(start["places"], same["places"])
    observation, total = again, 0.0
    expert.reset(env, observation, 3)
    for _ in range(60):
        observation, reward, *_ = env.step(expert.act(observation))
        total += reward
    assert total == len(env.entered) - 1 and total >= 4
    env.close()
    assert not list(tmp_path.iterdir())  # ViZDoom's folders and settings are kept elsewhere


def test_there_are_as_many_maps_as_freedoom_has():
    """Read from the lumps of its two files, which begin with the maps' names."""
    import vizdoom

    from opengato.domains.vizdoom.explore import MAPS

    for world in ("freedoom1", "freedoom2"):
        content = Path(vizdoom.install_path, f"{world}.wad").read_bytes()
        count, at = (int.from_bytes(content[i : i + 4], "little") for i in (4, 8))
        names = {content[at + 16 * i + 8 : at + 16 * i + 16].rstrip(b"\0").decode() for i in range(count)}
        levels = {level for its, level in MAPS.values() if its == world}
        assert levels <= names and {name for name in names if name.startswith("MAP") or (len(name) == 4 and name[::2] == "EM")} == levels
