"""How right answers about pictures are, by the rule of the VQA evaluation (Antol et al., 2015), with its way of writing answers alike.

An answer is right as far as three of the other nine annotators gave it, on the mean over the ten of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD, _COMMA = re.compile(r"\.(?!\d)"), re.compile(r"\d,\d")
_PERIODS = 32  # no more of them are taken out
_ARTICLES = {"a", "an", "the"}
_NUMBERS = {word: str(n) for n, word in enumerate("zero one two three four five six seven eight nine ten".split())} | {"none": "0"}
_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's how'd
how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at
shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's
something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas
wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've
why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
""".split()
# Each is also written with any one of its apostrophes left out; of one the official list has it the other way round.
_WHOLE = {word[:i] + word[i + 1 :]: word for word in _CONTRACTIONS for i, letter in enumerate(word) if letter == "'"}
_WHOLE |= {"somebody'd": "somebodyd"}


def without_punctuation(answer: str) -> str:
    """Punctuation that stands beside a space, and all of an answer with a number like 1,000, is left out; elsewhere it becomes a space."""
    found, joined = answer, _COMMA.search(answer) is not None
    for mark in _PUNCTUATION:
        apart = f"{mark} " in answer or f" {mark}" in answer
        found = found.replace(mark, "" if apart or joined else " ")
    return _PERIOD.sub("", found, count=_PERIODS)


def normalised(answer: str) -> str:
    """As answers are compared: small letters, digits for numbers up to ten, no articles, apostrophes where they belong."""
    text = without_punctuation(answer.replace("\n", " ").replace("\t", " ").strip())
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(_WHOLE.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(answer: str, annotated: Sequence[str]) -> float:
    """Of one answer, 0 to 1, given what the annotators said, whose answers are written alike only where they differ."""
    given = [without_punctuation(other) for other in annotated] if len(set(annotated)) > 1 else list(annotated)
    found = normalised(answer)
    right = [other == found for other in given]
    total = sum(right)
    return sum(min(1.0, (total - own) / 3) for own in right) / len(right)
