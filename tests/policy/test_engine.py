"""Acting with a cache gives what a recomputation over the same tokens gives, in mixed slots, with prompts."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from gymnasium import spaces

from opengato.checkpoint import Checkpoint
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.mixture import Sequence
from opengato.model import gato, memory
from opengato.model.attention import segment_mask
from opengato.model.batch import NewTokens, collate
from opengato.model.bfloat16 import multiplies_bfloat16
from opengato.model.compiled import warming_up
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.model.precision import Int8Linear, convert
from opengato.model.pytorch_private import check_compiler
from opengato.policy.engine import Engine
from opengato.policy.policy import Policy
from opengato.tokens.encode import encode
from opengato.tokens.image import mean_positions
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.statistics import standardise
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import CONTINUOUS, IS_TARGET

TOKENIZER = TextTokenizer.load()
CONFIGS = {
    "gato": ModelConfig("gato", 2, 2, 32, 64, 16, context=400),
    "swift": ModelConfig("swift", 2, 2, 32, 64, 16, context=200, set_width=32, patches_per_position=2, glances=2),
}
CONFIGS["seeing"] = replace(CONFIGS["swift"], sees_choices=True)
ARM = Layout(spaces.Box(-9, 9, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32))
GRID = Layout(
    spaces.Dict(
        board=spaces.MultiDiscrete(np.full((3, 2, 2), 5)),
        image=spaces.Box(0, 255, (32, 48, 3), np.uint8),
        mission=text_space(),
        pose=spaces.Discrete(4),
    ),
    spaces.MultiDiscrete([7, 7]),
)


def can_compile():
    try:
        check_compiler(torch.device("cpu"))
    except OpenGatoError:
        return False
    return True


def observe(layout, rng):
    if layout is ARM:
        return rng.normal(size=3).astype(np.float32)
    board, image = rng.integers(0, 5, (3, 2, 2)), rng.integers(0, 256, (32, 48, 3), np.uint8)
    return {"board": board, "image": image, "mission": "open the red door", "pose": int(rng.integers(4))}


def as_episode(layout, observations, actions):
    if layout is ARM:
        return Episode(np.stack(observations), np.stack(actions), np.zeros(len(actions), np.float32), "t/arm")
    nested = {
        "board": np.stack([o["board"] for o in observations]),
        "image": np.stack([o["image"] for o in observations]),
        "mission": [o["mission"] for o in observations],
        "pose": np.array([o["pose"] for o in observations]),
    }
    return Episode(nested, np.array(actions), np.zeros(len(actions), np.float32), "t/grid")


def most_likely(model, encoded):
    """Every action token's most likely value, given all tokens before it, by one uncached pass."""
    positions, starts = model.config.fold.positions(encoded.kinds, encoded.offsets)
    predicted = encoded.kinds >= IS_TARGET
    length = int(starts[-1])
    places = mean_positions(encoded.boxes)
    sequence = Sequence(
        encoded.tokens.astype(np.int64),
        encoded.kinds,
        encoded.local.astype(np.int64),
        positions,
        predicted,
        np.zeros(len(positions), np.int64),
        standardise(encoded.tokens[encoded.kinds == CONTINUOUS], None),
        np.zeros(length, np.int64),
        np.zeros(length, np.int64),
        np.arange(length),
        encoded.patches,
        places[:, 0],
        places[:, 1],
        1,
    )
    batch = collate([sequence], model.config)
    return model.hidden(batch).flatten(0, 1)[batch.target_positions], batch.targets, batch.target_index


