"""What is collected is what happened, whatever interrupts it: read back with Minari itself, and compared with plain rollouts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

minari = pytest.importorskip("minari")
sys.path.insert(0, str(Path(__file__).parent))

import collect_tasks  # noqa: E402
from collect_tasks import WORDS, cartpole, make_cartpole, talk  # noqa: E402

from opengato.collection import collect, load_episode, pack_episode, record_episode, save_episode  # noqa: E402
from opengato.datasets.minari import load_minari, recorded_seeds  # noqa: E402
from opengato.domains import get_task  # noqa: E402
from opengato.domains.starts import evaluation_seeds, start_of  # noqa: E402
from opengato.domains.task import Task  # noqa: E402
from opengato.episode import Episode, leaves  # noqa: E402
from opengato.errors import OpenGatoError  # noqa: E402


def same(a: Any, b: Any) -> bool:
    left, right = dict(leaves(a)), dict(leaves(b))
    assert left.keys() == right.keys()
    for path in left:
        if isinstance(left[path], list | str):
            assert list(left[path]) == list(right[path]), path
        else:
            assert np.asarray(left[path]).dtype == np.asarray(right[path]).dtype, path
            np.testing.assert_array_equal(left[path], right[path], err_msg=path)
    return True


def assert_same_dataset(one: Path, other: Path, seeds: Sequence[int]) -> None:
    a, b = (load_minari("opengato/test/cartpole-v0", root) for root in (one, other))
    assert [e.seed for e in a] == [e.seed for e in b] == list(seeds)
    for left, right in zip(a, b):
        assert same(left.observations, right.observations) and same(left.actions, right.actions) and left.info == right.info


def with_final(episode: Episode, final: Any) -> dict[str, Any]:
    """path -> T + 1 observations."""
    tail = dict(leaves(final))
    return {
        p: [*leaf, tail[p]] if isinstance(leaf, list) else np.append(leaf, tail[p][None], 0) for p, leaf in leaves(episode.observations)
    }


def official(root: Path, task: Task, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root.absolute()))
    return minari.load_dataset(f"opengato/{task.id}-v0")


def fresh(task: Task, seed: int, noise: float = 0.0) -> tuple[Episode, Any]:
    assert task.make_expert is not None
    return record_episode(task, task.make(), task.make_expert(), seed, noise)


@pytest.mark.parametrize("task", [cartpole(), talk(), talk(nul=True)], ids=lambda t: t.id)
def test_minari_reads_what_was_recorded(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert collect([task], 6, Path("data"), workers=2, progress=False) == [f"opengato/{task.id}-v0"]  # a relative folder
    dataset = official(Path("data"), task, monkeypatch)
    assert dataset.total_episodes == 6
    assert not dataset.storage.jpeg_encoding
    assert dataset.action_space == task.action_space
    for seed, episode in enumerate(dataset.iterate_episodes()):
        wanted, final = fresh(task, seed)
        same(dict(leaves(episode.observations)), with_final(wanted, final))
        same(episode.actions, wanted.actions)
        np.testing.assert_array_equal(episode.rewards, wanted.rewards)
        ends = episode.terminations | episode.truncations
        assert ends[-1] and not ends[:-1].any() and episode.terminations[-1] == wanted.info["terminated"]
    for seed, episode in enumerate(load_minari(f"opengato/{task.id}-v0", Path("data"))):
        wanted, _ = fresh(task, seed)
        assert same(episode.observations, wanted.observations) and same(episode.actions, wanted.actions)
        assert (episode.seed, episode.success, episode.task, episode.source) == (seed, wanted.success, task.id, "expert")
        assert episode.info["return"] == wanted.episode_return
    assert not list(Path("data").rglob("*.npz"))


def test_staged_text_is_any_unicode(tmp_path: Path) -> None:
    task = talk(nul=True)
    words = [*WORDS, "\0", "x\0\0", "\u2028 \U0010ffff", ""]
    steps = len(words) - 1
    where = (np.arange(steps), np.zeros((steps, 2, 3, 3), np.uint8))
    episode = Episode(
        {"said": words[:-1], "where": where, "a": np.zeros((steps, 2), np.int64)},
        {"answer": words[1:], "push": np.zeros((steps, 2), np.float32)},
        np.zeros(steps, np.float32),
        task.id,
    )
    final = {"said": words[-1], "where": (np.int64(1), np.ones((2, 3, 3), np.uint8)), "a": np.array([1, 2])}
    save_episode(tmp_path / "e.npz", pack_episode(episode, final))
    back, observations = load_episode(tmp_path / "e.npz", task)
    assert same(back.observations, episode.observations) and same(back.actions, episode.actions)
    assert observations["said"] == words and observations["where"][0][-1] == 1


def test_no_episode_depends_on_where_it_ran(tmp_path: Path) -> None:
    """Extending, other numbers of workers and other orders give the same episodes."""
    tasks = [cartpole(), talk()]
    collect(tasks, 8, tmp_path / "one", workers=1, noise=0.2, progress=False)
    collect([tasks[1]], 3, tmp_path / "two", workers=2, noise=0.2, progress=False)
    collect(tasks[::-1], {"test/cartpole": 8, "test/talk": 8}, tmp_path / "two", workers=2, noise=0.2, progress=False)
    for task in tasks:
        one, two = (load_minari(f"opengato/{task.id}-v0", tmp_path / n) for n in ("one", "two"))
        assert len(one) == len(two) == 8
        for a, b in zip(one, two):
            assert same(a.observations, b.observations) and same(a.actions, b.actions) and a.seed == b.seed and a.info == b.info


def test_noise_is_the_share_it_says_and_advice_is_recorded() -> None:
    task, env = cartpole(), make_cartpole(400)
    assert task.make_expert is not None
    expert = task.make_expert()
    episodes = [record_episode(task, env, expert, seed, 0.05)[0] for seed in range(200)]
    clean, noisy = episodes[::2], episodes[1::2]
    assert all(e.info["noise"] == 0 for e in clean)
    for episode in episodes:
        advice = [expert.act(o) for o in episode.observations]
        np.testing.assert_array_equal(episode.actions, advice)
    # Episodes are cut short when the pole falls; the share within the noisy ones is twice that of all.
    steps = sum(map(len, noisy))
    assert sum(e.info["noise"] * len(e) for e in noisy) / steps == pytest.approx(0.10, abs=0.015)


def test_what_is_recorded_is_what_a_simulator_that_clips_was_given(tmp_path: Path) -> None:
    collect([collect_tasks.overshooting()], 1, tmp_path, workers=1, progress=False)
    (episode,) = load_minari("opengato/test/overshooting-v0", tmp_path)
    assert episode.actions.dtype == np.float32 and set(np.unique(episode.actions)) == {np.float32(-2), np.float32(2)}


def test_failing_experts_are_replaced_by_the_next_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collect([cartpole(fails=(0, 2, 5))], 4, tmp_path, workers=2, progress=False)
    data = load_minari("opengato/test/cartpole-v0", tmp_path)
    assert [e.seed for e in data] == [1, 3, 4, 6]
    assert "3 seeds gave no episode, the first 0: RuntimeError('no plan for 0')" in capsys.readouterr().err
    for episode in data:
        assert episode.seed is not None
        assert same(episode.observations, fresh(cartpole(), episode.seed)[0].observations)


def test_hanging_experts_are_given_up(tmp_path: Path) -> None:
    with pytest.raises(OpenGatoError, match=r"no episode of 'test/slow'.*longer than 0.2 s"):
        collect([cartpole(60, name="slow")], 1, tmp_path, workers=1, timeout_s=0.2, progress=False)


def test_time_budgets_leave_one_episode_each(tmp_path: Path) -> None:
    tasks = [cartpole(0.3, name="a"), cartpole(0.3, name="b")]
    collect(tasks, 30, tmp_path / "whole", workers=1, time_budget_s=0.0, progress=False)
    collect(tasks, 30, tmp_path / "each", workers=1, time_budget_s={"test/a": 0.1, "test/b": 6.0}, progress=False)
    assert [len(load_minari(f"opengato/test/{n}-v0", tmp_path / "whole")) for n in "ab"] == [1, 1]
    assert len(load_minari("opengato/test/a-v0", tmp_path / "each")) < 10
    assert 10 < len(load_minari("opengato/test/b-v0", tmp_path / "each")) <= 30


@pytest.mark.slow
def test_simulators_that_are_slow_to_make_are_not_made_for_every_episode(tmp_path: Path) -> None:
    log = tmp_path / "made"
    both = [collect_tasks.slow_to_make(name, log) for name in ("one", "other")]
    collect(both, 12, tmp_path / "data", workers=1, progress=False)
    assert len(log.read_text().splitlines()) <= 2 * 3  # 24 if each episode's job makes its own


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OpenGatoError, match=r"noise is 0.7 .*choose"):
        collect([cartpole()], 1, tmp_path, noise=0.7)
    with pytest.raises(OpenGatoError, match="episodes is 0"):
        collect([cartpole()], 0, tmp_path)
    from gymnasium import spaces

    wrong = cartpole(space=spaces.Box(-1, 1, (5,), np.float32))
    with pytest.raises(OpenGatoError, match=r"observation has shape \(4,\) where its space has \(5,\)"):
        collect([wrong], 1, tmp_path, workers=1, progress=False)
    with pytest.raises(OpenGatoError, match="there is no Minari dataset 'nothing-v0'"):
        load_minari("nothing-v0", tmp_path)


SCRIPT = """
import signal
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from collect_tasks import cartpole
from opengato.collection import collect
from opengato.errors import OpenGatoError
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where the tests run in the background
    try:
        collect([cartpole({seconds})], {episodes}, Path({out!r}), workers=2, noise=0.2, progress=False)
    except OpenGatoError as error:
        sys.exit("error: " + str(error))
