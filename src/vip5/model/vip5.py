"""VIP5: text, item ids and items' content in, text and item ids out (VIP5, section 3)."""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vip5.model.backbone import Decoder, DecoderState, Encoded, Encoder
from vip5.model.config import ModelConfig
from vip5.model.copying import CopyScores
from vip5.model.input import EOS, PAD, TEXT, ModelInput
from vip5.model.mapping import MappingNetwork
from vip5.model.ops import Packing, cross_entropy
from vip5.model.rows import RowContent

# Whole-word and category embeddings start small beside the tokens, so that a pretrained backbone is not upset.
WORD_STD = 0.1


def _table(rows: int, width: int, std: float = 1.0) -> nn.Embedding:
    table = nn.Embedding(rows, width, _weight=torch.empty(rows, width))
    nn.init.normal_(table.weight, std=std)
    return table


class VIP5(nn.Module):
    """The model. A new one has T5's own random start; load a backbone's weights over it with `vip5.model.checkpoint`.

    Shape suffixes as in `vip5.model.backbone`. The decoder starts with token 0; 1 ends a target.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        d = config.d_model
        self.text_tokens = _table(config.text_vocab, d)
        self.new_tokens = _table(config.new_tokens, d) if config.new_tokens else None
        self.user_tokens = _table(config.user_tokens, d) if config.user_tokens else None
        self.whole_words = _table(config.whole_words, d, WORD_STD)
        self.categories = _table(config.categories, d, WORD_STD)
        self.modalities = nn.ModuleDict(
            {m.name: MappingNetwork(m.dim, m.tokens, d, config.eps) for m in config.modalities if m.tokens}
        )
        self.row_content = nn.ModuleDict(
            {m.name: RowContent(m.dim, d, config.dropout) for m in config.modalities if m.in_row}
        )
        # By what a row of an added token is multiplied where it is read, and where it is written.
        self.item_scales = nn.Parameter(torch.tensor([1.0, d**-0.5])) if config.item_rows else None
        self._rows: Tensor | None = None  # all rows of added tokens, kept while they do not change
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.text_head = None if config.tied_head else _table(config.text_vocab, d)
        own_head = config.new_tokens and not config.tied_head and not config.item_rows
        self.new_head = _table(config.new_tokens, d) if own_head else None
        self.copying = CopyScores(d) if config.copy_words else None
        config.peft.attach(self)
        for name, weight in self.named_parameters():
            weight.requires_grad_(config.peft.is_trained(name))
        if not config.train_word_category:
            self.whole_words.requires_grad_(False)
            self.categories.requires_grad_(False)

    def train(self, mode: bool = True) -> "VIP5":
        """As of every module. What evaluation mode keeps of the weights is worked out anew."""
        self._rows = None
        return super().train(mode)

    def recompute_blocks(self, on: bool) -> None:
        """Keep of each block its input alone for the backward, and compute the block again there, dropout included."""
        self.encoder.checkpoint = self.decoder.checkpoint = on

    @torch.no_grad()
    def init_new_tokens(self, missing: Collection[str]) -> None:
        """Start tables of added tokens as draws from the text tokens' distribution, width by width.

        `missing` are the names of the weights that the pretrained backbone, just loaded, does not have; its embeddings
        are far from unit variance.
        """
        text_tokens = self.text_tokens
        for name, text in (("new_tokens", text_tokens), ("new_head", self.text_head), ("user_tokens", text_tokens)):
            new = getattr(self, name)
            if text is not None and f"{name}.weight" in missing:
                std, mean = torch.std_mean(text.weight, dim=0)
                new.weight.normal_().mul_(std).add_(mean)

    def embed(self, batch: ModelInput) -> Tensor:
        """What the encoder reads [B, L, D]: words or items' vectors, with whole-word and category embeddings."""
        x_BLD = self._embed_tokens(batch.input_ids)
        for category, (name, network) in enumerate(self.modalities.items(), start=1):
            content = batch.content.get(name)
            if content is None or not content.index.numel():
                continue
            tokens_ND = network(content.vectors, content.present).flatten(0, 1)
            here = (batch.category_ids == category).flatten()
            places = torch.nonzero_static(here, size=content.index.numel()).flatten()  # no wait for the GPU
            flat = x_BLD.flatten(0, 1)
            x_BLD = flat.index_copy(0, places, tokens_ND[content.index].to(flat.dtype)).view_as(x_BLD)
        x_BLD = x_BLD + self.whole_words(batch.whole_word_ids.clamp(max=self.config.whole_words - 1))
        return x_BLD + self.categories(batch.category_ids)

    def encode(self, batch: ModelInput) -> Encoded:
        """The encoder's output for a batch of prompts."""
        encoded = self.encoder(self.embed(batch), batch.input_ids != PAD, batch.n_tokens)
        encoded.row_B = batch.prompt_rows
        if self.copying is not None:
            ids_BL = batch.input_ids
            text_BL = (batch.category_ids == TEXT) & (ids_BL > EOS) & (ids_BL < self.config.text_vocab)
            encoded.words_BL = ids_BL * text_BL
        return encoded

    def decode(self, tokens_BT: Tensor, encoded: Encoded) -> Tensor:
        """Decoder states [B, T, D] for given decoder inputs (teacher forcing)."""
        everywhere = Packing(torch.ones_like(tokens_BT, dtype=torch.bool), tokens_BT.numel())
        return everywhere.pad(self.decoder(self._embed_tokens(tokens_BT), everywhere, encoded))

    def forward(self, batch: ModelInput) -> Tensor:
        """The loss of each sample, float32 [B]: cross-entropy of its target's tokens (nats), averaged within it.

        So in their mean every sample weighs the same, however long its target. With `item_rows` targets are text, and
        of text tokens alone: see `vip5.training.loss` for items.
        """
        target_BT = batch.target_ids
        if target_BT is None:
            raise ValueError("the batch has no targets")
        real_BT = target_BT != PAD
        packing = Packing(real_BT, batch.n_target_tokens)
        encoded = self.encode(batch)
        h_ND, target_N = self.states(batch, packing, encoded), packing.pack(target_BT)
        if self.copying is not None:
            words_NL, score_NL = map(packing.pack, self.copying(packing.pad(h_ND), encoded))
            logits_NV = self._logits_of_text(h_ND).scatter_add(-1, words_NL, score_NL)
            loss_N = F.cross_entropy(logits_NV, target_N, reduction="none")
        else:
            text, new = self._head_tables()
            tables = [text.weight] if new is None or self.item_scales is not None else [text.weight, new.weight]
            loss_N = cross_entropy(self._scaled(h_ND), tables, target_N)
        row_N = packing.places_N // target_BT.shape[1]
        return loss_N.new_zeros(len(batch)).index_add(0, row_N, loss_N) / real_BT.sum(dim=1)

    def states(self, batch: ModelInput, packing: Packing, encoded: Encoded | None = None) -> Tensor:
        """Decoder states [N, D] that foretell the N real tokens of the targets, which `packing` names.

        `encoded` is the encoder's output, where it is at hand.
        """
        assert batch.target_ids is not None
        inputs_BT = F.pad(batch.target_ids[:, :-1], (1, 0), value=PAD)
        return self.decoder(self._embed_tokens(inputs_BT), packing, self.encode(batch) if encoded is None else encoded)

    @torch.no_grad()
    def start(self, encoded: Encoded, beams: int) -> DecoderState:
        """Begin to decode every row with `beams` beams. `DecoderState.reorder` may change their number later."""
        return self.decoder.start(encoded, beams)

    @torch.no_grad()
    def step(self, tokens_BK: Tensor, state: DecoderState) -> Tensor:
        """Feed each beam its last token (0 at the start); states [B, K, D] for `head`. `state` advances.

        Tokens [1, K] are those of every row; so they must be in all steps, and the parents in `DecoderState.reorder`.
        """
        return self.decoder.step(self._embed_tokens(tokens_BK), state)

    def head(self, h: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Logits, float32, of states `h` [..., D] over all V tokens, or over the given ones alone.

        `tokens` is [n] for the same tokens everywhere, or [..., n] for own tokens of each state; logits are [..., n].
        Where the states stand as [B, K, D], tokens [K, n] are those of each beam in every row.
        """
        text, new = self._head_tables()
        with torch.autocast(h.device.type, enabled=False):
            if self.item_scales is not None:
                return self._head_of_rows(h.float(), tokens, text)
            h = self._scaled(h)
            if tokens is None:
                logits = F.linear(h, text.weight)
                return logits if new is None else torch.cat([logits, F.linear(h, new.weight)], dim=-1)
            rows = self._look_up(tokens, text, new)
            return F.linear(h, rows) if tokens.dim() == 1 else torch.einsum("...d,...nd->...n", h, rows)

    def head_of_text(self, h_BKD: Tensor, encoded: Encoded) -> Tensor:
        """Logits [B, K, V] of the tokens that a sentence may have, as `forward` teaches them, float32.

        With `item_rows` of text alone: there items are taught apart, and what the head says of them after a text means
        nothing. `encoded` are the prompts that the states answer.
        """
        if self.item_scales is None:
            return self.head(h_BKD)
        logits_BKV = self._logits_of_text(h_BKD)
        return logits_BKV if self.copying is None else logits_BKV.scatter_add(-1, *self.copying(h_BKD, encoded))

    def _logits_of_text(self, h: Tensor) -> Tensor:
        """Over the backbone's own vocabulary, float32."""
        text, _ = self._head_tables()
        with torch.autocast(h.device.type, enabled=False):
            return F.linear(self._scaled(h.float()), text.weight)

    def _head_of_rows(self, h: Tensor, tokens: Tensor | None, text: nn.Embedding) -> Tensor:
        """`head` with `item_rows`: text and added tokens have scales of their own."""
        assert self.item_scales is not None
        factor = self.config.d_model**-0.5 if self.config.tied_head else 1.0
        if tokens is None:
            logits = F.linear(h, text.weight) * factor
            return torch.cat([logits, F.linear(h, self.written(self.all_rows()))], dim=-1)
        rows = self._with_rows(tokens, text, self.item_scales[1] / factor) * factor
        return F.linear(h, rows) if tokens.dim() == 1 else torch.einsum("...d,...nd->...n", h, rows)

    def rows(self, added: Tensor) -> Tensor:
        """Rows [..., D] of added tokens by their numbers [...] among these: learned, and what content adds."""
        assert self.new_tokens is not None
        if not self.training and not torch.is_grad_enabled():
            return F.embedding(added, self.all_rows())
        row = self.new_tokens(added)
        for content in self.row_content.values():
            row = row + content(added)
        return row

    def all_rows(self) -> Tensor:
        """The rows [new_tokens, D] of all added tokens. In evaluation mode, without gradients, they are kept."""
        assert self.new_tokens is not None
        kept = not self.training and not torch.is_grad_enabled()
        if kept and self._rows is not None:
            return self._rows
        table = self.new_tokens.weight
        for content in self.row_content.values():
            table = table + content()
        if kept:
            table = self._rows = table.detach()
        return table

    def written(self, rows: Tensor) -> Tensor:
        """Rows of added tokens as the head multiplies them with states [..., D], with `item_rows`."""
        assert self.item_scales is not None
        return rows.float() * self.item_scales[1]

    def _head_tables(self) -> tuple[nn.Embedding, nn.Embedding | None]:
        return (self.text_tokens, self.new_tokens) if self.text_head is None else (self.text_head, self.new_head)

    def _scaled(self, h: Tensor) -> Tensor:
        """T5 scales what meets a tied head, whose rows are as long as embeddings need them."""
        return h.float() * self.config.d_model**-0.5 if self.config.tied_head else h.float()

    def _embed_tokens(self, tokens: Tensor) -> Tensor:
        if self.item_scales is None:
            x = self._look_up(tokens, self.text_tokens, self.new_tokens)
        else:
            x = self._with_rows(tokens, self.text_tokens, self.item_scales[0])
        if self.user_tokens is None:
            return x
        user = tokens - self.config.vocab
        return torch.where(user[..., None] < 0, x, self.user_tokens(user.clamp(min=0)))

    def _with_rows(self, tokens: Tensor, text: nn.Embedding, scale: Tensor) -> Tensor:
        """Embeddings [..., D] of text tokens, and rows of added ones times `scale`, worked out for these alone."""
        added = (tokens - self.config.text_vocab).flatten()
        place = ((added >= 0) & (added < self.config.new_tokens)).nonzero()[:, 0]
        if len(place) == len(added):
            return self.rows(added).view(*tokens.shape, -1) * scale
        x_ND = text(tokens.flatten().clamp(max=self.config.text_vocab - 1))
        if len(place):
            x_ND = x_ND.index_copy(0, place, (self.rows(added[place]) * scale).to(x_ND.dtype))
        return x_ND.view(*tokens.shape, -1)

    def _look_up(self, tokens: Tensor, text: nn.Embedding, new: nn.Embedding | None) -> Tensor:
        """Rows of the two tables as of one, without joining them."""
        if new is None:
            return text(tokens.clamp(max=self.config.text_vocab - 1))
        added = tokens - self.config.text_vocab
        return torch.where(
            added[..., None] < 0,
            text(tokens.clamp(max=self.config.text_vocab - 1)),
            new(added.clamp(0, self.config.new_tokens - 1)),
        )
