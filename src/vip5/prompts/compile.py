"""Prompts as token programs: every literal and every value of every field is tokenised once; a batch is put together by
copying spans. The result equals tokenising the rendered text whole (tests/prompts/test_compile.py)."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from threading import Lock

import numpy as np
import polars as pl
import torch

from vip5.data import Ragged
from vip5.errors import UserError
from vip5.items import Spans
from vip5.modalities import ModalityStore
from vip5.model.input import EOS, PAD, TEXT, Content, ModelInput
from vip5.prompts.samples import REVIEW_FIELDS, ROW_OF, SEPARATORS, FieldTexts, Samples, slices
from vip5.prompts.templates import LIST_FIELDS, Prompt, Slot, cut


@dataclass(frozen=True)
class Compiled:
    """N prompts (or targets) as flat arrays, </s> last in each."""

    tokens: np.ndarray  # int32 [total]
    words: np.ndarray  # int32 [total]: whole-word index from 1; 0 for </s>
    content: np.ndarray  # int32 [total]: item * K + j at the j-th of an item's K tokens of modalities, -1 at words
    offsets: np.ndarray  # int64 [N + 1]

    @property
    def lengths(self) -> np.ndarray:
        return self.offsets[1:] - self.offsets[:-1]


_END, _SEPARATOR = Slot("end"), Slot("separator")  # slots that no template names
_COLUMNS = ("", *dict.fromkeys(ROW_OF.values()))  # of samples: the row of a slot's table; "" where it has but one
_LISTS = ("", *dict.fromkeys(LIST_FIELDS.values()))  # of samples; "" where no list fills a slot
_OWN = 1 << 40  # numbers from here on are of a request's own spans


class _Pool:
    """Spans, one after the other in flat arrays; a span is known by its number. Several threads may add and read."""

    def __init__(self, first: int = 0) -> None:
        self.first, self._size = first, 0
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._whole: tuple[np.ndarray, ...] | None = None
        self._lock = Lock()

    def add(self, spans: Spans, content: np.ndarray | None = None) -> int:
        """Add a table of spans; gives the number of its first."""
        tokens = spans.tokens.values
        begins = np.diff(spans.words, prepend=-1) != 0
        begins[spans.tokens.offsets[:-1][spans.tokens.lengths > 0]] = True
        content = np.full(len(tokens), -1, np.int32) if content is None else content
        with self._lock:
            number = self.first + self._size
            self._parts.append((tokens, begins.astype(np.int32), content, spans.tokens.lengths))
            self._size += len(spans)
            self._whole = None
        return number

    def arrays(self) -> tuple[np.ndarray, ...]:
        """tokens, 1 where a word begins, content (flat, int32), then starts and lengths (int64, one a span)."""
        whole = self._whole
        if whole is None:
            with self._lock:
                *flat, lengths = (np.concatenate(part) for part in zip(*self._parts, strict=True))
                whole = self._whole = (*flat, np.cumsum(lengths) - lengths, lengths)
        return whole

    def picked(self, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
        """The same arrays for these spans alone, in their order."""
        *flat, starts, lengths = self.arrays()
        starts, lengths = starts[numbers - self.first], lengths[numbers - self.first]
        source = slices(starts, lengths)
        return (*(part[source] for part in flat), np.cumsum(lengths) - lengths, lengths)


class _Program:
    """The slots of one side of all prompts, one after the other, as arrays: what a sample's spans are read from."""

    def __init__(self, templates: Sequence[str]) -> None:
        slots = [[*cut(template), _END] for template in templates]
        self.slots = [slot for own in slots for slot in own]
        self.lengths = np.array([len(own) for own in slots], int)  # one a prompt
        self.starts = np.cumsum(self.lengths) - self.lengths
        # Which of a sample's lists fills a slot, by its place in _LISTS; 0: none does.
        self.list = np.array([_LISTS.index(LIST_FIELDS.get(slot.field, "")) for slot in self.slots], int)
        self.column = np.array([_COLUMNS.index(ROW_OF.get(slot.field, "")) for slot in self.slots], int)
        self.of_reviews = np.array([slot.field in REVIEW_FIELDS for slot in self.slots], bool)
        self.first = np.full(len(self.slots), -1)  # where the table of each slot begins; -1: not known yet

    def for_other_reviews(self) -> "_Program":
        """The same slots; what is known of the tables of reviews is forgotten."""
        other = copy(self)
        other.first = np.where(self.of_reviews, -1, self.first)
        return other


