"""All systems by name."""

from vip5.baselines.attn2seq import Attn2Seq
from vip5.baselines.base import Baseline
from vip5.baselines.bpr import BPRMF
from vip5.baselines.bpr_mlp import BPRMLP
from vip5.baselines.bsarec import BSARec
from vip5.baselines.copied import FrequentSentence, NeighbourSentence
from vip5.baselines.hgn import HGN
from vip5.baselines.item_knn import ItemKNN
from vip5.baselines.lightgcn import LightGCN
from vip5.baselines.nrt import NRT
from vip5.baselines.peter import PETER, PETERPlus
from vip5.baselines.popularity import Popularity
from vip5.baselines.rules import Rules
from vip5.baselines.s3_rec import S3Rec
from vip5.baselines.sasrec import SASRec
from vip5.baselines.vbpr import VBPR
from vip5.errors import UserError

P5 = "p5"  # a model's run, which is trained as one: known here to say so
_SYSTEMS: tuple[type[Baseline], ...] = (
    *(Popularity, Rules, ItemKNN, BPRMF, BPRMLP, LightGCN, VBPR, HGN, SASRec, BSARec, S3Rec),
    *(FrequentSentence, NeighbourSentence, Attn2Seq, NRT, PETER, PETERPlus),
)
BASELINES = {system.name: system for system in _SYSTEMS}


def baseline(name: str) -> type[Baseline]:
    """The system of this name; UserError where there is none."""
    if name == P5:
        raise UserError("p5 is trained as a model: with vip5 baseline p5, or from Python with p5_config and train")
    if name not in BASELINES:
        raise UserError(f"unknown baseline '{name}': there are {', '.join([*BASELINES, P5])}")
    return BASELINES[name]
