"""The simplest agents learn what they can, refuse what they cannot, and act the same after a night in a folder."""

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from opengato.baselines.baseline import Baseline
from opengato.baselines.columns import Texts, columns
from opengato.baselines.gru import Gru
from opengato.baselines.mlp import Mlp
from opengato.baselines.pool import Pool
from opengato.baselines.settings import Settings
from opengato.baselines.train import train_baseline, train_or_load
from opengato.datasets.dataset import Episodes
from opengato.datasets.tokenise import tokenise
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.mixture.sampling import shared_layouts
from opengato.tokens.continuous import bin_centres, inverse_mu_law
from opengato.tokens.encode import decode, encode_timesteps
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer

TOKENIZER = TextTokenizer.load()
SMALL = Settings(width=64, layers=2, batch=128, learning_rate=3e-3, memory=32, sequence=8, image_batch=32)

STATE, MOVE = spaces.Box(-np.inf, np.inf, (6,), np.float64), spaces.Box(np.array([-1, -2], np.float32), np.array([1, 4], np.float32))
MATRIX = np.random.default_rng(9).normal(size=(2, 6))


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Every look at it is a hundredth of a second later: so a step takes as long on any machine."""
    looks = itertools.count()
    monkeypatch.setattr("opengato.baselines.train.time", SimpleNamespace(monotonic=lambda: next(looks) / 100))


def dataset(root, task, observation_space, action_space, episodes):
    made = [Episode(o, a, np.zeros(len(next(iter(a.values())) if isinstance(a, dict) else a), np.float32), task) for o, a in episodes]
    return tokenise(Episodes(task, observation_space, action_space, made, "made here"), TOKENIZER, root)


def expert(observations):
    return np.clip(observations @ MATRIX.T + [0, 1], [-1, -2], [1, 4]).astype(np.float32)


def reaching(root, task="toy/reach", centre=0.0, seed=0, episodes=20):
    rng = np.random.default_rng(seed)
    seen = [rng.normal(centre, [0.3, 0.01, 1, 3, 0.5, 0], (50, 6)) for _ in range(episodes)]
    return dataset(root, task, STATE, MOVE, [(o, expert(o)) for o in seen])


def act(baseline, task, observations, temperature=0.0):
    """What is done in each of some first timesteps."""
    actor = baseline.actor(task, len(observations), temperature)
    for slot in range(len(observations)):
        actor.reset(slot, slot)
    done = actor.act(dict(enumerate(observations)))
    return [done[slot] for slot in range(len(observations))]


def train(kind, datasets, seconds=1.5, **settings):
    return train_baseline(kind, datasets, seconds, settings=dataclasses.replace(SMALL, **settings), show=False)


def test_columns_are_what_the_tokens_say(tmp_path):
    space = spaces.Dict(
        a=text_space(), b=spaces.MultiDiscrete([3, 5]), c=spaces.Box(-9, 9, (2,)), d=spaces.Box(0, 255, (20, 20, 3), np.uint8)
    )
    rng, count = np.random.default_rng(0), 40
    said = [" ".join(rng.choice(["go", "to", "the", "red", "ball"], rng.integers(6))) for _ in range(count)]
    seen = {"a": said, "b": rng.integers([3, 5], size=(count, 2)), "c": rng.normal(size=(count, 2)).astype(np.float32)}
    seen["d"] = rng.integers(256, size=(count, 20, 20, 3), dtype=np.uint8)
    done = {"move": rng.uniform(-1, 1, (count, 2)).astype(np.float32), "grip": rng.integers(2, size=count)}
    action = spaces.Dict(move=spaces.Box(-1, 1, (2,)), grip=spaces.Discrete(2))
    data = dataset(tmp_path, "toy/all", space, action, [(seen, done)])
    observed, acted = columns(data.layout, data, TOKENIZER.eos)
    known, known_actions = decode(data.layout, data.gather(np.arange(count)), TOKENIZER)
    texts = observed["a"]
    assert isinstance(texts, Texts) and len(texts.unique) == len(set(said))
    assert [TOKENIZER.decode(list(texts.unique[i])) for i in texts.index] == said == known["a"]
    assert (observed["b"] == known["b"]).all() and (acted["grip"][:, 0] == known_actions["grip"]).all()
    pool = Pool(data.layout, [data], ["toy/all"], TOKENIZER, SMALL)
    mean, deviation = known["c"].mean(0), known["c"].std(0)
    assert pool.numbers == pytest.approx((known["c"] - mean) / deviation, abs=1e-5)
    assert pool.goals == pytest.approx(known_actions["move"], abs=1e-6)
    order = rng.permutation(count)
    assert (pool.inputs(order).frames[0].numpy() == seen["d"][order]).all()
    acting = encode_timesteps(data.layout, TOKENIZER, seen, None, count)
    again, _ = columns(data.layout, acting, TOKENIZER.eos, actions=False)
    assert all((a == b).all() for a, b in zip(pool.features.arrays(again, count), (pool.numbers, pool.hot)))


def test_mlp_learns_a_linear_expert_in_the_units_of_its_actions(tmp_path):
    data = reaching(tmp_path)
    # The fourth varies most, the second within a few bins, and the last never.
    baseline = train("mlp", [data], 3)
    seen = np.random.default_rng(5).normal(0, [0.3, 0.01, 1, 3, 0.5, 0], (200, 6))
    done, right = np.array(act(baseline, "toy/reach", list(seen))), expert(seen)
    assert MOVE.contains(done[0]) and np.abs(done).max(0)[1] > 1.5
    assert np.abs(done - right).mean() < 0.12 * np.abs(right - right.mean(0)).mean()
    assert baseline.loss(data) < 0.1


@pytest.mark.parametrize("own", [False, True])
def test_lookup_is_brute_force(tmp_path, own):
    space = spaces.Dict(state=STATE, mode=spaces.Discrete(3))
    action = spaces.Dict(move=MOVE, grip=spaces.Discrete(4, start=1))
    rng, sets, values = np.random.default_rng(2), [], []
    for task, centre in (("toy/b", 2.0), ("toy/a", 0.0)):
        state, mode = rng.normal(centre, 1, (90, 6)), rng.integers(3, size=90)
        done = {"move": expert(state), "grip": rng.integers(1, 5, size=90)}
        sets.append(dataset(tmp_path, task, space, action, [({"state": state, "mode": mode}, done)]))
        (known, known_actions) = decode(sets[-1].layout, sets[-1].gather(np.arange(90)), TOKENIZER)
        values.append((task, known["state"], mode, known_actions["move"], done["grip"]))
    baseline = train("lookup", sets, own_task=own)
    state = np.concatenate([v[1] for v in values])
    for task, *_ in values:
        some = [v for v in values if v[0] == task or not own]
        ours, modes, moves, grips = (np.concatenate([v[i] for v in some]) for i in (1, 2, 3, 4))
        for query_state, query_mode in zip(rng.normal(1, 1, (20, 6)), rng.integers(3, size=20)):
            quantised = encode_timesteps(sets[0].layout, TOKENIZER, {"state": query_state[None], "mode": query_mode[None]}, None, 1)
            seen = columns(sets[0].layout, quantised, TOKENIZER.eos, actions=False)[0]["state"]
            query = inverse_mu_law(bin_centres(seen))[0]
            distance = np.square((ours - query) / state.std(0)).sum(1) + 2 * (modes != query_mode)
            nearest = np.argsort(distance)[:5]
            (done,) = act(baseline, task, [{"state": query_state, "mode": query_mode}])
            assert done["move"] == pytest.approx(moves[nearest].mean(0), abs=0.01)  # in bins of 1,024
            assert done["grip"] == np.bincount(grips[nearest]).argmax()


def test_lookup_keeps_what_fits(tmp_path, capsys):
    baseline = train("lookup", [reaching(tmp_path, episodes=1100)], rows_mib=1)
    assert len(baseline.groups[0].network.vectors) == 2**20 // (4 * 6)
    assert "keeps 43,690 of 55,000" in capsys.readouterr().err


MISSIONS = ["go to the red ball then the grey key", "go to the grey key then the red ball", "pick up the red ball", "pick up the grey key"]


def test_missions_and_choices_tell_timesteps_apart(tmp_path):
    """The first two missions have the same words. What is to be done also depends on where it faces, as in an exclusive or."""
    space = spaces.Dict(direction=spaces.Discrete(4), mission=text_space())
    rng = np.random.default_rng(0)
    which, direction = rng.integers(4, size=400), rng.integers(4, size=400)
    seen = {"direction": direction, "mission": [MISSIONS[i] for i in which]}
    data = dataset(tmp_path, "toy/missions", space, spaces.Discrete(4), [(seen, which ^ direction)])
    for kind in ("mlp", "lookup", "gru"):
        baseline = train(kind, [data])
        asked = [{"direction": d, "mission": mission} for d in range(4) for mission in MISSIONS]
        assert act(baseline, "toy/missions", asked) == [d ^ i for d in range(4) for i in range(4)], kind
        # What was never seen is not seen now, but does no harm.
        assert 0 <= act(baseline, "toy/missions", [{"direction": 0, "mission": "a purple box " * 20}])[0] < 4


@pytest.mark.parametrize("kind", ["mlp", "lookup"])
def test_values_that_the_data_never_had_do_no_harm(tmp_path, kind):
    space = spaces.MultiDiscrete([7, 7])
    seen = np.array([[0, 2], [2, 3], [0, 3], [2, 2]] * 10)
    data = dataset(tmp_path, "toy/rare", space, spaces.Discrete(2), [(seen, seen[:, 0] // 2)])
    baseline = train(kind, [data])
    assert baseline.groups[0].features.hot == 4
    assert act(baseline, "toy/rare", [np.array(o) for o in ([0, 2], [2, 6], [2, 0], [0, 6])]) == [0, 1, 1, 0]


def test_choices_are_drawn_by_the_seed_of_the_slot(tmp_path):
    space, rng = spaces.Box(-1, 1, (1,)), np.random.default_rng(0)
    data = dataset(
        tmp_path, "toy/coin", space, spaces.Discrete(2), [(np.zeros((600, 1), np.float32), (rng.random(600) < 0.35).astype(int))]
    )
    baseline = train("mlp", [data], 0.5)
    actors = [baseline.actor("toy/coin", slots) for slots in (2, 4)]
    for actor, slots in zip(actors, (2, 4)):
        for slot in range(slots):
            actor.reset(slot, slot)
    drawn = [[actor.act(dict.fromkeys(range(slots), np.zeros(1))) for _ in range(40)] for actor, slots in zip(actors, (2, 4))]
    assert [step[1] for step in drawn[0]] == [step[1] for step in drawn[1]] != [step[0] for step in drawn[1]]
    assert 2 < sum(step[0] for step in drawn[0]) < 30
    greedy = baseline.actor("toy/coin", 1, 0.0)
    greedy.reset(0)
    assert {greedy.act({0: np.zeros(1)})[0] for _ in range(20)} == {0}
    often = train("lookup", [data]).actor("toy/coin", 1)
    often.reset(0)
    assert len({often.act({0: np.zeros(1)})[0] for _ in range(20)}) == 1


def test_only_a_gru_remembers(tmp_path):
    """What is to be done in the last timestep was shown in the first only."""
    space, rng, episodes = spaces.MultiDiscrete([3, 2]), np.random.default_rng(0), []
    for _ in range(200):
        cue, length = rng.integers(1, 3), rng.integers(3, 6)
        seen = np.zeros((length, 2), np.int64)
        seen[0, 0], seen[-1, 1] = cue, 1
        done = np.zeros(length, np.int64)
        done[-1] = cue
        episodes.append((seen, done))
    data = dataset(tmp_path, "toy/cue", space, spaces.Discrete(3), episodes)
    solved = {}
    for kind in ("gru", "mlp"):
        actor = train(kind, [data], 6).actor("toy/cue", 2, 0.0)
        solved[kind] = 0
        for _ in range(2):  # the second time in slots that remember the first
            for slot in (0, 1):
                actor.reset(slot)
            seen = [{0: [1, 0], 1: [2, 0]}, *[{0: [0, 0], 1: [0, 0]}] * 3, {0: [0, 1], 1: [0, 1]}]
            steps = [actor.act({slot: np.array(o) for slot, o in step.items()}) for step in seen]
            solved[kind] += sum(steps[-1][slot] == slot + 1 for slot in (0, 1)) * all(step == {0: 0, 1: 0} for step in steps[:-1])
        for slot in (0, 1):
            actor.reset(slot)
        forgot = actor.act({0: np.array([0, 1]), 1: np.array([0, 1])})
        assert forgot[0] == forgot[1]
    assert solved["gru"] == 4 and solved["mlp"] <= 2


def test_gru_learns_nothing_from_beyond_an_episode(tmp_path):
    data = dataset(tmp_path, "toy/short", STATE, spaces.Discrete(2), [(np.ones((1, 6)), np.ones(1, int)) for _ in range(9)])
    pool = Pool(data.layout, [data], ["toy/short"], TOKENIZER, SMALL)
    gru = Gru(pool.features, pool.targets, SMALL)
    pool.losses = lambda out, timesteps: torch.arange(len(out)) % SMALL.sequence * out.sum(1) ** 0
    assert gru.loss(pool, np.random.default_rng(0)) == 0


PICTURE = spaces.Dict(image=spaces.Box(0, 255, (40, 36, 3), np.uint8))
COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "dark blue": (20, 20, 120)}


def pictures(names, seed=0):
    noise = np.random.default_rng(seed).integers(-20, 20, (len(names), 40, 36, 3))
    return {"image": (np.array([COLOURS[name] for name in names])[:, None, None] + noise).astype(np.uint8)}


def test_cnn_sees_and_speaks(tmp_path):
    names = [name for name in COLOURS for _ in range(20)]
    words = dataset(tmp_path, "captions/toy", PICTURE, text_space(), [(pictures(names), names)])
    choices = dataset(tmp_path, "toy/look", PICTURE, spaces.Discrete(3), [(pictures(names), [list(COLOURS).index(n) for n in names])])
    baseline = train("cnn", [words, choices], 6)
    assert len(baseline.groups) == 2 and min(baseline.facts["steps"]) > 3  # both had their share of the time
    shown = [{"image": image} for image in pictures(list(COLOURS), 1)["image"]]
    assert act(baseline, "toy/look", shown) == [0, 1, 2]
    assert act(baseline, "captions/toy", shown) == list(COLOURS)
    held_out = dataset(tmp_path / "more", "captions/toy", PICTURE, text_space(), [(pictures(list(COLOURS), 2), list(COLOURS))])
    assert baseline.loss(held_out) < 0.3
    unheard = dataset(tmp_path / "other", "captions/toy", PICTURE, text_space(), [(pictures(["red"], 2), ["zebra"])])
    unknown, rest = len(TOKENIZER.encode("zebra")), np.log(32_000 / 0.01)  # tokens that it never had, but no infinity
    assert unknown * rest < (unknown + 1) * baseline.loss(unheard) < (unknown + 1) * rest


@pytest.mark.parametrize("kind", ["mlp", "gru", "lookup", "cnn"])
def test_saved_and_loaded_it_acts_the_same(tmp_path, kind):
    sets = [reaching(tmp_path, "toy/a"), reaching(tmp_path, "toy/b", 1.0, 1)]
    names = list(COLOURS) * 4
    if kind == "cnn":
        sets.append(dataset(tmp_path, "captions/toy", PICTURE, text_space(), [(pictures(names), names)]))
    space = spaces.Dict(mission=text_space(), mode=spaces.Discrete(2))
    seen = {"mission": MISSIONS, "mode": np.array([0, 1, 1, 0])}
    sets.append(dataset(tmp_path, "toy/c", space, spaces.Discrete(4), [(seen, np.arange(4))]))
    baseline = train_baseline(kind, sets, 0.3, folder=tmp_path / "agent", settings=dataclasses.replace(SMALL, task_id=True), show=False)
    again = Baseline.load(tmp_path / "agent")
    assert sorted(p.name for p in (tmp_path / "agent").iterdir()) == ["baseline.json", "model.safetensors", "starts.safetensors"]
    assert again.settings == baseline.settings and again.facts == baseline.facts and set(again.layouts) == {d.task for d in sets}
    states = list(np.random.default_rng(3).normal(0.5, 1, (8, 6)))
    for agent in (baseline, again):
        done = act(agent, "toy/b", states)
        if agent is baseline:
            first = done
    assert (np.array(first) == np.array(done)).all() and np.ptp(np.array(first)) > 0
    missions = [{"mission": mission, "mode": 1} for mission in MISSIONS]
    assert act(baseline, "toy/c", missions, 1.0) == act(again, "toy/c", missions, 1.0)
    if kind == "cnn":
        shown = [{"image": image} for image in pictures(names, 1)["image"]]
        assert act(baseline, "captions/toy", shown) == act(again, "captions/toy", shown)


def test_tasks_are_told_apart_by_what_is_observed_or_by_their_name(tmp_path):
    """Two tasks that look alike and want opposite things; their numbers are measured alike, by all the data of the same space."""
    rng, sets = np.random.default_rng(0), []
    for task, sign in (("toy/left", -1), ("toy/right", 1)):
        seen = rng.normal(0, 1, (200, 6))
        sets.append(dataset(tmp_path, task, STATE, MOVE, [(seen, np.full((200, 2), sign * 0.8, np.float32))]))
    told, untold = train("mlp", sets, task_id=True), train("mlp", sets)
    still = [np.zeros(6)]
    assert act(told, "toy/left", still)[0] == pytest.approx([-0.8, -0.8], abs=0.2)
    assert act(told, "toy/right", still)[0] == pytest.approx([0.8, 0.8], abs=0.2)
    assert (act(untold, "toy/left", still)[0] == act(untold, "toy/right", still)[0]).all()
    pooled = shared_layouts(sets, {})["toy/left"].statistics
    assert (untold.layouts["toy/left"].statistics.mean == pooled.mean).all() and pooled.count == 400


def test_pauses_have_a_usable_agent(tmp_path, monkeypatch):
    data, heard = reaching(tmp_path), []
    seen = list(np.random.default_rng(5).normal(0, [0.3, 0.01, 1, 3, 0.5, 0], (100, 6)))

    loss, learning = Mlp.loss, []
    monkeypatch.setattr(Mlp, "loss", lambda self, *arguments: learning.append(self.training) or loss(self, *arguments))

    def paused(seconds, agent):
        assert not agent.groups[0].network.training
        error = np.abs(np.array(act(agent, "toy/reach", seen)) - expert(np.array(seen))).mean()
        agent.save(tmp_path / "paused")
        assert np.array_equal(act(Baseline.load(tmp_path / "paused"), "toy/reach", seen), act(agent, "toy/reach", seen))
        heard.append((seconds, error, agent.facts["learned_for"], agent.facts["steps"][0]))

    train_baseline("mlp", [data], 1.5, settings=SMALL, pauses=[1.5, 0.1, 0.6], paused=paused, show=False)
    seconds, errors, learned, steps = zip(*heard)
    assert [0.1, 0.6, 1.5] == pytest.approx(seconds, abs=0.2) and seconds == learned and seconds[-1] == 1.5
    assert all(learning) and len(learning) == steps[-1]
    assert errors[0] > errors[-1] and steps[0] < steps[1] < steps[2]
    with pytest.raises(OpenGatoError, match="pauses has 2"):
        train_baseline("mlp", [data], 1.5, pauses=[2], show=False)


def test_refuses_what_it_cannot_see_or_do(tmp_path):
    names = list(COLOURS)
    look = dataset(tmp_path, "toy/look", PICTURE, spaces.Discrete(3), [(pictures(names), np.arange(3))])
    caption = dataset(tmp_path, "captions/toy", PICTURE, text_space(), [(pictures(names), names)])
    talk = dataset(tmp_path, "dialogue/toy", text_space(), text_space(), [(["hello"], ["good day"])])
    for kind in ("mlp", "gru", "lookup"):
        with pytest.raises(
            OpenGatoError, match=rf"field image of task 'toy/look' is an image, which a baseline {kind} does not see: use cnn"
        ):
            train(kind, [look])
        with pytest.raises(OpenGatoError, match=r"captions/toy.*use cnn"):
            train(kind, [caption])
        with pytest.raises(OpenGatoError, match=r"'dialogue/toy' is a text, which .* use cnn"):
            train(kind, [talk])
    with pytest.raises(OpenGatoError, match="there is no image to write about"):
        train("cnn", [talk])
    with pytest.raises(OpenGatoError, match="did you mean 'mlp'"):
        train("mpl", [look])
    with pytest.raises(OpenGatoError, match="seconds is 0"):
        train("cnn", [look], 0)
    with pytest.raises(OpenGatoError, match="is no baseline"):
        Baseline.load(tmp_path)


def test_a_folder_keeps_the_baseline_that_was_asked_for(tmp_path, monkeypatch):
    opened = {"one": reaching(tmp_path, "toy/a"), "two": reaching(tmp_path, "toy/b")}
    monkeypatch.setattr("opengato.baselines.train.open_datasets", lambda names, tokenizer, root: [opened[name] for name in names])

    def ask(kind="mlp", names=("one",), seconds=0.2, **settings):
        return train_or_load(tmp_path / "agent", kind, names, seconds, 0, Settings(**settings), show=False)

    with pytest.raises(OpenGatoError, match="data is empty"):
        ask(names=())
    first = ask()
    assert ask().facts == ask(names=()).facts == first.facts  # not trained again
    different = {"kind": {"kind": "gru"}, "seconds": {"seconds": 0.3}, "datasets": {"names": ["two"]}, "settings": {"task_id": True}}
    for field, asked in different.items():
        with pytest.raises(OpenGatoError, match=f"has another {field} than"):
            ask(**asked)
    (tmp_path / "agent" / "config.json").write_text("{}")
    with pytest.raises(OpenGatoError, match="holds a checkpoint"):
        ask()
