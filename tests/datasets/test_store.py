"""The token store: what comes out of it is what was encoded, however it was built, and whatever happened meanwhile."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from opengato.checkpoint import Checkpoint
from opengato.datasets import shards, tokenise
from opengato.datasets.coco import CocoCaptions
from opengato.datasets.dataset import Episodes
from opengato.datasets.index import index_path
from opengato.datasets.open import find_dataset, open_dataset
from opengato.datasets.packed import pack
from opengato.datasets.tokenise import damaged, stored
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.recipes import recipe
from opengato.tokens.compact import Form
from opengato.tokens.encode import encode
from opengato.tokens.fold import Fold
from opengato.tokens.layout import Layout
from opengato.tokens.offsets import Offsets
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import IS_TARGET
from opengato.training.loop import TrainConfig
from opengato.training.train import train

TOKENIZER = TextTokenizer.load()
SEEN = spaces.Dict(
    camera=spaces.Box(0, 255, (20, 33, 3), np.uint8),
    goal=text_space(),
    joints=spaces.Box(-9, 9, (3,)),
    wrist=spaces.Box(0, 255, (16, 16, 1), np.uint8),
)
NUMBERS, GRIP = spaces.Box(-9, 9, (3,)), spaces.Dict(grip=spaces.Discrete(4), move=spaces.Box(-1, 1, (2,)))
ACTIONS = {
    "grip": GRIP,
    "said": text_space(),
    "both": spaces.Dict(a=text_space(), b=spaces.Discrete(3)),
    "last": spaces.Dict(a=spaces.Discrete(3), b=text_space()),
}
EQUAL = ("tokens", "kinds", "local", "offsets", "patches", "boxes")


def sample(space, length, rng):
    if isinstance(space, spaces.Dict):
        return {key: sample(sub, length, rng) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Text):
        return [" ".join(rng.choice(["go", "to", "the", "red", "ball"], rng.integers(5))) for _ in range(length)]
    if isinstance(space, spaces.Discrete):
        return rng.integers(space.n, size=length)
    if space.dtype == np.uint8:
        return np.repeat(rng.integers(0, 256, (-(-length // 2), *space.shape), np.uint8), 2, 0)[:length]  # each stays for two timesteps
    return rng.uniform(-1, 1, (length, *space.shape)).astype(np.float32)


def some(task, seen, done, lengths, seed=0):
    rng = np.random.default_rng(seed)
    made = [Episode(sample(seen, n, rng), sample(done, n, rng), rng.normal(size=n), task, rng.choice(["a", "b"])) for n in lengths]
    return Episodes(task, seen, done, made, f"{task} {seed} {lengths}")


def check(data, dataset, timesteps=None):
    """What comes out of the store is what the episodes are encoded to."""
    assert len(data) == len(dataset.in_order) and data.returns == pytest.approx([e.episode_return for e in dataset.in_order])
    assert [data.source_names[s] for s in data.sources] == [e.source for e in dataset.in_order]
    for number, episode in enumerate(dataset.in_order):
        want = encode(data.layout, episode, TOKENIZER)
        got = data.gather(np.arange(data.episodes[number], data.episodes[number + 1]))
        for name in EQUAL:
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
            assert getattr(got, name).dtype == getattr(want, name).dtype


@pytest.fixture
def small(monkeypatch):
    """Segments of an episode or two, and shards of some segments."""
    monkeypatch.setattr(tokenise, "_BYTES", 100)
    monkeypatch.setattr(shards, "FULL", 20_000)


@pytest.mark.parametrize("done", ACTIONS)
@pytest.mark.parametrize("seen", [NUMBERS, SEEN], ids=["numbers", "all"])
def test_what_comes_out_is_what_was_encoded(seen, done, tmp_path, small):
    dataset = some("arm/x", seen, ACTIONS[done], [5, 1, 17, 3, 9, 2])
    data = tokenise.tokenise(dataset, TOKENIZER, tmp_path)
    assert len(data._segments) > 2
    check(data, dataset)
    # single timesteps of all over, in any order, as often as one likes
    order = np.random.default_rng(1).integers(data.timesteps, size=60)
    got, episodes = data.gather(order), [encode(data.layout, e, TOKENIZER) for e in dataset.in_order]
    for row, timestep in enumerate(order):
        number = int(np.searchsorted(data.episodes, timestep, side="right")) - 1
        want, one = episodes[number].take(np.array([timestep - data.episodes[number]])), got.take(np.array([row]))
        assert all((getattr(one, name) == getattr(want, name)).all() for name in EQUAL)
    assert not len(data.gather(order, pictures=False).patches)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(-5, 1300), st.booleans())
def test_offsets_are_running_sums(sizes, value, alike):
    sizes = np.full(len(sizes), sizes[0]) if alike else np.array(sizes)
    offsets, known = Offsets(sizes[:1] if alike else sizes, len(sizes)), np.concatenate([[0], np.cumsum(sizes)])
    assert (offsets[np.arange(len(sizes) + 1)] == known).all() and offsets[len(sizes)] == known[-1]
    assert (offsets.sizes(np.arange(len(sizes))) == sizes).all()
    for side in ("left", "right"):
        assert offsets.search(value, side) == np.searchsorted(known, value, side=side)


@pytest.mark.parametrize("done", ACTIONS)
@pytest.mark.parametrize("fold", [Fold(0), Fold(1), Fold(4), Fold(99)])
@pytest.mark.parametrize("seen", [NUMBERS, SEEN, text_space()], ids=["numbers", "all", "text"])
def test_sizes_are_those_of_the_positions(seen, done, fold):
    (episode,) = some("arm/x", seen, ACTIONS[done], [12]).in_order
    form, encoded = Form(layout := Layout(seen, ACTIONS[done])), encode(Layout(seen, ACTIONS[done]), episode, TOKENIZER)
    lengths = np.zeros((12, len(form.texts)), np.int64)
    parts = [*layout.observation, None, *layout.action]
    for column, part in enumerate(form.texts):  # counted again, from the strings
        leaf = episode.observations if part < len(layout.observation) else episode.actions
        leaf = leaf[parts[part].path] if parts[part].path else leaf
        lengths[:, column] = [len(TOKENIZER.encode(text)) + 1 for text in leaf]
    sizes, first = fold.sizes(form.kinds, form.parts(lengths))
    positions, starts = fold.positions(encoded.kinds, encoded.offsets)
    targets = [a + np.flatnonzero(encoded.kinds[a:b] >= IS_TARGET)[0] for a, b in zip(encoded.offsets, encoded.offsets[1:])]
    assert (np.broadcast_to(sizes, 12) == np.diff(starts)).all()
    assert (np.broadcast_to(first, 12) == positions[targets] - starts[:-1]).all()


def test_a_picture_is_stored_once(tmp_path, small):
    rng, space = np.random.default_rng(0), spaces.Box(0, 255, (64, 80, 3), np.uint8)
    different = rng.integers(0, 256, (3, 64, 80, 3), np.uint8)
    made = [Episode(different[rng.integers(3, size=50)], rng.integers(4, size=50), np.zeros(50), "see/x") for _ in range(6)]
    data = tokenise.tokenise(Episodes("see/x", space, spaces.Discrete(4), made, "1"), TOKENIZER, tmp_path)
    assert sum(segment.pictures for segment in data._segments) == 3
    check(data, Episodes("see/x", space, spaces.Discrete(4), made, "1"))
    size = sum(file.stat().st_size for file in (tmp_path / "tokens" / "shards").iterdir())
    assert size < 4 * different[0].nbytes + 300 * 16 + 6 * 1000


def test_many_datasets_share_a_shard(tmp_path):
    made = [some(f"arm/{n}", NUMBERS, GRIP, [4, 5], n) for n in range(20)]
    opened = [tokenise.tokenise(dataset, TOKENIZER, tmp_path) for dataset in made]
    assert len(list((tmp_path / "tokens" / "shards").iterdir())) == 1
    for data, dataset in zip(opened, made):
        check(data, dataset)
        check(stored(dataset, TOKENIZER, tmp_path), dataset)


class Counted(Episodes):
    """Says which episodes are read, and marks as formats do that can."""

    def episodes(self, start=0):
        for number, episode in enumerate(self.in_order[start:], start):
            READ.append(number)
            if number == STOP[0]:
                raise KeyboardInterrupt
            yield episode

    @property
    def name(self):
        return "the same"

    def mark(self, count):
        return str([e.episode_return for e in self.in_order[:count]])


READ: list[int] = []
STOP = [-1]


def counted(dataset):
    READ.clear()
    STOP[0] = -1
    return Counted(dataset.task, dataset.observation_space, dataset.action_space, dataset.in_order, dataset.fingerprint)


def test_an_interrupted_build_goes_on(tmp_path, small):
    dataset = counted(some("arm/x", SEEN, GRIP, [5, 4, 7, 3, 9, 2]))
    STOP[0] = 4
    with pytest.raises(KeyboardInterrupt):
        tokenise.tokenise(dataset, TOKENIZER, tmp_path)
    assert READ == [0, 1, 2, 3, 4] and stored(dataset, TOKENIZER, tmp_path) is None
    dataset = counted(dataset)
    check(tokenise.tokenise(dataset, TOKENIZER, tmp_path), dataset)
    assert READ[0] >= 3 and READ[-1] == 5
    READ.clear()
    check(tokenise.tokenise(dataset, TOKENIZER, tmp_path), dataset)
    assert READ == []


def test_a_dataset_that_has_grown_is_gone_on_with(tmp_path, small):
    whole = some("arm/x", SEEN, GRIP, [5, 4, 7, 3, 9, 2])
    tokenise.tokenise(counted(replace(whole, in_order=whole.in_order[:4], fingerprint="short")), TOKENIZER, tmp_path)
    grown = counted(whole)
    check(tokenise.tokenise(grown, TOKENIZER, tmp_path), whole)
    assert READ == [0, 1, 2, 3, 4, 5]  # of each segment that is known one episode is looked at
    changed = [*whole.in_order, *whole.in_order]
    changed[3] = replace(changed[3], actions=sample(GRIP, len(changed[3]), np.random.default_rng(7)))
    longer = counted(replace(whole, in_order=changed, fingerprint="longer"))
    check(tokenise.tokenise(longer, TOKENIZER, tmp_path), longer)  # one of the old ones is another now, in spite of its mark
    shorter = counted(replace(whole, in_order=whole.in_order[2:], fingerprint="other"))
    check(tokenise.tokenise(shorter, TOKENIZER, tmp_path), shorter)
    named = {
        place[0] for s in json.loads(index_path(shorter, TOKENIZER, tmp_path).read_text())["segments"] for place in s["arrays"].values()
    }
    assert {file.name for file in (tmp_path / "tokens" / "shards").iterdir()} == named  # what nobody names any more is swept away


def coco(folder, count, broken):
    """Captions of `count` pictures, some of them cut short."""
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{number}.jpg")
        if number in broken:
            os.truncate(folder / f"{number}.jpg", 700)
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(count)]
    annotations = [{"id": n, "image_id": n, "caption": f"picture {n}"} for n in range(count)]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return f"coco:{folder / 'captions.json'},{folder}"


def test_bad_samples_are_counted_named_and_left_out_up_to_a_share(tmp_path, capsys):
    name, cache = coco(tmp_path, 20, {3, 11}), tmp_path / "cache"
    with pytest.raises(OpenGatoError, match=r"3\.jpg is no image that can be read"):
        open_dataset(name, TOKENIZER, cache=cache)
    with pytest.raises(OpenGatoError, match=r"2 of 20 samples cannot be read, more than a share of 0\.09 \(--skip-bad\); episode 3: "):
        open_dataset(name, TOKENIZER, cache=cache, skip_bad=0.09)
    data = open_dataset(name, TOKENIZER, cache=cache, skip_bad=0.1)
    assert len(data) == 18 and data.skipped == 2 and "2 of 20 samples cannot be read and are left out" in capsys.readouterr().err
    whole = [number for number in range(20) if number not in {3, 11}]
    read = list(CocoCaptions(tmp_path / "captions.json").episodes())
    for row, number in enumerate(whole):
        assert TOKENIZER.decode(data.gather(np.array([row])).tokens[-4:-1]).endswith(str(number))
        assert (data.frames(np.array([row]))[0] == np.asarray(read[number].observations["image"])).all()
    assert len(open_dataset(name, TOKENIZER, cache=cache)) == 18  # what was decided once stays so


def test_nan_is_a_bad_sample(tmp_path):
    dataset = some("arm/x", NUMBERS, GRIP, [4, 4, 4])
    dataset.in_order[1].observations[2, 1] = np.nan
    with pytest.raises(OpenGatoError, match="timestep 2, entry 1"):
        tokenise.tokenise(dataset, TOKENIZER, tmp_path)
    data = tokenise.tokenise(dataset, TOKENIZER, tmp_path, skip_bad=0.5)
    check(data, replace(dataset, in_order=[dataset.in_order[0], dataset.in_order[2]]))


def test_damage_is_found_on_demand_and_what_is_missing_at_once(tmp_path, capsys):
    dataset = some("arm/x", SEEN, GRIP, [5, 4])
    other = some("arm/y", NUMBERS, GRIP, [5])
    for one in (dataset, other):
        tokenise.tokenise(one, TOKENIZER, tmp_path)
    assert damaged(dataset, TOKENIZER, tmp_path) is None
    (shard,) = (tmp_path / "tokens" / "shards").iterdir()
    index = json.loads(index_path(dataset, TOKENIZER, tmp_path).read_text())
    at = index["segments"][0]["arrays"]["blobs"][1]
    content = bytearray(shard.read_bytes())
    content[at + 5] ^= 1
    shard.write_bytes(content)
    assert damaged(other, TOKENIZER, tmp_path) is None and damaged(dataset, TOKENIZER, tmp_path) == shard
    check(tokenise.tokenise(dataset, TOKENIZER, tmp_path), dataset)
    assert damaged(dataset, TOKENIZER, tmp_path) is None
    shard.unlink()
    assert stored(other, TOKENIZER, tmp_path) is None
    check(tokenise.tokenise(other, TOKENIZER, tmp_path), other)
    assert f"{shard} is damaged" in capsys.readouterr().err


def test_names_that_are_of_no_dataset(tmp_path):
    with pytest.raises(OpenGatoError, match=r"'hdf6:x' is of no known format: give text/plain, .*coco:ANNOTATIONS\.json"):
        find_dataset("hdf6:x")
    with pytest.raises(OpenGatoError, match=r"there is no file nowhere\.json"):
        find_dataset("coco:nowhere.json")
    (tmp_path / "speech.txt").write_text("four score and seven years ago")
    data = open_dataset(f"text:{tmp_path / 'speech.txt'}", TOKENIZER, cache=tmp_path)
    assert data.task == "text/speech" and TOKENIZER.decode(data.gather(np.arange(1)).tokens[1:-1]) == "four score and seven years ago"


def test_packed_datasets_are_the_same_where_nothing_else_is(tmp_path, small, monkeypatch):
    """As they come out, and in what a training makes of them; from a folder that was copied, with no recording and no cache."""
    made = [some("grip/arm", SEEN, ACTIONS["grip"], [3, 5, 2]), some("grip/numbers", NUMBERS, ACTIONS["grip"], [4, 4], seed=1)]
    for dataset in made:
        tokenise.tokenise(dataset, TOKENIZER, tmp_path / "cache")
    pack(made, TOKENIZER, tmp_path / "packed", tmp_path / "cache")
    shutil.copytree(tmp_path / "packed", tmp_path / "elsewhere")
    for gone in ("packed", "cache"):
        shutil.rmtree(tmp_path / gone)
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path / "empty"))
    files = [tmp_path / "elsewhere" / name for name in ("grip--arm.tokens", "grip--numbers.tokens")]
    for name, dataset in zip([str(files[0]), f"tokens:{files[1]}@2"], made):
        found = find_dataset(name)
        assert (found.task, found.fingerprint, found.count()) == (dataset.task, dataset.fingerprint, len(dataset.in_order))
        assert (found.observation_space, found.action_space) == (dataset.observation_space, dataset.action_space)
        check(open_dataset(name, TOKENIZER), dataset)
    model = {"blocks": 1, "heads": 1, "width": 16, "feed_forward": 16, "key_size": 16, "context": 64, "set_width": 16}
    chosen = replace(recipe("swift-nano"), train=TrainConfig(steps=1, batch=2, workers=0, device="cpu"))
    train(chosen, [str(file) for file in files], tmp_path / "run", model=model)
    assert Checkpoint.load(tmp_path / "run" / "checkpoint").layouts.keys() == {"grip/arm", "grip/numbers"}
    assert not (tmp_path / "empty" / "tokens").exists()


def test_a_pack_goes_on_with_what_is_missing(tmp_path):
    first, second = (some(f"grip/{name}", SEEN, ACTIONS["grip"], [3, 5], seed=seed) for seed, name in enumerate(("arm", "hand")))
    for dataset in (first, second):
        tokenise.tokenise(dataset, TOKENIZER, tmp_path / "cache")
    pack([first], TOKENIZER, tmp_path / "packed", tmp_path / "cache")  # as one that was interrupted after it
    (shard,) = (tmp_path / "packed" / "shards").iterdir()
    size = shard.stat().st_size
    for _ in range(2):
        paths = pack([first, second], TOKENIZER, tmp_path / "packed", tmp_path / "cache")
        assert size < shard.stat().st_size <= 2 * size + 64 * 12
    for path, dataset in zip(paths, (first, second), strict=True):
        check(open_dataset(str(path), TOKENIZER), dataset)


def test_what_is_wrong_with_a_packed_dataset_is_said(tmp_path):
    dataset = some("grip/arm", SEEN, ACTIONS["grip"], [3, 5])
    with pytest.raises(OpenGatoError, match="is not in the token store: tokenize it first"):
        pack([dataset], TOKENIZER, tmp_path / "packed", tmp_path / "cache")
    tokenise.tokenise(dataset, TOKENIZER, tmp_path / "cache")
    (path,) = pack([dataset], TOKENIZER, tmp_path / "packed", tmp_path / "cache")
    other = replace(some("grip/arm", SEEN, ACTIONS["grip"], [4], seed=1), fingerprint="another")
    with pytest.raises(OpenGatoError, match="is there already, of other data: pack into an empty folder"):
        pack([other], TOKENIZER, tmp_path / "packed", tmp_path / "cache")
    with pytest.raises(OpenGatoError, match="would be of two datasets"):
        pack([dataset, dataset], TOKENIZER, tmp_path / "again", tmp_path / "cache")
    second = some("grip/hand", SEEN, ACTIONS["grip"], [3])
    tokenise.tokenise(second, TOKENIZER, tmp_path / "cache")
    (tmp_path / "mixed").mkdir()
    shutil.copy(Path(__file__).parents[1] / "checkpoints" / "format-1" / "swift" / "tokenizer.model", tmp_path / "mixed")
    with pytest.raises(OpenGatoError, match="is of another tokenizer: pack into an empty folder"):
        pack([second], TOKENIZER, tmp_path / "mixed", tmp_path / "cache")
    assert [file.name for file in (tmp_path / "mixed").iterdir()] == ["tokenizer.model"]  # nothing was packed beside it
    found = find_dataset(str(path))
    with pytest.raises(OpenGatoError, match="has tokens, not episodes"):
        next(found.episodes())
    assert damaged(found, TOKENIZER) is None
    (shard,) = (tmp_path / "packed" / "shards").iterdir()
    whole = shard.read_bytes()
    shard.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(OpenGatoError, match="is damaged: copy the folder again"):
        damaged(found, TOKENIZER)
    shard.write_bytes(whole[:-1])
    with pytest.raises(OpenGatoError, match="is not there or cut short: copy the folder again"):
        open_dataset(str(path), TOKENIZER)
    (tmp_path / "packed" / "tokenizer.model").unlink()
    with pytest.raises(OpenGatoError, match="packed with another tokenizer"):
        open_dataset(str(path), TOKENIZER)
    with pytest.raises(OpenGatoError, match=r"is not there: name a file \*.tokens"):
        find_dataset(f"tokens:{tmp_path}/no.tokens")