"""


def start(folder: Path, out: Path, seconds: float, episodes: int, before: str = "") -> subprocess.Popen[str]:
    script = folder / "run.py"
    script.write_text(before + SCRIPT.format(here=str(Path(__file__).parent), seconds=seconds, episodes=episodes, out=str(out)))
    return subprocess.Popen([sys.executable, str(script)], text=True, stderr=subprocess.PIPE, start_new_session=True)


def wait_for_episodes(out: Path, count: int) -> list[Path]:
    for _ in range(600):
        found = list(out.rglob("*.npz"))
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError("nothing was recorded")


def workers_of(session: int) -> set[int]:
    """Processes of a session, by /proc."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:4]
        except OSError:
            continue
        if int(its_session) == session and state != "Z":
            found.add(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_collection_goes_on_to_the_same_dataset(how: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "data"
    process = start(tmp_path, out, 0.25, 12)
    staged = wait_for_episodes(out, 4)
    times = {path: path.stat().st_mtime_ns for path in staged}
    os.kill(process.pid, how)
    assert process.wait(10) != 0
    for _ in range(100):  # its workers end with it
        if not workers_of(process.pid):
            break
        time.sleep(0.1)
    assert not workers_of(process.pid)
    assert all(path.stat().st_mtime_ns == at for path, at in times.items())  # nothing finished is lost, or recorded twice
    assert start(tmp_path, out, 0.0, 12).wait(60) == 0
    collect([cartpole()], 12, tmp_path / "whole", workers=1, noise=0.2, progress=False)
    assert_same_dataset(out, tmp_path / "whole", range(12))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_killed_worker_costs_nothing(tmp_path: Path) -> None:
    out = tmp_path / "data"
    process = start(tmp_path, out, 0.25, 12)
    staged = wait_for_episodes(out, 2)
    times = {path: path.stat().st_mtime_ns for path in staged}
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in workers_of(process.pid)}
    with pytest.raises(OpenGatoError, match=f"another process is recording '{cartpole().id}' into {out}"):
        collect([cartpole()], 12, out, workers=1, noise=0.2, progress=False)
    os.kill(next(pid for pid, command in commands.items() if b"spawn_main" in command), signal.SIGKILL)
    assert all(path.stat().st_mtime_ns == at for path, at in times.items())
    _, error = process.communicate(timeout=60)
    assert process.returncode == 0 and not error
    collect([cartpole()], 12, tmp_path / "whole", workers=1, noise=0.2, progress=False)
    assert_same_dataset(out, tmp_path / "whole", range(12))


# Ends a process without warning just before its k-th rename or removal of a folder: that which writes, at both attempts, or the main one.
KILL_AT = """
import os, shutil
left = [{k}]
def dying(function):
    def call(*arguments, **keywords):
        if "partial" not in str(arguments[0]):
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
        return function(*arguments, **keywords)
    return call
os.replace, shutil.rmtree, shutil.copytree = dying(os.replace), dying(shutil.rmtree), dying(shutil.copytree)
"""


@pytest.mark.slow
def test_kill_at_every_moment_of_an_extension(tmp_path: Path) -> None:
    collect([cartpole()], 3, tmp_path / "start", workers=1, noise=0.2, progress=False)
    finished = False
    for k in range(20):
        out = tmp_path / f"kill-{k}"
        shutil.copytree(tmp_path / "start", out)
        # The last step may be a whole run: then every moment was tried.
        status = start(tmp_path, out, 0.0, 5, KILL_AT.format(k=k)).wait(60)
        assert status in (0, 1, 9)
        assert len(recorded_seeds(out / "opengato/test/cartpole-v0")) in (3, 5)
        collect([cartpole()], 5, out, workers=1, noise=0.2, progress=False)
        assert [e.seed for e in load_minari("opengato/test/cartpole-v0", out)] == list(range(5))
        if status == 0:
            finished = True
            break
    assert finished and k > 3


@pytest.mark.parametrize(
    ("episodes", "sentence", "kept"),
    # Small files take more than their size, so that what was thought to fit may not.
    [(40, "is full: free some space", 6), (200, "episodes still to be recorded need about 0.0 GB, and the disk of", 1)],
)
def test_full_disk_is_one_sentence(episodes: int, sentence: str, kept: int, tmp_path: Path) -> None:
    """On a file system of 96 KB, in a mount namespace of its own."""
    mount = ["unshare", "-rm", "sh", "-c"]
    small = tmp_path / "small"
    small.mkdir()
    if not shutil.which("unshare") or subprocess.run([*mount, f"mount -t tmpfs -o size=96k tmpfs {small}"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent), seconds=0.0, episodes=episodes, out=str(small / "data")))
    command = f"mount -t tmpfs -o size=96k tmpfs {small} && {sys.executable} {script}; find {small} -name '*.npz' | wc -l"
    done = subprocess.run([*mount, command], capture_output=True, text=True, timeout=120)
    assert sentence in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert int(done.stdout) >= kept


