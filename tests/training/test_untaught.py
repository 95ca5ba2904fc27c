"""What a data set cannot teach is said, and not scored as if it had been taught."""

import json
from pathlib import Path

import pytest

from vip5.data import Dataset, prepare
from vip5.errors import UserError
from vip5.evaluation.evaluate import evaluate
from vip5.evaluation.held_out import HeldOut
from vip5.predict import Recommender
from vip5.predict.answers import ModelSystem
from vip5.predict.model import TrainedModel
from vip5.prompts.reviews import explainable
from vip5.training import Run, load_config, train

SETTINGS = [
    "model.size=nano", "modalities.photo=none", "optim.epochs=1", "run.validate_epochs=0",
    "samples.candidates=4", "model.tokenizer_size=300",
]  # fmt: skip


def three_each(folder: Path, **more: Path) -> Dataset:
    """Ten people with three purchases, one of which is for training."""
    rows = [f"u{u},p{(u + 4 * n) % 12:02d},{n}" for u in range(10) for n in range(3)]
    (folder / "buys.csv").write_text("user,item,ts\n" + "\n".join(rows) + "\n")
    (folder / "reviews.csv").write_text("user,item,text\n" + "".join(f"u{u},p{u:02d},ok\n" for u in range(10)))
    notes: list[str] = []
    given = {"interactions": folder / "buys.csv", "reviews": folder / "reviews.csv"}
    dataset = prepare(folder / "data", **given, candidates=4, report=notes.append)
    assert any("nothing teaches what comes next" in note for note in notes)
    assert "0 of 10 reviews give an explanation; the others have no text of 3 words or more" in notes
    return dataset


def test_three_purchases_each(tmp_path: Path) -> None:
    data, out, notes = three_each(tmp_path), tmp_path / "run", []
    train(Run.new(load_config("prompts", None, SETTINGS), data), out, quiet=True, report=notes.append)
    assert notes == [
        "not taught: next items: nobody has more than 1 interactions in the training part",
        "not taught: yes or no about the next item: nobody has more than 1 interactions in the training part",
        "not taught: explanations: no review of the training part has an explanation",
    ]
    assert json.loads((out / "run.json").read_text())["learnt"] == ["choice", "yes_no"]
    found = evaluate(ModelSystem(TrainedModel.load(out)), data, ["A-3", "B-5"])
    assert found.left_out == ["A-3: it has learnt no answers of this kind: its training had no sample of task next"]
    assert {result.prompt for result in found.results} == {"B-5"}
    assert "HR@k of one of 5 is 1 for k of 5 and more, whoever ranks" in found.notes
    with pytest.raises(UserError, match=r"prompt A-3 has no answer here .*no sample of task next"):
        Recommender(out, data.path).recommend("u1")
    # A training that goes on from it knows what it knew, and what it learns now.
    more = [*SETTINGS, f"model.backbone={out}", "samples.choice=0", 'prompts.train=["B-1"]']
    later = Run.new(load_config("prompts", None, more), data)
    train(later, tmp_path / "later", quiet=True)
    assert TrainedModel.load(tmp_path / "later").learnt == {"choice", "yes_no"}


def test_a_run_that_does_not_say_what_it_learnt_is_asked_anything(tmp_path: Path) -> None:
    data, out = three_each(tmp_path), tmp_path / "run"
    train(Run.new(load_config("prompts", None, SETTINGS), data), out, quiet=True)
    about = json.loads((out / "run.json").read_text())
    about.pop("learnt")
    (out / "run.json").write_text(json.dumps(about))
    assert not evaluate(ModelSystem(TrainedModel.load(out)), data, ["A-3"]).left_out


def test_nothing_to_train_says_why(tmp_path: Path) -> None:
    data = three_each(tmp_path)
    run = Run.new(load_config("prompts", None, [*SETTINGS, 'prompts.train=["A-3"]']), data)
    with pytest.raises(UserError, match=r"no training sample fits .*next items: nobody has more than 1 interactions"):
        train(run, tmp_path / "run", quiet=True)


def test_one_of_one_is_no_result(tmp_path: Path) -> None:
    """Somebody has bought everything, so there are no candidates."""
    rows = [f"u{u},p{n},{n}" for u in range(4) for n in range(4)]
    (tmp_path / "buys.csv").write_text("user,item,ts\n" + "\n".join(rows) + "\n")
    notes: list[str] = []
    data = prepare(tmp_path / "data", interactions=tmp_path / "buys.csv", report=notes.append)
    assert "there are no candidates, somebody leaves no item to draw: nothing can be ranked among some" in notes
    settings = [*SETTINGS, "samples.candidates=2"]
    train(Run.new(load_config("prompts", None, settings), data), tmp_path / "run", quiet=True)
    found = evaluate(ModelSystem(TrainedModel.load(tmp_path / "run")), data, ["A-3", "B-5"])
    assert {result.prompt for result in found.results} == {"A-3"}
    assert found.left_out[0].startswith("B-5: ")


def test_unknown_splits_are_errors(tmp_path: Path) -> None:
    data = three_each(tmp_path)
    for ask in (data.history, data.targets, data.tested, lambda s: HeldOut.of(data, s), lambda s: explainable(data, s)):
        with pytest.raises(UserError, match=r"unknown split 'valid': there are .*validation, test"):
            ask("valid")
    with pytest.raises(UserError, match="unknown split 'train': there are validation, test"):
        data.targets("train")
