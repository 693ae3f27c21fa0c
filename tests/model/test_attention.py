"""Both attentions against naive float64 implementations written here, and the cached form against a banded recomputation."""

import math

import pytest
import torch

from opengato.model import attention
from opengato.model import memory as memory_module
from opengato.model.attention import RelativeAttention, RotaryAttention, segment_blocks, segment_mask
from opengato.model.memory import Memory

WIDTH, HEADS, KEY = 16, 2, 6


def make(kind, seed=0):
    torch.manual_seed(seed)
    module = {"relative": RelativeAttention, "rotary": RotaryAttention}[kind](WIDTH, HEADS, KEY).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def rotate(vector, position):
    half = len(vector) // 2
    out = vector.clone()
    for i in range(half):
        angle = position * 10_000.0 ** (-i / half)
        a, b = vector[i], vector[half + i]
        out[i] = a * math.cos(angle) - b * math.sin(angle)
        out[half + i] = a * math.sin(angle) + b * math.cos(angle)
    return out


def naive(kind, module, x, visible, position):
    """Attention with explicit loops; visible(i, j) says whether i sees j; x (L, width), position a list."""
    length = len(x)
    q, k, v = (part.view(length, HEADS, KEY) for part in (x @ module.qkv.weight.T).chunk(3, -1))
    out = torch.zeros(length, HEADS, KEY, dtype=x.dtype)
    for h in range(HEADS):
        for i in range(length):
            scores = []
            for j in range(length):
                if not visible(i, j):
                    scores.append(torch.tensor(-math.inf, dtype=x.dtype))
                elif kind == "rotary":

                    def normed(vector, weight):
                        return vector / torch.sqrt((vector**2).mean() + 1e-6) * weight

                    a = rotate(normed(q[i, h], module.query_norm.weight), position[i])
                    b = rotate(normed(k[j, h], module.key_norm.weight), position[j])
                    scores.append(a @ b / math.sqrt(KEY))
                else:
                    distance = position[i] - position[j]
                    frequency = [10_000.0 ** (-2 * n / WIDTH) for n in range(WIDTH // 2)]
                    encoding = torch.tensor(
                        [math.sin(distance * f) for f in frequency] + [math.cos(distance * f) for f in frequency], dtype=x.dtype
                    )
                    r = (module.relative.weight @ encoding).view(HEADS, KEY)[h]
                    # the four terms of Dai et al. 2019: content, content-position, and the two biases
                    scores.append((q[i, h] @ k[j, h] + q[i, h] @ r + module.u[h, 0] @ k[j, h] + module.v[h, 0] @ r) / math.sqrt(KEY))
            weights = torch.softmax(torch.stack(scores), 0)
            out[i, h] = sum(weights[j] * v[j, h] for j in range(length))
    return out.reshape(length, -1) @ module.out.weight.T


@pytest.fixture(params=["chunked", "fused"])
def path(request, monkeypatch):
    """Both ways to compute: what a CPU uses, in chunks that do not divide the length, and what other devices use."""
    monkeypatch.setattr(attention, "CPU_CHUNK", 4)
    if request.param == "fused":
        monkeypatch.setattr(attention, "_attend_chunked", attention._attend_fused)


SEGMENTS = [[0, 0, 0, 1, 1, 1, 1, 2, -1], [5, 5, 5, 5, 5, 5, 5, -1, -1]]
INSIDE = [[0, 1, 2, 0, 1, 2, 3, 0, 0], [0, 1, 2, 3, 4, 5, 6, 0, 1]]


def sees(segment, window, i, j):
    """The rule of segment_mask for one pair, in words."""
    if segment[i] == -1:
        return i == j
    return j <= i and segment[i] == segment[j] and (window is None or i - j < window)


@pytest.mark.parametrize("window", [None, 1, 3, 9])
def test_mask_is_causal_inside_a_segment_and_a_window(window):
    mask = segment_mask(torch.tensor(SEGMENTS), window=window)
    assert mask.shape == (2, 1, 9, 9) and mask.dtype == torch.bool
    for row, segment in enumerate(SEGMENTS):
        assert mask[row, 0].tolist() == [[sees(segment, window, i, j) for j in range(9)] for i in range(9)]


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", ["relative", "rotary"])
@pytest.mark.parametrize("window", [None, 3])
def test_packed_segments_against_loops(kind, window):
    module = make(kind)
    x = torch.randn(2, 9, WIDTH, dtype=torch.float64)
    got = module(x, segment_mask(torch.tensor(SEGMENTS), window=window), torch.tensor(INSIDE))
    for row, (segment, inside) in enumerate(zip(SEGMENTS, INSIDE)):
        where = inside if kind == "rotary" else list(range(9))
        want = naive(kind, module, x[row], lambda i, j, segment=segment: sees(segment, window, i, j), where)
        torch.testing.assert_close(got[row], want, rtol=1e-10, atol=1e-10)


BRANCHES = [[0, 0, 0, 0, 1, 2, 2, 0, 0], [0, 0, 1, 1, 2, 3, 4, 0, 0]]


@pytest.mark.usefixtures("path")
def test_branches_see_what_is_shared_and_themselves_only():
    module, x = make("rotary"), torch.randn(2, 9, WIDTH, dtype=torch.float64)
    mask = segment_mask(torch.tensor(SEGMENTS), torch.tensor(BRANCHES))
    got = module(x, mask, torch.tensor(INSIDE))
    for row, (segment, branch, inside) in enumerate(zip(SEGMENTS, BRANCHES, INSIDE)):

        def may(i, j, segment=segment, branch=branch):
            return sees(segment, None, i, j) and branch[j] in (0, branch[i])

        assert mask[row, 0].tolist() == [[may(i, j) for j in range(9)] for i in range(9)]
        torch.testing.assert_close(got[row], naive("rotary", module, x[row], may, inside), rtol=1e-10, atol=1e-10)


def test_rows_in_which_nobody_sees_another_are_not_attended():
    """With the rows named that need attention, the result and all gradients are as without."""
    segments = torch.tensor([[0, 1, 2, 3], [0, 0, 1, 1], [0, 1, -1, -1]])
    position = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]])
    x, share = torch.randn(3, 4, WIDTH, dtype=torch.float64), torch.randn(3, 4, WIDTH, dtype=torch.float64)
    results = []
    for apart in (None, torch.tensor([1])):
        module, seen = make("rotary"), x.clone().requires_grad_()
        rows = slice(None) if apart is None else apart
        out = module(seen, segment_mask(segments[rows]), position[rows], apart)
        (out * share).sum().backward()
        results.append([out.detach(), seen.grad, *(p.grad for p in module.parameters())])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("branches", [None, BRANCHES])