@pytest.mark.parametrize("spare", [0, 7])  # slots without an agent
@pytest.mark.parametrize("slides", [False, True])  # whether the memory is shorter than what was seen
@pytest.mark.parametrize("family", CONFIGS)
def test_cached_actions_equal_a_banded_recomputation_in_mixed_slots_with_prompts(family, slides, spare, monkeypatch):
    torch.manual_seed(0)
    config = CONFIGS[family]
    if slides:
        config = replace(config, context=30 if family == "gato" else 8)
        monkeypatch.setattr(gato, "segment_mask", partial(segment_mask, window=config.context))
        monkeypatch.setattr(memory, "_GRAIN", 1)  # a ring that wraps
    model = Gato(config).double().eval()
    rng = np.random.default_rng(0)
    for parameter in model.parameters():  # far from uniform, so that the most likely value means something
        torch.nn.init.normal_(parameter, std=0.3)
    engine = Engine(model, TOKENIZER, 3 + spare, temperature=0.0)
    layouts = [ARM, GRID, ARM]
    demonstration = [observe(ARM, rng) for _ in range(3)], [rng.uniform(-1, 1, 2).astype(np.float32) for _ in range(3)]
    prompt = encode(ARM, as_episode(ARM, *demonstration), TOKENIZER)
    for slot, layout in enumerate(layouts):
        engine.reset(slot, layout, prompt if slot == 2 else None)
    seen, done = [[], [], []], [[], [], []]
    for step in range(9 if slides else 5):
        observations = {slot: observe(layout, rng) for slot, layout in enumerate(layouts) if slot != 1 or step % 2 == 0}
        for slot, action in engine.act(observations).items():
            assert layouts[slot].action_space.contains(action)
            seen[slot].append(observations[slot])
            done[slot].append(action)
    for slot, layout in enumerate(layouts):
        o, a = (demonstration[0] + seen[slot], demonstration[1] + done[slot]) if slot == 2 else (seen[slot], done[slot])
        hidden, targets, index = most_likely(model, encode(layout, as_episode(layout, o, a), TOKENIZER))
        low, high = (32000, 33024) if layout is ARM else (0, 7)
        best = model.logits(hidden, low, high, index).argmax(-1) + low
        skip = 6 if slot == 2 else 0
        assert best[skip:].tolist() == targets[skip:].tolist()


@pytest.mark.parametrize("context", [20, 200])
@pytest.mark.parametrize("family", ["gato", "swift"])
def test_a_long_chunk_is_the_same_as_one_position_at_a_time(family, context):
    """More new positions than the memory takes at once, in one of two slots."""
    torch.manual_seed(0)
    model = Gato(replace(CONFIGS[family], context=context)).double().eval()
    tokens = np.random.default_rng(0).integers(0, 32_000, 150)

    def new(which, begin):
        count = len(which)
        kinds, local, slot = np.zeros(count, np.uint8), np.zeros(count, np.int64), np.ones(count, np.int64)
        none = np.zeros((0, 16, 16, 3), np.uint8), np.zeros((0, 2), np.int64)
        nothing = np.zeros(0, np.float32)
        lengths, begins = np.array([0, count]), np.array([0, begin])
        return NewTokens(which, kinds, local, slot, np.arange(count), nothing, lengths, begins, *none).batch(model.config)

    with torch.inference_mode():
        whole = model.step(new(tokens, 0), model.make_memory(2))[1]
        memory = model.make_memory(2)
        single = [model.step(new(tokens[i : i + 1], i), memory, end=i + 1)[1] for i in range(len(tokens))]
    torch.testing.assert_close(torch.cat(single), whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("precision", "most"), [("bfloat16", 0.05), ("int8", 0.05)])
@pytest.mark.parametrize("family", ["gato", "swift"])
def test_fewer_bits_act_nearly_the_same(family, precision, most):
    torch.manual_seed(0)
    exact = Gato(CONFIGS[family]).eval()
    coarse = convert(deepcopy(exact), precision)
    assert any(isinstance(m, Int8Linear) for m in coarse.modules()) == (precision == "int8")
    hidden = []
    for model in (exact, coarse):
        engine, states, rng = Engine(model, TOKENIZER, 2, temperature=0.0), [], np.random.default_rng(0)
        forward = engine._forward
        engine._forward = lambda new, forward=forward, states=states: states.append(forward(new)) or states[-1]
        engine.reset(0, GRID)
        engine.reset(1, GRID)
        for _ in range(3):
            engine.act({slot: observe(GRID, rng) for slot in (0, 1)})
        hidden.append(torch.stack(states).float())
    assert engine.memory.keys[0].dtype == torch.bfloat16
    assert 0 < (hidden[1] - hidden[0]).norm() < most * hidden[0].norm()


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_packed_and_remembered_weights_compute_what_the_plain_ones_do(precision):
    """Against the products of float32 weights that are rounded in the same way."""
    torch.manual_seed(0)
    model = Gato(CONFIGS["swift"]).eval()
    tokens = torch.tensor([3, 1500, 32_000, 32_512, 33_023, 33_024])
    want = model.embedding.members(tokens)
    x, layer = torch.randn(5, 32), model.blocks[1].mlp.into
    product = x @ layer.weight.T
    convert(model, precision)
    close = {"rtol": 1e-5, "atol": 1e-5} if precision == "float32" else {"rtol": 0.05, "atol": 0.05}
    with model.autocast():
        torch.testing.assert_close(model.embedding.members(tokens).float(), want, **close)
        torch.testing.assert_close(model.blocks[1].mlp.into(x).float(), product, **close)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="no C++ compiler")
