"""Sizes, the form of the batch, losses where targets are, and acting as training saw it."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from opengato.datasets.dataset import Episodes
from opengato.datasets.tokenise import tokenise
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.mixture import Mixture, Sampling
from opengato.mixture.packing import Piece, pack
from opengato.model.batch import collate
from opengato.model.config import PRESETS, ModelConfig, preset
from opengato.model.gato import Gato
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import CONTINUOUS, IMAGE, IS_TARGET

TOKENIZER = TextTokenizer.load()


@pytest.mark.parametrize(("name", "millions", "tolerance"), [("gato-79m", 79, 0.025), ("gato-364m", 364, 0.01), ("gato-1.2b", 1180, 0.01)])
def test_parameters_are_the_papers(name, millions, tolerance):
    with torch.device("meta"):
        count = Gato(preset(name)).parameter_count()
    assert count == pytest.approx(millions * 1e6, rel=tolerance)


@pytest.mark.parametrize(("name", "millions"), [("swift-nano", 1.2), ("swift-tiny", 2.2), ("swift-small", 26)])
def test_swift_sizes_outside_the_embeddings(name, millions):
    with torch.device("meta"):
        count = Gato(preset(name)).parameter_count(embeddings=False)
    assert count == pytest.approx(millions * 1e6, rel=0.1)


SMALL = {
    "gato": ModelConfig("gato", 2, 2, 32, 64, 16, context=96),
    "swift": ModelConfig("swift", 2, 2, 32, 64, 16, context=64, set_width=32, patches_per_position=2, glances=2),
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("cache")
    boxes = [
        Episode(rng.normal(size=(t, 3)).astype(np.float32), rng.uniform(-1, 1, (t, 2)).astype(np.float32), np.ones(t, np.float32), "arm/a")
        for t in (9, 30)
    ]
    board = spaces.MultiDiscrete(np.full((2, 3), 5))
    seen = spaces.Dict(board=board, image=spaces.Box(0, 255, (32, 32, 3), np.uint8), mission=text_space(), pose=spaces.Discrete(4))
    grid = [
        Episode(
            {
                "board": rng.integers(0, 5, (t, 2, 3)),
                "image": rng.integers(0, 256, (t, 32, 32, 3), np.uint8),
                "mission": ["go to the ball"] * t,
                "pose": rng.integers(0, 4, t),
            },
            rng.integers(0, 7, t),
            np.ones(t, np.float32),
            "grid/b",
        )
        for t in (4, 6, 5)
    ]
    talk = [Episode(["hello there", "and you?"], ["hi", "I am well, thank you"], np.zeros(2, np.float32), "talk/c") for _ in range(3)]
    long = [Episode({}, [" ".join(f"word {i}" for i in range(150))], np.zeros(1, np.float32), "text/d")]
    return [
        tokenise(Episodes("arm/a", spaces.Box(-9, 9, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32), boxes, "1"), TOKENIZER, root),
        tokenise(Episodes("grid/b", seen, spaces.Discrete(7), grid, "1"), TOKENIZER, root),
        tokenise(Episodes("talk/c", text_space(), text_space(), talk, "1"), TOKENIZER, root),
        tokenise(Episodes("text/d", spaces.Dict({}), text_space(), long, "1"), TOKENIZER, root),
    ]


def mixture(datasets, family, seed=3, **sampling):
    config = SMALL[family]
    return Mixture(datasets, {d.domain: 1.0 for d in datasets}, config.context, config.fold, seed, Sampling(**{"moments": 3, **sampling}))


@pytest.mark.parametrize("family", ["gato", "swift"])
def test_the_nth_sequence_is_a_pure_function_of_seed_and_n(datasets, family):
    a, b = mixture(datasets, family), mixture(datasets, family)
    for n in (0, 7, 1_000_003):
        b.sequence(n + 1)
        for left, right in zip(vars(a.sequence(n)).values(), vars(b.sequence(n)).values(), strict=True):
            np.testing.assert_array_equal(left, right)
    assert not np.array_equal(a.sequence(0).tokens, a.sequence(1).tokens)
    assert not np.array_equal(a.sequence(0).tokens, mixture(datasets, family, seed=4).sequence(0).tokens)


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("family", ["gato", "swift"])
def test_packed_windows_do_not_see_each_other(datasets, family, side):
    """The losses of a window's targets are the same whatever stands in the windows before it, which causality does not hide, and after."""
    torch.manual_seed(0)
    model = Gato(SMALL[family]).double().eval()
    mix = mixture(datasets, family)
    checked = 0
    for n in range(30):
        sequence = mix.sequence(n)
        window = sequence.segments.max() if side == "before" else 0
        own = (sequence.segments[np.minimum(sequence.positions - 1, len(sequence.segments) - 1)] == window) & sequence.predicted
        begins, ends = np.flatnonzero(sequence.segments == window)[[0, -1]]
        outside = sequence.positions < begins if side == "before" else (sequence.positions > ends) & ~sequence.predicted
        # The words of others; with folding a last one stands in the observation that follows.
        changed = outside & (sequence.tokens < 33024) & (sequence.kinds != CONTINUOUS)
        if sequence.segments.max() < 1 or not own.any() or not changed.any():
            continue
        before = model(collate([sequence], model.config))
        sequence.tokens = np.where(changed, 17, sequence.tokens)
        after = model(collate([sequence], model.config))
        mine = torch.from_numpy(own[sequence.predicted])
        torch.testing.assert_close(before[mine], after[mine])
        assert not torch.allclose(before[~mine], after[~mine])
        checked += 1
    assert checked > 5


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Captions of pictures of 4 to 132 patches, some of which leave no room for words in a context of 96 or 64."""
    rng = np.random.default_rng(0)
    root, out = tmp_path_factory.mktemp("pictures"), []
    for side in (32, 96, 128, 144, 160, 176):
        seen = spaces.Dict(image=spaces.Box(0, 255, (side, side, 3), np.uint8), question=text_space())
        words = " ".join(f"word {i}" for i in range(6 if side == 96 else 30))
        shown = {"image": rng.integers(0, 256, (1, side, side, 3), np.uint8), "question": ["what is it?"]}
        episodes = [Episode(shown, [words], np.zeros(1, np.float32), f"see/{side}")]
        out.append(tokenise(Episodes(f"see/{side}", seen, text_space(), episodes, "1"), TOKENIZER, root))
    return out


@pytest.mark.parametrize(
    ("family", "side"), [("gato", 32), ("gato", 96), ("gato", 128), ("swift", 32), ("swift", 96), ("swift", 128), ("swift", 144)]
)
def test_a_picture_is_whole_and_has_words(pictures, family, side):
    data = [d for d in pictures if d.task == f"see/{side}"]
    mix = mixture(data, family)
    for n in range(60):
        sequence = mix.sequence(n)
        assert (sequence.kinds == IMAGE).sum() == len(sequence.patches) == len(sequence.patches) // (side // 16) ** 2 * (side // 16) ** 2
        last_patch = {s: p for s, p in zip(sequence.segments[sequence.positions[sequence.kinds == IMAGE]], range(10**6))}
        told = np.bincount(sequence.segments[sequence.positions[sequence.predicted] - 1], minlength=len(last_patch))
        assert (told >= 10).all()


@pytest.mark.parametrize(("family", "side"), [("gato", 144), ("gato", 160), ("swift", 176)])
def test_a_picture_that_leaves_no_room_for_words_is_refused(pictures, family, side, capsys):
    by_side = {d.task: d for d in pictures}
    with pytest.raises(OpenGatoError, match=f"a timestep of task 'see/{side}' takes at least .* positions, more than the context of"):
        mixture([by_side[f"see/{side}"]], family)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=9), min_size=1, max_size=4),
    family=st.sampled_from(["gato", "swift"]),
    prompt_share=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_no_window_leaves_its_episode(sizes, family, prompt_share):
    """Talks whose turns have any number of words: each window is of one episode, its timesteps in a row."""
    episodes = [
        Episode(["said " + "so " * n for n in turns], ["well " * (n + 1) for n in turns], np.zeros(len(turns), np.float32), "talk/c")
        for turns in sizes
    ]
    with tempfile.TemporaryDirectory() as root:
        data = tokenise(Episodes("talk/c", text_space(), text_space(), episodes, "1"), TOKENIZER, Path(root))
        mix = mixture([data], family, moments=0, prompt_share=prompt_share)
        for n in range(20):
            for piece in mix.pieces(n)[0]:
                inside = np.searchsorted(data.episodes, piece.timesteps, side="right")
                assert (inside == inside[0]).all() and (np.diff(piece.timesteps) == 1).all()
                taken = mix.sources[0][0].size(piece.timesteps)
                assert piece.base + taken <= mix.length or len(piece.timesteps) == 1


@pytest.mark.parametrize("family", ["gato", "swift"])
def test_no_observation_is_predicted_and_every_action_is(datasets, family):
    """Of pictures, talks and texts too, by the kinds of their tokens; the test after this one knows the very numbers."""
    mix = mixture(datasets, family, prompt_share=0.0)
    for n in range(20):
        sequence = mix.sequence(n)
        assert (sequence.kinds[sequence.predicted] >= IS_TARGET).all()
        whole = np.flatnonzero(sequence.kinds < IS_TARGET)[0]  # before it: the end of a timestep whose observation is cut off
        unpredicted = sequence.kinds[whole:][~sequence.predicted[whole:]]
        if mix.domains[sequence.domains[0]] != "text":  # of which a crop's first word is none (tests/mixture/test_documents.py)
            assert (unpredicted < IS_TARGET).all() or family == "gato"
        else:
            assert (unpredicted >= IS_TARGET).sum() <= len(np.unique(sequence.segments)) or family == "gato"
        if mix.domains[sequence.domains[0]] == "arm":
            assert sequence.predicted.sum() == 2 * sequence.timesteps


@pytest.mark.parametrize("family", ["gato", "swift"])
def test_what_is_predicted_are_the_actions_of_the_windows_and_nothing_else(tmp_path, family):
    """From the episodes themselves: of each timestep in a sequence the action's numbers, by the paper's bins, or its key."""
    rng, bins, keys = np.random.default_rng(0), spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(7)
    told = {"arm": [rng.uniform(-1, 1, (t, 2)).astype(np.float32) for t in (9, 30)], "grid": [rng.integers(0, 7, t) for t in (4, 25)]}
    data = []
    for domain, space in (("arm", bins), ("grid", keys)):
        seen = [rng.normal(size=(len(actions), 3)).astype(np.float32) for actions in told[domain]]
        episodes = [Episode(o, a, np.ones(len(a), np.float32), f"{domain}/x") for o, a in zip(seen, told[domain])]
        data.append(tokenise(Episodes(f"{domain}/x", spaces.Box(-9, 9, (3,), np.float32), space, episodes, "1"), TOKENIZER, tmp_path))
    mix = mixture(data, family, prompt_share=0.5, **({"short_share": 0.5} if family == "swift" else {}))
    for n in range(60):
        expected = []
        for piece in mix.pieces(n)[0]:
            for timestep in piece.timesteps:
                episode = int(np.searchsorted(piece.data.episodes, timestep, side="right")) - 1
                action = told[piece.data.domain][episode][timestep - piece.data.episodes[episode]]
                expected += (32_000 + np.floor((action + 1) * 512)).tolist() if piece.data.domain == "arm" else [int(action)]
        sequence = mix.sequence(n)
        assert sequence.tokens[sequence.predicted].tolist() == expected


def test_a_patchs_place_is_drawn_anew_from_its_interval_in_training(tmp_path):
    """The paper's example: the patch in row 1, column 2 of a picture 80 wide and 64 high lies on rows [32, 64), columns [51, 77)."""
    rng = np.random.default_rng(0)
    episode = Episode(rng.integers(0, 256, (2, 64, 80, 3), np.uint8), rng.integers(0, 3, 2), np.ones(2, np.float32), "see/a")
    data = tokenise(Episodes("see/a", spaces.Box(0, 255, (64, 80, 3), np.uint8), spaces.Discrete(3), [episode], "1"), TOKENIZER, tmp_path)
    mix = mixture([data], "swift", prompt_share=0.0)
    drawn = []
    for n in range(400):
        sequence = mix.sequence(n)
        assert len(sequence.patches) % 20 == 0
        drawn += [(sequence.patch_rows[i], sequence.patch_columns[i]) for i in range(7, len(sequence.patches), 20)]
    rows, columns = np.array(drawn).T
    assert set(rows) == set(range(32, 64)) and set(columns) == set(range(51, 77))
    assert np.bincount(rows).max() < 2 * len(rows) / 32 and abs(np.corrcoef(rows, columns)[0, 1]) < 0.15
    np.testing.assert_array_equal(mix.sequence(3).patch_rows, mix.sequence(3).patch_rows)


