"""Scores, their intervals, the report and the videos."""

import json

import numpy as np
import pytest

from opengato.domains.task import Human, Reference
from opengato.errors import OpenGatoError
from opengato.evaluation.evaluate import Evaluation
from opengato.evaluation.language import Row
from opengato.evaluation.report import Voice, write_report
from opengato.evaluation.rollout import Rollout
from opengato.evaluation.score import TaskScore, interquartile_mean, mean_intervals, read_scores, score_percent, summarise, task_score
from opengato.evaluation.table import print_scores

TEN = Reference(0, 10, 50, 10, "")  # so that a return of 1 is 10%


def score(task, returns, reference=TEN, successes=None, **options):
    return task_score(task, dict(enumerate(returns)), reference, dict(enumerate(successes or [])), **options)


def test_score_is_0_at_random_and_100_at_the_expert():
    assert score_percent(-20.7, -20.7, 18) == 0 and score_percent(18, -20.7, 18) == 100
    assert score_percent(-40, -20, 20) == -50
    with pytest.raises(OpenGatoError, match="measure the references again"):
        score_percent(1, 2, 2)


def test_interval_is_scipys_student_interval_widened_by_its_references():
    stats = pytest.importorskip("scipy.stats")
    returns = np.random.default_rng(1).normal(5, 2, 30)
    other = stats.t.interval(0.95, 29, returns.mean() * 10, stats.sem(returns * 10))
    found = score("a/b", returns)
    assert found.score == pytest.approx(returns.mean() * 10)
    assert (found.ci_low, found.ci_high) == pytest.approx(other, abs=0.1)
    uncertain = score("a/b", returns, Reference(0, 10, 50, 10, "", 2.0, 3.0))
    half = np.hypot(stats.t.ppf(0.975, 49) * 2 / 50**0.5 * (1 - found.score / 100), stats.t.ppf(0.975, 9) * 3 / 10**0.5 * found.score / 100)
    assert uncertain.reference_half == pytest.approx(10 * half, rel=0.02)
    assert found.score - uncertain.ci_low == pytest.approx(np.hypot(found.score - found.ci_low, 10 * half), rel=0.02)


def test_episodes_that_all_went_alike_do_not_make_an_interval_of_no_width():
    found = score("a/b", [10.0] * 10)
    assert found.score == 100 and found.ci_low == pytest.approx(78, abs=1) and found.ci_high >= 100


@pytest.mark.parametrize("random, expert", [(3.0, 3.0), (3.0, 1.0)])
def test_an_expert_no_better_than_the_random_agent_gives_no_score_and_no_error(random, expert, capsys):
    found = score("a/b", [5.0, 7.0], Reference(random, expert, 50, 10, ""), [True, False])
    assert found.score is None and found.ci_low is None and "not above" in found.unmeasurable and found.success == 0.5
    assert summarise([found, score("a/c", [5.0])])["mean_score"] == 50
    print_scores(Evaluation([found], {}))
    assert "a/b has no score: its expert's return" in capsys.readouterr().out


def test_success_is_the_measure_where_the_reward_is_none(capsys):
    reward_is_none = Reference(60, 1, 50, 20, "", 10.0, 1.0, expert_success=0.9, random_success=0.1)
    found = score("a/b", [0.0, 70.0, 0.0, 0.0], reward_is_none, [True, False, True, True])
    assert found.score == pytest.approx(100 * (0.75 - 0.1) / (0.9 - 0.1)) and (found.random, found.expert) == (0.1, 0.9)
    # In the measure that success is, it is the score that rewards of 0 and 1 with these references would have.
    as_reward = Reference(0.1, 0.9, 50, 20, "", 0.3, 0.3)
    told = score("a/b", [1.0, 0.0, 1.0, 1.0], as_reward)
    assert (found.ci_low, found.ci_high, found.reference_half) == pytest.approx((told.ci_low, told.ci_high, told.reference_half))
    assert summarise([found])["mean_score"] == pytest.approx(found.score) and summarise([found])["interquartile_mean"] > 0
    assert TaskScore.from_json("a/b", found.to_json()) == found
    print_scores(Evaluation([found], {}))
    assert "a/b: scored by success" in capsys.readouterr().out
    # Where the expert's successes are no more than chance's, or its return says enough, nothing is different.
    assert score("a/b", [5.0], Reference(60, 1, 50, 20, "", expert_success=0.1, random_success=0.1), [True]).score is None
    assert score("a/b", [5.0], Reference(0, 10, 50, 20, "", expert_success=0.9, random_success=0.1), [True]).score == 50


