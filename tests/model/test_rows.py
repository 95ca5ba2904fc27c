"""Rows of items' own tokens: learned, and what content adds; read and written alike."""

import pytest
import torch
import torch.nn.functional as F

from vip5.errors import UserError
from vip5.model import VIP5, ModalityConfig, load_model, save_model, to_t5_state

LOOKS = ModalityConfig(name="looks", dim=5, tokens=0, in_row=True)


@pytest.fixture
def vectors():
    generator = torch.Generator().manual_seed(0)
    return 3 + 2 * torch.randn(7, 5, generator=generator), torch.tensor([True] * 6 + [False])


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(config, vectors, request) -> VIP5:
    """Seven added tokens, each an item; the last one has no vector."""
    torch.manual_seed(0)
    model = VIP5(config(modalities=(LOOKS,), item_rows=True, tied_head=request.param, dropout=0.0))
    model.row_content["looks"].fit(*vectors)
    model.row_content["looks"].bind(*vectors)
    torch.nn.init.normal_(model.row_content["looks"].missing)
    with torch.no_grad():
        model.item_scales.copy_(torch.tensor([1.5, 0.3]))
    return model.eval()


def by_hand(model: VIP5, vectors, present) -> torch.Tensor:
    """What the docstrings say, in other words."""
    content, there = model.row_content["looks"], vectors[present]
    centred = there - there.mean(dim=0)
    x = torch.cat([centred / centred.pow(2).mean().sqrt(), content.missing[None]])
    hidden = F.gelu(x @ content.inner.weight.T + content.inner.bias)
    return model.new_tokens.weight + hidden @ content.outer.weight.T + content.outer.bias


def test_a_row_is_learned_and_what_content_adds(model, vectors):
    assert torch.allclose(model.all_rows(), by_hand(model, *vectors), atol=1e-5)
    assert torch.allclose(model.rows(torch.tensor([[6, 2]])), by_hand(model, *vectors)[[6, 2]], atol=1e-5)


@torch.no_grad()
def test_the_same_rows_are_read_and_written_by_scales_of_their_own(model, vectors, batch):
    rows, h = by_hand(model, *vectors), torch.randn(2, 32)
    read = model._embed_tokens(torch.tensor([[3, 50, 56]]))
    assert torch.allclose(read[0, 1:], rows[[0, 6]] * 1.5, atol=1e-5)
    assert torch.allclose(read[0, 0], model.text_tokens.weight[3])
    logits = model.head(h)
    assert torch.allclose(logits[:, 50:], h @ rows.T * 0.3, atol=1e-5)
    text = model.text_tokens if model.config.tied_head else model.text_head
    factor = 32**-0.5 if model.config.tied_head else 1.0
    assert torch.allclose(logits[:, :50], h @ text.weight.T * factor, atol=1e-5)
    tokens = torch.tensor([55, 3, 50])
    assert torch.allclose(model.head(h, tokens), logits[:, tokens], atol=1e-5)
    own = torch.tensor([[55, 3], [4, 51]])
    assert torch.allclose(model.head(h, own), logits.gather(1, own), atol=1e-5)


def test_what_is_kept_in_evaluation_is_worked_out_anew_after_training(model, vectors):
    with torch.no_grad():
        before = model.all_rows()
        assert model.all_rows() is before
    model.train()
    with torch.no_grad():
        model.new_tokens.weight += 1
    model.eval()
    with torch.no_grad():
        assert torch.allclose(model.all_rows(), before + 1, atol=1e-5)


def test_what_is_kept_stands_in_for_no_gradient(model):
    with torch.no_grad():
        model.all_rows()
    model.all_rows().sum().backward()
    assert model.new_tokens.weight.grad is not None


def test_every_part_of_a_row_is_trained(model):
    model.train()
    model.rows(torch.tensor([0, 6])).sum().backward()
    content = model.row_content["looks"]
    assert all(w.grad.abs().sum() > 0 for w in (model.new_tokens.weight, content.inner.weight, content.missing))


@torch.no_grad()
def test_saved_and_loaded(model, vectors, batch, tmp_path):
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    loaded.row_content["looks"].bind(*vectors)
    for config in (model, loaded):
        assert torch.equal(config.all_rows(), model.all_rows())


def test_such_rows_have_no_place_in_a_t5(model):
    with pytest.raises(UserError, match="a T5 cannot hold"):
        to_t5_state(model.state_dict(), model.config)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"modalities": (LOOKS,)}, "only with item_rows"),
        ({"modalities": ({"name": "looks", "dim": 5, "tokens": 0},)}, "nothing would read it"),
    ],
)
def test_what_makes_no_sense_is_refused(config, fields, said):
    with pytest.raises(ValueError, match=said):
        config(**fields)
