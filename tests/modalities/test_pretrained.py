"""Encoders that transformers loads: the vectors of the model itself, and one clear line where there is none."""

import importlib.util
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import transformers
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from vip5.errors import UserError
from vip5.modalities import loading
from vip5.modalities.encode import encode
from vip5.modalities.encoders import SHORT_NAMES, load_encoder

VISION = dict(
    hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
)
RESNET = "models/resnet-50-imagenet"


def photos(n: int = 3) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(256, size=(40 + 9 * i, 50, 3), dtype=np.uint8)) for i in range(n)]


def save(model: transformers.PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    text = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, vocab_size=99)
    config = transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=12)
    return save(transformers.CLIPModel(config), tmp_path_factory.mktemp("clip") / "tiny-clip")


def encoded(encoder, images: list[Image.Image]) -> np.ndarray:
    return encoder.encode(np.stack([encoder.prepare(image) for image in images]))


def test_clip_is_the_projected_image_embedding(clip: Path) -> None:
    encoder = load_encoder(str(clip), "cpu")
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    inputs = CLIPImageProcessorPil.from_pretrained(clip)(images=photos(), return_tensors="pt")
    with torch.no_grad():
        text = torch.tensor([[1, 2, 98]])
        hidden = model.vision_model(**inputs).pooler_output
        expected = model.visual_projection(hidden)
        direction = model(input_ids=text, **inputs).image_embeds  # what CLIP compares texts with, at length 1
    features = encoded(encoder, photos())
    assert encoder.dim == 12 and features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-5)
    np.testing.assert_allclose(features / np.linalg.norm(features, axis=1, keepdims=True), direction, atol=1e-5)


def test_clip_vision_branch_alone(clip: Path, tmp_path: Path) -> None:
    state = transformers.CLIPModel.from_pretrained(clip).state_dict()
    branch = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**VISION, projection_dim=12))
    branch.load_state_dict({key: state[key] for key in branch.state_dict()})
    alone = load_encoder(str(save(branch, tmp_path / "branch")), "cpu")
    np.testing.assert_allclose(encoded(alone, photos()), encoded(load_encoder(str(clip), "cpu"), photos()), atol=1e-5)


