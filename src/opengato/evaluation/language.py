"""What an agent's words are worth on held-out data, and what the simplest writers' are: one row for each, of every dataset.

Texts and pages: bits a byte. Captions: CIDEr-D, BLEU-4, ROUGE-L of what the agent says of every picture, and how many of them
it names. Questions: the VQA accuracy.
Conversations: the perplexity of the replies, and how much the agent's own replies repeat one another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.checkpoint import Checkpoint
from opengato.datasets.dataset import Dataset
from opengato.episode import Episode, map_leaves
from opengato.errors import OpenGatoError
from opengato.evaluation.answers import vqa_accuracy
from opengato.evaluation.captioning import bleu, cider_d, named, rouge_l, words_of
from opengato.evaluation.likelihood import said_nats
from opengato.evaluation.ngrams import KneserNey
from opengato.evaluation.simple_words import SimpleAnswers
from opengato.policy.language import speak
from opengato.policy.policy import Policy
from opengato.tokens.spaces import differences, to_json
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import TEXT_SIZE

_REPLIES = 3  # of a conversation, that the agent makes


@dataclass(frozen=True)
class Row:
    """Scores of one who says something about one dataset, by name; `count`: of how many documents, pictures, questions or conversations."""

    dataset: str
    who: str
    count: int
    scores: dict[str, float]


def kind_of(dataset: Dataset) -> str:
    """What is scored of a dataset: "text", "pages", "captions", "questions" or "dialogue". Raises OpenGatoError where it is not words."""
    space, names = dataset.observation_space, set()
    if isinstance(space, spaces.Dict):
        names = set(space.spaces)
    if isinstance(dataset.action_space, spaces.Text):
        if isinstance(space, spaces.Text):
            return "dialogue"
        if names == {"image"}:
            return "pages" if dataset.task.startswith("pages/") else "captions"
        if names in ({"image", "question"}, set()):
            return "questions" if names else "text"
    raise OpenGatoError(f"dataset {dataset.name} is of no words: score it with `opengato eval`, in its environment")


def task_of(checkpoint: Checkpoint, dataset: Dataset) -> str:
    """The task by which an agent reads a dataset: its own, else one of the same spaces, of the same domain if there is one.

    Raises OpenGatoError where the agent knows none.
    """
    seen, done = to_json(dataset.observation_space), to_json(dataset.action_space)
    domain = dataset.task.split("/")[0]
    fitting = [
        task
        for task, layout in checkpoint.layouts.items()
        if not differences(to_json(layout.observation_space), seen) and not differences(to_json(layout.action_space), done)
    ]
    if not fitting:
        raise OpenGatoError(
            f"the checkpoint knows no task of the spaces of {dataset.name}: name pictures of the size it was trained on (--pictures), or "
            f"train it on such data; it knows {', '.join(sorted(checkpoint.layouts))}"
        )
    return min(fitting, key=lambda task: (task != dataset.task, task.split("/")[0] != domain, task))


def score(
    checkpoint: Checkpoint, datasets: Sequence[Dataset], seen: Sequence[Dataset], samples: int, temperature: float = 0.9, seed: int = 0
) -> Iterator[Row]:
    """The rows of every dataset, the agent's first.

    Args:
        datasets: held out. seen: what the simplest writers learn from, those of the same kind; none: there are no rows of theirs.
        samples: of each dataset so many documents, pictures, questions or conversations, from its beginning; and fifty times as many of
            what is seen.
        temperature: of captions and replies (paper: 0.9); answers to questions are the likeliest. seed: of their sampling.
    """
    counted: dict[str, list[tuple[str, KneserNey]]] = {}  # by kind: they learn the same for every dataset of it
    for dataset in datasets:
        kind = kind_of(dataset)
        known = islice((episode for one in seen if kind_of(one) == kind for episode in _readable(one)), 50 * samples)
        episodes = list(islice(_readable(dataset), samples)) if kind != "captions" else list(_of_pictures(dataset, samples))
        if not episodes:
            raise OpenGatoError(f"dataset {dataset.name} has no sample that can be read")
        if kind in ("text", "pages", "dialogue"):
            if kind not in counted:
                counted[kind] = _counting(checkpoint.tokenizer, known)
            yield from _likelihood(checkpoint, dataset, kind, episodes, counted[kind])
        if kind == "dialogue":
            policy = Policy(checkpoint, temperature=temperature, seed=seed)
            yield Row(dataset.name, "agent, its own replies", len(episodes), _variety(policy, task_of(checkpoint, dataset), episodes))
        if kind in ("captions", "questions"):
            policy = Policy(checkpoint, temperature=temperature if kind == "captions" else 0.0, seed=seed)
            yield from _answers(policy, task_of(checkpoint, dataset), dataset, kind, episodes, known)


def _readable(dataset: Dataset) -> Iterator[Episode]:
    """The episodes with everything in memory, but for damaged ones."""
    for episode in dataset.episodes():
        try:
            observations, actions = (
                map_leaves(lambda leaf: leaf if isinstance(leaf, list) else np.asarray(leaf), nested)
                for nested in (episode.observations, episode.actions)
            )
        except (OpenGatoError, OSError, ValueError):
            continue
        yield Episode(observations, actions, episode.rewards, episode.task, episode.source, info=episode.info)


def _of_pictures(dataset: Dataset, count: int) -> Iterator[Episode]:
    """The first episode of each of the first pictures, with all that was said of it in `info["captions"]`."""
    found: dict[Any, Episode] = {}
    for number, episode in enumerate(_readable(dataset)):
        key = episode.info.get("picture", number)
        if key in found:
            found[key].info["captions"].append(episode.actions[0])
        elif len(found) < count:
            episode.info = {**episode.info, "captions": [episode.actions[0]]}
            found[key] = episode
    yield from found.values()


# ---- how likely words are


def _counting(tokenizer: TextTokenizer, known: Iterable[Episode]) -> list[tuple[str, KneserNey]]:
    """Those who only count, and their names; nobody where there is nothing to count."""
    documents = [_tokens(tokenizer, text) for episode in known for text in episode.actions]
    orders = (("unigram", 1), ("5-gram, Kneser-Ney", 5)) if documents else ()
    return [(who, KneserNey(documents, TEXT_SIZE, order)) for who, order in orders]


def _likelihood(
    checkpoint: Checkpoint, dataset: Dataset, kind: str, episodes: list[Episode], counting: Sequence[tuple[str, KneserNey]]
) -> Iterator[Row]:
    tokenizer, layout = checkpoint.tokenizer, checkpoint.layouts[task_of(checkpoint, dataset)]
    texts = [text for episode in episodes for text in episode.actions]
    size = sum(len(text.encode()) for text in texts)

    def row(who: str, nats: np.ndarray) -> Row:
        scores = {"perplexity": math.exp(nats.mean())} if kind == "dialogue" else {"bits a byte": float(nats.sum() / math.log(2) / size)}
        return Row(dataset.name, who, len(episodes), scores)

    yield row("agent", np.concatenate(list(said_nats(checkpoint, layout, episodes))))
    for who, model in counting:
        yield row(who, np.concatenate([model.nats(_tokens(tokenizer, text)) for text in texts]))


def _tokens(tokenizer: TextTokenizer, text: str) -> np.ndarray:
    return np.append(tokenizer.encode(text), tokenizer.eos)


# ---- what is said


def _answers(policy: Policy, task: str, dataset: Dataset, kind: str, episodes: list[Episode], known: Iterable[Episode]) -> Iterator[Row]:
    simple = SimpleAnswers().see(known)
    said: dict[str, list[str]] = {"agent": []}
    for episode in episodes:
        policy.reset(task)
        observation = {key: leaf[0] for key, leaf in episode.observations.items()}
        said["agent"].append(speak(policy, observation))
        for who, answer in simple.answers(episode).items():
            said.setdefault(who, []).append(answer)
    for who, answers in said.items():
        yield Row(dataset.name, who, len(episodes), _captions(answers, episodes) if kind == "captions" else _accuracy(answers, episodes))


def _captions(said: list[str], episodes: list[Episode]) -> dict[str, float]:
    references = [[words_of(caption) for caption in episode.info["captions"]] for episode in episodes]
    words = [words_of(caption) for caption in said]
    return {
        "CIDEr-D": 100 * cider_d(words, references),
        "BLEU-4": 100 * bleu(words, references),
        "ROUGE-L": 100 * rouge_l(words, references),
        "named": 100 * float(np.mean([named(caption, episode.info["captions"]) for caption, episode in zip(said, episodes)])),
    }


def _accuracy(said: list[str], episodes: list[Episode]) -> dict[str, float]:
    """Over all questions and, where there are both sorts, over those that most annotators answer yes or no, and over the others.

    Where there is one answer, all annotators gave it.
    """
    answers = [e.info.get("answers", [e.actions[0]] * 10) for e in episodes]
    right = np.array([vqa_accuracy(answer, given) for answer, given in zip(said, answers)])
    yes_or_no = np.array([Counter(given).most_common(1)[0][0] in ("yes", "no") for given in answers])
    found = {"VQA accuracy": 100 * float(right.mean())}
    if yes_or_no.any() and not yes_or_no.all():
        found |= {"yes or no": 100 * float(right[yes_or_no].mean()), "others": 100 * float(right[~yes_or_no].mean())}
    return found


def _variety(policy: Policy, task: str, episodes: list[Episode]) -> dict[str, float]:
    """Distinct-1 and distinct-2 (Li et al., 2016) of the agent's replies: different n-grams, as a share of all."""
    replies = []
    for episode in episodes:
        policy.reset(task)
        replies += [words_of(speak(policy, heard)) for heard in episode.observations[:_REPLIES]]
    found = {}
    for n in (1, 2):
        grams = [tuple(words[i : i + n]) for words in replies for i in range(len(words) - n + 1)]
        found[f"distinct-{n}"] = len(set(grams)) / max(len(grams), 1)
    return found
