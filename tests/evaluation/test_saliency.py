"""Where an agent looks, against the packed form of the network, which shares no cache and no engine with it."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from gymnasium import spaces

from opengato.checkpoint import Checkpoint
from opengato.episode import Episode, stack
from opengato.errors import OpenGatoError
from opengato.evaluation.overlay import draw, strip
from opengato.evaluation.saliency import Attention, Look, Occlusion, cameras, watch
from opengato.mixture import Sequence
from opengato.model import attention
from opengato.model.batch import collate
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.policy.engine import Engine
from opengato.tokens.encode import encode
from opengato.tokens.image import mean_positions
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.statistics import standardise
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import CONTINUOUS, IMAGE, IS_TARGET

TOKENIZER = TextTokenizer.load()
CONFIGS = {
    "gato": ModelConfig("gato", 3, 2, 32, 64, 16, context=300),
    "swift": ModelConfig("swift", 3, 2, 32, 64, 16, context=100, set_width=32, patches_per_position=2),
}
EYE = spaces.Box(0, 255, (32, 40, 3), np.uint8)  # six patches, the last of each row cut
LAYOUTS = {
    "press": Layout(spaces.Dict(eye=EYE, pose=spaces.Discrete(4)), spaces.Discrete(7)),
    "move": Layout(spaces.Dict(arm=spaces.Box(-9, 9, (3,), np.float32), eye=EYE, last=spaces.Discrete(2)), spaces.Box(-1, 1, (2,))),
    "eyes": Layout(spaces.Dict(eye=EYE, wrist=spaces.Box(0, 255, (16, 16, 1), np.uint8), word=text_space()), spaces.Discrete(3)),
}


@cache
def checkpoint_of(family, **changes):
    torch.manual_seed(0)
    model = Gato(replace(CONFIGS[family], **changes)).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return Checkpoint(model, TOKENIZER, LAYOUTS)


def observations_of(layout, count):
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        layout.observation_space.seed(int(rng.integers(1000)))
        found.append(layout.observation_space.sample())
        if "arm" in found[-1]:
            found[-1]["arm"] = rng.normal(size=3).astype(np.float32)
        if "word" in found[-1]:
            found[-1]["word"] = "look at the red door"
    return found


def packed(layout, model, observations, actions):
    """An episode as one training sequence, and its tokens."""
    encoded = encode(layout, Episode(stack(observations), np.stack(actions), np.zeros(len(actions), np.float32), "t"), TOKENIZER)
    positions, starts = model.config.fold.positions(encoded.kinds, encoded.offsets)
    length, places = int(starts[-1]), mean_positions(encoded.boxes)
    values = standardise(encoded.tokens[encoded.kinds == CONTINUOUS], None)
    columns = encoded.tokens.astype(np.int64), encoded.kinds, encoded.local.astype(np.int64), positions, encoded.kinds >= IS_TARGET
    nothing = np.zeros(length, np.int64)
    sequence = Sequence(
        *columns, np.zeros(len(positions), np.int64), values, nothing, nothing, np.arange(length), encoded.patches, *places.T, 1
    )
    return collate([sequence], model.config), encoded, positions


def packed_weights(checkpoint, layout, observations, actions, layer, head, monkeypatch):
    """(L, L), who attends to whom in an episode as one sequence; the sequence as a batch, its tokens and their positions."""
    weights = []  # of every block, (1, heads, L, L): attention to values that are the rows of the identity

    def attend(q, k, v, mask, q_distance=None, far_first=None):
        eye = torch.eye(q.shape[2], dtype=q.dtype).expand(*q.shape[:3], -1)
        weights.append(attention._attend_fused(q, k, eye, mask, q_distance, far_first))
        return weights[-1] @ v

    monkeypatch.setattr(attention, "_attend", attend)
    batch, encoded, positions = packed(layout, checkpoint.model, observations, actions)
    with torch.inference_mode():
        checkpoint.model.hidden(batch)
    return weights[layer - 1][0, slice(None) if head is None else slice(head - 1, head)].mean(0).numpy(), batch, encoded, positions


@pytest.mark.parametrize("task", ["press", "move", "eyes"])
@pytest.mark.parametrize("family", ["gato", "swift"])
@pytest.mark.parametrize("layer, head", [(None, None), (1, 2)])
def test_attention_is_the_softmax_of_the_packed_form(family, task, layer, head, monkeypatch):
    checkpoint, layout = checkpoint_of(family), LAYOUTS[task]
    saliency = Attention(checkpoint, task, layer, head, temperature=0.0)
    saliency.begin(0)
    observations = observations_of(layout, 4)
    actions, maps = zip(*map(saliency.act, observations))

    weight, batch, encoded, positions = packed_weights(checkpoint, layout, observations, actions, layer or 3, head, monkeypatch)
    predictors = batch.target_positions.numpy()
    for step, found in enumerate(maps):
        own = slice(encoded.offsets[step], encoded.offsets[step + 1])
        images = positions[own][encoded.kinds[own] == IMAGE]
        targets = predictors[step * len(predictors) // 4 : (step + 1) * len(predictors) // 4]
        shared = np.array([(images == at).sum() for at in images])
        np.testing.assert_allclose(found, weight[targets][:, images].mean(0) / shared, rtol=1e-5, atol=1e-9)  # numbers are seen in float32


def test_a_demonstration_that_is_read_first_is_not_looked_at(monkeypatch):
    """It takes several passes: the look is from the action, and at this timestep's picture."""
    layout, shown = LAYOUTS["press"], [observations_of(LAYOUTS["press"], 12), list(np.arange(12) % 7)]
    demonstration = Episode(stack(shown[0]), np.array(shown[1]), np.zeros(12, np.float32), "press")
    checkpoint = replace(checkpoint_of("gato"), prompts={"press": encode(layout, demonstration, TOKENIZER)})
    saliency = Attention(checkpoint, "press", temperature=0.0)
    saliency.begin(0)
    observations = observations_of(layout, 2)
    actions, maps = zip(*map(saliency.act, observations))
    seen, done = shown[0] + observations, shown[1] + list(actions)
    weight, batch, encoded, positions = packed_weights(checkpoint, layout, seen, done, 3, None, monkeypatch)
    for step, found in enumerate(maps, 12):
        own = slice(encoded.offsets[step], encoded.offsets[step + 1])
        images = positions[own][encoded.kinds[own] == IMAGE]
        np.testing.assert_allclose(found, weight[int(batch.target_positions[step])][images], rtol=1e-5, atol=1e-9)


