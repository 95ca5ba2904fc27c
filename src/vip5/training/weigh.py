"""The weights of the terms of items' scores, and how sure a score is: both chosen on the validation part.

Shape suffixes: N people, C candidates, T terms (the network's √p first).
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from vip5.data import Dataset, Ragged
from vip5.modalities.texts import item_texts
from vip5.model.terms import ScoreTerms
from vip5.predict.lists import LEAST, closed, item_scores
from vip5.predict.model import TrainedModel, scored_vectors

_BEST = 300  # of each term that are candidates of a person: what none has among its best comes to no top ten
_WEIGHTS = (0.0, 0.003, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 2.0)
_ROUNDS = 3  # through all terms
_POWERS = np.geomspace(0.25, 64.0, 41)
_CALIBRATED = 500  # people over whose catalogue the power is chosen
_AMONG = 100  # candidates of one-of-N


def weigh(run: TrainedModel, dataset: Dataset, prompt: str, people: int) -> ScoreTerms:
    """Terms of a trained model, with the weights that find the validation items best.

    The measure is NDCG@10, over the whole catalogue for next items, among uniform candidates for one of N. Without a
    validation part all weights are 0.
    """
    config = run.config
    vectors, texts = scored_vectors(config, run.stores), item_texts(dataset.items)
    terms = ScoreTerms.of(config.scores, dataset.history("train"), dataset.n_items, vectors, texts).to(run.device)
    run.terms = terms
    users = dataset.tested("validation")
    if not len(users):
        return terms
    users = users[np.unique(np.linspace(0, len(users) - 1, min(people, len(users))).astype(int))]
    histories, targets = dataset.history("validation").take(users), dataset.targets("validation")[users]
    left_out = None if dataset.buys_again else histories
    whole, among = _tables(run, terms, prompt, users, histories, targets, left_out)
    terms.weights, terms.choice_weights = _best_weights(whole, terms.names), _best_weights(among, terms.names)
    some = np.unique(np.linspace(0, len(users) - 1, min(_CALIBRATED, len(users))).astype(int))
    out = None if left_out is None else left_out.take(some)
    terms.power = _power_of_all(run, terms, prompt, users[some], histories.take(some), targets[some], out)
    terms.choice_power = _power(among, terms.names, terms.choice_weights)
    return terms


def _tables(
    run: TrainedModel,
    terms: ScoreTerms,
    prompt: str,
    users: np.ndarray,
    histories: Ragged,
    targets: np.ndarray,
    left_out: Ragged | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Terms of candidates, the right one first, float32 [T, N, C]: of the best of all terms, and of uniform ones.

    Where a person has fewer candidates, or one stands there already, -1.
    """
    rng, whole, among = np.random.default_rng(0), [], []
    with torch.inference_mode():
        for rows, log_p_NI in item_scores(run, prompt, users, histories):
            part = histories.take(rows)
            others = [terms.scores(name, part).to(log_p_NI) for name in terms.names]
            all_TNI = torch.stack([(log_p_NI / 2).exp_(), *others])
            target_N1 = torch.from_numpy(targets[rows].astype(np.int64)).to(all_TNI.device)[:, None]
            if left_out is not None:
                mine = left_out.take(rows)
                row, item = (torch.from_numpy(x.astype(np.int64)) for x in (mine.rows, mine.values))
                all_TNI[:, row, item] = -1.0
            best_TNK = all_TNI.topk(min(_BEST, terms.n_items), dim=2).indices
            found_NC = torch.cat([target_N1, *best_TNK], dim=1)
            whole.append(_of(all_TNI, found_NC))
            drawn = rng.integers(0, terms.n_items, (len(rows), _AMONG - 1))
            drawn_NC = torch.cat([target_N1, torch.from_numpy(drawn).to(target_N1.device)], dim=1)
            among.append(_of(all_TNI, drawn_NC))
    return np.concatenate(whole, axis=1), np.concatenate(among, axis=1)


