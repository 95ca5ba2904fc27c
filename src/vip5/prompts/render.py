"""Prompts as text, for people to read and for checking the compiler against."""

from functools import cache

from vip5.prompts.samples import ROW_OF, SEPARATORS, FieldTexts, Samples
from vip5.prompts.templates import LIST_FIELDS, Prompt, cut

_cut = cache(cut)


def render(prompt: Prompt, samples: Samples, row: int, texts: FieldTexts) -> tuple[str, str]:
    """Input and target of one sample as text; image tokens are written <extra_id_0>."""
    return _fill(prompt.input, samples, row, texts), _fill(prompt.target, samples, row, texts)


def _fill(template: str, samples: Samples, row: int, texts: FieldTexts) -> str:
    words = []
    for slot in _cut(template):
        if not slot.field:
            words.append(slot.text)
        elif slot.field in LIST_FIELDS:
            words.append(f" {SEPARATORS[samples.separator[row]]} ".join(texts.item(i) for i in samples.items[row]))
        else:
            value = texts.column(slot.field)[getattr(samples, ROW_OF[slot.field])[row]]
            words.append(f"{slot.prefix}{value}{slot.suffix}")
    return " ".join(word for word in words if word)
