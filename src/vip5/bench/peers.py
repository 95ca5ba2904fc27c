"""What we are measured against: T5 of `transformers`, with our weights, and a VIP5 made of it."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from vip5.model import VIP5, Full, ModelConfig, to_t5_state
from vip5.model.backbone import Sublayer
from vip5.model.input import PAD, ModelInput
from vip5.model.peft import Adapter
from vip5.model.t5 import ACTIVATIONS


class PlainAdapter(nn.Module):
    """up(GELU(down(h))) + h, as one writes it, with the weights of ours."""

    def __init__(self, ours: Adapter) -> None:
        super().__init__()
        self.down, self.up = deepcopy(ours.down), deepcopy(ours.up)

    def forward(self, h: Tensor) -> Tensor:
        return self.up(F.gelu(self.down(h))) + h


def hugging_face(model: VIP5) -> T5ForConditionalGeneration:
    """A T5 of `transformers` that computes what `model` computes of `inputs_embeds`, with copies of its weights.

    It has no whole-word and category embeddings and no mapping networks: give it `inputs_embeds=model.embed(batch)` and
    `attention_mask=batch.input_ids != PAD`. An adapter hangs on the linear that it follows (`o` or `wo`) by a forward
    hook. What is frozen in `model` is frozen in it. Attention is the one that `transformers` chooses;
    `set_attn_implementation` changes it.
    """
    config = model.config
    theirs = T5ForConditionalGeneration(_config(config))
    if not config.tied_head:  # transformers 5 ties the head whatever the config says
        theirs.lm_head.weight = nn.Parameter(torch.empty_like(theirs.lm_head.weight))
    plain = config.model_copy(update={"peft": Full()})
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, weight in to_t5_state(model.state_dict(), plain).items():
            weights[name].copy_(weight)
    _freeze_alike(model, weights, plain)
    _hang_adapters(model, theirs)
    device: Any = model.text_tokens.weight.device
    return theirs.to(device).train(model.training)


class PaddedVIP5(nn.Module):
    """A VIP5 as it is quickly written: `transformers`' T5 on one padded batch, the loss as in the paper's code.

    It starts with copies of the weights of `model`, and the same is trained.
    """

    def __init__(self, model: VIP5) -> None:
        super().__init__()
        self.t5 = hugging_face(model)
        self.modalities = deepcopy(model.modalities)
        self.whole_words, self.categories = deepcopy(model.whole_words), deepcopy(model.categories)

    def embed(self, batch: ModelInput) -> Tensor:
        """Words or items' vectors [B, L, D], with their whole-word and category embeddings."""
        x_BLD = self.t5.shared(batch.input_ids)
        for category, (name, network) in enumerate(self.modalities.items(), start=1):
            if (content := batch.content.get(name)) is not None:
                tokens = network(content.vectors, content.present).flatten(0, 1)[content.index]
                x_BLD = x_BLD.masked_scatter((batch.category_ids == category)[..., None], tokens)
        return x_BLD + self.whole_words(batch.whole_word_ids) + self.categories(batch.category_ids)

    def forward(self, batch: ModelInput) -> Tensor:
        """Cross-entropy of all logits, padding included, averaged within each sample: [B]."""
        assert batch.target_ids is not None
        labels_BT = batch.target_ids.masked_fill(batch.target_ids == PAD, -100)
        logits_BTV = self.t5(
            inputs_embeds=self.embed(batch),
            attention_mask=batch.input_ids != PAD,
            decoder_input_ids=F.pad(batch.target_ids[:, :-1], (1, 0), value=PAD),
            use_cache=False,
        ).logits
        loss_N = F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten(), reduction="none", ignore_index=-100)
        real_BT = labels_BT != -100
        return (loss_N.view_as(real_BT) * real_BT).sum(dim=1) / real_BT.sum(dim=1)


def same_names(model: VIP5, peer: PaddedVIP5) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, our gradient and the peer's of every weight that both train."""
    gradients = {name: torch.zeros_like(w) if w.grad is None else w.grad for name, w in model.named_parameters()}
    plain = model.config.model_copy(update={"peft": Full()})
    for name, ours in to_t5_state(gradients, plain).items():
        theirs = peer.t5.get_parameter(name)
        if theirs.grad is not None:
            yield name, ours, theirs.grad
    adapters = [
        [module for module in whole.modules() if isinstance(module, kind)]
        for whole, kind in ((model, Adapter), (peer, PlainAdapter))
    ]
    pairs = [(f"adapters.{n}", *pair) for n, pair in enumerate(zip(*adapters, strict=True))]
    pairs += [(name, getattr(model, name), getattr(peer, name)) for name in ("modalities", "whole_words", "categories")]
    for place, one, other in pairs:
        if one is not None:
            for name, weight in one.named_parameters():
                theirs = other.get_parameter(name)
                if weight.grad is not None or theirs.grad is not None:
                    yield f"{place}.{name}", weight.grad, theirs.grad


def _config(config: ModelConfig) -> T5Config:
    form = next(
        name
        for name, fields in ACTIVATIONS.items()
        if (fields["gated"], fields["activation"]) == (config.gated, config.activation)
    )
    sizes: dict[str, Any] = dict(
        vocab_size=config.vocab,
        d_model=config.d_model,
        d_kv=config.d_kv,
        d_ff=config.d_ff,
        num_layers=config.encoder_layers,
        num_decoder_layers=config.decoder_layers,
        num_heads=config.heads,
        relative_attention_num_buckets=config.buckets,
        relative_attention_max_distance=config.max_distance,
        dropout_rate=config.dropout,
        layer_norm_epsilon=config.eps,
        feed_forward_proj=form,
        tie_word_embeddings=config.tied_head,
        decoder_start_token_id=0,
    )
    return T5Config(**sizes)


def _freeze_alike(model: VIP5, theirs: dict[str, nn.Parameter], config: ModelConfig) -> None:
    """Train of theirs what ours trains; a table with added tokens is trained where these are, as T5 has one table."""
    trained: dict[str, Any] = {
        name: torch.full((len(weight),), weight.requires_grad) for name, weight in model.named_parameters()
    }
    for name, rows in to_t5_state(trained, config).items():
        theirs[name].requires_grad_(bool(rows.any()))


def _hang_adapters(model: VIP5, theirs: T5ForConditionalGeneration) -> None:
    for stack in ("encoder", "decoder"):
        for ours, block in zip(getattr(model, stack).blocks, getattr(theirs, stack).block, strict=True):
            sublayers = [part for part in ours.children() if isinstance(part, Sublayer)]
            for sublayer, layer in zip(sublayers, block.layer, strict=True):
                if sublayer.adapter is not None:
                    last = next(part for name, part in layer.named_modules() if name.split(".")[-1] in ("o", "wo"))
                    assert isinstance(sublayer.adapter, Adapter)
                    last.adapter = PlainAdapter(sublayer.adapter)
                    last.register_forward_hook(lambda linear, args, h: linear.adapter(h))