def test_pooler_and_its_absence(tmp_path: Path) -> None:
    """A pooled output is used where the checkpoint has weights for it; random weights never are."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(**VISION)
    whole = transformers.ViTModel(config).eval()
    pooled = load_encoder(str(save(whole, tmp_path / "whole")), "cpu")
    x = torch.from_numpy(np.stack([pooled.prepare(image) for image in photos()]))
    with torch.no_grad():
        output = whole(pixel_values=x)
    np.testing.assert_allclose(encoded(pooled, photos()), output.pooler_output, atol=1e-5)

    classifier = transformers.ViTForImageClassification(config)  # a published classifier has no pooler
    classifier.vit.load_state_dict(whole.state_dict(), strict=False)
    folder = save(classifier, tmp_path / "classifier")
    first, second = (load_encoder(str(folder), "cpu") for _ in range(2))
    assert first.fingerprint == second.fingerprint
    np.testing.assert_allclose(encoded(first, photos()), output.last_hidden_state.mean(1), atol=1e-5)
    np.testing.assert_array_equal(encoded(first, photos()), encoded(second, photos()))


def test_fingerprint_is_of_the_encoder_and_not_of_its_place(clip: Path, tmp_path: Path) -> None:
    known = load_encoder(str(clip), "cpu").fingerprint
    copy = shutil.copytree(clip, tmp_path / "copy")
    assert load_encoder(str(copy), "cpu").fingerprint == known
    options = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps({**options, "do_normalize": False}))
    assert load_encoder(str(copy), "cpu").fingerprint != known
    (copy / "preprocessor_config.json").write_text(json.dumps(options))
    model = transformers.CLIPModel.from_pretrained(copy)
    with torch.no_grad():
        model.visual_projection.weight[0, 0] += 1e-3
    model.save_pretrained(copy)
    assert load_encoder(str(copy), "cpu").fingerprint != known


def test_nothing_is_unpickled_and_no_code_run(clip: Path, tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'touched'}",)

    evil = shutil.copytree(clip, tmp_path / "evil")
    (evil / "model.safetensors").unlink()
    (evil / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Touch()}, protocol=2))
    with pytest.raises(UserError, match="never loaded: give a checkpoint in safetensors"):
        load_encoder(str(evil), "cpu")
    coded = shutil.copytree(clip, tmp_path / "coded")
    (coded / "evil.py").write_text(f"import os; os.system('touch {tmp_path / 'touched'}')")
    config = json.loads((coded / "config.json").read_text())
    auto = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (coded / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of", "auto_map": auto}))
    with pytest.raises(UserError, match=r"config\.json"):
        load_encoder(str(coded), "cpu")
    assert not (tmp_path / "touched").exists()


def test_weights_only_checkpoint(clip: Path, tmp_path: Path) -> None:
    old = shutil.copytree(clip, tmp_path / "old")
    (old / "model.safetensors").unlink()
    torch.save(transformers.CLIPModel.from_pretrained(clip).state_dict(), old / "pytorch_model.bin")
    assert load_encoder(str(old), "cpu").fingerprint == load_encoder(str(clip), "cpu").fingerprint


def test_one_line_for_what_is_no_encoder(clip: Path, tmp_path: Path) -> None:
    def refusal(folder: Path) -> str:
        with pytest.raises(UserError) as error:
            load_encoder(str(folder), "cpu")
        assert "\n" not in str(error.value)
        return str(error.value)

    (tmp_path / "empty").mkdir()
    assert "config.json" in refusal(tmp_path / "empty")
    for file, message in (("preprocessor_config.json", "preprocessor_config.json"), ("model.safetensors", "weights")):
        broken = shutil.copytree(clip, tmp_path / f"no-{file}")
        (broken / file).unlink()
        assert message in refusal(broken)
    (broken / "model.safetensors").write_bytes(b"cut")
    assert "weights" in refusal(broken)
    model = transformers.CLIPModel.from_pretrained(clip)
    state = {key: value for key, value in model.state_dict().items() if key != "visual_projection.weight"}
    model.save_pretrained(broken, state_dict=state)
    assert "visual_projection.weight" in refusal(broken)
    text = transformers.T5EncoderModel(transformers.T5Config(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    refusal(save(text, tmp_path / "text"))
    with pytest.raises(UserError, match="no device"):
        load_encoder(str(clip), "abacus")


def test_photos_of_several_sizes_are_refused(clip: Path, tmp_path: Path) -> None:
    ragged = shutil.copytree(clip, tmp_path / "ragged")
    options = json.loads((ragged / "preprocessor_config.json").read_text())
    (ragged / "preprocessor_config.json").write_text(json.dumps({**options, "do_center_crop": False}))
    encoder = load_encoder(str(ragged), "cpu")
    with pytest.raises(UserError, match="one size"):
        encoded(encoder, [Image.new("RGB", (40, 90))])


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known\nmany more lines")

    monkeypatch.setattr(loading.HfApi, "model_info", unreachable)
    monkeypatch.setattr(loading, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(UserError) as error:
        load_encoder("clip-vit-b-16")
    assert "openai/clip-vit-base-patch16" in str(error.value) and "network" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"no encoder 'clip': take basic, clip-rn50, .* of the hub"):
        load_encoder("clip")
    with pytest.raises(UserError, match=r"'\./no/such/folder' is no local folder"):
        load_encoder("./no/such/folder")


def test_the_resnets_of_clip_need_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "timm" else find(name))
    for name in ("clip-rn50", "clip-rn101"):
        assert SHORT_NAMES[name].startswith("timm/")
        with pytest.raises(UserError, match="pip install timm torchvision"):
            load_encoder(name)


def test_job_with_a_pretrained_encoder(clip: Path, dataset) -> None:
    done = encode(dataset, load_encoder(str(clip), "cpu"), batch_size=6)
    assert done.store.name == "photo" and done.store.mask.sum() == 20
    encoder = load_encoder(str(clip), "cpu")
    with Image.open(dataset.photos[7]) as photo:
        np.testing.assert_allclose(done.store.matrix[7], encoded(encoder, [photo])[0], atol=1e-5)


def test_resnet_50_as_its_makers_prepared_photos(shared: Path) -> None:
    """Its preprocessor: the short side to 224 / 0.875, the middle 224, minus the mean, in 0 … 255 and not 0 … 1."""
    encoder = load_encoder(str(shared / RESNET), "cpu")
    assert encoder.dim == 2048
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(256, size=(20, 12, 3), dtype=np.uint8))
    photo = small.resize((320, 512), Image.Resampling.BILINEAR)
    middle = photo.resize((256, 409), Image.Resampling.BICUBIC).crop((16, 92, 240, 316))
    expected = np.asarray(middle, dtype=np.float32) - 255 * np.array([0.48502, 0.457957, 0.407604])
    prepared = encoder.prepare(photo)
    assert prepared.shape == (3, 224, 224)
    assert np.abs(prepared.transpose(1, 2, 0) - expected).mean() < 1  # of 255; a resize may differ by half a pixel
    model = transformers.ResNetModel.from_pretrained(shared / RESNET, dtype=torch.float32).eval()
    with torch.no_grad():
        pooled = model(torch.from_numpy(prepared)[None]).last_hidden_state.mean((2, 3))
    np.testing.assert_allclose(encoder.encode(prepared[None]), pooled, atol=1e-4)


@pytest.mark.slow
def test_resnet_50_finds_alike_what_is_alike(shared: Path) -> None:
    """The nearest photo of a dress is a dress, of a bra a bra, of trousers trousers."""
    items = pl.read_parquet(shared / "data" / "hm" / "items.parquet").filter(pl.col("image").is_not_null())
    kinds, paths = [], []
    for kind in ("Dress", "Bra", "Trousers"):
        some = items.filter(pl.col("categories").list.last() == kind)["image"][:6]
        kinds += [kind] * len(some)
        paths += [shared / "data" / "hm" / image for image in some]
    encoder = load_encoder(str(shared / RESNET), "cpu")
    images = [Image.open(path).convert("RGB") for path in paths]
    features = encoded(encoder, images)
    features = (features - features.mean(0)) / np.linalg.norm(features - features.mean(0), axis=1, keepdims=True)
    alike = features @ features.T - 2 * np.eye(len(kinds))
    nearest = np.array(kinds)[alike.argmax(1)]
    assert (nearest == np.array(kinds)).mean() >= 0.8
