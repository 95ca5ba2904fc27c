"""What of the terms of items' scores is chosen on held-out people: how fast they forget, their weights, how sure a
score is.

Shape suffixes: N people, I items, C candidates, T terms, the first one that which the others are added to.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor

from vip5.data import Ragged
from vip5.model.terms import LEAST, POPULARITY, ScoreTerms, closed

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

_SCORED = 200_000_000  # people times items, at most, that choosing looks at: a minute or two

Roots = Iterator[tuple[np.ndarray, Tensor]]  # some rows of the people, and what the terms are added to [rows, I]


@dataclass(frozen=True)
class Judged:
    """N people whose next item is known."""

    histories: Ragged
    targets: np.ndarray  # int [N]
    again: bool  # whether the items of a history may come out
    roots: Callable[[np.ndarray], Roots]  # of these people, int, numbered as they are given

    def __len__(self) -> int:
        return len(self.targets)

    def some(self, most: int) -> "Judged":
        """That many of them at most, spread evenly."""
        if most >= len(self):
            return self
        chosen = np.unique(np.linspace(0, len(self) - 1, most).astype(int))
        return Judged(
            self.histories.take(chosen), self.targets[chosen], self.again, lambda rows: self.roots(chosen[rows])
        )

    def parts(self) -> Iterator[tuple[Ragged, Tensor, Tensor]]:
        """Histories, targets [N, 1] and roots [N, I] of a few at a time; -1 for what must not come out."""
        with torch.inference_mode():
            for rows, root_NI in self.roots(np.arange(len(self))):
                part = self.histories.take(rows)
                target_N1 = torch.from_numpy(self.targets[rows].astype(np.int64)).to(root_NI.device)[:, None]
                yield part, target_N1, root_NI if self.again else closed(root_NI, part, -1.0)


def affordable(people: int, n_items: int) -> int:
    """So many people at most are worth looking at: fewer where the catalogue is large."""
    return max(1, min(people, _SCORED // n_items))


def choose(terms: ScoreTerms, judged: Judged) -> None:
    """Set the recency and weights of terms that find the people's next items best, by NDCG@10, and the powers.

    Next items are looked for in the whole catalogue, and once more among uniform candidates.
    """
    terms.recency = _best_recency(terms, judged.some(_RECENCY_PEOPLE))
    whole, among = _tables(terms, judged)
    terms.weights = _best_weights(whole, terms.names, _gain(whole.shape[2]))
    terms.choice_weights = _best_weights(among, terms.names, _expected_gain(among.shape[2]))
    terms.power = _power_of_all(terms, judged.some(_CALIBRATED))
    terms.choice_power = _power(among[:, :, :_AMONG], terms.names, terms.choice_weights)


def _best_recency(terms: ScoreTerms, judged: Judged) -> dict[str, float]:
    """How fast each term forgets: what finds most when it alone is added."""
    gains = {name: np.zeros((len(_RECENCIES), len(_TRIED))) for name in terms.names if name != POPULARITY}
    for part, target_N1, root_NI in judged.parts():
        open_NI = root_NI >= 0
        for name, gain in gains.items():
            for r, recency in enumerate(_RECENCIES):
                terms.recency[name] = recency
                term_NI = terms.scores(name, part).to(root_NI)
                for w, weight in enumerate(_TRIED):
                    score_NI = torch.add(root_NI, term_NI, alpha=weight)
                    rank_N = ((score_NI >= score_NI.gather(1, target_N1)) & open_NI).sum(dim=1) - 1
                    hit_N = (rank_N < 10) & open_NI.gather(1, target_N1)[:, 0]
                    gain[r, w] += float((hit_N / torch.log2(rank_N.clamp(min=0) + 2.0)).sum())
    return {name: _RECENCIES[int(gain.max(axis=1).argmax())] for name, gain in gains.items()}


def _tables(terms: ScoreTerms, judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """Terms of candidates, the right one first, float32 [T, N, C]: of the best of all terms, and of uniform ones.

    Where a person has fewer candidates, or one stands there already or must not come out, -1.
    """
    rng, whole, among = np.random.default_rng(0), [], []
    for part, target_N1, root_NI in judged.parts():
        others = [terms.scores(name, part).to(root_NI) for name in terms.names]
        all_TNI = torch.stack([root_NI, *others]).masked_fill_(root_NI < 0, -1.0)
        best_TNK = all_TNI.topk(min(_BEST, terms.n_items), dim=2).indices
        whole.append(_of(all_TNI, torch.cat([target_N1, *best_TNK], dim=1)))
        drawn = torch.from_numpy(rng.permutation(terms.n_items)[:_DRAWN]).to(target_N1.device)
        among.append(_of(all_TNI, torch.cat([target_N1, drawn.expand(len(part), -1)], dim=1)))
    return _side_by_side(whole), _side_by_side(among)


def _side_by_side(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts, axis=1)


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


def _power_of_all(terms: ScoreTerms, judged: Judged) -> float:
    """As `_power`, among all that may come out of the catalogue."""
    losses = np.zeros(len(_POWERS))
    for part, target_N1, root_NI in judged.parts():
        total_NI = terms.total(root_NI.clamp(min=0), part, terms.weights)
        log_NI = total_NI.clamp_(min=LEAST).log_().masked_fill_(root_NI < 0, -torch.inf)
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
