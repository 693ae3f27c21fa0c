"""Where matrices of bfloat16 are multiplied faster than those of float32."""

from __future__ import annotations

from functools import cache

import torch


@cache
def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16: an x86 processor with AVX512-BF16 or AMX, any accelerator.

    Without them PyTorch does it in a loop that took a hundred times as long as float32 (AVX2 only, two cores), and with AVX-512 alone it
    converts back and forth.
    """
    if device.type == "cpu":
        has = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # newer than PyTorch 2.11
        return bool(has.get("avx512_bf16") or has.get("amx_bf16")) if has else torch.backends.mkldnn.is_available()
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
