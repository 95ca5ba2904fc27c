"""Ways of tuning: where adapters stand, what is trained, and a method of one's own."""

from typing import Any, Literal

import pytest
import torch
from pydantic import BaseModel, ConfigDict

from vip5.model import VIP5, Adapters, Full, ModalityConfig, ModelConfig, backbone_size, count_parameters
from vip5.model.peft import METHODS, Adapter, TuningMethod, is_norm, is_of_vip5

MODES = ["self", "self+cross", "full"]
PLACES = ("self_attention", "feed_forward", "cross_attention")
SUBSETS = [tuple(p for n, p in enumerate(PLACES) if bits >> n & 1) for bits in range(1, 8)]


@pytest.mark.parametrize("places", SUBSETS, ids="+".join)
def test_adapters_stand_exactly_at_the_places(places, config):
    """2 blocks of the encoder with two sublayers, 3 of the decoder with three."""
    model = VIP5(config(peft=Adapters(places=places, reduction=4)))
    found = {name for name, module in model.named_modules() if isinstance(module, Adapter)}
    blocks = [f"encoder.blocks.{n}" for n in range(2)] + [f"decoder.blocks.{n}" for n in range(3)]
    there = [(block, place) for block in blocks for place in places if (block[0], place) != ("e", "cross_attention")]
    assert found == {f"{block}.{place}.adapter" for block, place in there}
    for name in found:
        adapter: Any = model.get_submodule(name)
        assert adapter.down.weight.shape == (8, 32) and adapter.up.weight.shape == (32, 8)
    added = {name for name, _ in model.named_parameters() if model.config.peft.is_added(name)}
    assert added == {name for name, _ in model.named_parameters() if ".adapter." in name}
    assert added == set(model.state_dict()) - set(VIP5(config()).state_dict())


def test_an_adapter_follows_its_sublayer_before_the_residual(config, batch):
    """Houlsby et al., figure 2: h + A(sublayer(norm(h))), A(y) = y + up(GELU(down(y)))."""
    torch.manual_seed(0)
    model = VIP5(config(mode="self")).eval()
    layer: Any = model.encoder.blocks[0].feed_forward
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    torch.nn.init.normal_(layer.adapter.up.weight)
    layer.adapter.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    layer.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    with torch.no_grad():
        model.encode(batch())
        (y, adapted), (h, out) = seen
        down, up = layer.adapter.down, layer.adapter.up
        inner = torch.nn.functional.gelu(y @ down.weight.T + down.bias)
        torch.testing.assert_close(adapted, y + inner @ up.weight.T + up.bias)
        torch.testing.assert_close(y, layer.body(layer.norm(h)))
        torch.testing.assert_close(out, h + adapted)


@pytest.mark.parametrize(
    ("name", "full", "adapters"),
    [
        ("text_tokens.weight", True, False),
        ("text_head.weight", True, False),
        ("encoder.bias.weight", True, False),
        ("decoder.blocks.0.self_attention.body.out.weight", True, False),
        ("decoder.blocks.0.self_attention.norm.weight", True, True),
        ("decoder.blocks.2.cross_attention.adapter.up.bias", True, True),
        ("encoder.norm.weight", True, True),
        ("new_tokens.weight", True, True),
        ("new_head.weight", True, True),
        ("user_tokens.weight", True, True),
        ("whole_words.weight", True, True),
        ("modalities.photo.hidden.weight", True, True),
        ("modalities.photo.missing", True, True),
    ],
)
def test_is_trained(name, full, adapters):
    assert (Full().is_trained(name), Adapters().is_trained(name)) == (full, adapters)


def test_the_same_method_comes_back_from_json(config):
    for peft in (Full(), Adapters(places=("cross_attention",), reduction=2)):
        own = config(peft=peft)
        assert ModelConfig.model_validate_json(own.model_dump_json()) == own
    assert {method().method for method in METHODS} == {"full", "adapters"}
    for wrong in ({"method": "lora"}, {"method": "full", "reduction": 8}, {"method": "adapters", "places": ["head"]}):
        with pytest.raises(ValueError):
            config(peft=wrong)


