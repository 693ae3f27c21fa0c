"""Recordings are small and lossless, and what is added to them is all that is tokenised anew."""

import numpy as np
import pytest

from opengato.datasets.index import Index, index_path
from opengato.datasets.tokenise import tokenise
from opengato.domains import get_task
from opengato.episode import Episode
from opengato.tokens.text import TextTokenizer

minari = pytest.importorskip("minari")
h5py = pytest.importorskip("h5py")

from opengato.datasets.minari import load_minari, write_minari  # noqa: E402

TOKENIZER = TextTokenizer.load()
TASK = get_task("atari/pong")


def episodes(count):
    """Of a patch of noise on a background that stays, with the observation after the last action."""
    rng, made = np.random.default_rng(0), []
    for seed in range(count):
        seen = np.repeat(rng.integers(0, 256, (1, 80, 64, 3), np.uint8), 31, 0)
        seen[:, :8, :8] = rng.integers(0, 256, (31, 8, 8, 3), np.uint8)
        made.append((Episode(seen[:-1], rng.integers(0, 6, 30), rng.normal(size=30).astype(np.float32), TASK.id, seed=seed), seen))
    return made


@pytest.mark.parametrize("parts", [(4,), (2, 2)])
def test_recordings_are_compressed_and_the_same(parts, tmp_path):
    """Read back with Minari itself; what is added later is compressed too."""
    made, folder = episodes(4), tmp_path / "opengato" / f"{TASK.id}-v0"
    rest = iter(made)
    for count in parts:
        write_minari(TASK, folder, iter([next(rest) for _ in range(count)]))
    file = folder / "data" / "main_data.hdf5"
    assert file.stat().st_size < 0.2 * sum(seen.nbytes for _, seen in made)
    with h5py.File(file) as inside:
        assert all(inside[f"episode_{n}/observations"].compression == "gzip" for n in range(4))
    theirs = minari.MinariDataset(folder / "data")
    assert theirs.total_episodes == 4 and theirs.storage.metadata["dataset_size"] == theirs.storage.get_size()
    for episode, (ours, seen) in zip(theirs.iterate_episodes(), made):
        assert (episode.observations == seen).all() and (episode.actions == ours.actions).all()
        assert episode.observations.dtype == np.uint8


def test_what_is_added_to_a_recording_is_all_that_is_tokenised(tmp_path):
    made, folder = episodes(5), tmp_path / "opengato" / f"{TASK.id}-v0"
    write_minari(TASK, folder, iter(made[:3]))
    before = tokenise(load_minari(folder), TOKENIZER, tmp_path)
    first = Index.load(index_path(load_minari(folder), TOKENIZER, tmp_path)).segments
    write_minari(TASK, folder, iter(made[3:]))
    data = tokenise(load_minari(folder), TOKENIZER, tmp_path)
    index = Index.load(index_path(load_minari(folder), TOKENIZER, tmp_path))
    assert index.segments[: len(first)] == first and sum(s.episodes for s in index.segments[len(first) :]) == 2
    assert (len(before), len(data)) == (3, 5)
    frames = data.frames(np.arange(data.timesteps))[0].reshape(5, 30, 80, 64, 3)
    assert all((found == episode.observations).all() for found, (episode, _) in zip(frames, made))