def test_acting_is_the_same_whether_anybody_looks(monkeypatch):
    for family in CONFIGS:
        checkpoint, observations = checkpoint_of(family), observations_of(LAYOUTS["move"], 5)
        engine = Engine(checkpoint.model, TOKENIZER, 1, temperature=1.0)
        engine.reset(0, LAYOUTS["move"], None, seed=3)
        plain = [engine.act({0: observation})[0] for observation in observations]
        for saliency in (Attention(checkpoint, "move", temperature=1.0), Occlusion(checkpoint, "move", temperature=1.0)):
            saliency.begin(3)
            assert np.array_equal(plain, [saliency.act(observation)[0] for observation in observations])


@pytest.mark.parametrize("task", ["press", "move", "eyes"])
@pytest.mark.parametrize("family", ["gato", "swift"])
def test_occlusion_is_the_divergence_of_the_packed_form(family, task):
    checkpoint, layout = checkpoint_of(family), LAYOUTS[task]
    saliency = Occlusion(checkpoint, task, temperature=1.0)  # what covered pictures would make it draw is another action
    saliency.begin(0)
    observations = observations_of(layout, 3)
    actions, maps = zip(*map(saliency.act, observations))
    start, stop = (32000, 33024) if task == "move" else (0, int(layout.action_space.n))
    count = 2 if task == "move" else 1

    @torch.inference_mode()
    def distributions(seen):
        batch, _, _ = packed(layout, checkpoint.model, seen, actions[: len(seen)])
        hidden = checkpoint.model.hidden(batch).flatten(0, 1)[batch.target_positions[-count:]]
        index = batch.target_index[-count:]
        return torch.log_softmax(checkpoint.model.logits(hidden, start, stop, index).double(), -1)

    for step in range(3):
        p, want = distributions(observations[: step + 1]), []
        for name in [name for name in ("eye", "wrist") if name in observations[0]]:
            picture = observations[step][name]
            for y in range(0, picture.shape[0], 16):
                for x in range(0, picture.shape[1], 16):
                    covered = picture.copy()
                    covered[y : y + 16, x : x + 16] = np.round(picture.mean(axis=(0, 1)))
                    q = distributions([*observations[:step], {**observations[step], name: covered}])
                    want.append(float((p.exp() * (p - q)).sum()))
        np.testing.assert_allclose(maps[step], want, rtol=1e-5, atol=1e-9)
        assert max(want) > 1e-6