@pytest.mark.parametrize("kind", ["relative", "rotary"])
def test_flex_attention_is_the_same(kind, branches):
    """Its forward pass; its backward pass runs on a GPU only."""
    module, inside = make(kind), torch.tensor(INSIDE)
    who = torch.tensor(SEGMENTS), None if branches is None else torch.tensor(branches)
    x = torch.randn(2, 9, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        got = module(x, segment_blocks(*who), inside)
        torch.testing.assert_close(got, module(x, segment_mask(*who), inside), rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", ["relative", "rotary"])
def test_gradients(kind):
    module = make(kind)
    names = [name for name, _ in module.named_parameters()]
    mask = segment_mask(torch.tensor([[0, 0, 0, 0, 0, 1, -1], [0, 0, 1, 1, 1, 1, 1]]))
    position = torch.tensor([[0, 1, 2, 3, 4, 0, 0], [0, 1, 0, 1, 2, 3, 4]])

    def run(x, *parameters):
        return torch.func.functional_call(module, dict(zip(names, parameters)), (x, mask, position))

    x = torch.randn(2, 7, WIDTH, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *module.parameters()), fast_mode=True)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", ["relative", "rotary"])
def test_segments_do_not_leak_and_the_future_is_unseen(kind):
    module = make(kind)
    mask, position = segment_mask(torch.tensor(SEGMENTS[:1])), torch.tensor(INSIDE[:1])
    x = torch.randn(1, 9, WIDTH, dtype=torch.float64)
    changed = x.clone()
    changed[:, [0, 1, 2, 6, 8]] = torch.randn(1, 5, WIDTH, dtype=torch.float64)  # another segment, the segment's future, padding
    torch.testing.assert_close(module(changed, mask, position)[:, [3, 4, 5, 7]], module(x, mask, position)[:, [3, 4, 5, 7]])


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", ["relative", "rotary"])
def test_bfloat16_autocast_is_near(kind):
    module = make(kind).float()
    mask, position, x = segment_mask(torch.tensor(SEGMENTS)), torch.tensor(INSIDE), torch.randn(2, 9, WIDTH)
    want = module(x, mask, position)
    with torch.autocast("cpu", torch.bfloat16):
        got = module(x, mask, position)
    assert got.dtype == torch.bfloat16
    assert (got.float() - want).norm() < 0.03 * want.norm()


@pytest.fixture(params=[1, 64])
def grain(request, monkeypatch):
    """A ring of as few entries as there can be, which wraps soon, and one of the usual sizes."""
    monkeypatch.setattr(memory_module, "_GRAIN", request.param)


@pytest.mark.usefixtures("grain")
@pytest.mark.parametrize("kind", ["relative", "rotary"])
@pytest.mark.parametrize("chunks", [[1] * 14, [5, 1, 1, 3, 4], [3, 7, 4], [14]])
def test_cached_equals_banded_recomputation_before_and_after_the_ring_wraps(kind, chunks):
    context = 5
    module = make(kind, seed=1)
    memory = Memory(1, 2, HEADS, context, KEY, dtype=torch.float64, chunk=max(chunks))
    x = torch.randn(2, sum(chunks), WIDTH, dtype=torch.float64)
    got, at = [], 0
    for size in chunks:
        positions = torch.arange(at, at + size).expand(2, -1)
        got.append(module.forward_cached(x[:, at : at + size], memory.advance(positions), 0))
        at += size
    for slot in range(2):
        want = naive(kind, module, x[slot], lambda i, j: 0 <= i - j < context, list(range(at)))
        torch.testing.assert_close(torch.cat(got, 1)[slot], want, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("grain")
@pytest.mark.parametrize("kind", ["relative", "rotary"])
@pytest.mark.parametrize("most", [attention.CACHED_SCORES, 1])  # scores that are computed at once
def test_weights_that_are_watched_make_the_output(kind, most, monkeypatch):
    """Those of every query, put on the values of the positions that they are said to be of, give what the block gives; watched or not."""
    context, chunks = 5, [3, 1, 4, 1, 1, 2]
    monkeypatch.setattr(attention, "CACHED_SCORES", most)  # where there are more, slots take turns
    module = make(kind, seed=5)
    x = torch.randn(2, sum(chunks), WIDTH, dtype=torch.float64)
    value = module.qkv(x).chunk(3, -1)[2].unflatten(-1, (HEADS, KEY))  # (slots, L, heads, key)
    seen = []
    watched, plain = (Memory(1, 2, HEADS, context, KEY, dtype=torch.float64, chunk=max(chunks)) for _ in range(2))
    watched.watch = lambda block, step, weights, slots: seen.append((block, step.positions[slots], step.seen[slots], weights, slots))
    at = 0
    for size in chunks:
        seen.clear()
        new, positions = x[:, at : at + size], torch.arange(at, at + size).expand(2, -1)
        got = module.forward_cached(new, watched.advance(positions), 0)
        assert torch.equal(got, module.forward_cached(new, plain.advance(positions), 0))
        assert [block for block, *_ in seen] == [0] * (2 if most == 1 else 1)
        assert torch.cat([torch.arange(2)[slots] for *_, slots in seen]).tolist() == [0, 1]
        queries, where, weights = (torch.cat([one[i] for one in seen]) for i in (1, 2, 3))
        assert torch.equal(queries, positions) and weights.shape == (2, HEADS, size, where.shape[1])
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        for slot in range(2):
            mixed = torch.einsum("hts,shk->thk", weights[slot], value[slot, where[slot].clamp(min=0)])
            torch.testing.assert_close(mixed.flatten(1) @ module.out.weight.T, got[slot], rtol=1e-10, atol=1e-10)
            distance = queries[slot][:, None] - where[slot]
            hidden = (distance < 0) | (distance >= context) | (where[slot] < 0)
            assert (weights[slot][:, hidden] == 0).all() and (weights[slot][:, ~hidden] > 0).all()
        at += size


@pytest.mark.usefixtures("grain")
@pytest.mark.parametrize("kind", ["relative", "rotary"])
def test_padding_and_reset_leave_other_slots_alone(kind):
    module = make(kind, seed=2)
    x = torch.randn(2, 4, WIDTH, dtype=torch.float64)
    alone = Memory(1, 1, HEADS, 8, KEY, dtype=torch.float64)
    want = module.forward_cached(x[:1], alone.advance(torch.arange(4)[None]), 0)
    memory = Memory(1, 2, HEADS, 8, KEY, dtype=torch.float64)
    module.forward_cached(torch.randn(2, 1, WIDTH, dtype=torch.float64), memory.advance(torch.tensor([[0], [0]])), 0)
    memory.reset(0)
    positions = torch.stack([torch.arange(4), torch.tensor([1, -1, -1, -1])])
    got = module.forward_cached(x, memory.advance(positions), 0)
    torch.testing.assert_close(got[0], want[0])
    assert memory.positions[1][:8].tolist() == [0, 1, -1, -1, -1, -1, -1, -1]


@pytest.mark.usefixtures("grain")
@pytest.mark.parametrize("kind", ["relative", "rotary"])
def test_slots_advance_by_different_amounts(kind):
    """A chunk longer than the ring in one slot, while another slot has one new position and a third none."""
    context = 5
    module = make(kind, seed=3)
    memory = Memory(1, 3, HEADS, context, KEY, dtype=torch.float64, chunk=7)
    x = torch.randn(3, 40, WIDTH, dtype=torch.float64)
    counts, got = [0, 0, 0], [[], [], []]
    for sizes in ([7, 1, 0], [1, 1, 1], [2, 6, 0], [0, 1, 3], [0, 7, 1], [1, 0, 7], [6, 1, 5]):
        rows, positions = torch.randn(3, max(sizes), WIDTH, dtype=torch.float64), torch.full((3, max(sizes)), -1)
        for slot, size in enumerate(sizes):
            rows[slot, :size] = x[slot, counts[slot] : counts[slot] + size]
            positions[slot, :size] = torch.arange(counts[slot], counts[slot] + size)
        out = module.forward_cached(rows, memory.advance(positions), 0)
        assert out.isfinite().all()
        for slot, size in enumerate(sizes):
            got[slot].append(out[slot, :size])
            counts[slot] += size
    for slot, count in enumerate(counts):
        want = naive(kind, module, x[slot, :count], lambda i, j: 0 <= i - j < context, list(range(count)))
        torch.testing.assert_close(torch.cat(got[slot]), want, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("grain")
@pytest.mark.parametrize("kind", ["relative", "rotary"])
def test_acting_equals_training(kind):
    """The packed and the cached form of one segment agree, where the ring holds all of it; and far from position 0 too."""
    module = make(kind, seed=4).float()
    x = torch.randn(1, 8, WIDTH)
    with torch.inference_mode():
        packed = module(x, segment_mask(torch.zeros(1, 8, dtype=torch.long)), torch.arange(8)[None])
        for start in (0, 1_000_003):
            memory = Memory(1, 1, HEADS, 8, KEY)
            cached = torch.cat(
                [module.forward_cached(x[:, i : i + 1], memory.advance(torch.tensor([[start + i]])), 0) for i in range(8)], 1
            )
            torch.testing.assert_close(cached, packed, rtol=1e-4, atol=1e-4)


def test_distance_keys_are_projected_once_a_memory():
    module, x = make("relative"), torch.randn(1, 1, WIDTH, dtype=torch.float64)
    memory = Memory(1, 1, HEADS, 4, KEY, dtype=torch.float64)
    with torch.inference_mode():
        module.forward_cached(x, memory.advance(torch.tensor([[0]])), 0)
        kept = memory.far_first[0]
        memory.reset(0)
        module.forward_cached(x, memory.advance(torch.tensor([[0]])), 0)
    assert memory.far_first[0] is kept
    with torch.no_grad():
        module.relative.weight.mul_(2.0)
    other = Memory(1, 1, HEADS, 4, KEY, dtype=torch.float64)
    with torch.inference_mode():
        module.forward_cached(x, other.advance(torch.tensor([[0]])), 0)
    torch.testing.assert_close(other.far_first[0], 2 * kept)
    # With gradients nothing is kept: a backward pass may follow.
    differing = Memory(1, 1, HEADS, 4, KEY, dtype=torch.float64)
    module.forward_cached(torch.randn(1, 3, WIDTH, dtype=torch.float64), differing.advance(torch.arange(3)[None]), 0).sum().backward()
    assert differing.far_first[0] is None
    assert module.relative.weight.grad.abs().sum() > 0