class _Tables:
    """The numbers of the first spans of slots' tables, which are made when a prompt first needs them."""

    def __init__(self, make: Callable[[Slot], tuple[Spans, np.ndarray | None]], first: int = 0) -> None:
        self.pool, self._make = _Pool(first), make
        self._first: dict[Slot, int] = {}
        self._lock = Lock()

    def first_of(self, slot: Slot) -> int:
        number = self._first.get(slot)
        if number is None:
            with self._lock:  # one thread makes a table, the others wait for it
                if slot not in self._first:
                    self._first[slot] = self.pool.add(*self._make(slot))
                number = self._first[slot]
        return number


class PromptCompiler:
    """Turns samples into arrays of tokens; several threads may use one at once.

    Tables of spans are made when a prompt first needs them. `max_input` cuts prompts that are longer (</s> included),
    but `input_lengths` refuses those that show candidates.
    """

    def __init__(self, prompts: Sequence[Prompt], texts: FieldTexts, max_input: int = 1024, max_target: int = 64):
        self.prompts, self.texts = list(prompts), texts
        self.max_input, self.max_target = max_input, max_target
        self._input = _Program([p.input for p in self.prompts])
        self._target = _Program([p.target for p in self.prompts])
        self._shows_candidates = np.array(["candidates" in prompt.needs for prompt in self.prompts], bool)
        self._tables = _Tables(self._make)
        self._tables.first_of(_END)  # so there is a pool, even for no samples at all
        self._of_reviews: _Tables | None = None  # of a request's own

    def with_reviews(self, reviews: pl.DataFrame) -> "PromptCompiler":
        """The same prompts over other reviews: what a request brings along. All other tables are shared."""
        other = copy(self)
        other.texts = self.texts.of_reviews(reviews)
        other._of_reviews = _Tables(other._make, _OWN)
        other._input, other._target = self._input.for_other_reviews(), self._target.for_other_reviews()
        return other

    def index(self, prompt_id: str) -> int:
        """The position of a prompt among this compiler's."""
        return next(n for n, prompt in enumerate(self.prompts) if prompt.id == prompt_id)

    # -- samples to tokens ---------------------------------------------------------------------------------------------

    def inputs(self, samples: Samples) -> Compiled:
        return self._gather(*self._spans(samples, self._input), self.max_input)

    def targets(self, samples: Samples) -> Compiled:
        return self._gather(*self._spans(samples, self._target), self.max_target)

    def input_lengths(self, samples: Samples) -> np.ndarray:
        """int64 [N]: the inputs' lengths in tokens, </s> included, without putting them together.

        Raises: UserError where a prompt that shows candidates is too long: the cut could take the right one.
        """
        spans, offsets = self._spans(samples, self._input)
        (*_, lengths), spans = self._arrays(spans)
        lengths = np.diff(_ends(lengths[spans])[offsets])
        self._check_candidates(samples, lengths)
        return np.minimum(lengths, self.max_input)

    def _check_candidates(self, samples: Samples, lengths: np.ndarray) -> None:
        if not (cut_off := (lengths > self.max_input) & self._shows_candidates[samples.prompt]).any():
            return
        longest = int(np.where(cut_off, lengths, 0).argmax())
        n_tokens, n_candidates = int(lengths[longest]), int(samples.candidates.lengths[longest])
        raise UserError(
            f"prompt {self.prompts[samples.prompt[longest]].id} with {n_candidates} candidates is {n_tokens} tokens "
            f"long, more than prompts.max_input ({self.max_input}), which would cut some of them off: train with "
            f"prompts.max_input={1 << n_tokens.bit_length()}, or take fewer candidates"
        )

    def _spans(self, samples: Samples, program: _Program) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the spans of every sample, flat, that of </s> last, and each sample's offset.

        All slots of all samples stand in a few arrays: a loop over prompts and slots would cost more than all else.
        """
        n_slots = program.lengths[samples.prompt]
        slot, row = slices(program.starts[samples.prompt], n_slots), np.repeat(np.arange(len(samples)), n_slots)
        if (missing := slot[program.first[slot] < 0]).size:
            self._look_up(program, np.unique(missing))
        columns = np.zeros((len(_COLUMNS), len(samples)), np.int64)
        for own, name in zip(columns[1:], _COLUMNS[1:], strict=True):
            own[:] = getattr(samples, name)
        first = program.first[slot] + columns[program.column[slot], row]
        which = program.list[slot]
        values, starts, lengths = _joined([getattr(samples, name) for name in _LISTS[1:]])
        n_items = lengths[which, row]
        is_list = which > 0
        width = np.where(is_list, np.maximum(2 * n_items - 1, 0), 1)  # items, and separators between them
        ends = _ends(width)
        place, spans = ends[:-1], np.empty(int(ends[-1]), np.int64)
        spans[place[~is_list]] = first[~is_list]
        if is_list.any():
            row, place, width, first = row[is_list], place[is_list], width[is_list], first[is_list]
            which, lengths = which[is_list], n_items[is_list]
            separator = self._tables.first_of(_SEPARATOR) + samples.separator[row]
            items = values[slices(starts[which, row], lengths)]
            spans[slices(place, width)] = np.repeat(separator, width)
            spans[slices(place, lengths, step=2)] = np.repeat(first, lengths) + items
        return spans, ends[_ends(n_slots)]

    def _look_up(self, program: _Program, slots: np.ndarray) -> None:
        """Note where these slots' tables begin. Threads that do it at once note the same numbers."""
        for number in slots:
            slot, own = program.slots[number], self._of_reviews if program.of_reviews[number] else None
            of_people = ROW_OF.get(slot.field) == "user"  # whose table has a row -1, see `_with_nobody`
            program.first[number] = (own or self._tables).first_of(slot) + of_people

    def _arrays(self, spans: np.ndarray) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """The pool's arrays, and the spans' numbers in them: of a request with its own reviews, of those it needs."""
        if self._of_reviews is None:
            return self._tables.pool.arrays(), spans
        needed, place = np.unique(spans, return_inverse=True)
        shared = np.searchsorted(needed, _OWN)
        halves = ((self._tables.pool, needed[:shared]), (self._of_reviews.pool, needed[shared:]))
        parts = [pool.picked(numbers) for pool, numbers in halves if len(numbers)]
        *flat, _, lengths = (np.concatenate(part) for part in zip(*parts, strict=True))
        return (*flat, np.cumsum(lengths) - lengths, lengths), place

    def _gather(self, spans: np.ndarray, offsets: np.ndarray, limit: int) -> Compiled:
        """Copy spans into flat arrays, number the words, cut what is too long, with </s> at each end."""
        (tokens, begins, content, starts, lengths), spans = self._arrays(spans)
        width = lengths.take(spans)
        source, ends = slices(starts.take(spans), width), _ends(width)[offsets]
        kept = ends[1:] - ends[:-1]
        if (kept > limit).any():
            kept = np.minimum(kept, limit)
            source, ends = source[slices(ends[:-1], kept)], _ends(kept)
        words = begins.take(source).cumsum(dtype=np.int32)
        words -= np.repeat(words[ends[:-1]] - 1, kept)
        compiled = Compiled(tokens.take(source), words, content.take(source), ends)
        last = ends[1:] - 1
        compiled.tokens[last], compiled.words[last], compiled.content[last] = EOS, 0, -1
        return compiled

    # -- tables of spans -----------------------------------------------------------------------------------------------

    def _make(self, slot: Slot) -> tuple[Spans, np.ndarray | None]:
        vocabulary, codes = self.texts.codes.vocabulary, self.texts.codes
        if slot.field == "":
            return vocabulary.encode([slot.text]), None
        if slot == _SEPARATOR:
            return vocabulary.encode(SEPARATORS), None
        if slot == _END:
            return Spans(Ragged.from_lists([[EOS]]), np.zeros(1, np.int32)), None
        if slot.field == "item_content":
            return self._with_content(Ragged(np.empty(0, np.int32), np.zeros(len(codes) + 1, np.int64)), None)
        if slot.field in LIST_FIELDS:
            spans = codes.spans()
            return self._with_content(spans.tokens, spans.words)
        if slot.field == "item_id":
            return codes.spans(slot.prefix, slot.suffix), None
        of_people = ROW_OF[slot.field] == "user"
        if of_people and self.texts.user_tokens:
            return _with_nobody(codes.user_spans(self.texts.catalogue.n_users, slot.prefix, slot.suffix)), None
        column = self.texts.column(slot.field)
        column = column[:-1] if of_people else column
        spans = vocabulary.encode([f"{slot.prefix}{text}{slot.suffix}" for text in column])
        return _with_nobody(spans) if of_people else spans, None

    def _with_content(self, tokens: Ragged, words: np.ndarray | None) -> tuple[Spans, np.ndarray]:
        """Rows of item tokens, each followed by the item's K tokens of modalities, every one a word of its own."""
        k, n, lengths = self.texts.k, len(tokens), tokens.lengths
        offsets = _ends(lengths + k)
        content_at = slices(offsets[:-1] + lengths, np.full(n, k))
        is_word = np.ones(int(offsets[-1]), bool)
        is_word[content_at] = False
        values = np.full(len(is_word), self.texts.codes.vocabulary.image_id, np.int32)
        out_words = np.zeros(len(is_word), np.int32)
        content = np.full(len(is_word), -1, np.int32)
        values[is_word] = tokens.values
        words_before = np.zeros(n, np.int64)
        if words is not None:
            out_words[is_word] = words
            words_before = words[tokens.offsets[1:] - 1] + 1
        out_words[content_at] = np.repeat(words_before, k) + np.tile(np.arange(k), n)
        content[content_at] = np.arange(n * k, dtype=np.int32)
        return Spans(Ragged(values, offsets), out_words), content


