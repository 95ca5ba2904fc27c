"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch is imported


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-golden", action="store_true", help="Write tests/training/golden.json anew, on purpose.")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and models, beside the project; tests that need it skip where it is absent."""
    place = os.environ.get("VIP5_SHARED_DATA")
    folder = Path(place).parent if place else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data at {folder / 'data'} (set VIP5_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """A prepared shop of 30 users and 40 items, its photos encoded."""
    from vip5.data import prepare
    from vip5.demo import write_demo
    from vip5.modalities.encode import encode
    from vip5.modalities.encoders import load_encoder

    folder = tmp_path_factory.mktemp("tiny")
    write_demo(folder / "shop", users=30, items=40)
    tables = {name: folder / "shop" / f"{name}.csv" for name in ("interactions", "items", "reviews")}
    dataset = prepare(folder / "dataset", **tables, images=folder / "shop/images")
    encode(dataset, load_encoder("basic"))
    return dataset


@pytest.fixture(scope="session")
def tiny_settings() -> list[str]:
    """Settings over preset nano that train in a second or two."""
    counts = ["samples.next=2", "samples.next_yes_no=1", "samples.yes_no=1", "samples.choice=1", "samples.candidates=8"]
    return [
        "model.tokenizer_size=400",
        "codes.scheme=atomic",
        *counts,
        "optim.epochs=3",
        "optim.batch_size=32",
        "optim.precision=fp32",
    ]


@pytest.fixture(scope="session")
def tiny_run(tiny_data, tiny_settings, tmp_path_factory) -> Path:
    """The folder of a run on `tiny_data`, trained without disturbance on one thread."""
    import torch

    from vip5.training import Run, load_config, train

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(Run.new(load_config("nano", None, tiny_settings), tiny_data), out, quiet=True)
    torch.set_num_threads(threads)
    return out
