"""Kneser-Ney against its definition, written out with dictionaries, and against what any model must do."""

from collections import Counter

import numpy as np
import pytest

from opengato.evaluation.ngrams import KneserNey


def by_definition(documents, vocabulary, order):
    """P(word | context), word by word as Chen and Goodman's equations have it."""
    begin = [vocabulary] * (order - 1)
    counts = [Counter() for _ in range(order + 1)]
    for document in documents:
        text = begin + list(document)
        for i in range(order - 1, len(text)):
            counts[order][tuple(text[i - order + 1 : i + 1])] += 1
    for n in range(order - 1, 0, -1):
        longer = {tuple(text[i - n : i + 1]) for d in documents for text in [begin + list(d)] for i in range(order - 1, len(text))}
        for gram in longer:
            counts[n][gram[1:]] += 1

    def chance(word, context):
        p = 1 / vocabulary
        for n in range(1, order + 1):
            before = tuple(context[len(context) - n + 1 :])
            following = {g[-1]: c for g, c in counts[n].items() if g[:-1] == before}
            if not following:
                continue
            values = Counter(counts[n].values())
            d = values[1] / (values[1] + 2 * values[2]) if values[1] and values[2] else 0.5
            total = sum(following.values())
            p = max(following.get(word, 0) - d, 0) / total + d * len(following) / total * p
        return p

    return chance


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_it_is_what_its_definition_says(order):
    rng = np.random.default_rng(order)
    documents = [rng.choice(6, rng.integers(1, 30), p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05]) for _ in range(8)]
    held_out = rng.integers(0, 7, 25)
    chance = by_definition([d.tolist() for d in documents], 7, order)
    model = KneserNey(documents, 7, order)
    text = [7] * (order - 1) + held_out.tolist()
    expected = [-np.log(chance(text[i], text[i - order + 1 : i])) for i in range(order - 1, len(text))]
    np.testing.assert_allclose(model.nats(held_out), expected, rtol=1e-9)


def test_chances_sum_to_one_and_what_is_known_is_likely():
    rng = np.random.default_rng(0)
    text = np.tile(rng.integers(0, 50, 200), 20)
    model, unigram = KneserNey([text], 50), KneserNey([text], 50, 1)
    context = text[40:44]
    total = sum(np.exp(-model.nats(np.append(context, word))[-1]) for word in range(50))
    assert total == pytest.approx(1)
    assert model.nats(text).mean() < 0.2 < 3 < unigram.nats(text).mean()