@pytest.mark.parametrize(("family", "precision"), [("gato", "float32"), ("swift", "float32"), ("swift", "int8")])
def test_compiled_models_act_the_same(family, precision):
    """Step after step, before and after the window slides, and each of two models with its own weights."""
    if precision != "float32" and not multiplies_bfloat16(torch.device("cpu")):
        pytest.skip("this processor has no products of bfloat16: compiling loops in their place takes a quarter of an hour")
    context = {"gato": 60, "swift": 6}[family]
    for seed in (0, 1):
        torch.manual_seed(seed)
        plain = Gato(replace(CONFIGS[family], context=context)).eval()
        fast = deepcopy(plain)
        states = []
        for model in (plain, fast):
            convert(model, precision, compiled=model is fast)
            engine, rng, seen = Engine(model, TOKENIZER, 2, temperature=0.0), np.random.default_rng(0), []
            forward = engine._forward
            engine._forward = lambda new, forward=forward, seen=seen: seen.append(forward(new)) or seen[-1]
            engine.reset(0, ARM)
            engine.reset(1, GRID)
            with warming_up():
                for _ in range(9):
                    engine.act({0: observe(ARM, rng), 1: observe(GRID, rng)})
            states.append(torch.stack(seen).float())
        assert fast.step._fast
        assert fast.logits._fast
        close = 1e-4 if precision == "float32" else 0.05
        assert (states[1] - states[0]).norm() < close * states[0].norm()


def act_in_turns(engines, layout, before_second=lambda: None):
    """The same observations for some slots of both engines, whose actions must be the same."""
    rng = np.random.default_rng(0)
    for engine in engines:
        for slot in range(4):
            engine.reset(slot, layout)
    for step, busy in enumerate([(0, 1, 2, 3), (0, 2), (1, 3), (2,), (0, 1, 2)]):
        if step == 1:
            before_second()
        seen = {slot: observe(layout, rng) for slot in busy}
        want, found = (engine.act(seen) for engine in engines)
        for slot in busy:
            np.testing.assert_allclose(found[slot], want[slot], atol=0.02)


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("layout", [ARM, GRID], ids=["arm", "grid"])
def test_slots_that_are_filled_up_change_nothing(family, layout):
    """As many slots as are compiled for are computed, however few are busy; the others keep their memory."""
    torch.manual_seed(0)
    model = Gato(CONFIGS[family]).eval()
    engines = [Engine(model, TOKENIZER, 4, temperature=0.0) for _ in range(2)]
    engines[1].expect(layout, 4)
    act_in_turns(engines, layout)
    assert (engines[0].memory.positions == engines[1].memory.positions).all()


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="no C++ compiler")
def test_an_engine_is_warm_where_another_one_of_its_model_was():
    """Any of the slots act on what was compiled for all of them, and nothing is compiled once something is at work."""
    torch.manual_seed(0)
    plain = Gato(CONFIGS["swift"]).eval()
    fast = convert(deepcopy(plain), "float32", compiled=True)
    engines = [Engine(model, TOKENIZER, 4, temperature=0.0) for model in (plain, fast)]
    shapes, compiled = [], {}

    def warm_up():
        assert not fast.step._fast  # acting alone compiles nothing
        rng = np.random.default_rng(1)
        prompt = encode(ARM, as_episode(ARM, [observe(ARM, rng)], [ARM.action_space.sample()]), TOKENIZER)
        Engine(fast, TOKENIZER, 4).warm_up(ARM, observe(ARM, rng), prompt, count=4)
        engines[1].expect(ARM, 4)
        compiled.update({key: Counted(form) for key, form in fast.step._fast.items()})
        fast.step._fast.update(compiled)
        shapes.append((len(fast.step._fast), len(fast.logits._fast)))

    act_in_turns(engines, ARM, warm_up)
    assert shapes == [(len(fast.step._fast), len(fast.logits._fast))] and min(shapes[0]) > 0
    assert sum(form.calls for form in compiled.values()) == 4


