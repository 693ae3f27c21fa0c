"""What training makes of its data: expert returns, the return filter, prompts, and the tasks that the paper holds out."""

from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from opengato.datasets.dataset import Episodes
from opengato.datasets.demonstrations import best_demonstration
from opengato.datasets.starts import starts_of
from opengato.datasets.store import TokenDataset
from opengato.datasets.tokenise import tokenise
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.mixture import Mixture, Sampling
from opengato.model.config import ModelConfig
from opengato.recipes import HELD_OUT, RECIPES
from opengato.tokens.fold import Fold
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import IS_TARGET
from opengato.training.train import best_prompts, expert_returns, long_only, trained_on, without_held_out

TOKENIZER = TextTokenizer.load()
SEEN, DONE = spaces.Box(-9, 9, (1,), np.float32), spaces.Discrete(60)
CONFIG = ModelConfig("swift", 1, 2, 32, 64, 16, context=64, set_width=32, patches_per_position=2)


def data(root, task, returns, lengths=None) -> TokenDataset:
    """Episodes with these returns; every action of the n-th is n."""
    lengths = lengths or [4] * len(returns)
    episodes = []
    for number, (total, length) in enumerate(zip(returns, lengths)):
        rewards = np.zeros(length, np.float32)
        rewards[-1] = total
        episodes.append(Episode(np.zeros((length, 1), np.float32), np.full(length, number), rewards, task))
    return tokenise(Episodes(task, SEEN, DONE, episodes, str((returns, lengths))), TOKENIZER, root)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=40), st.integers(1, 6))
def test_expert_return_is_the_best_mean_of_w_episodes_in_a_row(tmp_path_factory, returns, window):
    one = data(tmp_path_factory.mktemp("cache"), "arm/a", [float(r) for r in returns])
    found = expert_returns([one], Sampling(return_window=window))
    if len(set(returns)) == 1:
        assert found == {}
        return
    w = max(1, min(window, len(returns) // 10))
    assert found["arm/a"] == pytest.approx(max(sum(returns[j : j + w]) / w for j in range(len(returns) - w + 1)), abs=1e-4)


@pytest.mark.parametrize(("expert", "kept"), [(10.0, {0, 2}), (-10.0, {0, 1, 2, 3})])
def test_only_episodes_near_the_experts_return_are_trained_on(tmp_path, expert, kept):
    """Four fifths of a return of 10 is 8; a return of -10 is four fifths of -12.5."""
    one = data(tmp_path, "arm/a", [8.0, 7.9, 30.0, -12.0, -13.0])
    mix = Mixture([one], {"arm": 1.0}, 64, Fold(2), 0, Sampling(return_threshold=0.8), {"arm/a": expert})
    seen = {int(a) for n in range(40) for a in mix.sequence(n).tokens[mix.sequence(n).predicted]}
    assert seen == kept
    everything = Mixture([one], {"arm": 1.0}, 64, Fold(2), 0, Sampling(), {"arm/a": expert})
    assert {int(a) for n in range(40) for a in everything.sequence(n).tokens[everything.sequence(n).predicted]} == set(range(5))
    with pytest.raises(OpenGatoError, match="no episode of task 'arm/a' reaches 80% of the expert return 100"):
        Mixture([one], {"arm": 1.0}, 64, Fold(2), 0, Sampling(return_threshold=0.8), {"arm/a": 100.0})


def test_the_best_demonstration_is_the_prompt_and_without_rewards_there_is_one_too(tmp_path):
    rewarded = data(tmp_path, "arm/a", [1.0, 5.0, 3.0])
    silent = data(tmp_path, "arm/b", [0.0, 0.0, 0.0], [3, 9, 5])
    said = [Episode(["how are you"], ["fine"], np.zeros(1, np.float32), "talk/c")]
    talk = tokenise(Episodes("talk/c", text_space(), text_space(), said, "1"), TOKENIZER, tmp_path)
    prompts = best_prompts([rewarded, silent, talk], CONFIG)

    def shown(task):
        layout = Layout(SEEN, DONE)
        assert layout.action[0].count == 1
        return set(prompts[task].tokens[prompts[task].kinds >= IS_TARGET].tolist())

    assert set(prompts) == {"arm/a", "arm/b"} and shown("arm/a") == {1} and shown("arm/b") == {2}


@pytest.mark.parametrize(
    ("returns", "lengths", "shown"),
    [
        ([6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6], 1),  # time costs: the quickest was begun at its goal
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], 4),  # time pays
        ([1, 9, 2, 3], [4, 4, 4, 4], 1),
        ([0, 0, 0], [9, 1, 5], 2),  # no rewards
        ([0, 0, 0, 1, 1, 1], [2, 2, 2, 9, 1, 5], 5),  # success or none
    ],
)
def test_an_ordinary_success_is_what_is_shown(tmp_path, returns, lengths, shown):
    found = best_demonstration(data(tmp_path, "arm/a", [float(r) for r in returns], lengths))
    assert set(found.tokens[found.kinds >= IS_TARGET].tolist()) == {shown} and len(found) == lengths[shown]


