"""A training step of ours beside that of `transformers`' T5: the same weights, samples, loss and gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vip5.bench.measure import OURS, Bench, Rate, in_threads, matmul_rate, peak_memory, ratio, take_turns
from vip5.bench.peers import PaddedVIP5, same_names
from vip5.bench.targets import targets_a_second
from vip5.bench.workload import dataset_or_demo, random_run
from vip5.data import Dataset
from vip5.model import VIP5, Adapters, Full, ModelConfig
from vip5.model.backbone import CrossAttention
from vip5.model.input import PAD, ModelInput
from vip5.model.memory import keep_memory
from vip5.prompts import PromptCompiler, Samples
from vip5.training import Run
from vip5.training.batches import plan
from vip5.training.draw import SampleDrawer
from vip5.training.optimizer import use_bf16

# The paper's names of what is trained. The recipe's two steps are the first and the last.
TUNINGS: dict[str, Full | Adapters] = {
    "full": Full(),
    "self": Adapters(places=("self_attention", "feed_forward")),
    "self+cross": Adapters(),
}
MODES = ("full", "self+cross")
PEER = "transformers"
RECOMPUTED, BF16 = f"{OURS} with optim.recompute", f"{OURS} in bf16"
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3  # difference of the losses; norm of a gradient's error over its norm


@dataclass
class Work:
    """The samples of one step: in our groups of like length, and as one batch padded to the longest."""

    groups: list[Samples]
    batches: list[ModelInput]
    padded: ModelInput

    @property
    def samples(self) -> int:
        return len(self.padded)

    @property
    def tokens(self) -> int:
        return int((self.padded.input_ids != PAD).sum())


@dataclass
class Found:
    """What was measured in one mode."""

    rows: list[Rate]
    ratios: dict[str, float]
    checks: dict[str, float | bool]
    notes: list[str]


def bench_train(
    dataset: Path | None = None,
    size: str = "small",
    tokenizer: str | None = None,
    modes: Sequence[str] = MODES,
    samples: int = 24,
    device: str = "cpu",
    threads: int | None = None,
    rounds: int = 5,
    quick: bool = False,
) -> Bench:
    """Measure one step of the paper's mix of samples in each of `modes`.

    `quick` takes few samples, one round and the first mode, and leaves out memory, recomputing and no dropout.
    """
    in_threads(threads)
    if quick:
        samples, rounds, modes = min(samples, 6), 1, modes[:1]
    with dataset_or_demo(dataset) as data:
        of_process = [
            (mode, method, peak_memory(alone, data.path, size, tokenizer, mode, samples, device, method))
            for mode in (() if quick else modes)
            for method in (OURS, RECOMPUTED, PEER)
        ]
        keep_memory()  # as in training, and after the processes that need the memory; the peer gains by it as well
        run = random_run(data, size, tokenizer)
        compiler, work = mixed_step(run, samples, device)
        rate = matmul_rate(device)
        found = []
        for mode in modes:
            peaks = {method: peak for of_mode, method, peak in of_process if of_mode == mode}
            found.append(_one_mode(in_mode(run.model, mode).to(device), mode, work, rate, rounds, quick, peaks))
        assembly = take_turns({"assembly": lambda: [run.batch(compiler, part, True) for part in work.groups]}, rounds)
        learned, learned_ratios = targets_a_second(data, device, rounds, quick)
    rows = [row for part in found for row in part.rows]
    rows.append(Rate.of("batch assembly", "samples", work.samples, assembly["assembly"]))
    rows += learned
    return Bench.of(
        "train",
        device,
        ("transformers",),
        quick=quick,
        sizes={
            "dataset": "generated" if dataset is None else data.manifest.name,
            "data hash": data.hash[:12],
            "model": size,
            "parameters": sum(weight.numel() for weight in run.model.parameters()),
            **_sizes(work),
            "matmul GFLOP/s": round(rate / 1e9, 1),
        },
        rows=rows,
        ratio=found[0].ratios[modes[0]],
        ratios={name: value for part in found for name, value in part.ratios.items()} | learned_ratios,
        checks={name: value for part in found for name, value in part.checks.items()},
        notes=[
            "The peer's attention is sdpa, its default.",
            "Targets a second are of nano models from scratch, with batches put together in the same thread.",
            *(note for part in found for note in part.notes),
        ],
    )


def _sizes(work: Work) -> dict[str, Any]:
    return {
        "samples": work.samples,
        "real tokens": work.tokens,
        "tokens, grouped": sum(batch.input_ids.numel() for batch in work.batches),
        "tokens, padded": work.padded.input_ids.numel(),
        "groups": " ".join(f"{b.input_ids.shape[0]}×{b.input_ids.shape[1]}" for b in work.batches),
    }


def _one_mode(
    model: VIP5, mode: str, work: Work, rate: float, rounds: int, quick: bool, peaks: dict[str, dict[str, float]]
) -> Found:
    peer = PaddedVIP5(model)
    loss_off, gradient_off, where = compare(model, peer, work)
    flops, device = operations(model.config, work.padded, model), str(work.padded.input_ids.device)
    floors = {BF16: flops / matmul_rate(device, torch.bfloat16)} if use_bf16("auto", device) else {}
    ours, padded = whole_step(model, work.batches), whole_step(peer, [work.padded])
    times = take_turns({OURS: ours, PEER: padded}, rounds)
    ratios = {mode: ratio(times, OURS, PEER)}
    if floors:
        times |= take_turns({BF16: whole_step(model, work.batches, bf16=True)}, rounds)
    if not quick:
        model.recompute_blocks(True)
        times |= take_turns({RECOMPUTED: ours}, rounds)
        model.recompute_blocks(False)
        without_dropout(model)
        without_dropout(peer)
        plain = take_turns({OURS: ours, PEER: padded}, rounds)
        ratios[f"{mode}, no dropout"] = ratio(plain, OURS, PEER)
        times |= {f"{name}, no dropout": seconds for name, seconds in plain.items()}
    return Found(
        [
            Rate.of(
                f"{mode}: {name}",
                "samples",
                work.samples,
                seconds,
                floor=floors.get(name, flops / rate),
                **peaks.get(name, {}),
            )
            for name, seconds in times.items()
        ],
        ratios,
        {
            f"{mode}: loss differs by": loss_off,
            f"{mode}: worst gradient differs by": gradient_off,
            f"{mode}: equal": loss_off < LOSS_TOLERANCE and gradient_off < GRADIENT_TOLERANCE,
        },
        [f"{mode}: the worst gradient is that of {where}."],
    )


def mixed_step(run: Run, samples: int, device: str) -> tuple[PromptCompiler, Work]:
    """The first step of an epoch as it is trained, with `samples` samples in place of the recipe's."""
    compiler = run.compiler([name for name, prompt in run.prompts.items() if not prompt.unseen])
    drawn = SampleDrawer(run.dataset, compiler.prompts, run.config).draw(epoch=0)
    settings = run.config.optim.model_copy(update={"batch_size": samples})
    step = plan(compiler.input_lengths(drawn), settings, np.random.default_rng(run.config.seed))[0].groups
    groups = [drawn.take(rows) for rows in step]
    batches = [run.batch(compiler, part, targets=True).to(device) for part in groups]
    padded = run.batch(compiler, drawn.take(np.concatenate(step)), targets=True).to(device)
    return compiler, Work(groups, batches, padded)


