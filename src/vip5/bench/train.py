"""A training step of ours beside that of `transformers`' T5: the same weights, samples, loss and gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vip5.bench.measure import OURS, Bench, Row, Times, in_threads, matmul_rate, ratio, take_turns
from vip5.bench.peers import PaddedVIP5, same_names
from vip5.bench.workload import dataset_or_demo, random_run
from vip5.model import VIP5, AdapterConfig, ModelConfig
from vip5.model.backbone import CrossAttention
from vip5.prompts import Batch, PromptCompiler, Samples
from vip5.prompts.batch import PAD
from vip5.training import Run
from vip5.training.batches import plan
from vip5.training.draw import SampleDrawer
from vip5.training.memory import keep_memory

MODES = ("full", "self+cross")  # the recipe's two steps: all is trained; adapters on what is frozen
PEER = "transformers"
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3  # difference of the losses; norm of a gradient's error over its norm


@dataclass
class Work:
    """The samples of one step: in our groups of like length, and as one batch padded to the longest."""

    groups: list[Samples]
    batches: list[Batch]
    padded: Batch

    @property
    def samples(self) -> int:
        return len(self.padded)

    @property
    def tokens(self) -> int:
        return int((self.padded.input_ids != PAD).sum())


def bench_train(
    dataset: Path | None = None,
    size: str = "small",
    tokenizer: str | None = None,
    modes: tuple[str, ...] = MODES,
    samples: int = 36,
    device: str = "cpu",
    threads: int | None = None,
    rounds: int = 5,
    quick: bool = False,
) -> Bench:
    """Measure one step of the paper's mix of samples in each of `modes`; `quick` takes few samples and one round."""
    in_threads(threads)
    keep_memory()  # as in training; the peer gains by it as well
    if quick:
        samples, rounds = min(samples, 6), 1
    rows: list[Row] = []
    ratios: dict[str, float] = {}
    checks: dict[str, float | bool] = {}
    notes: list[str] = []
    with dataset_or_demo(dataset) as data:
        run = random_run(data, size, tokenizer)
        compiler, work = mixed_step(run, samples, device)
        rate = matmul_rate(device)
        for mode in modes:
            model = in_mode(run.model, mode).to(device)
            peer = PaddedVIP5(model)
            loss_off, gradient_off, where = compare(model, peer, work)
            checks[f"{mode}: loss differs by"] = loss_off
            checks[f"{mode}: worst gradient differs by"] = gradient_off
            checks[f"{mode}: equal"] = loss_off < LOSS_TOLERANCE and gradient_off < GRADIENT_TOLERANCE
            notes.append(f"{mode}: the gradient that differs most is that of {where}.")
            floor = operations(model.config, work.padded, model) / rate

            attention, times = faster_attention(model, peer, work, rounds)
            method = f"{PEER} ({attention})"
            notes.append(f"{mode}: the peer's attention is {attention}, the faster of its two here.")
            rows += _rows(mode, method, times, work, floor)
            ratios[mode] = ratio(times, OURS, method)
            if not quick:
                for part in (model, peer):
                    without_dropout(part)
                times = take_turns(steps_of(model, peer, work, method), rounds)
                rows += _rows(f"{mode}, no dropout", method, times, work, floor)
                ratios[f"{mode}, no dropout"] = ratio(times, OURS, method)
            del model, peer
        assembly = take_turns({"assembly": lambda: [run.batch(compiler, part, True) for part in work.groups]}, rounds)
        rows.append(Row.of("batch assembly", "samples", work.samples, assembly["assembly"]))
    return Bench.of(
        "train",
        device,
        ("transformers",),
        quick=quick,
        sizes={
            "dataset": "generated" if dataset is None else data.manifest.name,
            "model": size,
            "parameters": sum(weight.numel() for weight in run.model.parameters()),
            "samples": work.samples,
            "real tokens": work.tokens,
            "tokens, grouped": sum(batch.input_ids.numel() for batch in work.batches),
            "tokens, padded": work.padded.input_ids.numel(),
            "groups": " ".join(f"{b.input_ids.shape[0]}×{b.input_ids.shape[1]}" for b in work.batches),
            "matmul GFLOP/s": round(rate / 1e9, 1),
        },
        rows=rows,
        ratio=ratios[modes[0]],
        ratios=ratios,
        checks=checks,
        notes=notes,
    )


def mixed_step(run: Run, samples: int, device: str) -> tuple[PromptCompiler, Work]:
    """The first step of an epoch as it is trained, with `samples` samples in place of the preset's."""
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
    config = model.config.model_copy(update={"adapter": AdapterConfig.model_validate({"mode": mode})})
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


def backward(model: VIP5, batches: list[Batch]) -> float:
    """Forward and backward of a step, as in `vip5.training.loop`; the loss."""
    size, loss = sum(map(len, batches)), 0.0
    for batch in batches:
        part = model.sample_losses(batch).sum() / size
        part.backward()
        loss += float(part.detach())
    return loss


def peer_backward(peer: PaddedVIP5, batch: Batch) -> float:
    """Forward and backward over one padded batch; the loss."""
    loss = peer.loss(batch)
    loss.backward()
    return float(loss.detach())


def compare(model: VIP5, peer: PaddedVIP5, work: Work) -> tuple[float, float, str]:
    """Without dropout: how far the losses are apart, the worst relative error of a gradient, and whose it is."""
    for module in (model, peer):
        module.eval()
    apart = abs(backward(model, work.batches) - peer_backward(peer, work.padded))
    worst, where = 0.0, ""
    for name, ours, theirs in same_names(model, peer):
        norm = float(theirs.norm())
        error = float((ours - theirs).norm()) / norm if norm else float(ours.norm())
        if error >= worst:
            worst, where = error, name
    for module in (model, peer):
        module.train().zero_grad()
    return apart, worst, where


def steps_of(model: VIP5, peer: PaddedVIP5, work: Work, method: str) -> dict[str, Callable[[], object]]:
    """A whole step of each: forward, backward, clipping, AdamW (fused for both)."""

    def whole(trained: nn.Module, pass_: Callable[[], float]) -> Callable[[], object]:
        parameters = [p for p in trained.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            pass_()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()

        return step

    return {
        OURS: whole(model, lambda: backward(model, work.batches)),
        method: whole(peer, lambda: peer_backward(peer, work.padded)),
    }


def faster_attention(model: VIP5, peer: PaddedVIP5, work: Work, rounds: int) -> tuple[str, Times]:
    """Times of ours and of the peer with the faster of its two kinds of attention, which is named."""
    once = {}
    for kind in ("eager", "sdpa"):
        peer.t5.set_attn_implementation(kind)
        once[kind] = take_turns({kind: lambda: peer_backward(peer, work.padded)}, rounds=1)[kind][0]
    faster = min(once, key=lambda kind: once[kind])
    peer.t5.set_attn_implementation(faster)
    method = f"{PEER} ({faster})"
    return faster, take_turns(steps_of(model, peer, work, method), rounds)


def operations(config: ModelConfig, batch: Batch, model: VIP5) -> float:
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
    if model.visual is not None:
        flops += len(batch.features) * linears(model.visual)
    return flops


def _rows(what: str, method: str, times: Times, work: Work, floor: float) -> list[Row]:
    return [Row.of(f"{name}, {what}", "samples", work.samples, times[name], floor=floor) for name in (OURS, method)]
