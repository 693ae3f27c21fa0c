"""The survey beside NumPy over all rows at once; what it says before a training; spaces inferred from it."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from opengato.datasets.survey import Survey, make, survey
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.continuous import mu_law, to_bins

SEEN = spaces.Dict(state=spaces.Box(-np.inf, np.inf, (4,), np.float32), image=spaces.Box(0, 255, (8, 8, 3), np.uint8))
DONE = spaces.Box(-1, 1, (2,), np.float32)


class Untouchable:
    """A picture that must not be decoded."""

    def __init__(self, length):
        self._length = length

    def __len__(self):
        return self._length

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("a picture was decoded")


def episodes(states):
    for number, state in enumerate(states):
        actions = np.random.default_rng(number).uniform(-1, 1, (len(state), 2)).astype(np.float32)
        yield Episode({"state": state, "image": Untouchable(len(state))}, actions, np.full(len(state), number, np.float32), "x/y")


def drawn():
    rng = np.random.default_rng(0)
    # More rows than are counted at once, in episodes that do not divide them.
    return [np.stack([rng.normal(0, 1, n), rng.normal(5, 1e-3, n), np.full(n, 7.0), rng.normal(0, 4000, n)], 1) for n in [7_001] * 5 + [3]]


def test_it_is_what_numpy_finds_in_all_rows():
    states = drawn()
    found = make(episodes(states), SEEN, DONE)
    rows = np.concatenate(states)
    column = found.columns["observation.state"]
    assert found.timesteps == column.count == len(rows) and found.episodes == 6
    np.testing.assert_allclose(column.low, rows.min(0))
    np.testing.assert_allclose(column.high, rows.max(0))
    np.testing.assert_allclose(column.mean, rows.mean(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(column.deviation, rows.std(0), rtol=1e-6, atol=1e-9)
    for index in range(4):
        bins, counts = np.unique(to_bins(mu_law(rows[:, index])), return_counts=True)
        inside = rows[to_bins(mu_law(rows[:, index])) == bins[counts.argmax()], index]
        assert column.share[index] == counts.max() / len(rows)
        assert column.spread[index] == pytest.approx(np.ptp(inside))
    assert found.returns == [0.0, pytest.approx(np.mean([i * len(s) for i, s in enumerate(states)])), 4.0 * 7_001]
    assert Survey.from_json(found.to_json()).to_json() == found.to_json()


def test_what_it_says():
    """Of values beyond the last bin, and of those that lie too close together; not of a number that rests."""
    said = make(episodes(drawn()), SEEN, DONE).lines()
    assert [line.partition(":")[0].partition(" spans")[0] for line in said] == ["observation.state[1]", "observation.state[3]"]
    state = np.zeros((200, 4), np.float32)
    state[:, 0] = np.linspace(-4000, 4000, 200)
    (line,) = make(episodes([state]), SEEN, DONE).lines()
    assert line == "observation.state[0] spans ±4,000: 47% of its values share one bin"
    assert make(episodes([state]), SEEN, DONE).lines(in_bins=False) == []


def test_numbers_that_are_none_and_episodes_that_are_lost():
    states = [state.astype(np.float32) for state in drawn()[:2]]
    states[1][5, 3] = np.inf
    found = make(episodes(states), SEEN, DONE)
    assert "observation.state has 1 values that are no finite numbers, the first in episode 1, timestep 5, entry 3" in found.lines()
    assert np.isfinite(found.columns["observation.state"].high).all()

    class Lost(Untouchable):
        def __array__(self, dtype=None, copy=None):
            raise OpenGatoError("the disk is gone")

    lost = Episode({"state": Lost(3), "image": Untouchable(3)}, np.zeros((3, 2)), np.zeros(3), "x/y")
    found = make([*episodes(states[:1]), lost], SEEN, DONE)
    assert found.episodes == 1 and found.lines()[-1] == "1 episodes or more cannot be read: episode 1: the disk is gone"


def test_it_is_made_once(tmp_path):
    def never():
        raise AssertionError("read again")
        yield

    first = survey("d", "1", episodes(drawn()[:1]), SEEN, DONE, tmp_path)
    assert survey("d", "1", never(), SEEN, DONE, tmp_path).to_json() == first.to_json()
    with pytest.raises(AssertionError, match="read again"):
        survey("d", "2", never(), SEEN, DONE, tmp_path)
    file = next((tmp_path / "surveys").iterdir())
    file.write_text(file.read_text()[:50])
    assert survey("d", "1", episodes(drawn()[:1]), SEEN, DONE, tmp_path).to_json() == first.to_json()
