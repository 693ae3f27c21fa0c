"""Steps a second and core of rollouts by domain, beside the simulator alone and the network alone.

    python benchmarks/rollouts.py CHECKPOINT [--tasks babyai/pickup-loc …] [--episodes 50] [--json FILE]

One process, one thread. The simulator alone takes random actions, with its resets; the network alone acts upon one observation, again and
again, in as many slots as a rollout has. What the two together take is the floor of a rollout. Actions differ, and with them the lengths of
episodes: where a reset is dear and a random episode ends late, the simulator alone is too quick a floor.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from opengato.domains import get_task
from opengato.evaluation.agent import load_agent, make_actor
from opengato.evaluation.rollout import BATCH, rollout

TASKS = ("babyai/pickup-loc", "metaworld/reach", "dm-control/cartpole-balance", "atari/freeway")


def simulator_alone(task, steps):
    env = task.make()
    env.action_space.seed(0)
    env.reset(seed=0)
    started = time.perf_counter()
    for seed in range(1, steps + 1):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset(seed=seed)
    spent = time.perf_counter() - started
    env.close()
    return steps / spent


def network_alone(agent, task, slots, passes=200):
    env = task.make()
    observation, _ = env.reset(seed=0)
    env.close()
    actor = make_actor(agent, task, slots)
    for slot in range(slots):
        actor.reset(slot, slot)
    actor.plan(dict.fromkeys(range(slots), observation), 1)  # reads the prompt
    started = time.perf_counter()
    for _ in range(passes):
        actor.plan(dict.fromkeys(range(slots), observation), 1)
    return passes * slots / (time.perf_counter() - started)


def measure(agent, task, episodes):
    started = time.perf_counter()
    done = rollout(agent, task, episodes)
    spent = time.perf_counter() - started
    steps = sum(r.length for r in done)
    simulator, network = simulator_alone(task, 2_000), network_alone(agent, task, min(BATCH, episodes))
    floor = 1 / (1 / simulator + 1 / network)
    return {"task": task.id, "episodes": episodes, "steps": steps, "rollout": steps / spent, "simulator": simulator, "network": network} | {
        "share_of_floor": steps / spent / floor
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    torch.set_num_threads(1)
    agent = load_agent(a.checkpoint)
    rows = []
    print("| task | steps/s | simulator alone | network alone | share of the floor |\n|---|---|---|---|---|")
    for name in a.tasks:
        row = measure(agent, get_task(name), a.episodes)
        rows.append(row)
        print(
            f"| {name} | {row['rollout']:,.0f} | {row['simulator']:,.0f} | {row['network']:,.0f} | {row['share_of_floor']:.0%} |",
            flush=True,
        )
    if a.json:
        a.json.write_text(json.dumps({"episodes": a.episodes, "batch": BATCH, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
