"""A run on the data set that it was trained on, to be evaluated."""

from pathlib import Path

from vip5.data import Dataset
from vip5.errors import UserError
from vip5.predict.folder import read_run
from vip5.predict.open import open_run
from vip5.predict.system import System


def open_on_dataset(
    run: str | Path, dataset: str | Path | None = None, device: str = "cpu", int8: bool = False
) -> tuple[System, Dataset]:
    """The system in a run folder, and its data set, no other; `dataset` names its folder where that has moved.

    Raises: UserError where the data set is not there, or is another one by now.
    """
    about = read_run(run)["dataset"]
    place = Path(dataset or about["path"])
    if dataset is None and not place.is_dir():
        raise UserError(f"the data set of {run} is not at {place}: name it with --dataset")
    data = Dataset(place)
    if data.hash != about["hash"]:
        raise UserError(
            f"{place} is not the data set of this run (hash {data.hash[:12]}, trained on {about['hash'][:12]}): "
            "give the right folder with --dataset"
        )
    return open_run(run, device, int8), data
