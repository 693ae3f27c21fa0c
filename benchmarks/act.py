"""Actions a second and latency of the batched engine, against no memory and against the machine's memory bandwidth.

    python benchmarks/act.py [swift-tiny gato-79m …] [--batches 1 4 16 64] [--seconds 5] [--json]

Four embodiments, with observations of their spaces and no simulator: Meta-World (39 numbers, 4 actions), Atari (80×64, 18 buttons),
BabyAI (a grid of 147 symbols with an instruction, 7 buttons), and two cameras of 128×128 with 7 joints, all with a full memory. Weights are
random: they cost the same.

`floor` is what reading the bytes that one action needs would take: for every pass through the network, its weights (of the table, the rows
that are scored) and the memory's keys and values of all slots, over the bandwidth that this machine reached in the same run when it
summed a tensor of 1 GiB. `without` is the same action when the network recomputes its whole context for every token it chooses.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from opengato.episode import Episode, map_leaves, stack
from opengato.mixture import Sequence
from opengato.model.batch import collate
from opengato.model.config import preset
from opengato.model.gato import Gato
from opengato.policy.engine import Engine
from opengato.tokens.encode import encode
from opengato.tokens.image import mean_positions
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import IMAGE

CAMERA = spaces.Box(0, 255, (128, 128, 3), np.uint8)
LAYOUTS = {
    "metaworld": Layout(spaces.Box(-np.inf, np.inf, (39,)), spaces.Box(-1, 1, (4,))),
    "atari": Layout(spaces.Box(0, 255, (80, 64, 3), np.uint8), spaces.Discrete(18)),
    "babyai": Layout(spaces.Dict(image=spaces.MultiDiscrete(np.full((7, 7, 3), 11)), mission=text_space()), spaces.Discrete(7)),
    "cameras": Layout(spaces.Dict(front=CAMERA, wrist=CAMERA, joints=spaces.Box(-4, 4, (7,))), spaces.Box(-1, 1, (7,))),
}


def observe(layout: Layout, rng: np.random.Generator) -> Any:
    """An observation of the layout's space."""

    def sample(space: spaces.Space) -> Any:
        if isinstance(space, spaces.Dict):
            return {name: sample(inner) for name, inner in space.items()}
        if isinstance(space, spaces.MultiDiscrete):
            return rng.integers(0, space.nvec)
        if isinstance(space, spaces.Text):
            return "go to the red ball"
        if space.dtype == np.uint8:
            return rng.integers(0, 256, space.shape, np.uint8)
        return np.clip(rng.normal(size=space.shape), -1, 1).astype(space.dtype)

    return sample(layout.observation_space)


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def bandwidth(device: torch.device) -> float:
    """Bytes a second, the best of five sums of 1 GiB."""
    values = torch.ones(2**28, device=device)
    values.sum()
    best = np.inf
    for _ in range(5):
        started = now(device)
        values.sum()
        best = min(best, now(device) - started)
    return 2**30 / best


def passes(model: Gato, layout: Layout) -> int:
    """How often the network runs for one action."""
    return sum(field.count for field in layout.action) if model.config.reads_actions else 1


def bytes_of_pass(model: Gato, engine: Engine) -> int:
    """Weights and memory that one pass reads."""
    weights = sum(p.numel() * p.element_size() for name, p in model.named_parameters() if name != "embedding.tokens.weight")
    rows = 1024 * model.config.width * model.embedding.tokens.weight.element_size()
    return weights + rows + 2 * engine.memory.keys.numel() * engine.memory.keys.element_size()


def acting(engine: Engine, layout: Layout, seconds: float) -> np.ndarray:
    """The time of every step of all slots, with a full memory."""
    rng = np.random.default_rng(0)
    slots = range(len(engine.slots))
    for slot in slots:
        engine.reset(slot, layout)
    observations = [{slot: observe(layout, rng) for slot in slots} for _ in range(8)]
    engine.memory.positions[:] = torch.arange(engine.memory.context) - engine.memory.context  # all entries are there …
    engine.memory.positions += 2 * engine.memory.context
    for state in engine.slots:
        assert state is not None
        state.position = 2 * engine.memory.context  # … and seen
    times: list[float] = []
    for warm in range(3):
        engine.act(observations[warm])
    while sum(times) < seconds or len(times) < 5:
        started = now(engine.device)
        engine.act(observations[len(times) % 8])
        times.append(now(engine.device) - started)
    return np.array(times)


