"""What a model in training is worth on the validation part: the score that an epoch is chosen by."""

import numpy as np

from vip5.baselines.validation import Validation
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.predict.lists import next_items
from vip5.predict.model import TrainedModel

_CUTOFF = 10


def validation_score(run: TrainedModel, dataset: Dataset, users: int, beams: int = 20) -> dict[str, float]:
    """NDCG@10 and HR@10 of the validation items over the whole catalogue, for some users spread evenly.

    Raises: UserError where there is nobody, or no prompt that asks for next items.
    """
    seen = run.config.prompts.train or [n for n, p in run.prompts.items() if not p.unseen]
    names = [n for n in seen if run.prompts[n].task == "next"]
    if not names:
        raise UserError("run.validate_epochs scores next items, and no prompt of that task is trained: set it to 0")
    name = "A-3" if "A-3" in names else names[0]
    held = Validation.of(dataset, users)
    if held is None:
        raise UserError(
            "run.validate_epochs: no user has both a training and a validation part: set it to 0, "
            "and say how long to train (optim.epochs=20)"
        )
    items = next_items(run, name, held.users, held.histories, beams, None if held.again else held.histories).items
    hit = items[:, :_CUTOFF] == held.targets[:, None]
    gain = np.where(hit.any(axis=1), 1 / np.log2(hit.argmax(axis=1) + 2.0), 0.0)
    return {f"{name} NDCG@10": float(gain.mean()), f"{name} HR@10": float(hit.any(axis=1).mean())}