def test_intervals_of_the_mean():
    alike = [score(f"a/{i}", [2.0, 4.0, 6.0, 8.0]) for i in range(9)]
    over_tasks, over_episodes = mean_intervals(alike)
    one = alike[0]
    assert (
        over_episodes[0] == pytest.approx(over_tasks[0]) and 50 - over_episodes[0] < (50 - one.ci_low) / 2
    )  # nine tasks know more than one
    unlike = [score(f"a/{i}", [0.9 * i, 1.1 * i]) for i in range(1, 10)]
    over_tasks, over_episodes = mean_intervals(unlike)
    stats = pytest.importorskip("scipy.stats")
    levels = [10.0 * i for i in range(1, 10)]
    assert over_tasks == pytest.approx(stats.t.interval(0.95, 8, 50, stats.sem(levels)), abs=0.3)
    assert over_tasks[0] < over_episodes[0] < 50 < over_episodes[1] < over_tasks[1]
    with pytest.raises(OpenGatoError, match="opengato reference"):
        mean_intervals([score("a/b", [1.0], None)])


def test_interquartile_mean_is_scipys_where_all_tasks_have_as_many_episodes():
    stats = pytest.importorskip("scipy.stats")
    returns = np.random.default_rng(0).normal(5, 4, (3, 8))
    assert interquartile_mean([score(f"a/{i}", r) for i, r in enumerate(returns)]) == pytest.approx(
        stats.trim_mean(10 * returns.ravel(), 0.25)
    )


def test_summary():
    scores = [score("a/x", [5.0], successes=[True]), score("a/y", [10.0], successes=[False]), score("b/z", [0.0])]
    summary = summarise(scores)
    assert summary["mean_score"] == pytest.approx(50) and summary["domains"] == {"a": 75, "b": 0}
    assert summary["mean_over_domains"] == pytest.approx(37.5)
    assert summary["count_at_or_above"]["50"] == 2 and summary["count_at_or_above"]["0"] == 3
    assert summary["tasks"]["a/x"]["success"] == 1.0 and summary["tasks"]["b/z"]["success"] is None
    assert TaskScore.from_json("a/x", scores[0].to_json()) == scores[0]


def test_without_references_there_is_no_score_and_no_mean():
    bare = score("a/x", [5.0, 7.0], None, [True, False])
    assert bare.score is bare.ci_low is bare.ci_high is None and bare.mean_return == 6 and bare.success == 0.5
    assert TaskScore.from_json("a/x", json.loads(json.dumps(bare.to_json()))) == bare
    summary = summarise([bare])
    assert summary["mean_score"] is summary["mean_over_domains"] is None and summary["domains"] == {} and summary["mean_success"] == 0.5
    assert set(summary["count_at_or_above"].values()) == {0}
    assert summarise([bare, score("b/z", [10.0])])["domains"] == {"b": 100}


def test_beside_people(capsys):
    """Pong's published scores: -20.7 of a random agent, 14.6 of a person; a game that nobody has told of is in no count."""
    pong = Human(-20.7, 14.6)
    reference = Reference(-20.7, 21, 50, 10, "")
    found = [
        task_score("a/even", {1: 14.0, 2: 15.2}, reference, human=pong),
        task_score("a/perfect", {1: 21.0}, reference, human=pong),
        task_score("a/twice", {1: 49.9}, reference, human=pong),
        task_score("a/random", {1: -20.7}, reference, human=pong),
        task_score("b/unknown", {1: 3.0}, reference),
    ]
    assert [s.human for s in found] == [pytest.approx(100), pytest.approx(100 * 41.7 / 35.3), pytest.approx(200), pytest.approx(0), None]
    summary = json.loads(json.dumps(summarise(found)))
    assert summary["human"] == {
        "tasks": 4,
        "at_or_above": 3,
        "at_or_above_twice": 1,
        "median": pytest.approx((100 + 100 * 41.7 / 35.3) / 2),
    }
    assert [s.human for s in read_scores(summary)] == [s.human for s in found]
    print_scores(Evaluation(found, {}))
    assert "as people play (published scores), or better: 3 of 4 tasks, twice as well: 1, median 109%" in capsys.readouterr().out
    assert summarise(found[-1:])["human"] is None


def test_a_task_counts_at_most_100_in_every_mean(tmp_path, capsys):
    scores = [score("a/x", [50.0]), score("a/y", [2.0]), score("b/z", [-4.0])]
    summary = summarise(scores)
    assert summary["tasks"]["a/x"]["score"] == 500 and summary["domains"] == {"a": 60, "b": -40}
    assert summary["mean_score"] == pytest.approx(80 / 3) and summary["mean_score_unclipped"] == pytest.approx(160)
    assert summary["mean_over_domains"] == pytest.approx(10)
    print_scores(Evaluation(scores, {}))
    assert (
        "mean score 26.7% of the expert over 3 tasks, each counted at most 100 (unclipped 160.0%, interquartile" in capsys.readouterr().out
    )
    empty = {"losses": [], "videos": {}, "voices": [], "facts": {}}
    write_report(tmp_path / "report.html", title="", scores=scores, **empty)
    assert "<b>27%</b>" in (tmp_path / "report.html").read_text()


