"""Any finished run, opened by its folder."""

from pathlib import Path

from vip5.errors import UserError
from vip5.predict.answers import ModelSystem
from vip5.predict.baseline import FittedBaseline
from vip5.predict.folder import read_run
from vip5.predict.model import TrainedModel
from vip5.predict.system import System


def open_run(folder: str | Path, device: str = "cpu", int8: bool = False) -> System:
    """The model or the baseline in a run folder; `int8` makes a model faster on a CPU.

    Raises: UserError for a folder that holds no finished run, and for `int8` of a baseline.
    """
    if read_run(folder)["kind"] == "model":
        return ModelSystem(TrainedModel.load(folder, device, int8))
    if int8:
        raise UserError(f"--int8 is of models, and {folder} is the run of a baseline: leave it out")
    return FittedBaseline.load(folder, device)