def _of(all_TNI: Tensor, items_NC: Tensor) -> np.ndarray:
    """The terms of some items [T, N, C]; -1 for one that stands there already."""
    order_NC, place_NC = items_NC.sort(dim=1, stable=True)
    again_NC = torch.zeros_like(items_NC, dtype=torch.bool)
    again_NC[:, 1:] = order_NC[:, 1:] == order_NC[:, :-1]
    twice_NC = torch.zeros_like(again_NC).scatter_(1, place_NC, again_NC)
    values_TNC = all_TNI.gather(2, items_NC.expand(len(all_TNI), -1, -1))
    return values_TNC.masked_fill_(twice_NC, -1.0).cpu().numpy()


def _best_weights(table_TNC: np.ndarray, names: list[str]) -> dict[str, float]:
    """Weights by coordinate ascent on NDCG@10."""
    found_N, closed_NC = table_TNC[0, :, 0] >= 0, table_TNC[0] < 0
    weights, total_NC = np.zeros(len(names), np.float32), table_TNC[0].copy()
    best = _ndcg(total_NC, closed_NC, found_N)
    for _ in range(_ROUNDS):
        before = best
        for t, term_NC in enumerate(table_TNC[1:]):
            others_NC = total_NC - weights[t] * term_NC
            for weight in _WEIGHTS:
                score = _ndcg(others_NC + np.float32(weight) * term_NC, closed_NC, found_N)
                if score > best:
                    best, weights[t] = score, weight
            total_NC = others_NC + weights[t] * term_NC
        if best <= before:
            break
    return dict(zip(names, weights.tolist(), strict=True))


def _power(table_TNC: np.ndarray, names: list[str], weights: Mapping[str, float]) -> float:
    """The power under which the right ones among candidates are most probable."""
    factors = np.array([1.0, *(weights[name] for name in names)], np.float32)
    found_N = table_TNC[0, :, 0] >= 0
    score_NC = np.tensordot(factors, table_TNC[:, found_N], axes=1)
    log_NC = torch.from_numpy(np.where(table_TNC[0, found_N] < 0, -np.inf, np.log(np.maximum(score_NC, LEAST))))
    losses = [-(power * log_NC).log_softmax(dim=1)[:, 0].mean() for power in _POWERS]
    return float(_POWERS[int(torch.stack(losses).argmin())])


def _power_of_all(
    run: TrainedModel,
    terms: ScoreTerms,
    prompt: str,
    users: np.ndarray,
    histories: Ragged,
    targets: np.ndarray,
    left_out: Ragged | None,
) -> float:
    """As `_power`, among the whole catalogue but what is left out."""
    losses = np.zeros(len(_POWERS))
    with torch.inference_mode():
        for rows, log_p_NI in item_scores(run, prompt, users, histories):
            log_NI = terms.total(log_p_NI, histories.take(rows), terms.weights).clamp_(min=LEAST).log_()
            target_N1 = torch.from_numpy(targets[rows].astype(np.int64)).to(log_NI.device)[:, None]
            closed(log_NI, None if left_out is None else left_out.take(rows))
            own_N = log_NI.gather(1, target_N1)[:, 0]
            found_N = own_N.isfinite()  # a target that is left out is no answer's fault
            for n, power in enumerate(_POWERS):
                losses[n] += float(((power * log_NI).logsumexp(dim=1) - power * own_N)[found_N].sum())
    return float(_POWERS[int(losses.argmin())])


def _ndcg(score_NC: np.ndarray, closed_NC: np.ndarray, found: np.ndarray) -> float:
    """NDCG@10 of the first candidate; those that are as good count before it."""
    rival_NC = (score_NC >= score_NC[:, :1]) & ~closed_NC
    rank = rival_NC[:, 1:].sum(axis=1)
    return float(np.where(found & (rank < 10), 1 / np.log2(rank + 2.0), 0.0).mean())
