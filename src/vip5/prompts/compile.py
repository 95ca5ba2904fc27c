"""Prompts as token programs: every literal and every value of every field is tokenised once; a batch is put together by
copying spans. The result equals tokenising the rendered text whole (tests/prompts/test_compile.py)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vip5.data import Ragged
from vip5.features import FeatureStore
from vip5.items import Spans
from vip5.prompts.batch import EOS, PAD, TEXT, VISUAL, Batch
from vip5.prompts.samples import ROW_OF, SEPARATORS, FieldTexts, Samples, slices
from vip5.prompts.templates import LIST_FIELDS, Prompt, Slot, cut


@dataclass(frozen=True)
class Compiled:
    """N prompts (or targets) as flat arrays, </s> last in each."""

    tokens: np.ndarray  # int32 [total]
    words: np.ndarray  # int32 [total]: whole-word index from 1; 0 for </s>
    images: np.ndarray  # int64 [total]: item * k + j at the j-th image token of an item, -1 at text
    offsets: np.ndarray  # int64 [N + 1]

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


class _Pool:
    """All spans, one after the other in flat arrays; a span is known by its number."""

    def __init__(self) -> None:
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._lengths: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []
        self.size = 0

    def add(self, spans: Spans, images: np.ndarray | None = None) -> int:
        """Add a table of spans; gives the number of its first."""
        first, lengths = self.size, spans.tokens.lengths
        tokens = spans.tokens.values
        self._parts.append((tokens, spans.words, np.full(len(tokens), -1) if images is None else images))
        self._lengths.append(lengths)
        counts = np.zeros(len(lengths), np.int64)
        filled = lengths > 0
        counts[filled] = spans.words[spans.tokens.offsets[1:][filled] - 1] + 1
        self._counts.append(counts)
        self.size += len(lengths)
        self._whole: tuple[np.ndarray, ...] | None = None
        return first

    def arrays(self) -> tuple[np.ndarray, ...]:
        """tokens, words, images (flat), then starts, lengths, word counts (one a span)."""
        if self._whole is None:
            tokens, words, images = (np.concatenate(part) for part in zip(*self._parts, strict=True))
            lengths, counts = np.concatenate(self._lengths), np.concatenate(self._counts)
            self._whole = (tokens, words, images, np.cumsum(lengths) - lengths, lengths, counts)
        return self._whole


class PromptCompiler:
    """Turns samples into arrays of tokens.

    Tables of spans are made when a prompt first needs them. `max_input` cuts prompts that are longer (</s> included).
    """

    def __init__(self, prompts: Sequence[Prompt], texts: FieldTexts, max_input: int = 1024, max_target: int = 64):
        self.prompts, self.texts = list(prompts), texts
        self.max_input, self.max_target = max_input, max_target
        self._pool = _Pool()
        self._tables: dict[Slot, int] = {}
        self._slots = [(cut(p.input), cut(p.target)) for p in self.prompts]

    def with_reviews(self, reviews) -> "PromptCompiler":
        """The same prompts over other reviews (a polars frame): what a single request brings along."""
        return PromptCompiler(self.prompts, self.texts.with_reviews(reviews), self.max_input, self.max_target)

    def index(self, prompt_id: str) -> int:
        """The position of a prompt among this compiler's."""
        return next(n for n, prompt in enumerate(self.prompts) if prompt.id == prompt_id)

    # -- samples to tokens ---------------------------------------------------------------------------------------------

    def inputs(self, samples: Samples) -> Compiled:
        return self._gather(*self._spans(samples, 0), self.max_input)

    def targets(self, samples: Samples) -> Compiled:
        return self._gather(*self._spans(samples, 1), self.max_target)

    def input_lengths(self, samples: Samples) -> np.ndarray:
        """int64 [N]: the inputs' lengths in tokens, </s> included, without putting them together."""
        spans, offsets = self._spans(samples, 0)
        ends = np.concatenate([[0], np.cumsum(self._pool.arrays()[4][spans])])[offsets]
        return np.minimum(np.diff(ends) + 1, self.max_input)

    def _spans(self, samples: Samples, side: int) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the spans of every sample, flat, and each sample's offset."""
        groups = [(g, np.flatnonzero(samples.prompt == g)) for g in np.unique(samples.prompt)]
        item_counts = samples.items.lengths
        counts = np.zeros(len(samples), np.int64)
        for group, rows in groups:
            for slot in self._slots[group][side]:
                counts[rows] += np.maximum(2 * item_counts[rows] - 1, 0) if slot.field in LIST_FIELDS else 1
        offsets = np.concatenate([[0], np.cumsum(counts)])
        spans = np.empty(int(offsets[-1]), np.int64)
        for group, rows in groups:
            place = offsets[rows].copy()
            for slot in self._slots[group][side]:
                table = self._table(slot)
                if slot.field in LIST_FIELDS:
                    separator = self._table(Slot("separator"))
                    lengths = item_counts[rows]
                    items = samples.items.values[slices(samples.items.offsets[rows], lengths)]
                    width = np.maximum(2 * lengths - 1, 0)
                    spans[slices(place, width)] = np.repeat(separator + samples.separator[rows], width)
                    first = np.cumsum(lengths) - lengths
                    within = np.arange(len(items)) - np.repeat(first, lengths)
                    spans[np.repeat(place, lengths) + 2 * within] = table + items
                    place += width
                else:
                    spans[place] = table + (getattr(samples, ROW_OF[slot.field])[rows] if slot.field else 0)
                    place += 1
        return spans, offsets

    def _gather(self, spans: np.ndarray, offsets: np.ndarray, limit: int) -> Compiled:
        """Copy spans into flat arrays, number the words, put </s> at each end."""
        tokens, words, images, starts, lengths, word_counts = self._pool.arrays()
        span_lengths, span_words = lengths[spans], word_counts[spans]
        ends = np.concatenate([[0], np.cumsum(span_lengths)])
        rows = np.minimum(np.diff(ends[offsets]), limit - 1)  # tokens kept of each sample
        words_before = np.cumsum(span_words) - span_words
        words_at_start = np.concatenate([words_before, [int(span_words.sum())]])[offsets[:-1]]
        first_word = words_before - np.repeat(words_at_start, np.diff(offsets)) + 1

        source = slices(starts[spans], span_lengths)
        whole_words = np.repeat(first_word, span_lengths) + words[source]
        if (rows < np.diff(ends[offsets])).any():
            kept = slices(ends[offsets[:-1]], rows)
            source, whole_words = source[kept], whole_words[kept]

        out = np.concatenate([[0], np.cumsum(rows + 1)])
        place = np.arange(len(source)) + np.repeat(
            np.arange(len(rows)), rows
        )  # one </s> before, for each sample before
        compiled = Compiled(
            np.full(int(out[-1]), EOS, np.int32),
            np.zeros(int(out[-1]), np.int32),
            np.full(int(out[-1]), -1, np.int64),
            out,
        )
        compiled.tokens[place] = tokens[source]
        compiled.words[place] = whole_words
        compiled.images[place] = images[source]
        return compiled

    # -- tables of spans -----------------------------------------------------------------------------------------------

    def _table(self, slot: Slot) -> int:
        """The number of the first span of a slot's table."""
        if slot not in self._tables:
            self._tables[slot] = self._pool.add(*self._make(slot))
        return self._tables[slot]

    def _make(self, slot: Slot) -> tuple[Spans, np.ndarray | None]:
        vocabulary, codes = self.texts.codes.vocabulary, self.texts.codes
        if slot.field == "":
            return vocabulary.encode([slot.text]), None
        if slot.field == "separator":
            return vocabulary.encode(SEPARATORS), None
        if slot.field == "item_photo":
            return self._with_images(Ragged(np.empty(0, np.int32), np.zeros(len(codes) + 1, np.int64)), None)
        if slot.field in LIST_FIELDS:
            spans = codes.spans()
            return self._with_images(spans.tokens, spans.words)
        if slot.field == "item_id":
            return codes.spans(slot.prefix, slot.suffix), None
        if self.texts.user_tokens and ROW_OF[slot.field] == "user":
            return codes.user_spans(self.texts.dataset.n_users, slot.prefix, slot.suffix), None
        column = self.texts.column(slot.field)
        return vocabulary.encode([f"{slot.prefix}{text}{slot.suffix}" for text in column]), None

    def _with_images(self, tokens: Ragged, words: np.ndarray | None) -> tuple[Spans, np.ndarray]:
        """Rows of item tokens, each followed by the item's k image tokens, every one a word of its own."""
        k, n, lengths = self.texts.image_tokens, len(tokens), tokens.lengths
        offsets = np.concatenate([[0], np.cumsum(lengths + k)])
        image_at = slices(offsets[:-1] + lengths, np.full(n, k))
        is_text = np.ones(int(offsets[-1]), bool)
        is_text[image_at] = False
        values = np.full(len(is_text), self.texts.codes.vocabulary.image_id, np.int32)
        out_words = np.zeros(len(is_text), np.int32)
        images = np.full(len(is_text), -1)
        values[is_text] = tokens.values
        words_before = np.zeros(n, np.int64)
        if words is not None:
            out_words[is_text] = words
            words_before = words[tokens.offsets[1:] - 1] + 1
        out_words[image_at] = np.repeat(words_before, k) + np.tile(np.arange(k), n)
        images[image_at] = np.arange(n * k)
        return Spans(Ragged(values, offsets), out_words), images