def test_what_cannot_be_shown_is_refused():
    blind = Layout(spaces.Discrete(3), spaces.Discrete(2))
    checkpoint = replace(checkpoint_of("gato"), layouts={**LAYOUTS, "blind": blind})
    with pytest.raises(OpenGatoError, match="'blind' observes no picture"):
        Occlusion(checkpoint, "blind")
    with pytest.raises(OpenGatoError, match="layer is 4, but the checkpoint has 3"):
        Attention(checkpoint, "press", layer=4)
    with pytest.raises(OpenGatoError, match="head is 0, but the checkpoint has 2"):
        Attention(checkpoint, "press", head=0)
    with pytest.raises(OpenGatoError, match=r"all 6 patches that 'press' observes are one position.*--by occlusion"):
        Attention(checkpoint_of("swift", patches_per_position=6), "press")


def test_the_reddest_patch_is_the_one_with_the_most(tmp_path):
    grey, dark = np.full((32, 40, 3), 128, np.uint8), np.full((16, 16, 3), 64, np.uint8)
    look = Look([grey, dark], [np.array([[0.0, 0.1, 0.0], [0.0, 0.0, 0.4]]), np.array([[0.2]])])
    frame = draw(look, side=64)
    assert frame.shape == (128, 80 + 4 + 64, 3) and (frame[:64, :80] == 128).all() and (frame[:64, 84:] == 64).all()
    red = frame[64:].astype(int)
    red = red[..., 0] - red[..., 2]
    assert (red[32:, 64:80] == red.max()).all() and (red[:, :64] < red.max()).all() and (red[:32, 32:64] > 0).all()
    assert (red[:32, :32] == 0).all() and 0 < red[40, 100] < red.max() and look.total == pytest.approx(0.7)
    assert strip([frame] * 20, 5).shape == (128, 5 * 148 + 4 * 4, 3) and strip([frame], 5).shape == frame.shape


def test_an_episode_is_watched_to_its_end(tmp_path, capsys):
    pytest.importorskip("minigrid")
    from opengato.cli import main
    from opengato.domains import get_task

    task = get_task("babyai-pixels/go-to-obj")
    layout = Layout(task.observation_space, task.action_space)
    checkpoint = replace(checkpoint_of("gato"), layouts={task.id: layout})
    looks = list(watch(Attention(checkpoint, task.id), task, layout, seed=100_000, steps=3))
    assert len(looks) == 3 and looks[0].pictures[0].shape == cameras(layout)[0].space.shape
    assert all(0 < look.total < 1 for look in looks)
    replace(checkpoint, model=deepcopy(checkpoint.model).float()).save(tmp_path / "agent")
    for out, arguments in (("a.png", []), ("a.gif", ["--layer", "1", "--head", "2"]), ("a.mp4", ["--by", "occlusion"])):
        main(["figure", "attention", str(tmp_path / "agent"), task.id, "--steps", "2", "--out", str(tmp_path / out), *arguments])
        assert (tmp_path / out).stat().st_size > 500
    said = capsys.readouterr().out
    assert "attention of layer 3, mean over 2 heads" in said and "layer 1, head 2" in said and "nats in all, mean over 2" in said
