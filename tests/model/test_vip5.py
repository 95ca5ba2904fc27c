"""Embedding, items' contents, loss, and decoding step by step."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vip5.model import VIP5, Adapters, Full, ModalityConfig, ModelConfig, backbone_size, ops, vip5
from vip5.model.backbone import Sublayer
from vip5.model.input import Content

MODES = ["self", "self+cross", "full"]


def rows_of(model, tokens):
    """Rows of both token tables joined, the plain way."""
    return torch.cat([model.text_tokens.weight, model.new_tokens.weight])[tokens]


def mapped(network, vectors):
    """Tokens [U, k, d] of items' vectors, by the paper's equation."""
    hidden = torch.tanh(vectors @ network.hidden.weight.T + network.hidden.bias)
    out = hidden @ network.out.weight.T + network.out.bias  # the norm is over all k·d numbers of an item
    return (out / (out.square().mean(-1, keepdim=True) + 1e-6).sqrt() * network.norm.weight).view(len(vectors), -1, 32)


def test_photos_stand_where_the_categories_say(config, batch):
    model, b = VIP5(config()), batch()
    b.input_ids[:, 7] = torch.tensor([49, 50, 56])  # last text token, first and last new token
    b.whole_word_ids[0, 0], b.whole_word_ids[0, 4] = 5000, 1023
    x = model.embed(b)
    words = b.whole_word_ids.clamp(max=1023)
    expected = rows_of(model, b.input_ids)
    vectors = b.content["photo"].vectors.clone()
    vectors[1] = model.modalities["photo"].missing
    photos = mapped(model.modalities["photo"], vectors)
    expected[0, 1:3], expected[0, 5:7], expected[1, 3:5] = photos[1], photos[0], photos[2]
    expected = expected + model.whole_words.weight[words] + model.categories.weight[b.category_ids]
    torch.testing.assert_close(x, expected)
    b.input_ids[0, 1] = 33  # the sentinel's own embedding is replaced
    assert torch.equal(model.embed(b), x)


@pytest.fixture
def two():
    """Photos of 6 numbers, 2 tokens an item, and texts of 5 numbers, 1 token an item."""
    return ModalityConfig(name="photo", dim=6, tokens=2), ModalityConfig(name="text", dim=5, tokens=1)


def with_texts(b):
    """The three items of the batch have a text each, after their photo: 2 in row 0, 1 in row 1; row 2 has none."""
    b.category_ids[0, 3] = b.category_ids[0, 7] = b.category_ids[1, 5] = 2
    vectors = torch.randn(3, 5, generator=torch.Generator().manual_seed(2))
    b.content["text"] = Content(torch.tensor([2, 0, 1]), vectors, torch.tensor([False, True, True]))
    return b


def test_each_modality_has_its_own_network_category_and_missing_vector(two, config, batch):
    model, b = VIP5(config(modalities=two)), with_texts(batch())
    photo, text = model.modalities["photo"], model.modalities["text"]
    x = model.embed(b) - model.whole_words.weight[b.whole_word_ids]
    photo_UV, text_UV = b.content["photo"].vectors.clone(), b.content["text"].vectors.clone()
    photo_UV[1], text_UV[0] = photo.missing, text.missing  # not the same items
    photos, texts = mapped(photo, photo_UV), mapped(text, text_UV)
    expected = rows_of(model, b.input_ids) + model.categories.weight[0]
    expected[0, 1:3], expected[0, 5:7], expected[1, 3:5] = (photos[n] + model.categories.weight[1] for n in (1, 0, 2))
    expected[0, 3], expected[0, 7], expected[1, 5] = (texts[n, 0] + model.categories.weight[2] for n in (2, 0, 1))
    torch.testing.assert_close(x, expected)
    b.content["text"] = replace(b.content["text"], vectors=b.content["text"].vectors + 1)
    moved = (model.embed(b) - model.whole_words.weight[b.whole_word_ids] - x).abs().amax(-1) > 1e-6
    assert moved.nonzero().tolist() == [[0, 3], [1, 5]]  # not [0, 7]: nothing is known of that item's text


def test_a_modality_may_be_absent_from_a_batch(two, config, batch):
    """As where all prompts show items of words alone; no other weight of the modality is then used."""
    model, b = VIP5(config(modalities=two)).eval(), batch()
    empty = Content(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 5), torch.zeros(0, dtype=torch.bool))
    without, with_empty = model(b), model(replace(b, content=b.content | {"text": empty}))
    assert torch.equal(without, with_empty)
    without.sum().backward()
    assert all(weight.grad is None for weight in model.modalities["text"].parameters())


def test_the_order_of_modalities_in_a_batch_means_nothing(two, config, batch):
    model, b = VIP5(config(modalities=two)), with_texts(batch())
    turned = replace(b, content=dict(reversed(b.content.items())))
    assert torch.equal(model.embed(turned), model.embed(b))


def test_missing_is_learned_and_ignores_the_vector(config, batch):
    model, b = VIP5(config()), batch()
    before = model.embed(b)
    b.content["photo"].vectors[1] = 1e9
    assert torch.equal(model.embed(b), before)
    with torch.no_grad():
        model.modalities["photo"].missing += 1
    changed = (model.embed(b) != before).any(-1)
    assert changed.nonzero().tolist() == [[0, 1], [0, 2]]


def test_without_modalities_there_is_no_mapping_network(config, batch):
    model = VIP5(config(modalities=()))
    assert not [name for name in model.state_dict() if name.startswith("modalities")]
    assert model(batch(photos=False)).isfinite().all()


@pytest.mark.parametrize("tied", [True, False])
def test_head_over_all_and_over_given_tokens(tied, config):
    model, h = VIP5(config(tied_head=tied)), torch.randn(2, 3, 32)
    logits = model.head(h)
    tables = [model.text_tokens, model.new_tokens] if tied else [model.text_head, model.new_head]
    expected = (h * (32**-0.5 if tied else 1)) @ torch.cat([table.weight for table in tables]).T
    torch.testing.assert_close(logits, expected)
    tokens = torch.tensor([56, 3, 50, 49])
    torch.testing.assert_close(model.head(h, tokens), expected[..., tokens])
    own = torch.randint(0, 57, (2, 3, 5))
    torch.testing.assert_close(model.head(h, own), expected.gather(2, own))


@pytest.mark.parametrize("tied", [True, False])
def test_loss_by_hand(tied, config, batch):
    model, b = VIP5(config(tied_head=tied)).eval(), batch()
    inputs = torch.tensor([[0, 56, 9, 8], [0, 7, 1, 0], [0, 54, 4, 1]])
    log_p = model.head(model.decode(inputs, model.encode(b))).log_softmax(-1)
    by_hand = [-sum(log_p[i, t, b.target_ids[i, t]] for t in range(n)) / n for i, n in enumerate([4, 2, 3])]
    torch.testing.assert_close(model(b), torch.stack(by_hand))


def test_padding_changes_nothing(config, batch):
    model, b = VIP5(config()).eval(), batch()
    losses = model(b)
    for name in ("input_ids", "whole_word_ids", "category_ids", "target_ids"):
        setattr(b, name, torch.nn.functional.pad(getattr(b, name), (0, 5)))
    torch.testing.assert_close(model(b), losses)


@pytest.mark.parametrize("mode", MODES)
def test_steps_equal_teacher_forcing(mode, config, batch):
    """Beams that branch, die and change in number: each state is that of its whole sequence decoded at once."""
    torch.manual_seed(0)
    model, b = VIP5(config(mode=mode)).eval(), batch()
    encoded = model.encode(b)
    beams = 1
    state = model.start(encoded, beams)
    sequences = torch.zeros(3, 1, 0, dtype=torch.int64)
    for t in range(11):  # more than the cache holds at first
        tokens = torch.randint(2, 57, (3, beams, 1)) if t else torch.zeros(3, 1, 1, dtype=torch.int64)
        sequences = torch.cat([sequences, tokens], dim=2)
        h = model.step(tokens[..., 0], state)
        for k in range(beams):
            torch.testing.assert_close(h[:, k], model.decode(sequences[:, k], encoded)[:, -1], atol=1e-5, rtol=1e-5)
        if t != 4:
            beams = 4 if t < 8 else 2
            parents = torch.randint(0, sequences.shape[1], (3, beams))
            state.reorder(parents)
            sequences = sequences.gather(1, parents[..., None].expand(-1, -1, t + 1))


def test_new_tokens_are_drawn_as_the_text_tokens_lie(config):
    torch.manual_seed(0)
    model = VIP5(config(new_tokens=4000, text_vocab=500, tied_head=False))
    with torch.no_grad():
        for table in (model.text_tokens, model.text_head):
            table.weight.mul_(torch.rand(32) * 9).add_(torch.randn(32))
    model.init_new_tokens(dict(model.named_parameters()))
    for new, text in ((model.new_tokens, model.text_tokens), (model.new_head, model.text_head)):
        std, mean = torch.std_mean(text.weight, dim=0)
        torch.testing.assert_close(new.weight.mean(0), mean, atol=0.5, rtol=0)
        torch.testing.assert_close(new.weight.std(0), std, atol=0, rtol=0.1)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("mode", ["self+cross", "full"])
def test_checkpointing_changes_no_bit_and_keeps_less(mode, dropout, bf16, config, batch):
    torch.manual_seed(0)
    model, b = VIP5(config(mode=mode, dropout=dropout)).train(), batch()
    found = []
    for on in (False, True):
        model.recompute_blocks(on)
        model.zero_grad()
        torch.manual_seed(7)
        kept = 0

        def keep(x):
            nonlocal kept
            kept += x.nbytes
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = model(b).mean()
            loss.backward()
        after = torch.rand(1)  # random numbers go on where they would have
        found.append((kept, after, loss, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (kept_all, after, loss, gradients), (kept_few, after_too, loss_too, gradients_too) = found
    assert torch.equal(loss, loss_too) and torch.equal(after, after_too) and gradients.keys() == gradients_too.keys()
    assert all(torch.equal(gradients[name], gradients_too[name]) for name in gradients)
    assert kept_few < 0.6 * kept_all


@pytest.mark.parametrize("mode", MODES)
def test_bfloat16(mode, config, batch):
    torch.manual_seed(0)
    model, b = VIP5(config(mode=mode, dropout=0.0)), batch()
    exact = model(b).mean()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(b).mean()
        h = model.step(torch.zeros(3, 2, dtype=torch.int64), model.start(model.encode(b), 2))
        assert model.head(h).dtype == torch.float32
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, atol=0.1, rtol=0)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.slow
@pytest.mark.parametrize("peft", [Adapters(), Full()], ids=["adapters", "full"])
def test_bfloat16_at_the_papers_size(peft, batch):
    """Linear layers compute in bf16; norms and what they read, the residual stream, stay fp32, as do the logits."""
    torch.manual_seed(0)
    size = backbone_size("small") | {"text_vocab": 1000}
    photo = ModalityConfig(name="photo", dim=6, tokens=2)
    model = VIP5(ModelConfig(**size, modalities=(photo,), dropout=0.0, peft=peft)).train()
    b = batch(vocab=1000)
    exact = model(b)
    types: dict[type, set] = {}
    for module in model.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.RMSNorm, Sublayer)):
            module.register_forward_hook(
                lambda module, args, out: types.setdefault(type(module), set()).update((args[0].dtype, out.dtype))
            )
    head = []
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.MonkeyPatch.context() as patch:
        patch.setattr(vip5, "cross_entropy", lambda h, *rest: head.append(h.dtype) or ops.cross_entropy(h, *rest))
        losses = model(b)
    torch.testing.assert_close(losses, exact, rtol=0.01, atol=0)
    assert not torch.equal(losses, exact) and losses.dtype == torch.float32
    assert types[Sublayer] == types[ops.RMSNorm] == types[torch.nn.RMSNorm] == {torch.float32}
    assert torch.bfloat16 in types[torch.nn.Linear] and head == [torch.float32]
    losses.mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_impossible_configs_are_refused(config):
    photo = {"name": "photo", "dim": 6, "tokens": 2}
    for fields, said in (
        ({"d_modell": 3}, "d_modell"),
        ({"d_model": 30, "mode": "self"}, "peft.reduction 8 does not divide d_model 30"),
        ({"modalities": [photo | {"tokens": 0}]}, "tokens"),
        ({"modalities": [photo | {"name": "a.b"}]}, "name"),
        ({"modalities": [photo, photo]}, "give each name once"),
        ({"modalities": [photo, photo | {"name": "text"}], "categories": 2}, "1 at most"),
        ({"max_distance": 8}, "max_distance"),
    ):
        with pytest.raises(ValueError, match=said):
            config(**fields)


def test_padding_changes_neither_loss_nor_gradients(config, batch):
    """A batch whose rows are padded further, inputs and targets: packed, it is the same work."""
    model = VIP5(config(dropout=0.0))
    small = batch()
    wide = replace(
        small,
        input_ids=F.pad(small.input_ids, (0, 6)),
        whole_word_ids=F.pad(small.whole_word_ids, (0, 6)),
        category_ids=F.pad(small.category_ids, (0, 6)),
        target_ids=F.pad(small.target_ids, (0, 3)),
        n_tokens=-1,
        n_target_tokens=-1,
    )
    found = []
    for given in (small, wide):
        model.zero_grad()
        loss = model(given).mean()
        loss.backward()
        found.append((loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}))
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-5)
