"""Mean hidden states, against a network that is cut off at the layer, and their map."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from gymnasium import spaces

from opengato.checkpoint import Checkpoint
from opengato.cli import main
from opengato.datasets.dataset import Episodes
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.evaluation.figures import scatter_chart, standalone
from opengato.evaluation.hidden_states import chance_accuracy, embed, mean_hidden_states, nearest_neighbour_accuracy
from opengato.evaluation.windows import Window, batches
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.compact import Form
from opengato.tokens.encode import encode
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer

TOKENIZER = TextTokenizer.load()
CONFIGS = {
    "gato": ModelConfig("gato", 3, 2, 32, 64, 16, context=80),
    "swift": ModelConfig("swift", 3, 2, 32, 64, 16, context=20, set_width=32, patches_per_position=2),
}
ARM = spaces.Box(-9, 9, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32)


@cache
def checkpoint_of(family):
    torch.manual_seed(0)
    model = Gato(CONFIGS[family]).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return Checkpoint(model, TOKENIZER, {"arm/a": Layout(*ARM)})


def dataset_of(task, lengths, seed=0):
    rng = np.random.default_rng(seed)
    episodes = [
        Episode(rng.normal(size=(n, 3)).astype(np.float32), rng.uniform(-1, 1, (n, 2)).astype(np.float32), np.zeros(n, np.float32), task)
        for n in lengths
    ]
    return Episodes(task, *ARM, episodes, "x")


@pytest.mark.parametrize("family", ["gato", "swift"])
@pytest.mark.parametrize("layer, positions", [(None, 128), (1, 9), (3, 2)])
def test_states_are_means_of_what_a_network_of_fewer_blocks_says(family, layer, positions):
    """The network is cut off after the layer, and reads every episode by itself."""
    checkpoint, dataset = checkpoint_of(family), dataset_of("arm/a", [3, 30, 1, 12, 5, 6, 7, 8, 9, 10])
    found = mean_hidden_states(checkpoint, [dataset, dataset_of("arm/b", [4], seed=1)], 10, positions, layer)
    assert found.tasks == ["arm/a"] * 10 + ["arm/b"] and found.numbers.tolist() == [*range(10), 0] and found.states.shape == (11, 32)
    cut = deepcopy(checkpoint)
    cut.model.blocks, cut.model.norm = cut.model.blocks[: layer or 1], torch.nn.Identity()
    cut.model.norm.weight = checkpoint.model.norm.weight
    layout, context = checkpoint.layouts["arm/a"], CONFIGS[family].context
    for number, episode in enumerate(dataset.in_order):
        encoded = encode(layout, episode, TOKENIZER)
        starts = CONFIGS[family].fold.positions(encoded.kinds, encoded.offsets)[1]
        encoded = encoded.take(np.arange(int((starts[1:] <= context).sum())))
        size = int(min(starts[len(encoded)], context))
        ((_, batch),) = batches(cut, layout, [Window(encoded, Form(layout), size)])
        with torch.inference_mode():
            hidden = cut.model.hidden(batch)[0].numpy()
        np.testing.assert_allclose(found.states[number], hidden[: min(size, positions)].mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["gato", "swift"])
def test_of_a_long_text_its_beginning_counts(family):
    """Nobody sees what comes later: the text cut by hand is the same."""
    words = "one two three four five six seven eight nine ten " * 20
    nothing, text = spaces.Dict({}), text_space()
    found = []
    for said in (words, words[:60]):
        episode = Episode({}, [said], np.zeros(1, np.float32), "text/t")
        found.append(mean_hidden_states(checkpoint_of(family), [Episodes("text/t", nothing, text, [episode], "x")], positions=10).states)
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_measured_is_refused():
    checkpoint = checkpoint_of("swift")
    with pytest.raises(OpenGatoError, match="layer is 4, but the checkpoint has 3"):
        mean_hidden_states(checkpoint, [dataset_of("arm/a", [3])], layer=4)
    with pytest.raises(OpenGatoError, match="positions is 0"):
        mean_hidden_states(checkpoint, [dataset_of("arm/a", [3])], positions=0)
    with pytest.raises(OpenGatoError, match="has no episode"):
        mean_hidden_states(checkpoint, [dataset_of("arm/a", [])])
    eye = spaces.Dict(image=spaces.Box(0, 255, (160, 64, 3), np.uint8)), spaces.Discrete(2)
    episode = Episode({"image": np.zeros((1, 160, 64, 3), np.uint8)}, np.zeros(1, np.int64), np.zeros(1, np.float32), "eye/e")
    assert np.isfinite(mean_hidden_states(checkpoint, [Episodes("eye/e", *eye, [episode], "x")]).states).all()  # 20 positions
    with pytest.raises(OpenGatoError, match="takes 42 positions, and the checkpoint's context is 30"):
        mean_hidden_states(replace(checkpoint, model=Gato(replace(CONFIGS["gato"], context=30))), [Episodes("eye/e", *eye, [episode], "x")])
    assert not checkpoint.model.blocks[0]._forward_hooks


def test_accuracies_are_those_of_loops():
    rng = np.random.default_rng(0)
    tasks = [f"t/{i}" for i in rng.integers(0, 4, 300)]
    points = rng.normal(size=(300, 5)) + 0.8 * np.array([int(task[-1]) for task in tasks])[:, None]
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(distance, np.inf)
    want = np.mean([tasks[i] == tasks[row.argmin()] for i, row in enumerate(distance)])
    assert nearest_neighbour_accuracy(points, tasks) == pytest.approx(want) and 0.3 < want < 0.9
    pairs = [(i, j) for i in range(300) for j in range(300) if i != j]
    assert chance_accuracy(tasks) == pytest.approx(np.mean([tasks[i] == tasks[j] for i, j in pairs]))


def test_the_map_keeps_who_is_near_whom():
    manifold = pytest.importorskip("sklearn.manifold")
    rng = np.random.default_rng(0)
    tasks = [f"t/{i}" for i in range(6) for _ in range(15)]
    states = (rng.normal(size=(6, 1, 80)) * 2 + rng.normal(size=(6, 15, 80))).reshape(90, 80).astype(np.float32)
    found = embed(states, perplexity=10)
    assert found.shape == (90, 2) and manifold.trustworthiness(states, found, n_neighbors=5) > 0.9
    assert nearest_neighbour_accuracy(found, tasks) > 0.95
    assert np.array_equal(found, embed(states, perplexity=10)) and not np.allclose(found, embed(states, perplexity=20))
    with pytest.raises(OpenGatoError, match="perplexity is 90, for 90 episodes"):
        embed(states, perplexity=90)


def test_a_map_has_every_point_once_where_it_is():
    rng = np.random.default_rng(0)
    labels = [f"t/<{i}>" for i in rng.integers(0, 12, 60)]
    points = rng.normal(size=(60, 2)) * [3, 1]
    svg = "{http://www.w3.org/2000/svg}"
    drawn = {}
    for group in ElementTree.fromstring(standalone(scatter_chart(points, labels, "a & b"))).iter(f"{svg}g"):
        drawn[group.find(f"{svg}title").text] = [(float(c.get("cx")), float(c.get("cy"))) for c in group.iter(f"{svg}circle")]
    assert {label: len(found) for label, found in drawn.items()} == {label: labels.count(label) for label in labels}
    at = np.concatenate([drawn[label] for label in sorted(drawn)])
    of = np.concatenate([points[[other == label for other in labels]] for label in sorted(drawn)])
    scale = 528 / np.ptp(of[:, 0])  # the same along both axes, the map in the middle of its square
    np.testing.assert_allclose(at - at[0], (of - of[0]) * scale, atol=0.11)
    assert at.min() >= 15.9 and at.max() <= 544.1 and at[:, 1].min() + at[:, 1].max() == pytest.approx(560, abs=0.2)


@pytest.mark.slow
def test_the_command_draws_and_lists(tmp_path, capsys, monkeypatch):
    pytest.importorskip("sklearn")
    checkpoint_of("gato").save(tmp_path / "agent")  # which has seen no picture: new tasks' spaces have layouts too
    arguments = ["figure", "embedding", str(tmp_path / "agent"), "--data", "captions/emoji", "questions/emoji", "--episodes", "6"]
    arguments += ["--perplexity", "3"]
    main([*arguments, "--out", str(tmp_path / "map.json")])
    main([*arguments, "--out", str(tmp_path / "map.svg")])
    found = json.loads((tmp_path / "map.json").read_text())
    assert [(row["task"], row["episode"]) for row in found["episodes"]] == [
        (task, number) for task in ("captions/emoji", "questions/emoji") for number in range(6)
    ]
    accuracy = found["nearest_neighbour_accuracy"]
    assert accuracy["chance"] == pytest.approx(5 / 11)
    said = capsys.readouterr().out
    assert f"12 episodes of 2 tasks; the nearest other one is of the same task for {accuracy['hidden']:.1%} by hidden states" in said
    assert (tmp_path / "map.svg").read_text().count("<circle") == 12 + 2
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(SystemExit):
        main(arguments)
    assert 'pip install "opengato[figures]"' in capsys.readouterr().err
