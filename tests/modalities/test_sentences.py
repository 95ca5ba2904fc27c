"""Pretrained text encoders: the vectors that sentence-transformers defines, computed here by hand."""

import contextlib
import json
import os
import pickle
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from vip5.errors import UserError
from vip5.modalities import loading
from vip5.modalities.encode import encode_text
from vip5.modalities.encoders import load_text_encoder
from vip5.modalities.texts import texts_of

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "lip", "balm", "beauty", "co", "&", ".", "care", "lips"]
SIZES = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, vocab_size=len(WORDS))
TEXTS = ["lip balm", "beauty & co . lip care balm", "lips"]


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    words.enable_truncation(4)  # as published files often have; the encoder's own length counts
    names = dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=32, **names)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert") / "tiny-bert"
    transformers.BertModel(transformers.BertConfig(**SIZES, max_position_embeddings=32)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def write(file: Path, value: object) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value))


def sentence_folder(bert: Path, folder: Path, pooling: dict, *after: str, **reading: object) -> Path:
    """A checkpoint as sentence-transformers lays it out."""
    shutil.copytree(bert, folder)
    kinds = ["Transformer", "Pooling", *after]
    paths = ["", *(f"{n}_{kind}" for n, kind in enumerate(kinds) if n)]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    write(folder / "modules.json", modules)
    write(folder / "1_Pooling/config.json", {"word_embedding_dimension": 16, **pooling})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": False, **reading})
    return folder


def states(bert: Path, text: str, length: int = 12) -> np.ndarray:
    """The hidden states [tokens, 16] of one text alone, without any padding."""
    words = [word for word in text.lower().split()][: length - 2]
    ids = [2, *(WORDS.index(word) if word in WORDS else 1 for word in words), 3]
    model = transformers.BertModel.from_pretrained(bert).eval()
    with torch.no_grad():
        return model(torch.tensor([ids])).last_hidden_state[0].numpy()


POOLED = {
    "pooling_mode_cls_token": lambda h: h[0],
    "pooling_mode_max_tokens": lambda h: h.max(0),
    "pooling_mode_mean_tokens": lambda h: h.mean(0),
    "pooling_mode_mean_sqrt_len_tokens": lambda h: h.sum(0) / np.sqrt(len(h)),
    "pooling_mode_weightedmean_tokens": lambda h: (np.arange(1, len(h) + 1) @ h) / np.arange(1, len(h) + 1).sum(),
    "pooling_mode_lasttoken": lambda h: h[-1],
}


@pytest.mark.parametrize(
    "flags", [*([flag] for flag in POOLED), ["pooling_mode_mean_tokens", "pooling_mode_cls_token"]]
)
def test_each_pooling_by_hand(bert: Path, tmp_path: Path, flags: list[str]) -> None:
    folder = sentence_folder(bert, tmp_path / "st", {flag: flag in flags for flag in POOLED})
    encoder = load_text_encoder(str(folder), "cpu")
    vectors, cut = encoder.encode(TEXTS)
    order = [flag for flag in POOLED if flag in flags]  # joined in this order, whatever the file's
    expected = [np.concatenate([POOLED[flag](states(bert, text)) for flag in order]) for text in TEXTS]
    assert vectors.dtype == np.float32 and encoder.dim == 16 * len(flags) and cut == 0
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_as_newer_files_name_it(bert: Path, tmp_path: Path) -> None:
    folder = sentence_folder(bert, tmp_path / "st", {"pooling_mode": "lasttoken"})
    vectors, _ = load_text_encoder(str(folder), "cpu").encode(TEXTS)
    np.testing.assert_allclose(vectors, [states(bert, text)[-1] for text in TEXTS], atol=1e-5)


def test_a_plain_encoder_is_the_masked_mean(bert: Path) -> None:
    vectors, _ = load_text_encoder(str(bert), "cpu").encode(TEXTS)
    np.testing.assert_allclose(vectors, [states(bert, text, 32).mean(0) for text in TEXTS], atol=1e-5)


