"""Prompts as token programs: every literal and every value of every field is tokenised once; a batch is put together by
copying spans. The result equals tokenising the rendered text whole (tests/prompts/test_compile.py)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vip5.data import Ragged
from vip5.items import Spans
from vip5.modalities import ModalityStore
from vip5.model.input import EOS, PAD, TEXT, VISUAL, ModelInput
from vip5.prompts.samples import ROW_OF, SEPARATORS, FieldTexts, Samples, slices
from vip5.prompts.templates import LIST_FIELDS, Prompt, Slot, cut


@dataclass(frozen=True)
class Compiled:
    """N prompts (or targets) as flat arrays, </s> last in each."""

    tokens: np.ndarray  # int32 [total]
    words: np.ndarray  # int32 [total]: whole-word index from 1; 0 for </s>
    images: np.ndarray  # int32 [total]: item * k + j at the j-th image token of an item, -1 at text
    offsets: np.ndarray  # int64 [N + 1]

    @property
    def lengths(self) -> np.ndarray:
        return self.offsets[1:] - self.offsets[:-1]


_END, _SEPARATOR = Slot("end"), Slot("separator")  # slots that no template names
_COLUMNS = ("", *dict.fromkeys(ROW_OF.values()))  # of samples: the row of a slot's table; "" where it has but one


class _Pool:
    """All spans, one after the other in flat arrays; a span is known by its number."""

    def __init__(self) -> None:
        self._parts: list[tuple[np.ndarray, ...]] = []
        self.size = 0

    def add(self, spans: Spans, images: np.ndarray | None = None) -> int:
        """Add a table of spans; gives the number of its first."""
        first, tokens = self.size, spans.tokens.values
        begins = np.diff(spans.words, prepend=-1) != 0
        begins[spans.tokens.offsets[:-1][spans.tokens.lengths > 0]] = True
        images = np.full(len(tokens), -1, np.int32) if images is None else images
        self._parts.append((tokens, begins.astype(np.int32), images, spans.tokens.lengths))
        self.size += len(spans)
        self._whole: tuple[np.ndarray, ...] | None = None
        return first

    def arrays(self) -> tuple[np.ndarray, ...]:
        """tokens, 1 where a word begins, images (flat, int32), then starts and lengths (int64, one a span)."""
        if self._whole is None:
            *flat, lengths = (np.concatenate(part) for part in zip(*self._parts, strict=True))
            self._whole = (*flat, np.cumsum(lengths) - lengths, lengths)
        return self._whole


class _Program:
    """The slots of one side of all prompts, one after the other, as arrays: what a sample's spans are read from."""

    def __init__(self, templates: Sequence[str]) -> None:
        slots = [[*cut(template), _END] for template in templates]
        self.slots = [slot for own in slots for slot in own]
        self.lengths = np.array([len(own) for own in slots], int)  # one a prompt
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.is_list = np.array([slot.field in LIST_FIELDS for slot in self.slots], bool)
        self.column = np.array([_COLUMNS.index(ROW_OF.get(slot.field, "")) for slot in self.slots], int)
        self.table = np.full(len(self.slots), -1)  # the number of its table's first span; -1: it is not made yet


