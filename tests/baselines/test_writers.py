"""Systems that write: their words, their losses, who sees whom, what is written greedily."""

import math

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F

from vip5.baselines.attn2seq import Attn2Seq
from vip5.baselines.copied import NeighbourSentence, most_frequent_sentence
from vip5.baselines.nrt import NRT
from vip5.baselines.peter import PETER, PETERPlus, peter_mask
from vip5.baselines.writing import BEGIN, END, PAD, UNKNOWN, Words, as_bytes, content_loss, rating_loss
from vip5.prompts.reviews import explainable

SHORT = {"dim": 16, "epochs": 2, "batch_size": 32, "lr": 1e-2, "length": 4}
every_learned = pytest.mark.parametrize("system", [Attn2Seq, NRT, PETER, PETERPlus])


def test_words_and_back():
    sentences = ["It's a well-made cup, really.", "It's a cup, really (a well-made one)!", "once"]
    words = Words.of_sentences(sentences, 100)
    assert words.words == ["a", ",", "It's", "cup", "really", "well-made"] and len(words) == 10
    numbers = words.encode(["It's a cup, really.", "a a", ""], 5)
    assert numbers.tolist() == [[6, 4, 7, 5, 8, PAD], [4, 4, END, PAD, PAD, PAD], [END, *[PAD] * 5]]
    assert words.encode(["It's a cup, really once"], 6).tolist() == [[6, 4, 7, 5, 8, UNKNOWN, END]]
    assert words.sentence(numbers[0].tolist()) == "It's a cup, really" and words.sentence([4, END, 5, 6]) == "a"
    assert words.encode_features(["cup", "a well-made cup", None, "jet", "( )"]).tolist() == [7, 7, *[UNKNOWN] * 3]
    assert Words.of_sentences(sentences, 2).words == ["a", ","]


def test_marks_stand_where_they_belong():
    words = Words.of_sentences(['So (it is) for $5, he said: "fine"! 100% good.'] * 2, 100)
    said = 'So (it is) for $5, he said: " fine "! 100% good.'
    assert words.sentence(words.encode([said], 40)[0].tolist()) == said


@pytest.mark.parametrize(
    "said",
    [
        "这双鞋很舒服。颜色好，我喜欢！",
        "とても軽いスーパーな靴です。",
        "ใส่สบายมากค่ะ",
        "जूते बहुत आरामदायक हैं।",
        "الحذاء مريح جدا، أليس كذلك؟",
        "Очень удобно, рекомендую!",
        "¿Es cómodo? ¡Sí!",
    ],
)
def test_words_of_any_script_and_back(said):
    words = Words.of_sentences([said] * 2, 100)
    assert words.sentence(words.encode([said], 60)[0].tolist()) == said


def test_losses_by_hand():
    assert rating_loss(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([2.0, 4.0, math.nan])) == pytest.approx(2.5)
    assert rating_loss(torch.tensor([1.0]), torch.tensor([math.nan])) == 0
    scores = torch.log(torch.tensor([[0.1, 0.1, 0.1, 0.1, 0.4, 0.2], [0.1, 0.1, 0.1, 0.1, 0.1, 0.5]]))
    loss = content_loss(scores, torch.tensor([[4, 5, 4, END], [5, END, PAD, PAD]]))
    assert loss == pytest.approx(-(np.log([0.4, 0.2, 0.4]).mean() + math.log(0.5)) / 2)


def test_the_vocabulary_is_of_the_training_part(tiny, make_tiny):
    changed = make_tiny({"a-user00": "b1", "a-user01": "b1"})
    one, other = (PETER.fit(data, **SHORT).words.words for data in (tiny, changed))
    assert "whoever" in " ".join(changed.reviews["explanation"]) and one == other and "whoever" not in one


@every_learned
def test_greedy_writing_is_what_teaching_finds_most_probable(system, tiny):
    """With states kept from word to word, or every word anew from all before it."""
    made = system.fit(tiny, **SHORT)
    reviews = explainable(tiny, "test")
    told = made._asked(reviews)
    with torch.inference_mode():
        found = made._greedy(told)
        before = F.pad(found[:, :-1], (1, 0), value=BEGIN)
        scores = made.module.out(made.teach(told, before, found)[0])
        scores[:, :, [PAD, BEGIN, UNKNOWN]] = -torch.inf
    ended = (before == END).cumsum(dim=1) > 0
    assert torch.equal(scores.argmax(dim=2)[~ended], found[~ended])
    assert max(len(said.split()) for said in made.write(reviews)) <= 4


