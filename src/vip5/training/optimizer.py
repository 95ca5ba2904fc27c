"""The optimiser of a training, its learning rate, and in which precision it computes."""

import torch

from vip5.training.config import OptimPart


def adamw(model: torch.nn.Module, settings: OptimPart) -> torch.optim.AdamW:
    """AdamW over what is trained; no decay on vectors (norms, biases), as in P5's recipe.

    Embedding tables may learn faster than the rest: T5 starts them with unit variance and was trained by Adafactor,
    whose steps grow with a parameter's size; Adam's do not.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    trained = [p for p in model.parameters() if p.requires_grad]
    kinds = (
        ([p for p in trained if id(p) in tables], settings.embedding_lr_factor, settings.weight_decay),
        ([p for p in trained if p.dim() > 1 and id(p) not in tables], 1.0, settings.weight_decay),
        ([p for p in trained if p.dim() <= 1], 1.0, 0.0),
    )
    groups = [{"params": p, "weight_decay": decay, "factor": factor} for p, factor, decay in kinds if p]
    return torch.optim.AdamW(groups, lr=settings.lr, fused=True)


def schedule(progress: float, settings: OptimPart) -> float:
    """Factor of the learning rate: linear up over the warm-up; then linear down to 0, or 1 without decay."""
    if progress < settings.warmup:
        return progress / settings.warmup
    if not settings.decay:
        return 1.0
    return (1 - progress) / (1 - settings.warmup)


def use_bf16(precision: str, device: str) -> bool:
    """Whether to compute in bfloat16: where asked for, or on a GPU that has it."""
    if precision == "auto":
        return device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"
