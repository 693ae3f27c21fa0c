"""Scores of captions and answers against the official programs: where they are installed, and by what they once said."""

import numpy as np
import pytest

from opengato.evaluation.answers import normalised, vqa_accuracy
from opengato.evaluation.captioning import bleu, cider_d, named, rouge_l, words_of


def corpus(seed=0, pictures=30):
    """Captions of few words, so that they have much in common."""
    rng = np.random.default_rng(seed)
    words = np.array("a man dog red ball on the grass with two cats sitting under blue sky".split())

    def one():
        return [str(word) for word in rng.choice(words, rng.integers(1, 12))]

    references = [[one() for _ in range(rng.integers(1, 6))] for _ in range(pictures)]
    said = [list(captions[0][: rng.integers(1, 9)]) + one()[:2] if rng.random() < 0.7 else one() for captions in references]
    said[3] = list(references[3][0])
    return said, references


# What pycocoevalcap 1.2 says of the three corpora: CIDEr-D, BLEU-4, ROUGE-L.
OFFICIAL = {
    0: (1.423063835048505, 0.3454773985579412, 0.5455723767233794),
    1: (1.6218772901510576, 0.45793322173318585, 0.6038205271165281),
    2: (1.4926904908863363, 0.4251279336298253, 0.5908781626389827),
}


@pytest.mark.parametrize("seed", OFFICIAL)
def test_what_the_official_program_said(seed):
    said, references = corpus(seed)
    np.testing.assert_allclose((cider_d(said, references), bleu(said, references), rouge_l(said, references)), OFFICIAL[seed], rtol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_official_program_says_the_same(seed):
    cider = pytest.importorskip("pycocoevalcap.cider.cider_scorer")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.rouge.rouge import Rouge

    said, references = corpus(seed)
    found = {n: [" ".join(words)] for n, words in enumerate(said)}
    true = {n: [" ".join(words) for words in captions] for n, captions in enumerate(references)}
    scorer = cider.CiderScorer(n=4, sigma=6.0)
    for n in found:
        scorer += (found[n][0], true[n])
    official = scorer.compute_score()[0], Bleu(4).compute_score(true, found, verbose=0)[0][3], Rouge().compute_score(true, found)[0]
    np.testing.assert_allclose((cider_d(said, references), bleu(said, references), rouge_l(said, references)), official, rtol=1e-9)


def test_scores_at_their_ends():
    _, references = corpus()
    assert bleu([r[0] for r in references], references) == pytest.approx(1, abs=1e-6)
    assert rouge_l([r[0] for r in references], references) == pytest.approx(1)
    nothing = [["zebra"]] * len(references)
    assert cider_d(nothing, references) == 0 and rouge_l(nothing, references) == 0 and bleu(nothing, references) < 1e-6
    assert cider_d([r[0] for r in references], [r[:1] for r in references]) == pytest.approx(10, rel=0.3)


def test_words():
    assert words_of("A man's dog, 2 red-and-white balls; it doesn’t (ever) stop!") == (
        "a man 's dog 2 red-and-white balls it does n't ever stop".split()
    )
    assert words_of("") == []


@pytest.mark.parametrize(
    ("answer", "alike"),
    [
        ("The Cat.", "cat"),
        ("a  DOG!", "dog"),
        ("two", "2"),
        ("none", "0"),
        ("1,000", "1000"),
        ("black/white", "black white"),
        ("yes, please", "yes please"),
        ("3.5 inches.", "3.5 inches"),
        ("dont know", "don't know"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("oclock", "o'clock"),
        ("it's\ton\nthe table", "it's on table"),
        ("x-ray", "x ray"),
        ("well -done", "well done"),
    ],
)
def test_answers_are_written_alike_as_the_official_rule_has_it(answer, alike):
    assert normalised(answer) == alike


def test_accuracy_is_the_mean_over_nine_of_ten_annotators():
    def of(right, others="blue"):
        return vqa_accuracy("red", ["red"] * right + [others] * (10 - right))

    assert [of(n) for n in (0, 1, 2, 3, 4, 10)] == pytest.approx([0, 0.3, 0.6, 0.9, 1, 1])
    assert vqa_accuracy("The red", ["red"] * 10) == 1 and vqa_accuracy("Red.", ["red."] * 9 + ["x"]) == 1
    assert vqa_accuracy("red.", ["red."] * 10) == 0  # answers that are all alike stay as they were written, the agent's does not


@pytest.mark.parametrize(
    ("said", "reference", "right"),
    [
        ("Pineapple", "pineapple", True),
        ("man farmer: dark skin tone", "man farmer: medium-dark skin tone", True),
        ("woman: light skin tone, curly hair", "woman: curly hair", True),
        ("woman farmer: dark skin tone", "man farmer: dark skin tone", False),
        ("flag: Uganda", "flag: Uzbekistan", False),
        ("a dark skin", "a light skin", False),
        ("", "pineapple", False),
    ],
)
def test_a_caption_names_a_thing_whatever_the_tone_of_its_skin(said, reference, right):
    assert named(said, ["something else", reference]) == right