def test_length_and_what_is_cut(bert: Path, tmp_path: Path) -> None:
    folder = sentence_folder(bert, tmp_path / "st", {"pooling_mode_mean_tokens": True}, max_seq_length=5)
    encoder = load_text_encoder(str(folder), "cpu")
    vectors, cut = encoder.encode(TEXTS)
    assert (encoder.length, cut) == (5, 1)
    np.testing.assert_allclose(vectors, [states(bert, text, 5).mean(0) for text in TEXTS], atol=1e-5)
    assert load_text_encoder(str(bert), "cpu").length == 32


def test_normalize_dense_and_prompt(bert: Path, tmp_path: Path) -> None:
    folder = sentence_folder(bert, tmp_path / "st", {"pooling_mode_cls_token": False}, "Dense", "Normalize")
    layer = torch.nn.Linear(16, 6)
    (folder / "2_Dense").mkdir()
    torch.save(
        {f"linear.{key}": value for key, value in layer.state_dict().items()}, folder / "2_Dense/pytorch_model.bin"
    )
    write(folder / "2_Dense/config.json", {"activation_function": "torch.nn.modules.activation.Tanh"})
    write(folder / "config_sentence_transformers.json", {"prompts": {"p": "care "}, "default_prompt_name": "p"})
    vectors, _ = load_text_encoder(str(folder), "cpu").encode(TEXTS)
    pooled = np.stack([states(bert, f"care {text}").mean(0) for text in TEXTS])
    expected = torch.tanh(layer(torch.from_numpy(pooled))).detach().numpy()
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_t5_is_its_encoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, vocab_size=len(WORDS))
    whole = transformers.T5ForConditionalGeneration(config).eval()
    whole.save_pretrained(tmp_path / "t5")
    transformers.T5EncoderModel(config).eval().save_pretrained(tmp_path / "half")
    for folder in ("t5", "half"):
        tokenizer().save_pretrained(tmp_path / folder)
    vectors, _ = load_text_encoder(str(tmp_path / "t5"), "cpu").encode(TEXTS[:1])
    with torch.no_grad():
        h = whole.encoder(input_ids=torch.tensor([[2, 4, 5, 3]])).last_hidden_state[0]
    np.testing.assert_allclose(vectors[0], h.mean(0), atol=1e-5)
    assert load_text_encoder(str(tmp_path / "half"), "cpu").dim == 16


def test_clip_is_the_projected_text_embedding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = dict(SIZES, max_position_embeddings=16, eos_token_id=3, bos_token_id=2, pad_token_id=0)
    vision = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=32)
    clip = transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    ).eval()
    clip.save_pretrained(tmp_path / "clip")
    tokenizer().save_pretrained(tmp_path / "clip")
    encoder = load_text_encoder(str(tmp_path / "clip"), "cpu")
    vectors, _ = encoder.encode(TEXTS)
    assert (encoder.dim, encoder.length) == (12, 16)
    with torch.no_grad():
        pooled = clip.text_model(input_ids=torch.tensor([[2, 4, 5, 3]])).pooler_output
        np.testing.assert_allclose(vectors[0], clip.text_projection(pooled)[0], atol=1e-5)


def test_fingerprint_is_of_all_that_decides_the_numbers(bert: Path, tmp_path: Path) -> None:
    def fingerprint(folder: Path) -> str:
        return load_text_encoder(str(folder), "cpu").fingerprint

    first = sentence_folder(bert, tmp_path / "first", {"pooling_mode_mean_tokens": True})
    known = fingerprint(first)
    assert fingerprint(shutil.copytree(first, tmp_path / "copy")) == known
    others = [
        sentence_folder(bert, tmp_path / "pooling", {"pooling_mode_max_tokens": True}),
        sentence_folder(bert, tmp_path / "length", {"pooling_mode_mean_tokens": True}, max_seq_length=7),
        sentence_folder(bert, tmp_path / "after", {"pooling_mode_mean_tokens": True}, "Normalize"),
        sentence_folder(bert, tmp_path / "weights", {"pooling_mode_mean_tokens": True}),
    ]
    model = transformers.BertModel.from_pretrained(others[-1])
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[4, 0] += 1e-3
    model.save_pretrained(others[-1])
    assert len({known, *map(fingerprint, others)}) == 5


