"""Prompts as text, for people to read and for checking the compiler against."""

from functools import cache

from vip5.prompts.samples import ROW_OF, SEPARATORS, FieldTexts, Samples
from vip5.prompts.templates import LIST_FIELDS, Prompt, cut

_cut = cache(cut)


def render(prompt: Prompt, samples: Samples, row: int, texts: FieldTexts) -> tuple[str, str]:
    """Input and target of one sample as text; tokens of modalities are written <extra_id_0>."""
    return _fill(prompt.input, samples, row, texts), _fill(prompt.target, samples, row, texts)


def _fill(template: str, samples: Samples, row: int, texts: FieldTexts) -> str:
    words = []
    for slot in _cut(template):
        if not slot.field:
            words.append(slot.text)
        elif slot.field in LIST_FIELDS:
            items = getattr(samples, LIST_FIELDS[slot.field])[row]
            words.append(f" {SEPARATORS[samples.separator[row]]} ".join(map(texts.item, items)))
        else:
            of = getattr(samples, ROW_OF[slot.field])[row]
            if not (ROW_OF[slot.field] == "user" and of < 0):  # of people who are not known nothing is said
                words.append(f"{slot.prefix}{texts.column(slot.field)[of]}{slot.suffix}")
    return " ".join(word for word in words if word)