def in_mode(model: VIP5, mode: str) -> VIP5:
    """A model with the same weights that is trained in another mode; adapters are new."""
    config = model.config.model_copy(update={"peft": TUNINGS[mode]})
    torch.manual_seed(0)
    other = VIP5(config)
    other.load_state_dict(model.state_dict(), strict=False)
    return other.train()


def without_dropout(model: nn.Module) -> None:
    """Set every dropout of ours or of the peer's to 0."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0  # type: ignore[assignment]


def forward_backward(model: VIP5 | PaddedVIP5, batches: Sequence[ModelInput]) -> float:
    """Forward and backward of a step, group by group as in `vip5.training.trainer`; the loss."""
    size, loss = sum(map(len, batches)), 0.0
    for batch in batches:
        part = model(batch).sum() / size
        part.backward()
        loss += float(part.detach())
    return loss


def compare(model: VIP5, peer: PaddedVIP5, work: Work) -> tuple[float, float, str]:
    """Without dropout: how far the losses are apart, the worst relative error of a gradient, and whose it is."""
    for module in (model, peer):
        module.eval()
    apart = abs(forward_backward(model, work.batches) - forward_backward(peer, [work.padded]))
    worst, where = 0.0, ""
    for name, ours, theirs in same_names(model, peer):
        norm = float(theirs.norm())
        error = float((ours - theirs).norm()) / norm if norm else float(ours.norm())
        if error >= worst:
            worst, where = error, name
    for module in (model, peer):
        module.train().zero_grad()
    return apart, worst, where


def whole_step(model: VIP5 | PaddedVIP5, batches: Sequence[ModelInput], bf16: bool = False) -> Callable[[], object]:
    """A whole step: forward, backward, clipping, AdamW (the fused one for both)."""
    device_type = batches[0].input_ids.device.type
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device_type, torch.bfloat16, enabled=bf16):
            forward_backward(model, batches)
        nn.utils.clip_grad_norm_(trained, 5.0)
        optimizer.step()

    return step


def alone(
    folder: Path, size: str, tokenizer: str | None, mode: str, samples: int, device: str, method: str
) -> Callable[[], object]:
    """One step of one method in a process that does nothing else, for its peak of memory."""
    keep_memory()
    run = random_run(Dataset(folder), size, tokenizer)
    _, work = mixed_step(run, samples, device)
    model = in_mode(run.model, mode).to(device)
    if method == PEER:
        return whole_step(PaddedVIP5(model), [work.padded])
    model.recompute_blocks(method == RECOMPUTED)
    return whole_step(model, work.batches)


def operations(config: ModelConfig, batch: ModelInput, model: VIP5) -> float:
    """FLOPs of the matrix products that a step cannot do without: those of real tokens, forward and backward.

    A product of n inputs costs three times its forward in training, twice where its weight is frozen. Attention has two
    products forward and four backward. What is written is read from the decoder's causal half alone.
    """
    assert batch.target_ids is not None
    inputs, targets = ((ids != PAD).sum(dim=1).double() for ids in (batch.input_ids, batch.target_ids))
    read, written = float(inputs.sum()), float(targets.sum())

    def linears(part: nn.Module) -> float:  # FLOPs a token
        whole = 0.0
        for linear in part.modules():
            if isinstance(linear, nn.Linear):
                whole += 2 * linear.weight.numel() * (3 if linear.weight.requires_grad else 2)
        return whole

    bodies = (part for part in model.decoder.modules() if isinstance(part, CrossAttention))
    of_states = sum(linears(body.kv) for body in bodies)
    flops = read * (linears(model.encoder) + of_states) + written * (linears(model.decoder) - of_states)
    inner = config.heads * config.d_kv
    pairs = config.encoder_layers * inputs**2 + config.decoder_layers * (targets * (targets + 1) / 2 + targets * inputs)
    flops += float(pairs.sum()) * inner * 2 * (2 + 4)
    head = (model.text_tokens if model.text_head is None else model.text_head).weight
    flops += written * config.vocab * config.d_model * 2 * (3 if head.requires_grad else 2)
    for name, content in batch.content.items():
        flops += len(content.vectors) * linears(model.get_submodule(f"modalities.{name}"))
    return flops