def test_one_line_for_what_is_no_text_encoder(bert: Path, tmp_path: Path) -> None:
    def refusal(folder: Path) -> str:
        with pytest.raises(UserError) as error:
            load_text_encoder(str(folder), "cpu")
        assert "\n" not in str(error.value)
        return str(error.value)

    mean = {"pooling_mode_mean_tokens": True}
    assert "a step CNN, which is not known" in refusal(sentence_folder(bert, tmp_path / "cnn", mean, "CNN"))
    assert "pools by ['sum']" in refusal(sentence_folder(bert, tmp_path / "sum", {"pooling_mode": "sum"}))
    assert "2_Dense" in refusal(sentence_folder(bert, tmp_path / "dense", mean, "Dense"))
    (tmp_path / "empty").mkdir()
    assert "config.json" in refusal(tmp_path / "empty")
    broken = shutil.copytree(bert, tmp_path / "broken")
    (broken / "tokenizer.json").unlink()
    (broken / "tokenizer_config.json").unlink()
    assert "no words" in refusal(broken)  # transformers makes an empty tokenizer up

    class Touch:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'touched'}",)

    evil = sentence_folder(bert, tmp_path / "evil", mean, "Dense")
    (evil / "2_Dense").mkdir()
    (evil / "2_Dense/pytorch_model.bin").write_bytes(pickle.dumps({"linear.weight": Touch()}, protocol=2))
    assert "2_Dense" in refusal(evil) and not (tmp_path / "touched").exists()


def test_hub_out_of_reach_and_a_pooling_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier download may lack the files of the pooling; vectors by another pooling would be others."""

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(loading.HfApi, "model_info", unreachable)
    monkeypatch.setattr(loading, "try_to_load_from_cache", lambda _, path: "there" if path == "config.json" else None)
    with pytest.raises(UserError, match=r"whether some/encoder has a modules\.json is not known"):
        load_text_encoder("some/encoder")


def test_job_goes_on_after_a_stop_with_the_same_bytes(bert: Path, dataset, contents, monkeypatch) -> None:
    encoder = load_text_encoder(str(bert), "cpu")
    done = encode_text(dataset, encoder, batch_size=4)
    whole = contents(dataset.path / "modalities" / "text")
    assert (done.store.kind, done.inputs, done.store.mask.sum(), done.store.mask[2]) == ("text", 22, 22, False)
    for item, text in texts_of(dataset):
        np.testing.assert_allclose(done.store.matrix[item], encoder.encode([text])[0][0], atol=1e-5)
    shutil.rmtree(dataset.path / "modalities" / "text")
    batches: list[int] = []

    def stopped(texts: list[str]) -> tuple[np.ndarray, int]:
        if len(batches) == 3:
            raise KeyboardInterrupt
        batches.append(len(texts))
        return type(encoder).encode(encoder, texts)

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(encoder, "encode", stopped)
        encode_text(dataset, encoder, batch_size=4)
    again = encode_text(dataset, encoder, batch_size=4)
    assert again.resumed_from == 12 and contents(dataset.path / "modalities" / "text") == whole
    assert encode_text(dataset, encoder).reused
    assert not encode_text(dataset, encoder, template="{title}").reused


@pytest.mark.slow
def test_the_real_minilm(shared: Path, tmp_path: Path) -> None:
    """Its own definition, step by step, and what it is for: like texts lie near each other."""
    script = shared / "tools/minilm.sh"
    if not script.is_file() or subprocess.run(["bash", script, tmp_path / "minilm"], capture_output=True).returncode:
        pytest.skip("no MiniLM to be had")
    encoder = load_text_encoder(str(tmp_path / "minilm"), "cpu")
    texts = ["a red summer dress", "crimson gown for warm days", "usb charging cable " * 200]
    vectors, cut = encoder.encode(texts)
    assert (encoder.dim, encoder.length, cut) == (384, 256, 1)
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "minilm")
    model = transformers.BertModel.from_pretrained(tmp_path / "minilm").eval()
    for text, vector in zip(texts, vectors, strict=True):
        with torch.no_grad():
            h = (
                model(**tokens([text], truncation=True, max_length=256, return_tensors="pt"))
                .last_hidden_state[0]
                .mean(0)
            )
        np.testing.assert_allclose(vector, h / h.norm(), atol=1e-5)
    alike = vectors @ vectors.T
    assert alike[0, 1] > 0.5 > alike[0, 2]