@pytest.mark.parametrize(("mode", "share"), [("self", 2.97), ("self+cross", 3.58), ("full", 100.0)])
def test_shares_of_the_paper(mode, share, config):
    """Table 5 of the paper: t5-small, 512-d features, r = 8, whole-word and category embeddings frozen."""
    photo, peft = ModalityConfig(name="photo", dim=512, tokens=1), config(mode=mode).peft
    frozen = mode != "full"
    own = ModelConfig(**backbone_size("small"), modalities=(photo,), peft=peft, train_word_category=not frozen)
    with torch.device("meta"):
        parts = count_parameters(VIP5(own))
    assert round(100 * sum(p.trained for p in parts) / sum(p.total for p in parts), 2) == share
    by_name = {p.name: p for p in parts}
    assert by_name["layer norms"].trained == 32 * 512
    assert by_name["mapping networks"].trained == 2 * 256 * 512 + 256 + 512 + 512 + 512
    adapters = {"self": 24, "self+cross": 30, "full": 0}[mode]
    assert by_name["added by tuning"].trained == adapters * (2 * 512 * 64 + 64 + 512)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("word_category", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_changes_exactly_what_is_trained(mode, word_category, tied, config, batch):
    torch.manual_seed(0)
    model = VIP5(config(mode=mode, train_word_category=word_category, tied_head=tied, gated=not tied)).train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    model(batch()).mean().backward()
    optimizer.step()
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}

    def meant(name: str) -> bool:
        first = name.split(".")[0]
        if first in ("whole_words", "categories"):
            return word_category
        added = first in ("modalities", "new_tokens", "new_head") or ".adapter." in name or ".norm." in name
        return mode == "full" or added

    assert changed == {name for name in before if meant(name)}
    assert all(weight.grad is None for weight in model.parameters() if not weight.requires_grad)


def test_adapters_start_near_the_identity(config, batch):
    torch.manual_seed(0)
    plain, adapted = VIP5(config()).eval(), VIP5(config(mode="self+cross")).eval()
    adapted.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(adapted(batch()), plain(batch()), atol=2e-2, rtol=0)


class Norms(BaseModel):
    """A third way of tuning, known to this file alone: the layer norms, and one gain for each stack's output."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["norms"] = "norms"

    def fault(self, d_model: int) -> str | None:
        return "too narrow for norms" if d_model < 32 else None

    def attach(self, model: Any) -> None:
        for part in (model.encoder, model.decoder):
            part.gain = torch.nn.Parameter(torch.ones(1))
            part.norm.register_forward_hook(lambda norm, args, out, part=part: out * part.gain)

    def is_added(self, name: str) -> bool:
        return name.endswith(".gain")

    def is_trained(self, name: str) -> bool:
        return self.is_added(name) or is_norm(name) or is_of_vip5(name)


def test_a_method_of_ones_own_works_through_the_protocol(config, batch, trained):
    """The model asks a way of tuning for nothing beyond `TuningMethod`."""
    method: TuningMethod = Norms()
    own = config().model_copy(update={"peft": method})
    torch.manual_seed(0)
    model, plain = VIP5(own).eval(), VIP5(config()).eval()
    plain.load_state_dict({name: w for name, w in model.state_dict().items() if not method.is_added(name)})
    assert torch.equal(model(batch()), plain(batch()))
    norms = {name for name in plain.state_dict() if name.endswith(".norm.weight") and "modalities" not in name}
    of_vip5 = {name for name in plain.state_dict() if name.split(".")[0] in ("new_tokens", "modalities")}
    of_vip5 |= {"whole_words.weight", "categories.weight"}
    assert trained(model) == norms | of_vip5 | {"encoder.gain", "decoder.gain"}
    parts = {part.name: part for part in count_parameters(model)}
    assert (parts["added by tuning"].trained, parts["added by tuning"].frozen) == (2, 0)
    assert parts["encoder"].trained == parts["decoder"].trained == parts["token embeddings"].frozen - 50 * 32 == 0
    model(batch()).mean().backward()
    assert {name for name, weight in model.named_parameters() if weight.grad is not None} == trained(model)