@every_learned
def test_validation_is_the_mean_log_probability_of_a_word(system, tiny):
    made = system.fit(tiny, **SHORT)
    reviews = explainable(tiny, "validation")
    told, target = made._asked(reviews), made.words.encode(reviews["explanation"], 4)
    with torch.inference_mode():
        h = made.teach(told, F.pad(target[:, :-1], (1, 0), value=BEGIN), target)[0]
        found = made.module.out(h).log_softmax(dim=2).gather(2, target[:, :, None])[:, :, 0]
    expected = float(found[target != PAD].mean())
    assert made.summary["best_validation_log-probability"] == pytest.approx(expected, abs=1e-4)


@every_learned
def test_what_was_not_met_in_training_is_as_what_is_unknown(system, tiny):
    """a8 is reviewed by nobody: it is as an item from elsewhere, and a0 is not."""
    made = system.fit(tiny, **SHORT)
    items = torch.tensor([tiny.item_index("a8"), -1, tiny.item_index("a0")])
    cold, unknown, met = made.module.items(items)
    assert torch.equal(cold, unknown) and not torch.allclose(cold, met)


@pytest.mark.parametrize("system", [PETER, PETERPlus])
def test_who_sees_whom(system, tiny):
    """By gradients: the user's place sees the item and no word; the item's place no feature and no word; a word's place
    all before it and nothing behind."""
    made = system.fit(tiny, **SHORT)
    P = 3 if system.feature_word else 2
    module = made.module
    x = torch.randn(1, P + 3, 16, requires_grad=True)
    mask = peter_mask(P + 3, x.device)
    h, _ = module.layers_of(x, 0, mask)
    for place in range(P + 3):
        (gradient,) = torch.autograd.grad(h[0, place].square().sum(), x, retain_graph=True)
        seen = (gradient[0].abs().sum(dim=1) > 0).nonzero().flatten().tolist()
        assert seen == ([0, 1] if place == 0 else list(range(place + 1)))


def test_nearest_neighbour_by_a_loop(tiny):
    made = NeighbourSentence.fit(tiny, by_rating=0.7)
    train = explainable(tiny, "train")
    histories = tiny.history("train")
    by_user = [set(row.tolist()) for row in histories]
    by_item = [{user for user in range(tiny.n_users) if item in by_user[user]} for item in range(tiny.n_items)]

    def cos(sets, one, other):
        return 0.0 if one < 0 else len(sets[one] & sets[other]) / max(1, len(sets[one]) * len(sets[other])) ** 0.5

    often = dict(train["explanation"].value_counts().iter_rows())
    rows = [*explainable(tiny, "test")[::9].iter_rows(named=True)]
    rows += [rows[0] | {"user": -1}, rows[0] | {"item": -1, "rating": 2.0}, rows[0] | {"rating": None}]
    expected = []
    for row in rows:
        scored = []
        for other in train.iter_rows(named=True):
            away = 0.5 if row["rating"] is None else abs(row["rating"] - other["rating"]) / 3
            alike = cos(by_user, row["user"], other["user"]) + cos(by_item, row["item"], other["item"]) - 0.7 * away
            scored.append((-round(alike, 5), -often[other["explanation"]], other["explanation"]))
        expected.append(min(scored)[2])
    table = pl.DataFrame(rows, schema=explainable(tiny, "test").schema)
    assert made.write(table) == expected


def test_most_frequent_sentence_is_of_the_training_part():
    def reviews(*rows: tuple[str | None, str]) -> pl.DataFrame:
        return pl.DataFrame(rows, schema={"explanation": pl.String, "split": pl.String}, orient="row")

    table = reviews(
        ("good", "train"), ("nice", "train"), ("nice", "train"), *[("test only", "test")] * 5, (None, "train")
    )
    assert most_frequent_sentence(table) == "nice"
    assert most_frequent_sentence(reviews(("b", "train"), ("a", "train"))) == "a"
    assert most_frequent_sentence(reviews((None, "train"), ("x", "validation"))) is None


def test_texts_as_tensors_keep_every_letter():
    from vip5.baselines.writing import of_bytes

    texts = ["é\u2028 \n", "", '"', "漢"]
    assert of_bytes(as_bytes(texts)) == texts
