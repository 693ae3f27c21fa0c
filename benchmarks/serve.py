"""How many clients one server serves, how fast, and whether any of them starves.

    python benchmarks/serve.py CHECKPOINT_OR_PRESET [--clients 64] [--seconds 60] [--tasks babyai/go-to-local …] [--json]
    python benchmarks/serve.py CHECKPOINT_OR_PRESET --hostile [--seconds 60] [--json]
    python benchmarks/serve.py CHECKPOINT_OR_PRESET --compiled [--clients 4] [--seconds 120] [--json]

A server process and one process of clients, which share the machine's cores. Every client is a session of its own: it sends an observation
drawn from its task's space, waits for the action, and sends the next at once. The tasks take turns over the clients; by default all control
tasks. With a preset's name the weights are random, which costs as much, and the tasks are an arm (39 numbers, 4 actions) and a grid
(7 × 7 × 3 symbols and an instruction, 7 actions).

With --hostile, one good client acts at 20 Hz, alone for half of the time, then while `hostile.py` attacks from 32 connections, out of a
process that has as much right to the machine's cores as the server; the server may open 256 files.

With --compiled, so many clients act at 20 Hz on the first task, at a server that compiles nothing and then at one that does, with nothing
compiled on the disk; their times are shown by tenths of the run, so that those while it compiles stand beside those before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from websockets.asyncio.client import connect

from opengato.checkpoint import Checkpoint, read_config
from opengato.model.config import preset
from opengato.model.gato import Gato
from opengato.serving import wire
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import from_json, text_space
from opengato.tokens.text import TextTokenizer

ARM = Layout(spaces.Box(-np.inf, np.inf, (39,), np.float32), spaces.Box(-1, 1, (4,), np.float32))
GRID = Layout(spaces.Dict(image=spaces.MultiDiscrete(np.full((7, 7, 3), 11)), mission=text_space()), spaces.Discrete(7))
DRAWN = 32  # observations of each client, taken in turns


def draw(space: spaces.Space, rng: np.random.Generator) -> Any:
    """A member of a space; an unbounded number is a normal one, a text a short instruction."""
    if isinstance(space, spaces.Dict):
        return {key: draw(sub, rng) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return [draw(sub, rng) for sub in space.spaces]
    if isinstance(space, spaces.Text):
        return "go to the red ball"
    if isinstance(space, spaces.Box) and space.dtype.kind == "f":
        return rng.normal(size=space.shape).clip(space.low, space.high).astype(space.dtype)
    space.seed(int(rng.integers(2**31)))
    return space.sample()


async def client(url: str, task: str, space: spaces.Space, number: int, ready: asyncio.Barrier, until: list[float]) -> list[float]:
    """Seconds from every request to its answer."""
    rng = np.random.default_rng(number)
    frames = [wire.pack({"opengato": "act", "observation": draw(space, rng)}) for _ in range(DRAWN)]
    async with connect(url, compression=None, max_size=None, proxy=None) as socket:
        await socket.recv()
        await socket.send(wire.pack({"opengato": "reset", "task": task}))
        await socket.recv()
        waits: list[float] = []
        for warm in (True, False):
            await ready.wait()
            while warm or time.perf_counter() < until[0]:
                sent = time.perf_counter()
                await socket.send(frames[len(waits) % DRAWN])
                answer = await socket.recv()
                if isinstance(answer, str):
                    raise RuntimeError(f"{task}: {answer}")
                if warm:
                    break
                waits.append(time.perf_counter() - sent)
    return waits


async def load(url: str, tasks: dict[str, spaces.Space], clients: int, seconds: float) -> tuple[list[list[float]], float]:
    names, until = sorted(tasks), [0.0]
    started = [0.0]

    async def begin(ready: asyncio.Barrier) -> None:
        await ready.wait()
        started[0] = time.perf_counter()
        until[0] = started[0] + seconds
        await ready.wait()

    ready = asyncio.Barrier(clients + 1)
    everyone = [client(url, names[i % len(names)], tasks[names[i % len(names)]], i, ready, until) for i in range(clients)]
    *waits, _ = await asyncio.gather(*everyone, begin(ready))
    return waits, time.perf_counter() - started[0]


def measure(folder: Path, clients: int, seconds: float, wanted: list[str], device: str) -> dict[str, Any]:
    config = read_config(folder)
    tasks = {task: from_json(s["observation_space"]) for task, s in config["tasks"].items() if s["action_space"]["type"] != "Text"}
    if wanted:
        tasks = {task: tasks[task] for task in wanted}
    arguments = ["--port", "0", "--sessions", str(clients), "--chats", "0", "--rate", "1e9", "--device", device]
    with subprocess.Popen(
        [sys.executable, "-m", "opengato", "serve", str(folder), *arguments], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(re.findall(r":(\d+)", server.stdout.readline())[0])
        try:
            waits, took = asyncio.run(load(f"ws://127.0.0.1:{port}", tasks, clients, seconds))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                metrics = {k: float(v) for k, v in re.findall(r"^(opengato_batch\S+) (\S+)$", answer.read().decode(), re.M)}
        finally:
            server.terminate()
    everything = np.concatenate([np.array(w) for w in waits]) * 1000
    buckets = {k.split('"')[1]: v for k, v in metrics.items() if k.startswith("opengato_batch_size_bucket")}
    counts = np.diff([0, *buckets.values()]).astype(int).tolist()
    return {
        "clients": clients,
        "seconds": round(took, 2),
        "tasks": sorted(tasks),
        "requests": len(everything),
        "requests_per_s": len(everything) / took,
        "p50_ms": float(np.percentile(everything, 50)),
        "p99_ms": float(np.percentile(everything, 99)),
        "fewest": min(map(len, waits)),
        "most": max(map(len, waits)),
        "batch_mean": metrics["opengato_batch_size_sum"] / metrics["opengato_batch_size_count"],
        "batch_ms": 1000 * metrics["opengato_batch_seconds_sum"] / metrics["opengato_batch_seconds_count"],
        "batches_up_to": {edge: n for edge, n in zip(buckets, counts) if n},
    }


async def good(url: str, token: str, task: str, space: spaces.Space, seconds: float) -> list[float]:
    """Milliseconds from every request to its answer, of a client that sends one every 50 ms, or as soon as it has its answer."""
    rng = np.random.default_rng(0)
    frames = [wire.pack({"opengato": "act", "observation": draw(space, rng)}) for _ in range(DRAWN)]
    headers, waits = {"Authorization": f"Bearer {token}"} if token else {}, []
    async with connect(url, additional_headers=headers, compression=None, max_size=None, proxy=None, ping_timeout=None) as socket:
        await socket.recv()
        await socket.send(wire.pack({"opengato": "reset", "task": task}))
        await socket.recv()
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            sent = time.perf_counter()
            await socket.send(frames[len(waits) % DRAWN])
            answer = await socket.recv()
            if isinstance(answer, str):
                raise RuntimeError(f"{task}: {answer}")
            waits.append((time.perf_counter() - sent) * 1000)
            await asyncio.sleep(max(0.0, 0.05 - (time.perf_counter() - sent)))
    return waits[10:]


def while_compiling(folder: Path, clients: int, seconds: float, device: str) -> dict[str, Any]:
    """p50 and p99, in ms, of all clients' waits in each tenth of the run, at a plain server and at one that compiles."""
    tasks = {t: s for t, s in read_config(folder)["tasks"].items() if s["action_space"]["type"] != "Text"}
    task = min(tasks)
    space, result = from_json(tasks[task]["observation_space"]), {"task": task, "clients": clients, "seconds": seconds}
    for way in ("plain", "compiled"):
        with tempfile.TemporaryDirectory() as kept:
            command = [
                sys.executable,
                "-m",
                "opengato",
                "serve",
                str(folder),
                "--port",
                "0",
                "--device",
                device,
                "--sessions",
                str(clients),
            ]
            command += ["--compiled"] if way == "compiled" else []
            environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": kept}
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
                assert server.stdout is not None
                port = re.findall(r":(\d+)", server.stdout.readline())[0]

                async def everyone(url: str = f"ws://127.0.0.1:{port}") -> list[list[float]]:
                    return await asyncio.gather(*[good(url, "", task, space, seconds) for _ in range(clients)])

                try:
                    waits = asyncio.run(everyone())
                finally:
                    server.terminate()
        tenths = [np.concatenate([np.array_split(np.array(own), 10)[n] for own in waits]) for n in range(10)]
        result[way] = {name: [round(float(np.percentile(part, q)), 2) for part in tenths] for name, q in (("p50_ms", 50), ("p99_ms", 99))}
    return result


