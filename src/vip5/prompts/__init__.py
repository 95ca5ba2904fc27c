"""The 29 prompts and one's own: as text, and compiled straight to tokens."""

from vip5.prompts.compile import Compiled, PromptCompiler, collate
from vip5.prompts.render import render
from vip5.prompts.samples import FieldTexts, Samples
from vip5.prompts.templates import Prompt, load_prompts

__all__ = [
    "Compiled",
    "FieldTexts",
    "Prompt",
    "PromptCompiler",
    "Samples",
    "collate",
    "load_prompts",
    "render",
]
