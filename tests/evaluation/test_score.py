"""Scores, their intervals, the report and the videos."""

import json

import numpy as np
import pytest

from opengato.errors import OpenGatoError
from opengato.evaluation.evaluate import Evaluation, print_scores
from opengato.evaluation.report import write_report
from opengato.evaluation.score import TaskScore, score_percent, summarise, task_score


def test_score_is_0_at_random_and_100_at_the_expert():
    assert score_percent(-20.7, -20.7, 18) == 0 and score_percent(18, -20.7, 18) == 100
    assert score_percent(-40, -20, 20) == -50
    with pytest.raises(OpenGatoError, match="measure the references again"):
        score_percent(1, 2, 2)


def test_interval_agrees_with_scipys_bootstrap():
    stats = pytest.importorskip("scipy.stats")
    returns = np.random.default_rng(1).normal(5, 2, 30)
    score = task_score("a/b", list(returns), 0, 10)
    other = stats.bootstrap((returns * 10,), np.mean, n_resamples=9999, method="percentile", random_state=0).confidence_interval
    assert score.score == pytest.approx(returns.mean() * 10)
    assert (score.ci_low, score.ci_high) == pytest.approx((other.low, other.high), abs=0.6)


def test_summary():
    scores = [task_score("a/x", [5.0], 0, 10, [True]), task_score("a/y", [10.0], 0, 10, [False]), task_score("b/z", [0.0], 0, 10)]
    summary = summarise(scores)
    assert summary["mean_score"] == pytest.approx(50) and summary["domains"] == {"a": 75, "b": 0}
    assert summary["mean_over_domains"] == pytest.approx(37.5)
    assert summary["count_at_or_above"]["50"] == 2 and summary["count_at_or_above"]["0"] == 3
    assert summary["tasks"]["a/x"]["success"] == 1.0 and summary["tasks"]["b/z"]["success"] is None
    assert TaskScore.from_json("a/x", scores[0].to_json()) == scores[0]


def test_without_references_there_is_no_score_and_no_mean():
    bare = task_score("a/x", [5.0, 7.0], None, None, [True, False])
    assert bare.score is bare.ci_low is bare.ci_high is None and bare.mean_return == 6 and bare.success == 0.5
    assert TaskScore.from_json("a/x", json.loads(json.dumps(bare.to_json()))) == bare
    summary = summarise([bare])
    assert summary["mean_score"] is summary["mean_over_domains"] is None and summary["domains"] == {} and summary["mean_success"] == 0.5
    assert set(summary["count_at_or_above"].values()) == {0}
    assert summarise([bare, task_score("b/z", [10.0], 0, 10)])["domains"] == {"b": 100}


def test_a_task_counts_at_most_100_in_every_mean(tmp_path, capsys):
    scores = [task_score("a/x", [50.0], 0, 10), task_score("a/y", [2.0], 0, 10), task_score("b/z", [-4.0], 0, 10)]
    summary = summarise(scores)
    assert summary["tasks"]["a/x"]["score"] == 500 and summary["domains"] == {"a": 60, "b": -40}
    assert summary["mean_score"] == pytest.approx(80 / 3) and summary["mean_score_unclipped"] == pytest.approx(160)
    assert summary["mean_over_domains"] == pytest.approx(10)
    print_scores(Evaluation(scores, {}))
    assert "mean score 26.7% of the expert over 3 tasks, each counted at most 100 (unclipped 160.0%)" in capsys.readouterr().out
    empty = {"losses": [], "videos": {}, "captions": [], "texts": [], "facts": {}}
    write_report(tmp_path / "report.html", title="", scores=scores, **empty)
    assert "<b>27%</b>" in (tmp_path / "report.html").read_text()


def test_failed_episodes_are_named_and_in_no_mean(capsys):
    failed = {100_003: "it hung", 100_001: "it <died>", 100_004: "it hung"}
    scores = [task_score("a/x", [5.0, 7.0], 0, 10, failed=failed), task_score("b/z", [10.0], 0, 10)]
    summary = json.loads(json.dumps(summarise(scores, {"b/lost": {100_000: "gone"}})))
    assert summary["tasks"]["a/x"]["n"] == 2 and summary["tasks"]["a/x"]["score"] == 60
    assert summary["tasks"]["a/x"]["failed"] == [{"seed": seed, "reason": failed[seed]} for seed in sorted(failed)]
    assert summary["tasks"]["b/z"]["failed"] == []
    assert summary["tasks"]["b/lost"] == {"score": None, "n": 0, "failed": [{"seed": 100_000, "reason": "gone"}]}
    assert summary["mean_score"] == 80 and summary["domains"] == {"a": 60, "b": 100}
    assert TaskScore.from_json("a/x", summary["tasks"]["a/x"]) == scores[0]
    print_scores(Evaluation(scores, {"b/lost": {100_000: "gone"}}))
    said = capsys.readouterr().out
    assert "a/x: 3 failed: seed 100001: it <died>; 100003, 100004: it hung\n" in said
    assert "b/lost: 1 failed and none scored: seed 100000: gone\n" in said
    with pytest.raises(OpenGatoError, match=r"no episode of any task finished.*b/lost: seed 100000: gone"):
        summarise([], {"b/lost": {100_000: "gone"}})


def test_report_holds_everything_and_escapes_hostile_text(tmp_path):
    hostile = "<script>alert('x')</script>\"&"
    path = tmp_path / "report.html"
    write_report(
        path,
        title=hostile,
        scores=[task_score("a/<b>", [1.0, 3.0], 0, 4, failed={7: hostile}), task_score("a/bare", [123456.0], None, None)],
        unscored={"a/lost": {100_009: "gone"}},
        losses=[{"step": s, "loss/a": 3 / s} for s in range(1, 9)],
        videos={hostile: b"mp4"},
        captions=[{"png": b"png", "said": hostile, "truth": hostile}],
        texts=[{"prompt": hostile, "said": hostile}],
        facts={hostile: hostile},
    )
    page = path.read_text()
    assert "<script" not in page and "a/<b>" not in page
    assert "a/lost" in page and page.count("a/bare") == 1 and "mean over 1 control" in page  # in the table, in no figure
    assert "a/lost" in page and "100009: gone" in page and "seed 7: &lt;script" in page
    assert "http://" not in page and "https://" not in page and 'src="data:video/mp4;base64,bXA0"' in page


def test_video_reads_back(tmp_path):
    imageio = pytest.importorskip("imageio.v3")
    from opengato.evaluation.video import encode_mp4

    frames = [np.full((51, 40, 3), 10 * i, np.uint8) for i in range(12)]
    (tmp_path / "v.mp4").write_bytes(encode_mp4(frames, 10))
    back = imageio.imread(tmp_path / "v.mp4", plugin="FFMPEG")
    assert back.shape == (12, 52, 40, 3)
    assert np.abs(back[6, 10:40, 10:30].astype(int) - 60).max() < 8
