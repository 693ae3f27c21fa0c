"""How evenly a simulated arm's commands leave, with an agent that is in time, and with one that is not.

    python benchmarks/robot.py [CHECKPOINT_OR_PRESET] [--rate 20] [--seconds 30] [--slow 0.08] [--server] [--json]

Meta-World's arm in real time, one step of its physics a tick. With a preset's name (swift-tiny) the weights are random, which costs as
much, and actions are sampled, so that they change. Rows: `rest` sends a constant action, which shows what the loop and the simulator
alone do; `agent` is the network in a thread of the same process, or with --server behind a server process on the same machine;
`slow` is the network with a sleep in front of every action, with both ways to be late. `step` is the mean way, of the action's entry that
goes farthest, from one command to the next: what a motor feels.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opengato.checkpoint import Checkpoint
from opengato.client import Client
from opengato.domains import get_task
from opengato.model.config import preset
from opengato.model.gato import Gato
from opengato.policy.policy import Policy
from opengato.robots import Recorder, Simulated
from opengato.robots.simulated import episodes
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer


class Rest:
    """The middle of the action space, at once."""

    def __init__(self, robot: Simulated):
        self._action = np.zeros(robot.action_space.shape, robot.action_space.dtype)

    def reset(self, task: str) -> None:
        """Nothing to begin."""

    def act(self, observation: Any) -> np.ndarray:
        return self._action


class Slow:
    """Another agent, after a sleep."""

    def __init__(self, agent: Any, seconds: float):
        self._agent, self._seconds = agent, seconds

    def reset(self, task: str) -> None:
        self._agent.reset(task)

    def act(self, observation: Any) -> Any:
        time.sleep(self._seconds)
        return self._agent.act(observation)


def measure(name: str, robot: Simulated, agent: Any, task: str, seconds: float, late: str = "hold") -> dict[str, Any]:
    robot.reset(0)
    recorder = Recorder()
    reports = list(episodes(robot, agent, task, seconds, late=late, patience=5.0, record=recorder))
    timing = sum((r.timing for r in reports[1:]), reports[0].timing)
    steps = np.concatenate([np.abs(np.diff(episode.actions, axis=0)).max(1) for episode, _ in recorder.episodes])
    return {"agent": name, "late_is": late, **timing.summary(), "step_mean": float(steps.mean()), "step_max": float(steps.max())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="swift-tiny", help="a checkpoint folder or a preset's name")
    parser.add_argument("--task", default="metaworld/reach")
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=30.0, help="of every row")
    parser.add_argument("--slow", type=float, default=0.08, help="seconds that the slow agent sleeps")
    parser.add_argument("--threads", type=int, default=None, help="of the network, in this process")
    parser.add_argument("--server", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    task = get_task(arguments.task)
    with tempfile.TemporaryDirectory() as temporary, Simulated.of_task(task.id, arguments.rate) as robot:
        folder, temperature = Path(arguments.checkpoint), 0.0
        if not folder.is_dir():
            folder = Path(temporary)
            torch.manual_seed(0)
            temperature = 1.0
            Checkpoint(
                Gato(preset(arguments.checkpoint)), TextTokenizer.load(), {task.id: Layout(task.observation_space, task.action_space)}
            ).save(folder)
        server = None
        if arguments.server:
            serve = [sys.executable, "-m", "opengato", "serve", str(folder), "--port", "0", "--temperature", str(temperature)]
            server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
            assert server.stdout is not None
            port = int(re.findall(r":(\d+)", server.stdout.readline())[0])
        try:
            agent = Client(f"ws://127.0.0.1:{port}") if server else Policy.from_pretrained(folder, temperature=temperature)
            name = "server" if server else "agent"
            rows = [
                measure("rest", robot, Rest(robot), task.id, arguments.seconds),
                measure(name, robot, agent, task.id, arguments.seconds),
                measure("slow", robot, Slow(agent, arguments.slow), task.id, arguments.seconds, "hold"),
                measure("slow", robot, Slow(agent, arguments.slow), task.id, arguments.seconds, "interpolate"),
            ]
        finally:
            if server:
                server.terminate()
                server.wait()
    if arguments.json:
        print(json.dumps({"checkpoint": arguments.checkpoint, "threads": torch.get_num_threads(), "rows": rows}, indent=1))
        return
    print("| agent | late is | ticks | late | missed | held, Hz | jitter p50, ms | p99 | max | agent p50, ms | p99 | age p50, ms | step |")
    print("|---" * 13 + "|")
    for r in rows:
        jitter = " | ".join(f"{r[f'jitter_{q}_ms']:.2f}" for q in ("p50", "p99", "max"))
        print(
            f"| {r['agent']} | {r['late_is']} | {r['ticks']} | {r['late']} | {r['missed']} | {r['held_rate']:.3f} | {jitter} | "
            f"{r['inference_p50_ms']:.1f} | {r['inference_p99_ms']:.1f} | {r['age_p50_ms']:.0f} | {r['step_mean']:.2f} |"
        )


if __name__ == "__main__":
    main()
