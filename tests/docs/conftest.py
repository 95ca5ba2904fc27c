"""What stands in for the data, weights and folders that the pages of the docs name: small, of the same form."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from vip5.demo import write_demo
from vip5.items import Vocabulary
from vip5.prompts import load_prompts


@pytest.fixture(scope="session")
def belongings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that a reader is expected to have before typing anything."""
    folder = tmp_path_factory.mktemp("belongings")
    write_demo(folder / "made", users=40, items=40)
    shutil.copy(folder / "made/interactions.csv", folder / "purchases.csv")
    shutil.copy(folder / "made/reviews.csv", folder)
    (folder / "made/images").rename(folder / "photos")
    items = pl.read_csv(folder / "made/items.csv")
    items.with_columns(paper_id=pl.int_range(pl.len()).shuffle(0)).write_csv(folder / "products.csv")
    purchases = pl.read_csv(folder / "purchases.csv")
    purchases.rename({"user": "kunde", "item": "artikel"}).write_csv(folder / "buys.csv")
    sound = np.random.default_rng(0).normal(size=(len(items), 8)).astype(np.float32)
    pl.DataFrame({"item": items["item"], "vector": sound}).write_parquet(folder / "sound.parquet")
    shutil.rmtree(folder / "made")
    write_amazon(folder, purchases)
    write_movielens(folder / "ml-1m", purchases)
    texts = [
        line for file in ("products", "reviews") for line in (folder / f"{file}.csv").read_text("utf-8").splitlines()
    ]
    write_t5(folder / "t5-small", texts)
    write_sentence_encoder(folder / "path/to/all-MiniLM-L6-v2", texts)
    return folder


def write_amazon(folder: Path, purchases: pl.DataFrame) -> None:
    """Reviews and metadata as in the release of 2014."""
    reviews = [
        {"reviewerID": user, "asin": item, "overall": 4.0, "reviewText": "It is a good thing.", "unixReviewTime": time}
        for user, item, time in purchases["user", "item", "timestamp"].rows()
    ]
    meta = [{"asin": item, "title": f"Thing {item}"} for item in purchases["item"].unique(maintain_order=True)]
    for name, lines in (("reviews_Beauty_5", map(json.dumps, reviews)), ("meta_Beauty", map(repr, meta))):
        (folder / f"{name}.json.gz").write_bytes(gzip.compress("\n".join(lines).encode()))


def write_movielens(folder: Path, purchases: pl.DataFrame) -> None:
    """Ratings and films as in the release of 1M."""
    folder.mkdir()
    films = [f"{n}::Film {n} (1999)::Drama|War" for n in range(1, 41)]
    (folder / "movies.dat").write_text("\n".join(films))
    ratings = [
        f"{user[1:]}::{int(item[1:])}::5::{time}" for user, item, time in purchases["user", "item", "timestamp"].rows()
    ]
    (folder / "ratings.dat").write_text("\n".join(ratings))


def write_t5(folder: Path, texts: list[str]) -> None:
    """A T5 as transformers writes one, with random weights, and a tokenizer."""
    prompts = [prompt.input for prompt in load_prompts().values()]
    vocabulary = Vocabulary.train([*texts, *prompts], 600)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=vocabulary.size, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0
    )  # type: ignore[call-arg]
    T5ForConditionalGeneration(config).save_pretrained(folder)
    vocabulary.save(folder)


def write_sentence_encoder(folder: Path, texts: list[str]) -> None:
    """A checkpoint as sentence-transformers lays it out, with random weights: the mean over the tokens."""
    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=special, show_progress=False))
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(**sizes, vocab_size=words.get_vocab_size(), max_position_embeddings=64)).save_pretrained(
        folder
    )
    PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=64, **names).save_pretrained(folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    steps = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
    for name, value in (("modules", steps), ("1_Pooling/config", pooling)):
        (folder / f"{name}.json").write_text(json.dumps(value))
