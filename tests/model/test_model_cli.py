"""`vip5 model info`."""

import json

import pytest
import typer
from typer.testing import CliRunner

from vip5.cli import model as command
from vip5.errors import UserError
from vip5.model import VIP5, save_model


@pytest.fixture
def run():
    app = typer.Typer()
    command.register(app)

    def invoke(*args: str):
        return CliRunner().invoke(app, ["info", *args] if len(app.registered_groups) == 0 else ["model", "info", *args])

    return invoke


SELF = ["--place", "self_attention", "--place", "feed_forward"]


@pytest.mark.parametrize(("places", "share"), [(SELF, 2.97), ([], 3.58)])
def test_shares_of_the_paper(places, share, run):
    options = ["--size", "small", *places, "--modality", "photo:512:1", "--reduction", "8"]
    result = run(*options, "--freeze-word-category", "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.output)
    assert round(value["trained_share_percent"], 2) == share
    assert sum(part["trained"] for part in value["parts"]) == value["trained"]
    assert value["trained"] + value["frozen"] == value["total"]
    assert f"{share} %" in run(*options, "--freeze-word-category").output


def test_of_a_saved_model(run, config, tmp_path):
    model = VIP5(config(tied_head=False))
    save_model(model, tmp_path)
    value = json.loads(run(str(tmp_path), "--json").output)
    assert value["total"] == value["trained"] == sum(weight.numel() for weight in model.parameters())
    assert {part["part"]: part["total"] for part in value["parts"]}["head"] == 57 * 32


def test_impossible_sizes_are_refused(run):
    result = run("--size", "nano", "--reduction", "7")
    assert isinstance(result.exception, UserError)
    assert "does not divide" in str(result.exception)
    for given, said in (("photo:512", "name:width:tokens"), ("photo:512:9", "name:width:tokens")):
        result = run("--modality", given)
        assert isinstance(result.exception, UserError) and said in str(result.exception)
    assert "Example:" in run("--help").output