def test_tasks_that_need_a_past_have_no_windows_of_one_timestep():
    ids = ["memory/t-maze", "babyai/open-red-blue-doors", "babyai/go-to-local", "my/own"]
    data = [SimpleNamespace(task=task) for task in ids]
    found = long_only(data, Sampling(short_share=0.8, long_only=("my/*",)))
    assert found == ("my/*", "babyai/open-red-blue-doors", "memory/t-maze")
    assert long_only(data, Sampling(long_only=("my/*",))) == ("my/*",)  # the paper's windows are long anyway


def test_the_papers_recipes_leave_out_what_the_paper_held_out(tmp_path, capsys):
    held, other = data(tmp_path, "metaworld/assembly", [1.0]), data(tmp_path, "metaworld/push", [1.0])
    assert len(HELD_OUT) == 4
    assert without_held_out([held, other], RECIPES["gato-79m"]) == [other]
    assert "metaworld/assembly: held out by the recipe" in capsys.readouterr().err
    assert without_held_out([held, other], RECIPES["swift-tiny"]) == [held, other] and capsys.readouterr().err == ""
    with pytest.raises(OpenGatoError, match=r"only tasks that the recipe holds out, metaworld/assembly.*--keep-held-out"):
        without_held_out([held], RECIPES["gato-1.2b"])


def test_episodes_of_the_validation_are_trained_on_nowhere_and_measured(tmp_path):
    """Which action is done tells the episode: no sequence of training holds one of the validation, nor the other way round."""
    returns = [float(n % 7) for n in range(60)]
    one = data(tmp_path, "arm/a", returns)
    sampling = Sampling(prompt_share=0.5, moments=2, short_share=0.5, validation_share=0.3)
    mix = Mixture([one], {"arm": 1.0}, 64, Fold(2), 0, sampling)

    def said(mixture):
        sequences = [mixture.sequence(n) for n in range(60)]
        return {int(token) for s in sequences for token in s.tokens[s.kinds >= IS_TARGET]}

    kept, measured = said(mix), said(mix.validation())
    assert kept | measured == set(range(60)) and not kept & measured and 8 <= len(measured) <= 28
    held = one.in_validation(0.3)
    assert set(np.flatnonzero(held)) == measured
    best = int(best_prompts([one], CONFIG, 0.3)["arm/a"].tokens[-1])
    assert best in kept and returns[best] == max(returns[n] for n in kept)
    assert set(starts_of([one], 0.3)["arm/a"]) == set(one.starts[~held])


def test_what_was_trained_on_is_counted_over_all_datasets_of_a_task(tmp_path):
    one, other = data(tmp_path / "one", "arm/reach", [1.0, 2.0], [3, 4]), data(tmp_path / "other", "arm/reach", [1.0], [9])
    told = trained_on([one, data(tmp_path / "third", "arm/push", [1.0], [2]), other])
    assert {task: (found["episodes"], found["timesteps"]) for task, found in told.items()} == {"arm/reach": (3, 16), "arm/push": (1, 2)}
    assert told["arm/reach"]["by"] == list(dict.fromkeys([*one.source_names, *other.source_names]))


def test_an_episode_stays_on_its_side_whatever_comes_beside_it(tmp_path):
    few, many = data(tmp_path, "arm/a", [float(n) for n in range(20)]), data(tmp_path, "arm/a", [float(n) for n in range(50)])
    assert few.in_validation(0.4).any() and not few.in_validation(0.0).any()
    np.testing.assert_array_equal(many.in_validation(0.4)[:20], few.in_validation(0.4))
    assert (few.in_validation(0.2) <= few.in_validation(0.4)).all()


