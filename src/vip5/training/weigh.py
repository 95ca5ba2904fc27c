"""The weights of the terms of items' scores, and how sure a score is: both chosen on the validation part.

Shape suffixes: N people, C candidates, T terms (the network's √p first).
"""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor

from vip5.data import Dataset, Ragged
from vip5.modalities.texts import item_texts
from vip5.model.terms import POPULARITY, ScoreTerms
from vip5.predict.lists import LEAST, closed, item_scores
from vip5.predict.model import TrainedModel, scored_vectors

_BEST = 300  # of each term that are candidates of a person: what none has among its best comes to no top ten
_WEIGHTS = (0.0, 0.003, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.2, 3.3, 5.0)
_ROUNDS = 3  # through all terms
_RECENCIES = (0.3, 0.5, 0.7, 0.9, 1.0)
_TRIED = (0.03, 0.1, 0.3, 1.0)  # weights with which a recency is tried
_RECENCY_PEOPLE = 1500
_POWERS = np.geomspace(0.25, 64.0, 41)
_CALIBRATED = 500  # people over whose catalogue the power is chosen
_AMONG = 100  # candidates of one-of-N
_DRAWN = 1000  # uniform items by which it is estimated how many candidates would stand before the right one


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
    terms.recency = _best_recency(run, terms, prompt, users, histories, targets, left_out)
    whole, among = _tables(run, terms, prompt, users, histories, targets, left_out)
    terms.weights = _best_weights(whole, terms.names, _gain(whole.shape[2]))
    terms.choice_weights = _best_weights(among, terms.names, _expected_gain(among.shape[2]))
    some = np.unique(np.linspace(0, len(users) - 1, min(_CALIBRATED, len(users))).astype(int))
    out = None if left_out is None else left_out.take(some)
    terms.power = _power_of_all(run, terms, prompt, users[some], histories.take(some), targets[some], out)
    terms.choice_power = _power(among[:, :, :_AMONG], terms.names, terms.choice_weights)
    return terms


def _best_recency(
    run: TrainedModel,
    terms: ScoreTerms,
    prompt: str,
    users: np.ndarray,
    histories: Ragged,
    targets: np.ndarray,
    left_out: Ragged | None,
) -> dict[str, float]:
    """How fast each term forgets: what finds most, by NDCG@10, when it alone is added to the network's √p."""
    names = [name for name in terms.names if name != POPULARITY]
    some = np.unique(np.linspace(0, len(users) - 1, min(_RECENCY_PEOPLE, len(users))).astype(int))
    users, histories, targets = users[some], histories.take(some), targets[some]
    left_out = None if left_out is None else left_out.take(some)
    gains = {name: np.zeros((len(_RECENCIES), len(_TRIED))) for name in names}
    with torch.inference_mode():
        for rows, log_p_NI in item_scores(run, prompt, users, histories):
            part, out = histories.take(rows), None if left_out is None else left_out.take(rows)
            root_NI = closed((log_p_NI / 2).exp_(), out)
            target_N1 = torch.from_numpy(targets[rows].astype(np.int64)).to(root_NI.device)[:, None]
            for name in names:
                for r, recency in enumerate(_RECENCIES):
                    terms.recency[name] = recency
                    term_NI = terms.scores(name, part).to(root_NI)
                    for w, weight in enumerate(_TRIED):
                        score_NI = torch.add(root_NI, term_NI, alpha=weight)
                        own_N1 = score_NI.gather(1, target_N1)
                        rank_N = (score_NI >= own_N1).sum(dim=1) - 1
                        hit_N = (rank_N < 10) & own_N1[:, 0].isfinite()
                        gains[name][r, w] += float((hit_N / torch.log2(rank_N + 2.0)).sum())
    return {name: _RECENCIES[int(gain.max(axis=1).argmax())] for name, gain in gains.items()}


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
            drawn = torch.from_numpy(rng.permutation(terms.n_items)[:_DRAWN]).to(target_N1.device)
            drawn_NC = torch.cat([target_N1, drawn.expand(len(rows), -1)], dim=1)
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


def _best_weights(table_TNC: np.ndarray, names: list[str], gain: np.ndarray) -> dict[str, float]:
    """Weights by coordinate ascent on the mean gain [C] of the right one's place."""
    found_N, closed_NC = table_TNC[0, :, 0] >= 0, table_TNC[0] < 0
    weights, total_NC = np.zeros(len(names), np.float32), table_TNC[0].copy()
    best = _mean_gain(total_NC, closed_NC, found_N, gain)
    for _ in range(_ROUNDS):
        before = best
        for t, term_NC in enumerate(table_TNC[1:]):
            others_NC = total_NC - weights[t] * term_NC
            for weight in _WEIGHTS:
                score = _mean_gain(others_NC + np.float32(weight) * term_NC, closed_NC, found_N, gain)
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


def _mean_gain(score_NC: np.ndarray, closed_NC: np.ndarray, found_N: np.ndarray, gain: np.ndarray) -> float:
    """Of the first candidate; those that are as good count before it."""
    rival_NC = (score_NC >= score_NC[:, :1]) & ~closed_NC
    return float(np.where(found_N, gain[rival_NC[:, 1:].sum(axis=1)], 0.0).mean())


def _gain(n: int) -> np.ndarray:
    """NDCG@10 of each place among n."""
    place = np.arange(n)
    return np.where(place < 10, 1 / np.log2(place + 2.0), 0.0)


def _expected_gain(n: int) -> np.ndarray:
    """NDCG@10 among `_AMONG` candidates that is to be expected of each place among n: how many of the candidates stand
    before the right one is binomial. So the lists that are drawn bring no noise."""
    share = np.arange(n) / max(1, n - 1)
    before = binom.pmf(np.arange(10)[:, None], _AMONG - 1, share)
    return _gain(10) @ before
