"""Evaluation: scores depend on the checkpoint and the seeds alone."""

import dataclasses

import pytest
import torch

pytest.importorskip("minigrid")

from opengato.checkpoint import Checkpoint
from opengato.domains import get_task
from opengato.errors import OpenGatoError
from opengato.evaluation.evaluate import evaluate
from opengato.evaluation.rollout import MOST_FRAMES, rollout
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

TASKS = [get_task("babyai/go-to-obj"), get_task("babyai/open-red-door")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An agent that has learned nothing, but whose actions are far from uniform."""
    torch.manual_seed(0)
    model = Gato(ModelConfig("swift", 1, 2, 32, 64, 16, context=64, set_width=32, patches_per_position=2))
    torch.nn.init.normal_(model.embedding.tokens.weight, std=0.3)
    folder = tmp_path_factory.mktemp("agent")
    Checkpoint(model, TextTokenizer.load(), {t.id: Layout(t.observation_space, t.action_space) for t in TASKS}).save(folder)
    return folder


def test_scores_are_the_same_for_any_batch_and_any_number_of_workers(folder):
    heard = []
    one = evaluate(folder, TASKS, 5, batch=1, workers=1, show=False)
    two = evaluate(folder, TASKS, 5, batch=3, workers=2, show=False, finished=lambda score, rollouts: heard.append((score, rollouts)))
    assert one == two and one.unscored == {} and [s.task for s in one.scores] == [t.id for t in TASKS]
    assert sorted(s.task for s, _ in heard) == sorted(t.id for t in TASKS)
    assert all([r.seed for r in rollouts] == list(range(100_000, 100_005)) for _, rollouts in heard)


def test_frames_are_thinned_equally(folder):
    done = rollout(Checkpoint.load(folder), get_task("babyai/open-red-door"), 2, record=1)
    assert done[1].frames == []
    whole = dataclasses.replace(done[0])
    assert whole.length > 0 and len(whole.frames) == -(-whole.length // whole.stride) < MOST_FRAMES


def test_refuses_what_it_cannot_score(folder):
    with pytest.raises(OpenGatoError, match="task of this checkpoint 'babyai/go-to-local'"):
        evaluate(folder, [get_task("babyai/go-to-local")], 1, show=False)
    with pytest.raises(OpenGatoError, match="opengato reference babyai/key-corridor"):
        evaluate(folder, [get_task("babyai/key-corridor")], 1, show=False)
