"""Embedding, images, loss, decoding step by step, and what is trained."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vip5.model import VIP5, AdapterConfig, ModelConfig, backbone_size, count_parameters, ops, vip5
from vip5.model.backbone import Sublayer

MODES = ["self", "self+cross", "full"]


def rows_of(model, tokens):
    """Rows of both token tables joined, the plain way."""
    return torch.cat([model.text_tokens.weight, model.new_tokens.weight])[tokens]


def test_images_stand_where_the_categories_say(config, batch):
    model, b = VIP5(config()), batch()
    b.input_ids[:, 7] = torch.tensor([49, 50, 56])  # last text token, first and last new token
    b.whole_word_ids[0, 0], b.whole_word_ids[0, 4] = 5000, 1023
    x = model.embed(b)
    words = b.whole_word_ids.clamp(max=1023)
    expected = rows_of(model, b.input_ids)
    x_UV = b.features.clone()
    x_UV[1] = model.visual.no_photo
    hidden = torch.tanh(x_UV @ model.visual.hidden.weight.T + model.visual.hidden.bias)
    out = (hidden @ model.visual.out.weight.T + model.visual.out.bias).view(3, 2, 32)
    images = out / (out.square().mean(-1, keepdim=True) + 1e-6).sqrt() * model.visual.norm.weight
    expected[0, 1:3], expected[0, 5:7], expected[1, 3:5] = images[1], images[0], images[2]
    expected = expected + model.whole_words.weight[words] + model.categories.weight[b.category_ids]
    torch.testing.assert_close(x, expected)
    b.input_ids[0, 1] = 33  # the sentinel's own embedding is replaced
    assert torch.equal(model.embed(b), x)


def test_no_photo_is_learned_and_ignores_the_features(config, batch):
    model, b = VIP5(config()), batch()
    before = model.embed(b)
    b.features[1] = 1e9
    assert torch.equal(model.embed(b), before)
    with torch.no_grad():
        model.visual.no_photo += 1
    changed = (model.embed(b) != before).any(-1)
    assert changed.nonzero().tolist() == [[0, 1], [0, 2]]


def test_k_0_has_no_mapping_network(config, batch):
    model = VIP5(config(image_tokens=0))
    assert model.visual is None
    assert model.loss(batch(images=False)).isfinite()


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
    torch.testing.assert_close(model.sample_losses(b), torch.stack(by_hand))


def test_padding_changes_nothing(config, batch):
    model, b = VIP5(config()).eval(), batch()
    losses = model.sample_losses(b)
    for name in ("input_ids", "whole_word_ids", "category_ids", "target_ids"):
        setattr(b, name, torch.nn.functional.pad(getattr(b, name), (0, 5)))
    torch.testing.assert_close(model.sample_losses(b), losses)


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


@pytest.mark.parametrize(("mode", "k", "share"), [("self", 1, 2.97), ("self+cross", 1, 3.58), ("full", 1, 100.0)])
def test_shares_of_the_paper(mode, k, share):
    """Table 5 of the paper: t5-small, 512-d features, r = 8, whole-word and category embeddings frozen."""
    adapter = AdapterConfig(mode=mode, reduction=8)
    frozen = mode != "full"
    config = ModelConfig(**backbone_size("small"), image_tokens=k, adapter=adapter, train_word_category=not frozen)
    with torch.device("meta"):
        parts = count_parameters(VIP5(config))
    assert round(100 * sum(p.trained for p in parts) / sum(p.total for p in parts), 2) == share
    by_name = {p.name: p for p in parts}
    assert by_name["layer norms"].trained == 32 * 512
    assert by_name["mapping network"].trained == 2 * 256 * 512 + 256 + 512 + 512 + 512
    assert by_name["adapters"].trained == {"self": 24, "self+cross": 30, "full": 0}[mode] * (2 * 512 * 64 + 64 + 512)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("word_category", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_changes_exactly_what_is_trained(mode, word_category, tied, config, batch):
    torch.manual_seed(0)
    model = VIP5(config(mode=mode, train_word_category=word_category, tied_head=tied, gated=not tied)).train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    model.loss(batch()).backward()
    optimizer.step()
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}

    def meant(name: str) -> bool:
        first = name.split(".")[0]
        if first in ("whole_words", "categories"):
            return word_category
        added = first in ("visual", "new_tokens", "new_head") or ".adapter." in name or ".norm." in name
        return mode == "full" or added

    assert changed == {name for name in before if meant(name)}
    assert all(weight.grad is None for weight in model.parameters() if not weight.requires_grad)
    adapters = {name.split(".adapter.")[0].split(".")[-1] for name in before if ".adapter." in name}
    places = {"self": {"self_attention", "feed_forward"}, "full": set()}
    assert adapters == places.get(mode, {"self_attention", "cross_attention", "feed_forward"})


def test_adapters_start_near_the_identity(config, batch):
    torch.manual_seed(0)
    plain, adapted = VIP5(config()).eval(), VIP5(config(mode="self+cross")).eval()
    adapted.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(adapted.sample_losses(batch()), plain.sample_losses(batch()), atol=2e-2, rtol=0)


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
                loss = model.loss(b)
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
    exact = model.loss(b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.loss(b)
        h = model.step(torch.zeros(3, 2, dtype=torch.int64), model.start(model.encode(b), 2))
        assert model.head(h).dtype == torch.float32
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, atol=0.1, rtol=0)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["self+cross", "full"])
def test_bfloat16_at_the_papers_size(mode, batch):
    """Linear layers compute in bf16; norms and what they read, the residual stream, stay fp32, as do the logits."""
    torch.manual_seed(0)
    size = backbone_size("small") | {"text_vocab": 1000}
    model = VIP5(ModelConfig(**size, feature_dim=6, dropout=0.0, adapter=AdapterConfig(mode=mode))).train()
    b = batch(vocab=1000)
    exact = model.sample_losses(b)
    types: dict[type, set] = {}
    for module in model.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.RMSNorm, Sublayer)):
            module.register_forward_hook(
                lambda module, args, out: types.setdefault(type(module), set()).update((args[0].dtype, out.dtype))
            )
    head = []
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.MonkeyPatch.context() as patch:
        patch.setattr(vip5, "cross_entropy", lambda h, *rest: head.append(h.dtype) or ops.cross_entropy(h, *rest))
        losses = model.sample_losses(b)
    torch.testing.assert_close(losses, exact, rtol=0.01, atol=0)
    assert not torch.equal(losses, exact) and losses.dtype == torch.float32
    assert types[Sublayer] == types[ops.RMSNorm] == types[torch.nn.RMSNorm] == {torch.float32}
    assert torch.bfloat16 in types[torch.nn.Linear] and head == [torch.float32]
    losses.mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_impossible_configs_are_refused(config):
    for fields in ({"d_modell": 3}, {"d_model": 30, "mode": "self"}, {"image_tokens": -1}, {"max_distance": 8}):
        with pytest.raises(ValueError):
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
        loss = model.loss(given)
        loss.backward()
        found.append((loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}))
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-5)
