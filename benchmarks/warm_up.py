"""How long a compiled agent warms up, at first and with its code kept on the disk, and how long its actions take then.

    python benchmarks/warm_up.py swift-tiny [--precisions float32 int8] [--out FILE]

Every row is a process of its own: with an empty folder for compiled code, and again with what the first one left there. `first act` is all
that happens before a robot would move: compiling with the true prompt and instruction, and the first action. Random weights, an arm of 39
numbers and a grid with an instruction.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from serve import ARM, GRID, draw

from opengato.checkpoint import Checkpoint
from opengato.model.config import preset
from opengato.model.gato import Gato
from opengato.policy.policy import Policy
from opengato.tokens.text import TextTokenizer

TASKS = {"made-up/arm": ARM, "made-up/grid": GRID}


def act(folder: Path, task: str, precision: str, compiled: bool) -> dict:
    """One process: load, act once, act 300 times."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    observations = [draw(TASKS[task].observation_space, rng) for _ in range(16)]
    began = time.perf_counter()
    policy = Policy.from_pretrained(folder, precision=precision, compiled=compiled)
    policy.reset(task)
    loaded = time.perf_counter()
    policy.act(observations[0])
    first, times = time.perf_counter() - loaded, []
    for number in range(300):
        started = time.perf_counter()
        policy.act(observations[number % 16])
        times.append(1000 * (time.perf_counter() - started))
    return {
        "load_s": loaded - began,
        "first_act_s": first,
        "p50_ms": float(np.percentile(times, 50)),
        "p99_ms": float(np.percentile(times, 99)),
        "most_ms": max(times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("--precisions", nargs="+", default=["float32", "int8"])
    parser.add_argument("--out", type=Path, help="JSON of all rows")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.run:
        print(json.dumps(act(Path(a.preset), a.run[0], a.run[1], a.run[2] == "compiled")))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        Checkpoint(Gato(preset(a.preset)), TextTokenizer.load(), dict(TASKS)).save(Path(folder) / "checkpoint")
        for task in TASKS:
            for precision in a.precisions:
                kept = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": f"{folder}/{task.split('/')[1]}-{precision}"}
                for way in ("plain", "compiled, first", "compiled, again"):
                    command = [sys.executable, __file__, f"{folder}/checkpoint", "--run", task, precision, way.split(",")[0]]
                    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=kept)
                    rows.append({"task": task, "precision": precision, "way": way, **json.loads(done.stdout.splitlines()[-1])})
                    r = rows[-1]
                    figures = " | ".join(f"{r[key]:.2f}" for key in ("first_act_s", "p50_ms", "p99_ms", "most_ms"))
                    print(f"| {task} | {precision} | {way} | {figures} |")
    if a.out:
        a.out.write_text(json.dumps({"preset": a.preset, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
