"""The written-out gradient against PyTorch's."""

import torch
import torch.nn.functional as F

from opengato.model.norm import RMSNorm


def test_values_and_gradients_are_those_of_pytorch():
    torch.manual_seed(0)
    norm = RMSNorm(7).double()
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 5, 7, dtype=torch.float64, requires_grad=True)
    share = torch.randn(2, 5, 7, dtype=torch.float64)
    (norm(x) * share).sum().backward()
    got = x.grad.clone(), norm.weight.grad.clone()
    x.grad = norm.weight.grad = None
    want = F.rms_norm(x, (7,), norm.weight, 1e-6)
    torch.testing.assert_close(norm(x), want)
    (want * share).sum().backward()
    torch.testing.assert_close(got, (x.grad, norm.weight.grad))
    assert torch.autograd.gradcheck(norm, x)
