"""Two models side by side, and what their photos are worth."""

import json

import numpy as np
import pytest

from vip5.evaluation.ranking import ndcg
from vip5.modalities.encode import encode
from vip5.modalities.encoders import load_encoder
from vip5.predict.model import TrainedModel
from vip5.reproduce.photos import FOLDERS, WITH, WITHOUT, _last_step, with_and_without_photos


def test_the_newest_step_of_a_file_that_is_being_written(tmp_path):
    file = tmp_path / "metrics.jsonl"
    assert _last_step(file) is None
    step, validation = json.dumps({"step": 7, "progress": 0.5}), json.dumps({"step": 7, "validation/x": 1.0})
    file.write_text(f"{step}\n{validation}\n" + '{"step": 8, "progr')
    assert _last_step(file) == {"step": 7, "progress": 0.5}
    file.write_text(f"{validation}\n")
    assert _last_step(file) is None


@pytest.mark.slow
def test_paired_differences_are_those_of_the_users_ranks(tiny_data, tmp_path):
    """Trained, evaluated, and compared on the same users; called again, nothing is trained anew."""
    encode(tiny_data, load_encoder("basic"))
    settings = ["optim.epochs=1", "samples.next=2", "samples.choice=1", "samples.explain=0", "run.validate_epochs=1"]
    settings += ["model.tokenizer_size=400", "samples.candidates=8"]
    compared = with_and_without_photos(tiny_data, tmp_path, settings, ("A-3", "B-5"), quiet=True)
    (found,) = [r for r in compared.numbers if (r.prompt, r.metric, r.baseline) == ("B-5", "NDCG@10", WITHOUT)]
    own, other = (ndcg(compared.found[label].ranked["B-5"][1].ranks[:, 0], 10) for label in (WITH, WITHOUT))
    assert found.difference == pytest.approx(np.mean(own - other))
    own, other = (TrainedModel.load(tmp_path / FOLDERS[label]) for label in (WITH, WITHOUT))
    assert own.stores.keys() - other.stores.keys() == {"photo"} and "photo" not in other.tokens
    again = with_and_without_photos(tiny_data, tmp_path, settings, ("A-3", "B-5"), quiet=True)
    assert again.numbers == compared.numbers
