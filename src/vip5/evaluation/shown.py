"""Some users of the test part as people look at them: what they had, what is recommended, what they took."""

import numpy as np

from vip5.data import Dataset, Ragged
from vip5.evaluation.evaluate import Evaluation
from vip5.evaluation.explanations import held_out_explanations, tell
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.report import Case, Explained, Product, Recommended
from vip5.predict.lists import Ranking
from vip5.prompts import Prompt

_CASES, _LISTED = 10, 8
_NEXT, _EXPLAIN = "A-3", ("C-12", "C-3", "C-1")


def some_cases(evaluation: Evaluation) -> list[Case]:
    """A few users, spread evenly: of a system that writes, those with a review; none of one that cannot rank."""
    system, data = evaluation.system, evaluation.dataset
    next_prompt = system.prompts[_NEXT]
    held = HeldOut.of(data)
    if system.why_not(next_prompt) or not len(held):
        return []
    told = _explained(evaluation, held.users)
    users = np.array(list(told)) if told else held.users[np.linspace(0, len(held) - 1, _CASES).astype(int)]
    users = np.unique(users)
    histories = data.history("test").take(users)
    left_out = None if evaluation.again else histories
    found = system.rank(next_prompt, users, histories, _LISTED, evaluation.options.decoding(), left_out)
    return [_case(evaluation, row, int(user), histories, found, told) for row, user in enumerate(users)]


def _case(
    evaluation: Evaluation,
    row: int,
    user: int,
    histories: Ragged,
    found: Ranking,
    told: dict[int, Explained],
) -> Case:
    data, truth = evaluation.dataset, int(evaluation.dataset.targets("test")[user])
    listed = [int(item) for item in found.items[row, :_LISTED] if item >= 0]
    chances = [None] * len(listed) if found.scores is None else np.exp(found.scores[row, : len(listed)]).tolist()
    return Case(
        data.users["name"][user] or data.users["user"][user],
        [product(data, int(item)) for item in histories[row]],
        [Recommended(product(data, item), chance, item == truth) for item, chance in zip(listed, chances, strict=True)],
        product(data, truth),
        [told[user]] if user in told else [],
    )


def _explained(evaluation: Evaluation, tested: np.ndarray) -> dict[int, Explained]:
    """By user, a sentence of one of their held-out reviews, for a few users; none where nothing is written."""
    system, data = evaluation.system, evaluation.dataset
    prompts: list[Prompt] = [system.prompts[name] for name in _EXPLAIN]
    prompt = next((prompt for prompt in prompts if system.why_not(prompt) is None), None)
    asked = None if prompt is None else held_out_explanations(data, prompt)
    if prompt is None or asked is None:
        return {}
    asked = asked.filter(np.isin(asked["user"].to_numpy(), tested)).unique("user", keep="first", maintain_order=True)
    if not len(asked):
        return {}
    few = np.unique(np.linspace(0, len(asked) - 1, _CASES).astype(int))
    some = tell(system, prompt, asked[few], evaluation.options.decoding())
    rows = zip(some.reviews["user"], some.reviews["item"], some.written, some.truth, strict=True)
    return {user: Explained(prompt.id, said, product(data, item), true) for user, item, said, true in rows}


def product(dataset: Dataset, item: int) -> Product:
    return Product(dataset.items["title"][item] or dataset.items["item"][item], dataset.photo_path(item))