def test_failed_episodes_are_named_and_in_no_mean(capsys):
    failed = {100_003: "it hung", 100_001: "it <died>", 100_004: "it hung"}
    scores = [score("a/x", [5.0, 7.0], failed=failed), score("b/z", [10.0])]
    summary = json.loads(json.dumps(summarise(scores, {"b/lost": {100_000: "gone"}})))
    assert summary["tasks"]["a/x"]["n"] == 2 and summary["tasks"]["a/x"]["score"] == 60
    assert summary["tasks"]["a/x"]["failed"] == [{"seed": seed, "reason": failed[seed]} for seed in sorted(failed)]
    assert summary["tasks"]["b/z"]["failed"] == []
    assert summary["tasks"]["b/lost"] == {"score": None, "n": 0, "failed": [{"seed": 100_000, "reason": "gone"}]}
    assert summary["mean_score"] == 80 and summary["domains"] == {"a": 60, "b": 100}
    assert TaskScore.from_json("a/x", summary["tasks"]["a/x"]) == scores[0]
    print_scores(Evaluation(scores, {"b/lost": {100_000: "gone"}}))
    said = capsys.readouterr().out
    assert "a/x: 3 failed (score 24.0% with them as the random agent): seed 100001: it <died>; 100003, 100004: it hung\n" in said
    assert "b/lost: 1 failed and none scored: seed 100000: gone\n" in said
    with pytest.raises(OpenGatoError, match=r"no episode of any task finished.*b/lost: seed 100000: gone"):
        summarise([], {"b/lost": {100_000: "gone"}})


def test_report_holds_everything_and_escapes_hostile_text(tmp_path):
    hostile = "<script>alert('x')</script>\"&"
    path = tmp_path / "report.html"
    write_report(
        path,
        title=hostile,
        scores=[score("a/<b>", [1.0, 3.0], failed={7: hostile}), score("a/bare", [123456.0], None)],
        unscored={"a/lost": {100_009: "gone"}},
        losses=[{"step": s, "loss/a": 3 / s} for s in range(1, 9)],
        videos={hostile: b"mp4"},
        words=[Row(hostile, "nearest", 3, {"CIDEr-D": 7.0}), Row(hostile, "nearest", 3, {"CIDEr-D": 7.0})],
        voices=[
            Voice(
                hostile,
                hostile,
                captions=[{"png": b"png", "said": hostile, "truth": hostile}],
                answers=[{"png": b"png", "said": hostile, "truth": "how many? " + hostile}],
                texts=[{"prompt": hostile, "said": hostile}],
            )
        ],
        facts={hostile: hostile},
    )
    page = path.read_text()
    assert "<script" not in page and "a/<b>" not in page
    assert "a/lost" in page and page.count("a/bare") == 1 and "mean over 1 control" in page  # in the table, in no figure
    assert "a/lost" in page and "100009: gone" in page and "seed 7: &lt;script" in page
    assert page.count("CIDEr-D 7") == 1 and page.count("data:image/png") == 2 and "how many? &lt;script" in page
    assert "http://" not in page and "https://" not in page and 'src="data:video/mp4;base64,bXA0"' in page


def test_video_reads_back(tmp_path):
    imageio = pytest.importorskip("imageio.v3")
    from opengato.evaluation.video import encode_mp4

    frames = [np.full((51, 40, 3), 10 * i, np.uint8) for i in range(12)]
    (tmp_path / "v.mp4").write_bytes(encode_mp4(frames, 10))
    back = imageio.imread(tmp_path / "v.mp4", plugin="FFMPEG")
    assert back.shape == (12, 52, 40, 3)
    assert np.abs(back[6, 10:40, 10:30].astype(int) - 60).max() < 8


def test_episodes_beside_one_another_are_in_step_and_stand_still_when_over(tmp_path):
    """A GIF of two episodes of 12 steps, one recorded at every step and over after 6, one at every second."""
    image = pytest.importorskip("PIL.Image")
    from opengato.evaluation.video import beside, encode_gif

    def episode(frames, stride, red):
        shown = [np.full((30, 20, 3), (red, 20 * k * stride, 0), np.uint8) for k in range(frames)]
        return Rollout(0, 0.0, frames * stride, None, frames=shown, stride=stride)

    frames = beside([episode(6, 1, 0), episode(6, 2, 200)], tile=16)
    assert len(frames) == 11 and frames[0].shape == (16, 32, 3)
    for step, frame in enumerate(frames):
        assert (frame[:, :16] == (0, 20 * min(step, 5), 0)).all() and (frame[:, 16:] == (200, 20 * (step // 2 * 2), 0)).all()
    (tmp_path / "v.gif").write_bytes(encode_gif(frames, 20))
    with image.open(tmp_path / "v.gif") as back:
        assert back.size == (32, 16) and back.n_frames > 1 and back.info["loop"] == 0
        red = np.asarray(back.convert("RGB"))[..., 0]
        assert (red[:, :16] < 24).all() and (red[:, 16:] > 176).all()


@pytest.mark.parametrize("n, p", [(10, 0.95), (10, 0.5), (20, 0.8), (10, 1.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(n, p):
    """Brute force: a percentile bootstrap fails this at 95% success and ten episodes (40%)."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        found = score("a/b", 10.0 * (rng.random(n) < p) + rng.normal(0, 0.2, n))
        hits += found.ci_low <= 100 * p <= found.ci_high
    assert hits / 300 > 0.9