@pytest.mark.parametrize("family", ["gato", "swift"])
def test_recomputation_keeps_less_and_gives_the_same_gradients(datasets, family):
    torch.manual_seed(0)
    model = Gato(SMALL[family]).double().train()
    batch = collate([mixture(datasets, family).sequence(n) for n in range(4)], model.config)
    kept, gradients = [], []
    for model.recompute in (False, True):
        tensors: dict[int, int] = {}

        def pack_(tensor, tensors=tensors):
            if not isinstance(tensor, torch.nn.Parameter):
                tensors[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack_, lambda tensor: tensor):
            hidden = model.hidden(batch)
        loss = (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).sum()
        kept.append(sum(tensors.values()))
        model.zero_grad()
        loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert kept[1] < 0.7 * kept[0]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("prompt_share", [0.0, 1.0])
def test_single_timesteps_are_seen_as_if_each_stood_alone_after_its_prompt(datasets, prompt_share):
    """In a batch with sequences of all sorts, whatever of the attention is left out."""
    torch.manual_seed(0)
    model = Gato(SMALL["swift"]).double().eval()
    mix = mixture(datasets[:2], "swift", short_share=1.0, prompt_share=prompt_share)
    rng = np.random.default_rng(0)
    long = mixture(datasets, "swift").sequence(0)
    checked = 0
    for n in range(4):
        together = model.hidden(collate([mix.sequence(n), long], model.config))[0]
        for piece in mix.pieces(n)[0]:
            for window in np.unique(piece.windows):
                inside = piece.windows == window
                shared = inside & (piece.branches == 0)
                for single in np.flatnonzero(inside & (piece.branches > 0)) if prompt_share else np.flatnonzero(inside):
                    chosen = np.append(np.flatnonzero(shared & inside), single) if prompt_share else [single]
                    own = Piece(piece.data, piece.layout, 0, piece.timesteps[chosen], *np.zeros((2, len(chosen)), np.int64), 0)
                    alone = model.hidden(collate([pack([own], 64, mix.fold, rng)], model.config))[0]
                    _, starts = mix.fold.positions(piece.data.gather(piece.timesteps).kinds, piece.data.gather(piece.timesteps).offsets)
                    last = piece.base + int(starts[single + 1]) - 1
                    count = int((pack([own], 64, mix.fold, rng).segments >= 0).sum())
                    if all(field.kind != IMAGE for field in piece.data.layout.observation):  # where a picture's patches are is drawn anew
                        torch.testing.assert_close(together[last], alone[count - 1], rtol=1e-4, atol=1e-5)
                        checked += 1
    assert checked > 50


