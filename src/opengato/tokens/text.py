"""Text to SentencePiece ids and back, exactly, for any Unicode (paper, section 2.1: 32,000 subwords)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from importlib import resources
from pathlib import Path

import numpy as np
import sentencepiece

from opengato.errors import OpenGatoError
from opengato.tokens.vocabulary import TEXT_SIZE

_SPACE = "\u2581"  # SentencePiece writes a space with this character, so the character itself needs its bytes
_CACHED = 20_000


class TextTokenizer:
    """A SentencePiece model with byte fallback: `decode(encode(s)) == s` for every string that UTF-8 can encode.

    Attributes:
        bytes: the serialised model, for a checkpoint. eos: the id that ends a text; never part of an encoded string.
        fingerprint: SHA-256 of the model.
    """

    def __init__(self, model: bytes):
        self.bytes = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        if self._processor.vocab_size() > TEXT_SIZE:
            raise OpenGatoError(f"the tokenizer has {self._processor.vocab_size()} pieces: the vocabulary has room for {TEXT_SIZE}")
        self.eos: int = self._processor.eos_id()
        self.fingerprint = hashlib.sha256(model).hexdigest()
        self._space_bytes = [self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in _SPACE.encode()]
        self._byte_of = {self._processor.piece_to_id(f"<0x{byte:02X}>"): byte for byte in range(256)}
        # Python's own lru_cache on a method would keep the tokenizer alive.
        self._cache: OrderedDict[str, np.ndarray] = OrderedDict()

    @classmethod
    def load(cls, path: str | Path | None = None) -> TextTokenizer:
        """The model at `path`, by default the one shipped with the package."""
        if path is None:
            return cls((resources.files("opengato.tokens") / "sentencepiece.model").read_bytes())
        if not Path(path).is_file():
            raise OpenGatoError(f"there is no tokenizer at {path}: a checkpoint folder needs its tokenizer.model")
        return cls(Path(path).read_bytes())

    def encode(self, text: str) -> np.ndarray:
        """Ids in [0, 32000), int32 (n,), without an end token. Raises OpenGatoError for a lone surrogate, naming its place."""
        known = self._cache.get(text)
        if known is not None:
            return known
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise OpenGatoError(
                f"the text has a lone surrogate {text[error.start]!r} at character {error.start}: it is not valid Unicode"
            ) from None
        ids: list[int] = []
        for i, run in enumerate(text.split(_SPACE)):
            if i:
                ids.extend(self._space_bytes)
            # NUL ends a string inside SentencePiece: it goes as a byte too.
            for j, part in enumerate(run.split("\0")):
                if j:
                    ids.append(self._processor.piece_to_id("<0x00>"))
                if part:
                    ids.extend(self._processor.encode(part))
        out = np.array(ids, np.int32)
        out.flags.writeable = False
        if len(text) < 1000:
            self._cache[text] = out
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return out

    def encode_batch(self, texts: list[str]) -> list[np.ndarray]:
        """`encode` of each."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: np.ndarray | list[int]) -> str:
        """The text of ids; bytes that are no UTF-8 (a model may say them) become the replacement character."""
        out = bytearray()
        for i in np.asarray(ids).tolist():
            byte = self._byte_of.get(i)
            if byte is not None:
                out.append(byte)
            elif i != self.eos:
                out += self._processor.id_to_piece(i).replace(_SPACE, " ").encode()
        return out.decode(errors="replace")


class Words:
    """Text from tokens that come one at a time, in pieces of whole characters.

    Attributes:
        tokens: what was heard.
    """

    def __init__(self, tokenizer: TextTokenizer):
        self.tokens: list[int] = []
        self._tokenizer, self._said = tokenizer, ""

    def hear(self, token: int) -> str:
        """What can be said now that was not before: nothing while a character's bytes are not all there."""
        self.tokens.append(token)
        text = self._tokenizer.decode(self.tokens)
        return "" if text.endswith("\ufffd") else self._rest(text)

    def rest(self) -> str:
        """What is left when no more tokens come."""
        return self._rest(self._tokenizer.decode(self.tokens))

    def _rest(self, text: str) -> str:
        new, self._said = text[len(self._said) :], text
        return new
