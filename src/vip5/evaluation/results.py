"""Measured numbers: one `Result` a number, and a file of them with all that is needed to measure them again."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError, model_validator

import vip5
from vip5.errors import UserError, first_fault
from vip5.evaluation.intervals import LEVEL, RESAMPLES, Difference, Estimate
from vip5.evaluation.text import bleu_signature, tokens_of
from vip5.files import write_text

NEXT_ITEM, EXPLANATION = "next item", "explanation"
RESULTS = "results.json"  # of the last evaluation, in a run folder
EVERYONE = "all"
Task = Annotated[str, Field(pattern=r"^(next item|one of [1-9][0-9]*|explanation)$")]


class Result(BaseModel):
    """One number: a metric of one model on one prompt, its 95 % interval, and the baseline's on the same cases.

    Ranking metrics are fractions, text metrics per cent. A number of all cases together, such as coverage, has no
    interval. `difference` is paired: model minus baseline. `group` names the users it is of, where not all. `kind` says
    what `model` is: a model, a rule that needs no training, or a control whose targets were shuffled.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    data_hash: str
    protocol: Literal["clean", "paper"]
    split: Literal["validation", "test"]
    task: Task
    prompt: str
    metric: str
    model: str
    kind: Literal["model", "rule", "control"] = "model"
    group: str = EVERYONE
    seed: int
    n: int = Field(ge=1)
    value: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    baseline: str | None = None
    baseline_value: FiniteFloat | None = None
    baseline_low: FiniteFloat | None = None
    baseline_high: FiniteFloat | None = None
    difference: FiniteFloat | None = None
    difference_low: FiniteFloat | None = None
    difference_high: FiniteFloat | None = None
    p: FiniteFloat | None = None
    tokens: str | None = None  # of BLEU and ROUGE: how sentences were cut into words, see `text.Tokens`

    @classmethod
    def of(
        cls, own: Estimate, other: Estimate | None = None, difference: Difference | None = None, **about: Any
    ) -> Self:
        """A result from estimates; `about` is the rest of the fields, `baseline` the name of `other`."""
        numbers: dict[str, Any] = own._asdict()
        if other is not None:
            numbers |= {f"baseline_{bound}": getattr(other, bound) for bound in ("value", "low", "high")}
        if difference is not None:
            names = ("difference", "difference_low", "difference_high", "p")
            numbers |= dict(zip(names, difference, strict=True))
        return cls(**{name: None if number != number else number for name, number in numbers.items()}, **about)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        beside = [self.baseline, self.baseline_value]
        between = [self.difference, self.difference_low, self.difference_high, self.p]
        for low, high in ((self.low, self.high), (self.baseline_low, self.baseline_high)):
            if (low is None) != (high is None):
                raise ValueError("an interval has both bounds or none")
        for numbers, name in ((beside, "a baseline"), (between, "a difference")):
            if None in numbers and any(number is not None for number in numbers):
                raise ValueError(f"{name} is whole (with its interval) or not there")
        if self.difference is not None and self.baseline is None:
            raise ValueError("a difference is between a model and a baseline")
        return self


class Machine(BaseModel):
    """What it ran on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str
    cores: int
    device: str
    python: str
    torch: str

    @classmethod
    def here(cls, device: str = "cpu") -> Self:
        """This machine; `device` is the torch device that was used."""
        if device.startswith("cuda"):
            import torch  # only then: reading stored results needs no torch

            device = torch.cuda.get_device_name(device)
        affinity = getattr(os, "sched_getaffinity", None)
        return cls(
            cpu=_cpu_model(),
            cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
            device=device,
            python=platform.python_version(),
            torch=version("torch"),
        )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _how_measured(results: Sequence[Result] = ()) -> dict[str, str]:
    used = {"BLEU": ["13a"], "ROUGE": ["a-z0-9"]} | tokens_of(results)
    return {
        "BLEU": "; ".join(map(bleu_signature, used["BLEU"])),
        "ROUGE": f"F1, no stemming, {' and '.join(used['ROUGE'])} tokens, rouge-score {version('rouge-score')}",
        "interval": INTERVAL,
    }


INTERVAL = f"{LEVEL:.0%} percentile bootstrap, {RESAMPLES:,} resamples"


class Results(BaseModel):
    """Numbers measured by one command, with the command, the machine, the date and the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str
    date: str
    version: str
    machine: Machine
    decoding: dict[str, JsonValue]
    metrics: dict[str, str] = Field(default_factory=_how_measured)
    notes: tuple[str, ...] = ()  # what a reader must know of the data: its order in time, what people buy again
    audit: dict[str, JsonValue] | None = None  # the verdict on data set and item codes, its reasons and its checks
    results: tuple[Result, ...]

    @model_validator(mode="after")
    def _one_value_each(self) -> Self:
        seen: set[tuple] = set()
        for r in self.results:
            key = (*context_of(r), r.task, r.prompt, r.metric, r.model, r.kind, r.group, r.seed, r.baseline)
            if key in seen:
                raise ValueError(f"two values of {r.metric} for {r.model} on {r.prompt}, seed {r.seed}")
            seen.add(key)
        return self

    @classmethod
    def record(
        cls,
        results: Sequence[Result],
        command: str,
        device: str = "cpu",
        decoding: Mapping[str, JsonValue] | None = None,
        audit: Mapping[str, JsonValue] | None = None,
        notes: Sequence[str] = (),
    ) -> Self:
        """What was just measured here by `command` with these decoding settings."""
        return cls(
            command=command,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            version=vip5.__version__,
            machine=Machine.here(device),
            decoding=dict(decoding or {}),
            audit=None if audit is None else dict(audit),
            metrics=_how_measured(results),
            notes=tuple(notes),
            results=tuple(results),
        )

    def save(self, path: str | Path) -> None:
        """Write as JSON, whole or not at all."""
        write_text(Path(path), self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; UserError where it is not that."""
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise UserError(
                f"cannot read results {path} ({error.strerror}): give the JSON file of an evaluation"
            ) from None
        except ValidationError as error:
            where, what, _ = first_fault(error)
            raise UserError(
                f"{path} is no file of results ({where or 'the whole file'}: {what}): evaluate again"
            ) from None


def context_of(r: Result) -> tuple[str, str, str, str]:
    """What must be the same for numbers to stand in one table."""
    return (r.dataset, r.data_hash, r.protocol, r.split)