def _joined(lists: Sequence[Ragged]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values of all lists, one after the other; where each row of each begins there, and how long it is.

    The latter are int64 [1 + lists, rows]; the first is of no list, and empty.
    """
    sizes = np.cumsum([0, *(len(one.values) for one in lists)])
    nothing = np.zeros(len(lists[0]), np.int64)
    starts = np.stack([nothing, *(one.offsets[:-1] + size for one, size in zip(lists, sizes, strict=False))])
    return np.concatenate([one.values for one in lists]), starts, np.stack([nothing, *(one.lengths for one in lists)])


def _with_nobody(spans: Spans) -> Spans:
    """With one row before, of no token: row -1, what is said of people who are not known."""
    return Spans(Ragged(spans.tokens.values, np.append(0, spans.tokens.offsets)), spans.words)


def collate(
    inputs: Compiled, targets: Compiled | None, tokens: Mapping[str, int], stores: Mapping[str, ModalityStore]
) -> ModelInput:
    """Pad compiled prompts into one batch and gather the vectors of the items that it shows.

    tokens: how many each item has in each modality, in the order in which they stand; stores: their vectors.
    """
    lengths = inputs.lengths
    inside = np.arange(int(lengths.max())) < lengths[:, None]
    input_ids = np.full(inside.shape, PAD, np.int64)
    whole_words = np.zeros(inside.shape, np.int64)
    categories = np.full(inside.shape, TEXT, np.int64)
    input_ids[inside] = inputs.tokens
    whole_words[inside] = inputs.words
    is_shown, content = inputs.content >= 0, dict[str, Content]()
    if len(shown := inputs.content[is_shown]):
        item, within = np.divmod(shown, sum(tokens.values()))
        if len(tokens) == 1:  # one modality, the usual case: nothing to take apart
            categories[inside] = is_shown
            content = {name: _content(item, within, k, stores[name]) for name, k in tokens.items()}
        else:
            category, begin = is_shown.astype(np.int64), 0
            category[is_shown] = np.repeat(np.arange(1, len(tokens) + 1), list(tokens.values()))[within]
            categories[inside] = category
            for name, k in tokens.items():
                mine = (within >= begin) & (within < begin + k)
                content[name] = _content(item[mine], within[mine] - begin, k, stores[name])
                begin += k
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
        content,
        target_ids,
        len(inputs.tokens),
        0 if targets is None else len(targets.tokens),
    )


def _content(item: np.ndarray, within: np.ndarray, k: int, store: ModalityStore) -> Content:
    """What the tokens of one modality show: of each the item and which of the item's k it is."""
    begins = within == 0  # an item's first token
    items, inverse = _distinct(item[begins])
    index = (inverse * k)[begins.cumsum() - 1] + within
    return Content(*(torch.from_numpy(part) for part in (index, *store.gather(items))))


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
