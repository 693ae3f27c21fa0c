"""One thread for all of these tests."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """As in evaluations: products of more threads round differently, and which rows go to whom depends on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
