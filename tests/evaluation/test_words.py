"""What a network's words are worth: of every token that is said, little for what it learned by heart and much for what it never saw."""

import math
from itertools import islice

import numpy as np
import torch

from opengato.checkpoint import Checkpoint
from opengato.datasets import captions
from opengato.datasets.dataset import Episodes
from opengato.datasets.tokenise import tokenise
from opengato.evaluation.words import held_out_nats, word_losses
from opengato.mixture import Mixture, Sampling
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.text import TextTokenizer
from opengato.training.loop import TrainConfig, Trainer
from opengato.training.optimiser import SWIFT

TOKENIZER = TextTokenizer.load()


def test_what_is_known_by_heart_is_likely_and_every_token_is_weighed(tmp_path):
    episodes = list(islice(captions.load_emoji(), 20))
    spaces = captions.TASK, captions.OBSERVATION_SPACE, captions.ACTION_SPACE
    data = tokenise(Episodes(*spaces, list(episodes[:8]), "known"), TOKENIZER, tmp_path)
    others = tokenise(Episodes(*spaces, list(episodes[8:]), "others"), TOKENIZER, tmp_path)
    config = ModelConfig("swift", 1, 2, 64, 128, 32, context=64, set_width=32, patches_per_position=2)
    torch.manual_seed(0)
    mixture = Mixture([data], {"captions": 1.0}, config.context, config.fold, 0, Sampling(prompt_share=0.0))
    trainer = Trainer(Gato(config), mixture, TrainConfig(steps=60, batch=4, optimiser=SWIFT, device="cpu"), tmp_path / "run")
    checkpoint = Checkpoint(trainer.model.eval(), TOKENIZER, {data.task: data.layout})
    before = word_losses(checkpoint, data)
    assert len(before) == sum(len(TOKENIZER.encode(e.actions[0])) + 1 for e in episodes[:8])  # each of them ends
    assert abs(before.mean() - math.log(33_024)) < 1
    trainer.run(show=False)
    trainer.model.eval()
    known, unknown, held_out = word_losses(checkpoint, data), word_losses(checkpoint, others), held_out_nats(checkpoint, tmp_path)
    assert known.mean() < 0.5 < 2 < unknown.mean()
    assert list(held_out) == [data.task] and np.isclose(held_out[data.task], unknown.mean(), rtol=0.5)