def test_the_expert_return_and_the_filter_know_nothing_of_the_validation(tmp_path):
    one = data(tmp_path, "arm/a", [float(n) for n in range(20)])
    kept = np.flatnonzero(~one.in_validation(0.5))
    assert expert_returns([one], Sampling(validation_share=0.5)) == {"arm/a": pytest.approx(float(kept.max()))}


def test_a_share_that_leaves_nothing_is_refused(tmp_path):
    one = data(tmp_path, "arm/a", [1.0, 2.0])
    with pytest.raises(OpenGatoError, match=r"leaves none of the 2 episodes of task 'arm/a' to train on: lower --validation-share"):
        Mixture([one], {"arm": 1.0}, 64, Fold(2), 0, Sampling(validation_share=0.999999))
    with pytest.raises(OpenGatoError, match="takes none of the 2 episodes: raise it"):
        Mixture([one], {"arm": 1.0}, 64, Fold(2), 0, Sampling(validation_share=1e-9)).validation()
    with pytest.raises(OpenGatoError, match="validation_share is 1"):
        Sampling(validation_share=1.0)


def with_corrections(root, returns, corrected) -> TokenDataset:
    """Episodes with these returns; those of the numbers in `corrected` are a student's, relabelled; every action of the n-th is n."""
    episodes = []
    for number, total in enumerate(returns):
        source = "student of round 1" if number in corrected else "expert"
        episodes.append(Episode(np.zeros((4, 1), np.float32), np.full(4, number), np.array([0, 0, 0, total], np.float32), "arm/a", source))
    return tokenise(Episodes("arm/a", SEEN, DONE, episodes, str((returns, corrected))), TOKENIZER, root)


def test_relabelled_episodes_pass_the_return_filter_and_set_no_standard(tmp_path):
    one = with_corrections(tmp_path, [10.0, 3.0, 0.0, 50.0], {2, 3})
    assert expert_returns([one], Sampling(return_window=1)) == {"arm/a": 10.0}
    mix = Mixture([one], {"arm": 1.0}, 64, Fold(2), 0, Sampling(return_threshold=0.8), {"arm/a": 10.0})
    assert {int(a) for n in range(40) for a in mix.sequence(n).tokens[mix.sequence(n).predicted]} == {0, 2, 3}


def test_no_relabelled_episode_is_a_prompt(tmp_path):
    """The best one by return is a student's; windows of corrections come after demonstrations."""
    one = with_corrections(tmp_path, [1.0, 2.0, 0.0, 50.0], {2, 3})
    assert set(best_prompts([one], CONFIG)["arm/a"].tokens[best_prompts([one], CONFIG)["arm/a"].tokens < 60]) <= {1}
    assert best_prompts([with_corrections(tmp_path, [1.0, 2.0], {0, 1})], CONFIG) == {}


@pytest.mark.parametrize("kind", [{"prompt_share": 1.0}, {"prompt_share": 1.0, "moments": 2, "short_share": 1.0}])
def test_what_is_read_before_a_correction_is_a_demonstration(tmp_path, kind):
    one = with_corrections(tmp_path, [1.0, 2.0, 0.0, 50.0], {2, 3})
    mix = Mixture([one], {"arm": 1.0}, 64, Fold(2), 0, Sampling(**kind))
    before_corrections = 0
    for n in range(60):
        for piece, later in zip((pieces := mix.pieces(n)[0]), pieces[1:]):
            if piece.windows[0] == later.windows[0]:  # a prompt and its window
                shown, read = (int(np.searchsorted(one.episodes, p.timesteps[0], side="right")) - 1 for p in (piece, later))
                assert shown in (0, 1)
                before_corrections += read in (2, 3)
        for piece in mix.pieces(n)[0]:
            if len(prompt := piece.timesteps[piece.branches == 0]) and piece.branches.any():
                assert set(np.searchsorted(one.episodes, prompt, side="right") - 1) <= {0, 1}
                read = np.searchsorted(one.episodes, piece.timesteps[piece.branches > 0], side="right") - 1
                before_corrections += int((read >= 2).sum())
    assert before_corrections > 0
    alone = with_corrections(tmp_path, [1.0, 2.0], {0, 1})
    assert len(Mixture([alone], {"arm": 1.0}, 64, Fold(2), 0, Sampling(**kind)).sequence(0).tokens)