def test_what_is_recorded_is_what_was_seen_whoever_writes_into_it_later() -> None:
    """By an expert that writes into its observation, of a simulator that gives the same array at every step."""
    episode, final = fresh(collect_tasks.scribbled(), 3)
    env = make_cartpole()
    seen = [env.reset(seed=3)[0], *(env.step(action)[0] for action in episode.actions)]
    np.testing.assert_array_equal([*episode.observations, final], seen)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["babyai/go-to-local", "metaworld/drawer-open", "dm-control/reacher-easy"])
def test_domains_record_the_same_in_used_and_fresh_environments(name: str) -> None:
    task = get_task(name)
    if not task.available:
        pytest.skip(f"{task.requires} is not installed")
    assert task.make_expert is not None
    env, expert = task.make(), task.make_expert()
    record_episode(task, env, expert, 7, 0.2)
    used, alone = record_episode(task, env, expert, 3, 0.2)[0], fresh(task, 3, 0.2)[0]
    assert same(used.observations, alone.observations) and same(used.actions, alone.actions)
    assert json.dumps(used.info) == json.dumps(alone.info)


def test_references_are_plain_means_whatever_the_workers(tmp_path: Path) -> None:
    from opengato.references import Counts, measure, write_references

    task, env = cartpole(), make_cartpole()
    random, expert = [], []
    assert task.make_expert is not None
    for seed in range(10_000, 10_007):
        for returns, agent in ((random, None), (expert, task.make_expert())):
            observation, _ = env.reset(seed=seed)
            env.action_space.seed(seed)
            total, over = 0.0, False
            while not over:
                observation, reward, terminated, truncated, _ = env.step(agent.act(observation) if agent else env.action_space.sample())
                total, over = total + float(reward), terminated or truncated
            returns.append(total)
    found = []
    for n in (1, 2):
        ((_, reference),) = measure([task], Counts(7, 5), workers=n)
        found.append(reference)
    assert found[0] == found[1]
    assert (found[0].random, found[0].expert, found[0].n_random, found[0].n_expert) == (np.mean(random), np.mean(expert[:5]), 7, 5)
    table = tmp_path / "references.json"
    table.write_text('{"z/kept": {"random": 1}}')
    write_references([task], table, Counts(7, 5), workers=1)
    assert list(json.loads(table.read_text())) == ["test/cartpole", "z/kept"]
    stored = json.loads(table.read_text())["test/cartpole"]
    assert stored["command"] == "opengato reference test/cartpole --episodes 7 --expert-episodes 5"
    assert (stored["random_returns"], stored["expert_returns"]) == (random, expert[:5])


