"""Actions a second and latency of the batched engine, against no memory and against the machine's memory bandwidth.

    python benchmarks/act.py [swift-tiny gato-79m …] [--precisions float32 bfloat16 int8] [--batches 1 4 16 64] [--seen 200] [--json]

Four embodiments, with observations of their spaces and no simulator: Meta-World (39 numbers, 4 actions), Atari (80×64, 18 buttons),
BabyAI (a grid of 147 symbols with an instruction, 7 buttons), and two cameras of 128×128 with 7 joints, all with a full memory
unless --seen says otherwise. Weights are random: they cost the same.

`floor` is what reading the bytes that one action needs would take: for every pass through the network, its weights (of the table, the rows
that are scored) and the memory's keys and values of all slots, over the bandwidth that this machine reached in the same run when it
summed a tensor of 1 GiB. `with arithmetic` is the same where a pass of many new positions and patches takes longer to multiply, at the rate
of a product of 2,048³ of the weights' dtype (int8: bfloat16), than to read. `without` is the same action when the network recomputes its
whole context for every token it chooses.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from gymnasium import spaces
from torch.utils.flop_counter import FlopCounterMode

from opengato.episode import Episode, map_leaves, stack
from opengato.mixture import Sequence
from opengato.model.batch import NewTokens, collate
from opengato.model.compiled import warming_up
from opengato.model.config import preset
from opengato.model.embedding import SetEmbedding
from opengato.model.gato import Gato
from opengato.model.precision import PackedLinear, Precision, convert
from opengato.model.pytorch_private import can_pack
from opengato.policy.engine import Engine
from opengato.tokens.encode import encode
from opengato.tokens.image import mean_positions
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.statistics import standardise
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import CONTINUOUS, IMAGE

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


def arithmetic(device: torch.device, dtype: torch.dtype) -> float:
    """Multiplications and additions a second, the best of some products of 2,048³, by PyTorch's own choice and with packed weights."""
    a, b = torch.randn(2, 2048, 2048, device=device, dtype=dtype)
    products = [lambda: a @ b, *([partial(PackedLinear(b), a)] if can_pack(b) else [])]
    best = np.inf
    with torch.inference_mode():
        for product in products * 6:
            started = now(device)
            product()
            best = min(best, now(device) - started)
    return 2 * 2048**3 / best


def work_of_patch(model: Gato) -> int:
    """Multiplications and additions for one image patch."""
    eye = model.embedding
    looking = eye.pictures.patches if isinstance(eye, SetEmbedding) else eye.patches
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        looking(torch.zeros(1, 16, 16, 3, dtype=torch.uint8, device=next(model.parameters()).device))
    return counter.get_total_flops()


def work_of_position(model: Gato, seen: int) -> float:
    """Multiplications and additions of the blocks for one new position that attends to `seen` others."""
    config = model.config
    matrices = 3 * config.width * config.feed_forward // 2 + 4 * config.width * config.heads * config.key_size
    return 2.0 * config.blocks * (matrices + (3 if config.family == "gato" else 2) * seen * config.heads * config.key_size)


def passes_of_action(engine: Engine, layout: Layout) -> list[tuple[int, int]]:
    """How many new positions and patches each pass of one action has, of all slots together."""
    counts: list[tuple[int, int]] = []
    forward = engine._forward

    def counted(new: NewTokens) -> torch.Tensor:
        counts.append((int(new.lengths.sum()), len(new.patches)))
        return forward(new)

    engine._forward = counted  # type: ignore[method-assign]
    rng = np.random.default_rng(0)
    for _ in range(2):  # the first action has none before it
        counts.clear()
        engine.act({slot: observe(layout, rng) for slot in range(len(engine.slots))})
    engine._forward = forward  # type: ignore[method-assign]
    return counts


def bytes_of_pass(model: Gato, layout: Layout, engine: Engine, seen: int) -> int:
    """What one pass must read: the matrices (of the lookup tables, the rows that are scored), and the keys and values of `seen` positions.

    The matrices of the patches only where there are images; the keys of relative distances, which are read as well, are not counted.
    """
    images = any(field.kind == IMAGE for field in layout.observation)
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    unread = [".relative.", "embedding.member."] + ([] if images else [".patches."])  # both are looked up once they were computed
    read = [
        tensor
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
        if id(tensor) not in tables and not any(part in name for part in unread)
    ]
    rows = 1024 * model.config.width * model.table.element_size()
    memory = [entries[:, :, :seen] for entries in (*engine.memory.keys, *engine.memory.values)]
    return sum(tensor.numel() * tensor.element_size() for tensor in (*read, *memory)) + rows


def acting(engine: Engine, layout: Layout, seconds: float, seen: int) -> np.ndarray:
    """The time of every step of all slots, with `seen` positions in memory."""
    rng = np.random.default_rng(0)
    slots = range(len(engine.slots))
    for slot in slots:
        engine.reset(slot, layout)
    observations = [{slot: observe(layout, rng) for slot in slots} for _ in range(8)]

    def remember() -> None:
        """A memory that holds the last `seen` positions, far from its beginning where it is full."""
        ring, full = engine.memory.ring, seen >= engine.memory.context
        positions = torch.arange(ring) + (ring if full else 0)
        engine.memory.positions[:, :ring] = positions if full else torch.where(positions < seen, positions, -1)
        for state in engine.slots:
            assert state is not None
            state.position = 2 * ring if full else seen

    times: list[float] = []
    with warming_up():  # compiled forms are made in the second
        for warm in range(4):
            remember()
            engine.act(observations[warm])
    while sum(times) < seconds or len(times) < 3:
        remember()
        started = now(engine.device)
        engine.act(observations[len(times) % 8])
        times.append(now(engine.device) - started)
    return np.array(times)