class PromptCompiler:
    """Turns samples into arrays of tokens.

    Tables of spans are made when a prompt first needs them. `max_input` cuts prompts that are longer (</s> included).
    """

    def __init__(self, prompts: Sequence[Prompt], texts: FieldTexts, max_input: int = 1024, max_target: int = 64):
        self.prompts, self.texts = list(prompts), texts
        self.max_input, self.max_target = max_input, max_target
        self._pool = _Pool()
        self._tables: dict[Slot, int] = {}
        self._input = _Program([p.input for p in self.prompts])
        self._target = _Program([p.target for p in self.prompts])
        self._table(_END)  # so there is a pool, even for no samples at all

    def with_reviews(self, reviews) -> "PromptCompiler":
        """The same prompts over other reviews (a polars frame): what a single request brings along."""
        return PromptCompiler(self.prompts, self.texts.with_reviews(reviews), self.max_input, self.max_target)

    def index(self, prompt_id: str) -> int:
        """The position of a prompt among this compiler's."""
        return next(n for n, prompt in enumerate(self.prompts) if prompt.id == prompt_id)

    # -- samples to tokens ---------------------------------------------------------------------------------------------

    def inputs(self, samples: Samples) -> Compiled:
        return self._gather(*self._spans(samples, self._input), self.max_input)

    def targets(self, samples: Samples) -> Compiled:
        return self._gather(*self._spans(samples, self._target), self.max_target)

    def input_lengths(self, samples: Samples) -> np.ndarray:
        """int64 [N]: the inputs' lengths in tokens, </s> included, without putting them together."""
        spans, offsets = self._spans(samples, self._input)
        *_, lengths = self._pool.arrays()
        return np.minimum(np.diff(_ends(lengths[spans])[offsets]), self.max_input)

    def _spans(self, samples: Samples, program: _Program) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the spans of every sample, flat, that of </s> last, and each sample's offset.

        All slots of all samples stand in a few arrays: a loop over prompts and slots would cost more than all else.
        """
        n_slots, n_items = program.lengths[samples.prompt], samples.items.lengths
        slot, row = slices(program.starts[samples.prompt], n_slots), np.repeat(np.arange(len(samples)), n_slots)
        if (missing := slot[program.table[slot] < 0]).size:
            for number in np.unique(missing):
                program.table[number] = self._table(program.slots[number])
        columns = np.zeros((len(_COLUMNS), len(samples)), np.int64)
        for own, name in zip(columns[1:], _COLUMNS[1:], strict=True):
            own[:] = getattr(samples, name)
        first = program.table[slot] + columns[program.column[slot], row]
        is_list = program.is_list[slot]
        width = np.where(is_list, np.maximum(2 * n_items[row] - 1, 0), 1)  # items, and separators between them
        ends = _ends(width)
        place, spans = ends[:-1], np.empty(int(ends[-1]), np.int64)
        spans[place[~is_list]] = first[~is_list]
        if is_list.any():
            row, place, width, first = row[is_list], place[is_list], width[is_list], first[is_list]
            separator, lengths = self._table(_SEPARATOR) + samples.separator[row], n_items[row]
            items = samples.items.values[slices(samples.items.offsets[row], lengths)]
            spans[slices(place, width)] = np.repeat(separator, width)
            spans[slices(place, lengths, step=2)] = np.repeat(first, lengths) + items
        return spans, ends[_ends(n_slots)]

    def _gather(self, spans: np.ndarray, offsets: np.ndarray, limit: int) -> Compiled:
        """Copy spans into flat arrays, number the words, cut what is too long, with </s> at each end."""
        tokens, begins, images, starts, lengths = self._pool.arrays()
        width = lengths.take(spans)
        source, ends = slices(starts.take(spans), width), _ends(width)[offsets]
        kept = ends[1:] - ends[:-1]
        if (kept > limit).any():
            kept = np.minimum(kept, limit)
            source, ends = source[slices(ends[:-1], kept)], _ends(kept)
        words = begins.take(source).cumsum(dtype=np.int32)
        words -= np.repeat(words[ends[:-1]] - 1, kept)
        compiled = Compiled(tokens.take(source), words, images.take(source), ends)
        last = ends[1:] - 1
        compiled.tokens[last], compiled.words[last], compiled.images[last] = EOS, 0, -1
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
        if slot == _SEPARATOR:
            return vocabulary.encode(SEPARATORS), None
        if slot == _END:
            return Spans(Ragged.from_lists([[EOS]]), np.zeros(1, np.int32)), None
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
        offsets = _ends(lengths + k)
        image_at = slices(offsets[:-1] + lengths, np.full(n, k))
        is_text = np.ones(int(offsets[-1]), bool)
        is_text[image_at] = False
        values = np.full(len(is_text), self.texts.codes.vocabulary.image_id, np.int32)
        out_words = np.zeros(len(is_text), np.int32)
        images = np.full(len(is_text), -1, np.int32)
        values[is_text] = tokens.values
        words_before = np.zeros(n, np.int64)
        if words is not None:
            out_words[is_text] = words
            words_before = words[tokens.offsets[1:] - 1] + 1
        out_words[image_at] = np.repeat(words_before, k) + np.tile(np.arange(k), n)
        images[image_at] = np.arange(n * k, dtype=np.int32)
        return Spans(Ragged(values, offsets), out_words), images


def collate(inputs: Compiled, targets: Compiled | None, store: ModalityStore | None, image_tokens: int) -> ModelInput:
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
        item, within = np.divmod(shown, image_tokens)
        begins = within == 0  # an item's first image token
        items, inverse = _distinct(item[begins])
        features, has_photo = store.gather(items)
        image_index = (inverse * image_tokens)[begins.cumsum() - 1] + within
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
    return ModelInput(
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


def _ends(lengths: np.ndarray) -> np.ndarray:
    """int64 [n + 1]: 0, and where each of n pieces ends when they stand one after the other."""
    ends = np.zeros(len(lengths) + 1, np.int64)
    lengths.cumsum(out=ends[1:])
    return ends


def _distinct(items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `np.unique(items, return_inverse=True)` gives, from one sort of 64-bit keys: item and place."""
    key = items.astype(np.uint64) << np.uint64(32)
    key |= np.arange(len(items), dtype=np.uint64)
    key.sort()
    in_order, place = (key >> np.uint64(32)).astype(np.int64), (key & np.uint64(2**32 - 1)).astype(np.int64)
    fresh = np.ones(len(items), bool)
    np.not_equal(in_order[1:], in_order[:-1], out=fresh[1:])
    inverse = np.empty(len(items), np.int64)
    inverse[place] = fresh.cumsum() - 1
    return in_order[fresh], inverse
