"""A tiny random agent for all tests, and a server of it for those that change nothing about it."""

import pytest
from serving_helpers import LAYOUTS, build, running

from opengato.tokens.text import TextTokenizer


@pytest.fixture(scope="session")
def tokenizer():
    return TextTokenizer.load()


@pytest.fixture(scope="session")
def checkpoint(tokenizer):
    return build(tokenizer, LAYOUTS)


@pytest.fixture(scope="module")
def server(checkpoint):
    with running(checkpoint) as one:
        yield one