def resident(pid: int, field: str) -> float:
    """MB of a process: VmRSS now, VmHWM at most so far."""
    return int(re.findall(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)[0]) / 1000


def refusals(port: int, token: str) -> dict[str, int]:
    """Kind -> how many times the server has refused something."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request) as answer:
        counts = re.findall(r'^opengato_errors_total\{kind="(\w+)"\} (\S+)$', answer.read().decode(), re.M)
    return {kind: int(float(count)) for kind, count in counts if float(count)}


def hostile(folder: Path, seconds: float, device: str) -> dict[str, Any]:
    """The good client alone and under attack, what the server's memory and log grow by, and how long it takes to stop."""
    tasks = {t: s for t, s in read_config(folder)["tasks"].items() if s["action_space"]["type"] != "Text"}
    task, token = min(tasks), secrets.token_hex(16)
    space = from_json(tasks[task]["observation_space"])
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "token").write_text(token)
        log = Path(temporary) / "log"
        arguments = ["--port", "0", "--idle", "10", "--device", device, "--token-file", f"{temporary}/token"]
        command = "ulimit -n 256; exec " + shlex.join([sys.executable, "-m", "opengato", "serve", str(folder), *arguments])
        with open(log, "w") as errors:
            server = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, stderr=errors, text=True)
        attacker = None
        try:
            assert server.stdout is not None
            port = int(re.findall(r":(\d+)", server.stdout.readline())[0])
            url = f"ws://127.0.0.1:{port}"
            alone = asyncio.run(good(url, token, task, space, seconds / 2))
            before = resident(server.pid, "VmRSS")
            began = time.monotonic()
            attacker = subprocess.Popen([sys.executable, str(Path(__file__).with_name("hostile.py")), str(port), token, task])
            until = time.monotonic() + 60
            while not refusals(port, token) and time.monotonic() < until:  # it has to start, too
                time.sleep(0.5)
            time.sleep(3)
            attacked = asyncio.run(good(url, token, task, space, seconds / 2))
            grown = resident(server.pid, "VmHWM") - before
            refused = refusals(port, token)
            stopping, under = time.perf_counter(), time.monotonic() - began
            server.terminate()
            server.wait(60)
            stopped = time.perf_counter() - stopping
        finally:
            for process in filter(None, (attacker, server)):
                process.kill()
                process.wait()
        records = [line for line in log.read_text().splitlines() if re.match("(WARNING|ERROR|CRITICAL) ", line)]
    return {
        "task": task,
        "alone_p50_ms": float(np.percentile(alone, 50)),
        "alone_p99_ms": float(np.percentile(alone, 99)),
        "attacked_p50_ms": float(np.percentile(attacked, 50)),
        "attacked_p99_ms": float(np.percentile(attacked, 99)),
        "requests_alone_and_attacked": [len(alone), len(attacked)],
        "memory_grown_mb": grown,
        "log_records_per_s": len(records) / under,
        "shutdown_s": stopped,
        "exit_status": server.returncode,
        "refused": refused,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint folder or a preset's name")
    parser.add_argument("--clients", type=int, nargs="+", default=[64])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--tasks", nargs="*", default=[])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.checkpoint)
        if not folder.is_dir():
            folder = Path(temporary)
            network = Gato(preset(arguments.checkpoint))
            Checkpoint(network, TextTokenizer.load(), {"made-up/arm": ARM, "made-up/grid": GRID}).save(folder)
        if arguments.hostile:
            result = hostile(folder, arguments.seconds, arguments.device)
            print(json.dumps(result, indent=1) if arguments.json else "\n".join(f"{key:28} {value}" for key, value in result.items()))
            return
        if arguments.compiled:
            result = while_compiling(folder, arguments.clients[0], arguments.seconds, arguments.device)
            print(json.dumps(result, indent=None if arguments.json else 1))
            return
        rows = [measure(folder, n, arguments.seconds, arguments.tasks, arguments.device) for n in arguments.clients]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    columns = {"clients": 8, "requests/s": 12, "p50 ms": 9, "p99 ms": 9, "fewest": 8, "most": 8, "batch": 8, "batch ms": 10}
    print("".join(f"{name:>{width}}" for name, width in columns.items()) + "  batches up to size")
    for r in rows:
        sizes = " ".join(f"{edge}:{n}" for edge, n in r["batches_up_to"].items())
        print(
            f"{r['clients']:8}{r['requests_per_s']:12.1f}{r['p50_ms']:9.1f}{r['p99_ms']:9.1f}{r['fewest']:8}{r['most']:8}"
            f"{r['batch_mean']:8.1f}{r['batch_ms']:10.1f}  {sizes}"
        )


if __name__ == "__main__":
    main()
