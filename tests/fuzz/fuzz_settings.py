"""Settings of every command: files of TOML and KEY=VALUE, of any type, in and out of range."""

import random
from pathlib import Path
from typing import Any

from fuzz import damaged
from pydantic import BaseModel

from vip5.baselines.registry import BASELINES, baseline
from vip5.data.keywords import checked
from vip5.data.options import PrepareOptions
from vip5.evaluation.options import EvaluateOptions
from vip5.prompts import load_prompts
from vip5.training import RunConfig, load_config
from vip5.training.config import RECIPES, read_settings

SOUND = ("1", "2", "3", "0.5", "0.01", "true", "false", '"none"', '"bf16"')  # in TOML, and often in range
VALUES = (
    "1",
    "0",
    "-1",
    "2",
    "3",
    "0.5",
    "1e-3",
    "-0.5",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "true",
    "false",
    '""',
    "none",
    '"none"',
    "[]",
    "[1, 2]",
    "{}",
    "{a = 1}",
    '{method = "lora"}',
    "9" * 400,
    "99999999999",
    "0x10",
    "1_000",
    "abc",
    '"abc"',
    "'x",
    "[",
    "1979-05-27",
    "07:32:00",
    "\x00",
    "é",
    "a=b",
    "a.b",
    "full",
    "adapters",
    "lora",
    "semantic",
    "atomic",
    "collaborative",
    '["text"]',
    "",
    " 1 ",
    "a b",
    "\n",
    '"\\ud800"',
    "bf16",
    "fp32",
    "auto",
    "any",
    "clip",
    '[["a"]]',
    "[nan]",
    "2024-01-01T00:00:00Z",
)
KEYS = (
    "seed",
    "recipe",
    "size",
    "epochs",
    "lr",
    "optim",
    "model",
    "modalities",
    "modalities.photo",
    "modalities.every.tokens",
    "modalities.text.row",
    "modalities.a b.tokens",
    "codes",
    "codes.semantic",
    "peft.method",
    "peft.rank",
    "peft.reduction",
    "x.y.z",
    "a..b",
    ".",
    "",
    "optim.lr.x",
    "__class__",
    "optim.__init__",
    "prompts.extra",
    "model.backbone",
)
FIELDS: list[str] = []


def settings(rng: random.Random, place: Path) -> None:
    """Taken over as they are given, or refused."""
    match rng.randrange(6):
        case 0 | 1:
            words = [
                f"{key(rng)}={rng.choice(SOUND if rng.random() < 0.7 else VALUES)}"
                for _ in range(rng.choice((1, 1, 2)))
            ]
            if rng.random() < 0.05:
                words.append(rng.choice(("", "=", "x", "=1", "a=")))
            taken = load_config(
                rng.choice((*RECIPES * 4, "besst")), None, words, rng.choice((*[None, "nano"] * 4, "giant"))
            )
            _as_given(taken, words)
        case 2:
            load_config(rng.choice(RECIPES), toml(rng, place))
        case 3:
            system = baseline(rng.choice((*BASELINES, "itemknn")))
            fields = [*system.settings_type.model_fields, *KEYS]
            words = [
                f"{rng.choice(fields)}={rng.choice(SOUND if rng.random() < 0.7 else VALUES)}"
                for _ in range(rng.choice((1, 1, 2)))
            ]
            system.check(read_settings(toml(rng, place) if rng.random() < 0.2 else None, words))
        case 4:
            kind: type[BaseModel] = rng.choice((PrepareOptions, EvaluateOptions))
            odd = (
                None,
                -1,
                0,
                1,
                2.5,
                float("nan"),
                float("inf"),
                10**30,
                "x",
                "",
                "none",
                True,
                [],
                {},
                b"x",
                "\0",
                "utf-16",
                ("x",),
            )
            checked(
                kind, {rng.choice((*kind.model_fields, "nothing")): rng.choice(odd) for _ in range(rng.randint(1, 3))}
            )
        case 5:
            load_prompts(prompts(rng, place))


def key(rng: random.Random) -> str:
    if not FIELDS:
        FIELDS.extend(_dotted(RunConfig))
    return rng.choice(FIELDS) if rng.random() < 0.75 else rng.choice(KEYS)


def _dotted(model: type[BaseModel], above: str = "") -> list[str]:
    found = []
    for name, info in model.model_fields.items():
        found.append(f"{above}{name}")
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found += _dotted(info.annotation, f"{above}{name}.")
    return found


def _as_given(config: RunConfig, words: list[str]) -> None:
    """A whole number that was accepted is the one that stands there; the last word of a key holds."""
    for word in {word.partition("=")[0]: word for word in words}.values():
        name, _, given = word.partition("=")
        value: Any = config
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
        if given in ("1", "0", "2", "3", "-1") and isinstance(value, int | float) and not isinstance(value, bool):
            assert value == int(given), f"{word} became {value!r}"


def toml(rng: random.Random, place: Path) -> Path:
    file = place / "settings.toml"
    lines = [f"{key(rng)} = {rng.choice(SOUND if rng.random() < 0.7 else VALUES)}" for _ in range(rng.randint(0, 4))]
    if rng.random() < 0.3:
        lines.append(f"[{rng.choice(('optim', 'model', 'peft', 'x', 'modalities.photo', '[samples]'))}]\nlr = 0.1")
    data = "\n".join(lines).encode("utf-8", "replace")
    if rng.random() < 0.3:
        data = damaged(rng, data)
    if rng.random() < 0.95:
        file.write_bytes(data)
    return file


def prompts(rng: random.Random, place: Path) -> Path:
    """A file of own prompts."""
    file = place / "prompts.toml"
    words = (
        "{user_id}",
        "{purchase_history}",
        "{item_id}",
        "{item_photo}",
        "{user_desc}",
        "{candidates}",
        "{",
        "}",
        "{}",
        "{x!r}",
        "{0}",
        "{user_id:>9}",
        "<extra_id_0>",
        "</s>",
        "text",
        "{item_title}",
        "\\n",
    )
    kinds = ("next", "choice", "explain", "yes_no", "nothing", "")
    ids = ("A-3", "Z-1", "a b", "", "E-1")
    blocks = []
    for _ in range(rng.randint(0, 2)):
        lines = [rng.choice(("[[prompt]]", "[[prompts]]", '["Z-1"]', "[x]"))]
        for name in ("id", "task", "input", "target", "group", "needs"):
            if rng.random() < 0.85:
                sentence = " ".join(rng.choice(words) for _ in range(rng.randint(0, 6)))
                given = {"id": rng.choice(ids), "task": rng.choice(kinds)}.get(name, sentence)
                lines.append(f'{name} = "{given}"' if rng.random() < 0.9 else f"{name} = {rng.choice(VALUES)}")
        blocks.append("\n".join(lines))
    data = "\n".join(blocks).encode("utf-8", "replace")
    file.write_bytes(damaged(rng, data) if rng.random() < 0.3 else data)
    return file
