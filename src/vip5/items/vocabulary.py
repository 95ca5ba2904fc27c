"""How text becomes tokens: T5's own tokenizer, or a small one trained on a data set.

Text is cut at white space first and each word is tokenised by itself (SentencePiece's pieces never cross a space), so a
prompt can be put together from spans that were tokenised once.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Encoding, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from vip5.data import Ragged
from vip5.errors import UserError
from vip5.files import write_text

PAD, EOS, UNK, IMAGE = "<pad>", "</s>", "<unk>", "<extra_id_0>"
ALPHABET = 1000  # characters at most that get a token, where bytes do not spell the others


@dataclass(frozen=True)
class Spans:
    """Tokenised texts, one a row, and for each token the number (from 0) of the white-space word it belongs to."""

    tokens: Ragged  # int32
    words: np.ndarray  # int32, beside tokens.values

    def __len__(self) -> int:
        return len(self.tokens)


class Vocabulary:
    """A tokenizer with ids 0 = padding, 1 = end, and one id for the image token.

    Ids from `size` on belong to the tokens that an item code scheme adds; they are not in the tokenizer itself, which
    therefore stays small whatever the catalogue's size.
    """

    def __init__(self, tokenizer: Tokenizer, size: int | None = None):
        self.tokenizer = tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()
        # Splitting at white space first is T5's own behaviour (SentencePiece strips spaces around special tokens).
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
        )
        for token, wanted in ((PAD, 0), (EOS, 1), (IMAGE, None)):
            found: int | None = tokenizer.token_to_id(token)
            if found is None or (wanted is not None and found != wanted):
                raise UserError(f"the tokenizer has no {token} (id {wanted}): give one of the T5 family")
        self.image_id = int(tokenizer.token_to_id(IMAGE) or 0)
        own: int = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.size = own if size is None else size
        if self.size < own:
            raise UserError(f"the tokenizer has {own} tokens but the backbone only {size}: they do not belong together")
        found_bytes = (tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in range(256))
        self.bytes = [number for number in found_bytes if number is not None]  # tokens that spell other characters
        self._special = sorted({t.content for t in tokenizer.get_added_tokens_decoder().values()}, key=len)

    # -- making one ----------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, folder: str | Path, size: int | None = None) -> "Vocabulary":
        """Read `tokenizer.json` from a folder; `size` is the number of rows of the backbone's embedding table."""
        file = Path(folder) / "tokenizer.json"
        if not file.is_file():
            raise UserError(f"no tokenizer.json in {folder}: give a folder that holds T5's tokenizer")
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing more special
            reason = str(error).partition("\n")[0]
            raise UserError(f"{file} is no tokenizer ({reason}): copy it again") from None
        return cls(tokenizer, size)

    @classmethod
    def train(cls, texts: Iterable[str], size: int, bytes_too: bool = False) -> "Vocabulary":
        """Train a tokenizer of at most `size` tokens on `texts`, by byte-pair merges (Sennrich et al. 2016): on short
        texts these keep frequent words whole, which T5's unigram training, in its library, does not.

        With `bytes_too`, 256 of the tokens are bytes, which spell each character that has no token: nothing is unknown.
        """
        tokenizer = Tokenizer(models.BPE(unk_token=UNK))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("\n", " ")])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
        )
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
        special = [AddedToken(token, special=True, normalized=False) for token in (PAD, EOS, UNK, IMAGE)]
        alphabet = [chr(c) for c in range(33, 127)]
        trainer = trainers.BpeTrainer(
            vocab_size=max(size - 256, 0) if bytes_too else size,
            special_tokens=special,
            initial_alphabet=alphabet,
            limit_alphabet=max(len(alphabet) + 1, (size - 256) // 2) if bytes_too else ALPHABET,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(_with_bytes(tokenizer) if bytes_too else tokenizer)

    def save(self, folder: Path) -> None:
        write_text(folder / "tokenizer.json", self.tokenizer.to_str(pretty=True))

    def knowing(self, new_tokens: Sequence[str]) -> "Vocabulary":
        """A copy whose tokenizer itself reads the added item tokens: for tests and for exporting."""
        copy = Tokenizer.from_str(self.tokenizer.to_str())
        own = max(copy.get_vocab(with_added_tokens=True).values()) + 1
        filler = [f"<unused_{n}>" for n in range(self.size - own)]
        copy.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in [*filler, *new_tokens]])
        return Vocabulary(copy)

    # -- using it ------------------------------------------------------------------------------------------------------

    def plain(self, text: str) -> str:
        """`text` from outside, so that nothing in it reads as a special token, and with single spaces."""
        if self.tokenizer.normalizer is not None:  # first, since it turns "＜" into "<", and drops control characters
            text = self.tokenizer.normalizer.normalize_str(text)
        if "<" in text:
            for token in self._special:
                text = text.replace(token, f"< {token[1:]}")
        return " ".join(text.split())

    def encode(self, texts: Sequence[str]) -> Spans:
        """Tokenise every text (no </s>). Values from outside go through `plain` first."""
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        lengths = np.fromiter((len(e) for e in encodings), np.int64, len(encodings))
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        tokens = np.fromiter((t for e in encodings for t in e.ids), np.int32, int(offsets[-1]))
        words = np.fromiter((w for e in encodings for w in _words(e)), np.int32, int(offsets[-1]))
        return Spans(Ragged(tokens, offsets), words)

    def decode(self, tokens: np.ndarray) -> str:
        """The text of token ids, up to </s>; added item tokens are left out."""
        ids = [int(t) for t in tokens]
        ids = ids[: ids.index(1)] if 1 in ids else ids
        return self.tokenizer.decode([t for t in ids if 1 < t < self.size], skip_special_tokens=True)


def _with_bytes(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer, which spells characters that it does not know by their bytes."""
    state = json.loads(tokenizer.to_str())
    tokens = state["model"]["vocab"]
    for byte in range(256):
        tokens.setdefault(f"<0x{byte:02X}>", len(tokens))
    state["model"]["byte_fallback"] = True
    state["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, state["decoder"]]}
    return Tokenizer.from_str(json.dumps(state))


def _words(encoding: Encoding) -> list[int]:
    """For each token the white-space word it stands in; a special token inside a word ("item_<item_5>") stays in it."""
    words: list[int] = []
    word, last_end = -1, -1
    last_piece: int | None = -1
    for piece, (start, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
        if piece != last_piece and (word < 0 or start > last_end):
            word += 1
        words.append(word)
        last_piece, last_end = piece, end
    return words