def collate(inputs: Compiled, targets: Compiled | None, store: FeatureStore | None, image_tokens: int) -> Batch:
    """Pad compiled prompts into one batch and gather the features of the items whose photos it shows."""
    lengths = inputs.lengths
    inside = np.arange(int(lengths.max())) < lengths[:, None]
    input_ids = np.full(inside.shape, PAD, np.int64)
    whole_words = np.zeros(inside.shape, np.int64)
    categories = np.full(inside.shape, TEXT, np.int64)
    input_ids[inside] = inputs.tokens
    whole_words[inside] = inputs.words
    is_image = inputs.images >= 0
    categories[inside] = np.where(is_image, VISUAL, TEXT)

    shown = inputs.images[is_image]
    if len(shown):
        assert store is not None, "image tokens without features"
        items, inverse = np.unique(shown // image_tokens, return_inverse=True)
        features, has_photo = store.gather(items)
        image_index = inverse * image_tokens + shown % image_tokens
    else:
        features = np.zeros((0, store.dim if store else 0), np.float32)
        has_photo, image_index = np.zeros(0, bool), np.zeros(0, np.int64)

    target_ids = None
    if targets is not None:
        lengths = targets.lengths
        inside = np.arange(int(lengths.max())) < lengths[:, None]
        padded = np.full(inside.shape, PAD, np.int64)
        padded[inside] = targets.tokens
        target_ids = torch.from_numpy(padded)
    return Batch(
        torch.from_numpy(input_ids),
        torch.from_numpy(whole_words),
        torch.from_numpy(categories),
        torch.from_numpy(image_index),
        torch.from_numpy(features),
        torch.from_numpy(has_photo),
        target_ids,
        len(inputs.tokens),
        0 if targets is None else len(targets.tokens),
    )