# ---- starts ---------------------------------------------------------------------------------------------------------------------


def test_starts_of_evaluation_are_never_recorded_whatever_the_seeds(tmp_path: Path) -> None:
    task = get_task("babyai/open-red-door")
    if not task.available:
        pytest.skip(task.extra)
    env = task.make()
    evaluated = {start_of(task, env, env.reset(seed=seed)[0]) for seed in evaluation_seeds(task, 40)}
    for seed in (0, 100_000):
        collect([task], 25, tmp_path / str(seed), workers=1, seed=seed, progress=False)
        episodes = list(load_minari("opengato/babyai/open-red-door-v0", tmp_path / str(seed)))
        starts = {e.seed: start_of(task, env, env.reset(seed=e.seed)[0]) for e in episodes}
        assert len(episodes) == 25 and not evaluated & set(starts.values())
        assert [e.info["start"] for e in episodes] == [f"{starts[e.seed]:016x}" for e in episodes]
        assert set(starts) < set(range(seed, max(starts) + 1))  # some were passed over, and the next taken


def test_seeds_of_evaluation_are_passed_over_where_starts_are_many(tmp_path: Path) -> None:
    collect([cartpole()], 4, tmp_path, workers=1, seed=99_998, progress=False)
    assert recorded_seeds(tmp_path / "opengato/test/cartpole-v0") == [99_998, 99_999, 200_000, 200_001]