def without_memory(model: Gato, layout: Layout, engine: Engine, passes: int, seconds: float) -> float:
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
    numbers = encoded.tokens[inside & (encoded.kinds == CONTINUOUS)]
    window = Sequence(
        encoded.tokens[inside].astype(np.int64),
        encoded.kinds[inside],
        encoded.local[inside].astype(np.int64),
        positions[inside],
        np.zeros(int(inside.sum()), bool),
        np.zeros(int(inside.sum()), np.int64),
        standardise(numbers, None),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.arange(count),
        encoded.patches[:patches],
        places[:, 0],
        places[:, 1],
        1,
    )
    times = []
    with torch.inference_mode(), model.autocast():
        while sum(times) < seconds or len(times) < 2:
            started = now(engine.device)
            for _ in range(passes):
                hidden = model.hidden(collate([window], config).to(engine.device))
                model.logits(hidden[:, -1], 0, 1024)
            times.append(now(engine.device) - started)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=["swift-tiny", "gato-79m"])
    parser.add_argument("--layouts", nargs="+", choices=list(LAYOUTS), default=list(LAYOUTS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--precisions", nargs="+", choices=get_args(Precision), default=["float32"])
    parser.add_argument("--compile", action="store_true", help="run the network compiled by torch.compile")
    parser.add_argument("--seen", type=int, help="positions in memory; default: the context")
    parser.add_argument("--patches", type=int, help="a position, of swift; default: the preset's")
    parser.add_argument("--only-cached", action="store_true", help="leave out the column without memory")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    device, tokenizer, rows = torch.device(a.device), TextTokenizer.load(), []
    speed = bandwidth(device)
    rates: dict[bool, float] = {}
    for name, precision in itertools.product(a.presets, a.precisions):
        torch.manual_seed(0)
        config = preset(name)
        model = Gato(replace(config, patches_per_position=a.patches or config.patches_per_position)).eval().to(device)
        patch = work_of_patch(model)
        model = convert(model, precision, a.compile)
        rate = rates.setdefault(precision == "float32", arithmetic(device, torch.float32 if precision == "float32" else torch.bfloat16))
        seen = min(a.seen or model.config.context, model.config.context)
        for kind in a.layouts:
            layout, alone = LAYOUTS[kind], None
            for batch in a.batches:
                engine = Engine(model, tokenizer, batch)
                times = acting(engine, layout, a.seconds, seen)
                passes = passes_of_action(engine, layout)
                reading = bytes_of_pass(model, layout, engine, seen) / speed
                floor = len(passes) * reading
                least = sum(max(reading, (new * work_of_position(model, seen) + patches * patch) / rate) for new, patches in passes)
                row = {
                    "preset": name,
                    "precision": precision,
                    "layout": kind,
                    "batch": batch,
                    "actions_per_s": batch / times.mean(),
                    "p50_ms": 1000 * float(np.median(times)),
                    "p99_ms": 1000 * float(np.quantile(times, 0.99)),
                    "floor_ms": 1000 * floor,
                    "share_of_floor": floor / times.mean(),
                    "arithmetic_floor_ms": 1000 * least,
                    "share_of_arithmetic_floor": least / times.mean(),
                }
                if batch == a.batches[0]:
                    alone = row
                    if not a.only_cached and precision == a.precisions[0]:
                        row["without_ms"] = 1000 * without_memory(model, layout, engine, len(passes), min(a.seconds, 2.0))
                assert alone is not None
                row["to_first_batch"] = row["actions_per_s"] / alone["actions_per_s"]
                # What the floor itself allows: a larger batch reads the weights once, but every slot's own memory.
                row["floor_to_first_batch"] = batch / a.batches[0] * alone["floor_ms"] / row["floor_ms"]
                rows.append(row)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    if a.json:
        print(json.dumps({"device": where, "bandwidth": speed, "rows": rows}, indent=1))
        return
    print(f"{where}, {speed / 2**30:.1f} GiB/s")
    print(
        "| preset | weights | layout | batch | actions/s | p50 ms | p99 ms | floor ms | share of floor | × first batch | "
        "floor's | with arithmetic, ms | share | without memory, ms |"
    )
    print("|---" * 14 + "|")
    for r in rows:
        without = f"{r['without_ms']:.0f}" if "without_ms" in r else ""
        print(
            f"| {r['preset']} | {r['precision']} | {r['layout']} | {r['batch']} | {r['actions_per_s']:,.1f} | {r['p50_ms']:.1f} | "
            f"{r['p99_ms']:.1f} | {r['floor_ms']:.1f} | {r['share_of_floor']:.0%} | {r['to_first_batch']:.1f} | "
            f"{r['floor_to_first_batch']:.1f} | {r['arithmetic_floor_ms']:.1f} | {r['share_of_arithmetic_floor']:.0%} | {without} |"
        )


if __name__ == "__main__":
    main()
