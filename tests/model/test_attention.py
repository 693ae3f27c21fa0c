"""Both attentions against naive float64 implementations written here, and the cached form against a banded recomputation."""

import math

import pytest
import torch

from opengato.model.attention import KVCache, RelativeAttention, RotaryAttention, segment_mask

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
                        return vector / torch.sqrt((vector**2).mean() + torch.finfo(torch.float32).eps) * weight

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


@pytest.mark.parametrize("kind", ["relative", "rotary"])
def test_packed_segments_against_loops(kind):
    module = make(kind)
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, -1]])
    position = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 0, 0]])
    x = torch.randn(1, 9, WIDTH, dtype=torch.float64)
    got = module(x, segment_mask(segments), position)[0]
    s = segments[0].tolist()
    where = position[0].tolist() if kind == "rotary" else list(range(9))
    want = naive(kind, module, x[0], lambda i, j: j <= i and s[i] == s[j], where)
    torch.testing.assert_close(got[:8], want[:8], rtol=2e-5, atol=2e-5)  # rotations and sinusoids are computed in float32


@pytest.mark.parametrize("kind", ["relative", "rotary"])
@pytest.mark.parametrize("chunks", [[1] * 14, [5, 1, 1, 3, 4], [3, 7, 4]])
def test_cached_equals_banded_recomputation_before_and_after_the_ring_wraps(kind, chunks):
    context = 5
    module = make(kind, seed=1)
    cache = KVCache(2, HEADS, context, KEY, dtype=torch.float64)
    x = torch.randn(2, sum(chunks), WIDTH, dtype=torch.float64)
    got, at = [], 0
    for size in chunks:
        positions = torch.arange(at, at + size).expand(2, -1)
        got.append(module.forward_cached(x[:, at : at + size], cache, positions))
        at += size
    for slot in range(2):
        want = naive(kind, module, x[slot], lambda i, j: 0 <= i - j < context, list(range(at)))
        torch.testing.assert_close(torch.cat(got, 1)[slot], want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("kind", ["relative", "rotary"])
def test_padding_and_reset_leave_other_slots_alone(kind):
    module = make(kind, seed=2)
    x = torch.randn(2, 4, WIDTH, dtype=torch.float64)
    alone = KVCache(1, HEADS, 8, KEY, dtype=torch.float64)
    want = module.forward_cached(x[:1], alone, torch.arange(4)[None])
    cache = KVCache(2, HEADS, 8, KEY, dtype=torch.float64)
    module.forward_cached(torch.randn(2, 1, WIDTH, dtype=torch.float64), cache, torch.tensor([[0], [0]]))
    cache.reset(0)
    positions = torch.stack([torch.arange(4), torch.tensor([1, -1, -1, -1])])
    got = module.forward_cached(x, cache, positions)
    torch.testing.assert_close(got[0], want[0])
    assert cache.positions[1].tolist() == [0, 1, -1, -1, -1, -1, -1, -1]
