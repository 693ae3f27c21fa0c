"""What PyTorch does not promise and its public way give the same, and nothing else in the project uses what is not promised."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

import opengato
from opengato.model import pytorch_private as private
from opengato.model.bfloat16 import multiplies_bfloat16
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.model.precision import PackedLinear, convert
from opengato.policy.engine import Engine
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

ARM = Layout(spaces.Box(-9, 9, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32))


@pytest.fixture(params=["private", "public"])
def way(request, monkeypatch):
    """Both ways in turn."""
    if request.param == "public":
        monkeypatch.setenv("OPENGATO_PUBLIC_TORCH", "1")
    return request.param


def test_the_gradient_of_a_softmax(way):
    scores = torch.randn(3, 5, 7, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(3, 5, 7, dtype=torch.float64)
    softmax = scores.softmax(-1)
    want = torch.autograd.grad(softmax, scores, gradient)[0]
    torch.testing.assert_close(private.softmax_gradient(gradient, softmax.detach()), want)


def test_what_a_process_writes_into_shared_bytes_another_reads(way):
    shared, own = private.shared_bytes(5), torch.zeros(5, dtype=torch.uint8)
    assert shared.dtype == torch.uint8 and shared.shape == (5,) and shared.is_shared()
    shared.zero_()
    child = os.fork()
    if not child:
        shared[2], own[2] = 7, 7
        os._exit(0)
    os.waitpid(child, 0)
    assert shared.tolist() == [0, 0, 7, 0, 0] and not own.any()


def test_products_of_bytes(way):
    torch.manual_seed(0)
    x, weight = torch.randn(4, 64).bfloat16(), torch.randint(-127, 128, (32, 64), dtype=torch.int8)
    scale = torch.rand(32).bfloat16()
    want = (x.double() @ weight.double().T) * scale.double()
    found = private.int8_linear(x, weight, scale)
    assert found.dtype == torch.bfloat16 and (found.double() - want).norm() < 0.01 * want.norm()


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_acting(way, precision):
    """Actions of either way against the plain model's hidden states."""
    if precision != "float32" and not multiplies_bfloat16(torch.device("cpu")):
        pytest.skip("this processor has no products of bfloat16")
    torch.manual_seed(0)
    config = ModelConfig("swift", 2, 2, 32, 64, 16, context=200, set_width=32, patches_per_position=2)
    plain, model = Gato(config).eval(), Gato(config).eval()
    model.load_state_dict(plain.state_dict())
    convert(model, precision)
    assert any(isinstance(module, PackedLinear) for module in model.modules()) == (way == "private" and private.can_pack(model.table))
    seen = []
    for one in (plain, model):
        engine, rng, states = Engine(one, TextTokenizer.load(), 1, temperature=0.0), np.random.default_rng(0), []
        forward = engine._forward
        engine._forward = lambda new, forward=forward, states=states: states.append(forward(new)) or states[-1]
        engine.reset(0, ARM)
        for _ in range(5):
            engine.act({0: rng.normal(size=3).astype(np.float32)})
        seen.append(torch.stack(states).float())
    assert (seen[0] - seen[1]).norm() < (1e-5 if precision == "float32" else 0.05) * seen[0].norm()


@pytest.mark.slow
def test_compiling(way):
    try:
        private.check_compiler(torch.device("cpu"))
    except opengato.OpenGatoError:
        pytest.skip("no C++ compiler")
    weight, x = torch.randn(8, 8), torch.randn(3, 8)

    def function(x):
        return torch.relu(x @ weight) + 1

    with private.compiling(), torch.inference_mode():
        compiled = private.compile_for_acting(function, torch.device("cpu"))
        torch.testing.assert_close(compiled(x), function(x))
        torch.testing.assert_close(compiled(-x), function(-x))


def test_only_one_module_uses_what_is_not_promised():
    used = re.compile(r"torch\._(?!dynamo\.config\b)|torch\.ops\.|torch\.compiler\.\w*unsafe")
    package = Path(opengato.__file__).parent
    found = {path.name for path in package.rglob("*.py") if used.search(path.read_text())}
    assert found == {"pytorch_private.py"}