def without_memory(model: Gato, layout: Layout, engine: Engine, seconds: float) -> float:
    """Seconds an action of one slot that recomputes `context` positions for every token."""
    config, rng = model.config, np.random.default_rng(0)
    count = config.context
    seen = stack([observe(layout, rng) for _ in range(count)])
    done = stack([map_leaves(np.asarray, layout.action_space.sample()) for _ in range(count)])
    encoded = encode(layout, Episode(seen, done, np.zeros(count, np.float32), "benchmark"), engine.tokenizer)
    positions, _ = config.fold.positions(encoded.kinds, encoded.offsets)
    inside = positions < count
    patches = int((encoded.kinds[inside] == IMAGE).sum())
    places = mean_positions(encoded.boxes[:patches])
    window = Sequence(
        encoded.tokens[inside].astype(np.int64),
        encoded.kinds[inside],
        encoded.local[inside].astype(np.int64),
        positions[inside],
        np.zeros(int(inside.sum()), bool),
        np.zeros(count, np.int64),
        np.arange(count),
        encoded.patches[:patches],
        places[:, 0],
        places[:, 1],
        0,
        1,
    )
    times = []
    with torch.inference_mode():
        while sum(times) < seconds or len(times) < 2:
            started = now(engine.device)
            for _ in range(passes(model, layout)):
                hidden = model.hidden(collate([window], config.reads_actions).to(engine.device))
                model.logits(hidden[:, -1], 0, 1024)
            times.append(now(engine.device) - started)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=["swift-tiny", "gato-79m"])
    parser.add_argument("--layouts", nargs="+", choices=list(LAYOUTS), default=list(LAYOUTS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    device, tokenizer, rows = torch.device(a.device), TextTokenizer.load(), []
    speed = bandwidth(device)
    for name in a.presets:
        torch.manual_seed(0)
        model = Gato(preset(name)).eval().to(device)
        for kind in a.layouts:
            layout, alone = LAYOUTS[kind], None
            for batch in a.batches:
                engine = Engine(model, tokenizer, batch)
                times = acting(engine, layout, a.seconds)
                floor = passes(model, layout) * bytes_of_pass(model, engine) / speed
                row = {
                    "preset": name,
                    "layout": kind,
                    "batch": batch,
                    "actions_per_s": batch / times.mean(),
                    "p50_ms": 1000 * float(np.median(times)),
                    "p99_ms": 1000 * float(np.quantile(times, 0.99)),
                    "floor_ms": 1000 * floor,
                    "share_of_floor": floor / times.mean(),
                }
                if batch == a.batches[0]:
                    alone = row
                    row["without_ms"] = 1000 * without_memory(model, layout, engine, min(a.seconds, 2.0))
                assert alone is not None
                row["to_first_batch"] = row["actions_per_s"] / alone["actions_per_s"]
                rows.append(row)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    if a.json:
        print(json.dumps({"device": where, "bandwidth": speed, "rows": rows}, indent=1))
        return
    print(f"{where}, {speed / 2**30:.1f} GiB/s")
    print("| preset | layout | batch | actions/s | p50 ms | p99 ms | floor ms | share of floor | × first batch | without memory, ms |")
    print("|---" * 10 + "|")
    for r in rows:
        without = f"{r['without_ms']:.0f}" if "without_ms" in r else ""
        print(
            f"| {r['preset']} | {r['layout']} | {r['batch']} | {r['actions_per_s']:,.1f} | {r['p50_ms']:.1f} | {r['p99_ms']:.1f} | "
            f"{r['floor_ms']:.1f} | {r['share_of_floor']:.0%} | {r['to_first_batch']:.1f} | {without} |"
        )


if __name__ == "__main__":
    main()