def test_windows_of_the_papers_form_fill_the_sequence(datasets):
    """They are runs of the episode's own tokens, that may begin inside a timestep; only what is seen whole is predicted."""
    data = datasets[0]
    stream = data.gather(np.arange(data.timesteps)).tokens.astype(np.int64)
    mix = Mixture([data], {"arm": 1.0}, 64, SMALL["gato"].fold, 0, Sampling(prompt_share=0.0))
    begun_inside, padding = 0, 0
    for n in range(200):
        sequence = mix.sequence(n)
        padding += (sequence.segments < 0).sum()
        for segment in range(sequence.segments.max() + 1):
            inside = sequence.segments[sequence.positions] == segment
            tokens, predicted = sequence.tokens[inside], sequence.predicted[inside]
            runs = np.lib.stride_tricks.sliding_window_view(stream, len(tokens))
            at = np.flatnonzero((runs == tokens).all(1))
            assert len(at) == 1
            offset = int(at[0]) % 6  # three numbers, the separator, two actions
            cut = (6 - offset) % 6
            begun_inside += cut > 0
            assert not predicted[:cut].any()
            assert predicted[cut:].sum() == 2 * ((len(tokens) - cut) // 6) and (len(tokens) - cut) % 6 == 0
    assert begun_inside > 50
    assert padding / (200 * 64) < 0.02  # without: 64 = 10 · 6 + 4, over 6%


def test_prompts_take_a_quarter_and_half_of_them_come_from_the_end(datasets):
    mix = Mixture(datasets[:1], {"arm": 1.0}, 64, SMALL["swift"].fold, 0)
    source = mix.sources[0][0]
    rng = np.random.Generator(np.random.Philox(key=1))
    draws = [mix._draw(source, rng, 40) for _ in range(4000)]
    prompted = [d for d in draws if len(d) == 2]
    assert len(prompted) / len(draws) == pytest.approx(0.25, abs=0.03)
    long = [p for (p, _) in prompted if p[0] >= 9]  # of the episode that does not fit whole
    assert np.mean([p[-1] == 38 for p in long]) == pytest.approx(0.5, abs=0.12)
    assert all((p[0] >= 9) != (w[0] >= 9) for p, w in prompted)  # another episode of the task


def test_episodes_that_cannot_fit_are_left_out_with_a_notice(tmp_path, capsys):
    short, long = ["hello there"] * 2, ["hello there", " ".join(["word"] * 300)]
    episodes = [Episode(heard, short, np.zeros(2, np.float32), "talk/c") for heard in (short, long, short)]
    data = tokenise(Episodes("talk/c", text_space(), text_space(), episodes, "2"), TOKENIZER, tmp_path)
    mix = Mixture([data], {"talk": 1.0}, 64, SMALL["swift"].fold, 0)
    assert "talk/c: 1 of 3 episodes" in capsys.readouterr().err
    assert {window["episode"] for n in range(30) for window in mix.describe(n)} == {0, 2}
    data = tokenise(Episodes("talk/c", text_space(), text_space(), list(episodes[1:2]), "3"), TOKENIZER, tmp_path)
    with pytest.raises(OpenGatoError, match="longer context"):
        Mixture([data], {"talk": 1.0}, 64, SMALL["swift"].fold, 0)


def test_every_predicting_position_counts_once(datasets):
    mix = mixture(datasets, "swift")
    batch = collate([mix.sequence(n) for n in range(8)], SMALL["swift"])
    shares = batch.shares()
    assert shares.sum().item() == pytest.approx(len(batch.target_positions.unique()))
    assert set(shares.tolist()) == {0.5, 1.0}  # an arm's two numbers, and all else
    paper = collate([mixture(datasets, "gato").sequence(n) for n in range(8)], SMALL["gato"])
    assert (paper.shares() == 1).all()


@pytest.mark.parametrize("family", ["gato", "swift"])
def test_training_lowers_the_loss(datasets, family):
    torch.manual_seed(0)
    model = Gato(SMALL[family])
    mix = mixture(datasets, family)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    batch = collate([mix.sequence(n) for n in range(6)], model.config)
    first = model(batch).mean().item()
    for _ in range(40):
        loss = model(batch).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.6 * first


def test_every_preset_is_described():
    assert set(PRESETS) == {"gato-79m", "gato-364m", "gato-1.2b", "swift-nano", "swift-tiny", "swift-small"}