def test_where_starts_are_few_more_episodes_come_after_those_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seeds that were passed over are in a row then, and more than are passed over before a task is given up."""
    monkeypatch.setattr(sys.modules["opengato.collection.collect"], "_MOST_PASSED", 5)
    task = collect_tasks.of_few_starts()
    for root, counts in (("at once", [60]), ("in two", [40, 60])):
        for count in counts:
            collect([task], count, tmp_path / root, workers=1, progress=False)
    once, twice = (recorded_seeds(tmp_path / root / "opengato/test/few-v0") for root in ("at once", "in two"))
    assert len(once) == 60 and once == twice
    assert len(set(range(once[39])) - set(once)) > 6


def test_what_cannot_be_recorded_in_full_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(
        sys.modules["opengato.collection.collect"], "_MOST_PASSED", 0
    )  # at the first start of evaluation there is none left
    collect([collect_tasks.of_few_starts()], 20, tmp_path, workers=1, progress=False)
    found = len(recorded_seeds(tmp_path / "opengato/test/few-v0"))
    assert (
        0 < found < 20 and f"test/few: {found} of 20 episodes: every start that is left is kept for evaluation" in capsys.readouterr().err
    )


def test_task_all_of_whose_starts_are_kept_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OpenGatoError, match="every start is kept for evaluation"):
        collect([collect_tasks.always_the_same()], 2, tmp_path, workers=1, progress=False)