class Counted:
    def __init__(self, form):
        self.form, self.calls = form, 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.form(*arguments)


def test_an_unknown_precision_is_refused():
    with pytest.raises(OpenGatoError, match="did you mean 'int8'"):
        convert(Gato(CONFIGS["swift"]), "int4")


def test_what_a_slot_samples_does_not_depend_on_the_slots_beside_it():
    torch.manual_seed(0)
    model = Gato(CONFIGS["swift"]).eval()
    hand = Layout(spaces.Discrete(3), spaces.Dict(a=spaces.MultiDiscrete([3, 4]), b=spaces.Box(-1, 1, (1,)), c=spaces.Discrete(3)))
    rng = np.random.default_rng(0)
    alone, mixed = Engine(model, TOKENIZER, 1, temperature=1.0), Engine(model, TOKENIZER, 3, temperature=1.0)
    alone.reset(0, hand, seed=5)
    mixed.reset(0, ARM, seed=1)  # its ids are of other ranges and come first
    mixed.reset(1, hand, seed=5)
    mixed.reset(2, GRID, seed=2, temperature=0.5)  # another temperature
    for step in range(4):
        one = alone.act({0: step % 3})[0]
        two = mixed.act({0: observe(ARM, rng), 1: step % 3, 2: observe(GRID, rng)})[1]
        assert one["a"].tolist() == two["a"].tolist() and one["c"] == two["c"]
        np.testing.assert_allclose(one["b"], two["b"])


def test_a_checkpoint_carries_all_it_needs(tmp_path):
    torch.manual_seed(0)
    model = Gato(CONFIGS["swift"]).eval()
    grid = Layout(GRID.observation_space, spaces.Discrete(7))
    layouts = {"t/arm": ARM, "t/grid": grid, "talk/c": Layout(text_space(), text_space())}
    rng = np.random.default_rng(1)
    prompt = encode(grid, as_episode(grid, [observe(grid, rng)] * 2, [1, 2]), TOKENIZER)
    starts = {"t/arm": np.array([3, 2**63 + 1], np.uint64)}
    Checkpoint(model, TOKENIZER, layouts, {"t/grid": prompt}, starts=starts).save(tmp_path)
    files = {"config.json", "model.safetensors", "tokenizer.model", "prompts.safetensors", "starts.safetensors"}
    assert {p.name for p in tmp_path.iterdir()} == files
    np.testing.assert_array_equal(Checkpoint.load(tmp_path).starts["t/arm"], starts["t/arm"])
    one, two = Policy(Checkpoint(model, TOKENIZER, layouts, {"t/grid": prompt})), Policy.from_pretrained(tmp_path)
    for task in ("t/grid", "t/arm", "talk/c"):
        one.reset(task)
        two.reset(task)
        observation = "hello" if task == "talk/c" else observe(layouts[task], rng)
        np.testing.assert_array_equal(one.act(observation), two.act(observation))
    with pytest.raises(OpenGatoError, match=r"did you mean 't/grid'"):
        two.reset("t/gird")
    with pytest.raises(OpenGatoError, match=r"the space has n 9 where the checkpoint has 7"):
        two.reset("t/grid", action_space=spaces.Discrete(9))
    with pytest.raises(OpenGatoError, match="no checkpoint"):
        Policy.from_pretrained(tmp_path / "none")
