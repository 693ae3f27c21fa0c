"""How near captions are to what people said of the same pictures: CIDEr-D, BLEU-4 and ROUGE-L, as the COCO evaluation computes them.

CIDEr-D is of Vedantam et al. (2015), BLEU of Papineni et al. (2002), ROUGE-L of Lin (2004), with the constants of the COCO caption
evaluation, whose Python package `pycocoevalcap` gives the same numbers of the same words. Its tokenizer is a Java program; `words_of` does
what that one does with plain captions: small letters, no punctuation, 's and n't apart.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_APART = re.compile(r"(n't|'(?:s|m|d|re|ve|ll))\b")
_WORD = re.compile(r"n't\b|'(?:s|m|d|re|ve|ll)\b|[^\W_]+(?:[-'.][^\W_]+)*")
_SIGMA = 6.0  # of CIDEr-D: how much a length that differs costs
_BETA = 1.2  # of ROUGE-L: how much more recall counts than precision
_SMALL, _TINY = 1e-9, 1e-15

_SKIN = re.compile(r"(?:medium-light|medium-dark|light|medium|dark) skin tone")  # as Unicode's names have it

Grams = Counter[tuple[str, ...]]


def words_of(caption: str) -> list[str]:
    """The words of a caption, in small letters."""
    return _WORD.findall(_APART.sub(r" \1", caption.lower().replace("’", "'")))


def named(said: str, references: Sequence[str]) -> bool:
    """Whether a caption names the thing: the very words of a reference, but for the tone of somebody's skin."""
    return any(words_of(_SKIN.sub("", said)) == words_of(_SKIN.sub("", reference)) for reference in references)


def _grams(words: Sequence[str], longest: int = 4) -> Grams:
    return Counter(tuple(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1))


def cider_d(said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    """CIDEr-D, 0 to 10, often given times 100; rare words count more, by how many pictures' references have them.

    Args:
        said: of every picture the words of its caption. references: of every picture those of what people said.
    """
    seen = Counter(gram for captions in references for gram in set().union(*(_grams(words) for words in captions)))
    pictures = math.log(len(references))

    def weigh(words: Sequence[str]) -> tuple[dict[tuple[str, ...], float], list[float], int]:
        counts = _grams(words)
        weights = {gram: count * (pictures - math.log(max(1, seen[gram]))) for gram, count in counts.items()}
        norms = [math.sqrt(sum(w * w for gram, w in weights.items() if len(gram) == n)) for n in range(1, 5)]
        return weights, norms, max(len(words) - 1, 0)

    total = 0.0
    for words, captions in zip(said, references, strict=True):
        mine, norms, length = weigh(words)
        for caption in captions:
            theirs, their_norms, their_length = weigh(caption)
            alike = [0.0] * 4
            for gram, weight in mine.items():
                other = theirs.get(gram, 0.0)
                alike[len(gram) - 1] += min(weight, other) * other
            alike = [a / (x * y) if x and y else a for a, x, y in zip(alike, norms, their_norms)]
            total += sum(alike) / 4 * math.exp(-((length - their_length) ** 2) / (2 * _SIGMA**2)) / len(captions)
    return 10.0 * total / len(said)


def bleu(said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]], longest: int = 4) -> float:
    """BLEU of a whole corpus, 0 to 1; a caption that is shorter than the nearest in length of its references is penalised."""
    hits, tried = [0] * longest, [0] * longest
    length = reference_length = 0
    for words, captions in zip(said, references, strict=True):
        length += len(words)
        reference_length += min((abs(len(caption) - len(words)), len(caption)) for caption in captions)[1]
        most: Grams = Counter()
        for caption in captions:
            most |= _grams(caption, longest)
        for gram, count in _grams(words, longest).items():
            hits[len(gram) - 1] += min(count, most[gram])
        for n in range(longest):
            tried[n] += max(0, len(words) - n)
    score = math.prod((hit + _TINY) / (of + _SMALL) for hit, of in zip(hits, tried)) ** (1 / longest)
    ratio = (length + _TINY) / (reference_length + _SMALL)
    return score * math.exp(1 - 1 / ratio) if ratio < 1 else score


def rouge_l(said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    """ROUGE-L, 0 to 1: the longest common subsequence with the best of the references."""
    total = 0.0
    for words, captions in zip(said, references, strict=True):
        common = [_common(words, caption) for caption in captions]
        precision = max(c / max(len(words), 1) for c in common)
        recall = max(c / max(len(caption), 1) for c, caption in zip(common, captions))
        if precision and recall:
            total += (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)
    return total / len(said)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for a in one:
        before = 0
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], before + 1 if a == b else max(row[j], row[j - 1])
    return row[-1]
