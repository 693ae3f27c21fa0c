"""The servers of tests/serving are used here too."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))


@pytest.fixture(scope="session")
def reach():
    """A random agent for Meta-World's reach: `swift-nano` as it begins."""
    import torch

    from opengato.checkpoint import Checkpoint
    from opengato.domains import get_task
    from opengato.model.config import preset
    from opengato.model.gato import Gato
    from opengato.tokens.layout import Layout
    from opengato.tokens.text import TextTokenizer

    torch.manual_seed(0)
    task = get_task("metaworld/reach")
    model = Gato(preset("swift-nano")).eval()
    for parameter in model.parameters():  # far from uniform, so that an action depends on what was seen
        torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.normal_(model.embedding.numbers.weight, std=100.0)  # numbers that are not standardised, beside a separator as large
    return Checkpoint(model, TextTokenizer.load(), {task.id: Layout(task.observation_space, task.action_space)})
