"""What breaks a run is named, and what is left of it is whole."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

RUN = Path(__file__).with_name("run.py")


def train(folder, steps, *options):
    return subprocess.run([sys.executable, str(RUN), str(folder), str(steps), *options], capture_output=True, text=True)


def losses(folder):
    return [(row["step"], row["loss"]) for row in map(json.loads, (folder / "run" / "log.jsonl").read_text().splitlines())]


@pytest.mark.slow
def test_killed_twenty_times_at_random_moments(tmp_path):
    assert train(tmp_path / "whole", 60).returncode == 0
    rng = random.Random(0)
    for _ in range(20):
        process = subprocess.Popen([sys.executable, str(RUN), str(tmp_path / "cut"), "60", "--pause", "0.02"])
        log, before = tmp_path / "cut" / "run" / "log.jsonl", time.monotonic()
        begun = log.stat().st_mtime_ns if log.is_file() else 0
        while process.poll() is None and (not log.is_file() or log.stat().st_mtime_ns == begun) and time.monotonic() - before < 60:
            time.sleep(0.01)  # until it trains: most of its time goes into starting
        time.sleep(rng.uniform(0, 0.5))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert train(tmp_path / "cut", 60).returncode == 0
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_divergence_names_the_batch_and_keeps_the_last_state(tmp_path):
    assert train(tmp_path, 4).returncode == 0
    assert len(losses(tmp_path)) == 4
    refused = train(tmp_path, 40, "--rate", "1e30")
    assert refused.returncode != 0 and "begun with train.optimiser.learning_rate 0.022 and would go on with 1e+30" in refused.stderr
    done = train(tmp_path, 40, "--rate", "1e30", "--allow-changes")
    assert done.returncode != 0 and "the last good state is kept" in done.stderr and "bad_batch.json" in done.stderr
    bad = json.loads((tmp_path / "run" / "bad_batch.json").read_text())
    assert bad["step"] >= 4 and len(bad["sequences"]) == 4
    windows = [w for pieces in bad["sequences"].values() for w in pieces]
    assert {w["task"] for w in windows} <= {"arm/a", "grid/b"} and all(0 <= w["episode"] < 5 for w in windows)
    assert all(0 <= first <= last < 20 for first, last in (w["timesteps"] for w in windows))
    assert sorted(p.name for p in (tmp_path / "run" / "states").iterdir())


@pytest.mark.parametrize("what", ["*.distcp", "checksums.json"])
def test_a_damaged_state_is_named_the_one_before_it_taken_and_a_whole_one_written(what, tmp_path):
    assert train(tmp_path, 12, "--every", "0").returncode == 0
    states = sorted((tmp_path / "run" / "states").iterdir())
    assert [s.name for s in states] == ["step-00000011", "step-00000012"]
    damaged = next(states[1].glob(what))
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 128
    damaged.write_bytes(data)
    done = train(tmp_path, 12, "--every", "0")
    assert done.returncode == 0 and f"{damaged} is damaged" in done.stderr
    assert [step for step, _ in losses(tmp_path)] == list(range(1, 13))
    again = train(tmp_path, 13, "--every", "0")
    assert again.returncode == 0 and "damaged" not in again.stderr


def test_a_damaged_cache_is_named_and_built_anew(tmp_path):
    assert train(tmp_path, 2).returncode == 0
    root = tmp_path / "cache" / "tokens"
    (index,), (shard,) = root.glob("arm--a/*.json"), root.glob("shards/*.shard")
    _, at, dtype, shape, _ = json.loads(index.read_text())["segments"][0]["arrays"]["tokens"]
    whole = np.frombuffer(shard.read_bytes(), dtype, shape[0], at)
    os.truncate(shard, at + whole.nbytes - 1)
    done = train(tmp_path, 4)
    assert done.returncode == 0 and f"{shard} is damaged" in done.stderr
    name, at, dtype, shape, _ = json.loads(index.read_text())["segments"][0]["arrays"]["tokens"]
    np.testing.assert_array_equal(np.frombuffer((root / "shards" / name).read_bytes(), dtype, shape[0], at), whole)
