"""The prompts' own file: what is there, and what a file of one's own may hold."""

import pytest

from vip5.errors import UserError
from vip5.prompts import load_prompts


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('id = "A-1"\ntask = "next"\ninput = "x {purchase_history}"\ntarget = "{item_id}"', "id of a built-in"),
        ('id = "X"\ntask = "next"\ninput = "x {who}"\ntarget = "{item_id}"', "unknown field"),
        ('id = "X"\ntask = "next"\ninput = "x {item_id}"\ntarget = "{item_id}"', "gives the answer away"),
        ('id = "X"\ntask = "choice"\ninput = "{purchase_history}"\ntarget = "{item_id}"', "must hold {candidates}"),
        ('id = "X"\ntask = "yes_no"\ninput = "{purchase_history}"\ntarget = "{yes_no}"', "no purchase_history"),
        ('id = "X"\ntask = "yes_no"\ninput = "a {item_id}{item_content}"\ntarget = "{yes_no}"', "two fields"),
        ('id = "X"\ntask = "yes_no"\ninput = "a ({item_content})"\ntarget = "{yes_no}"', "put spaces around"),
        ('id = "X"\ntask = "yes_no"\ninput = "a {item_id}"\ntarget = "maybe"', "must hold {yes_no}"),
        ('id = "X"\ntask = "buy"\ninput = "a {item_id}"\ntarget = "{yes_no}"', "task"),
        ('id = "X"\ntask = "yes_no"\ninput = "a {item_id}"\ntarget = "{yes_no}"\ncolour = 1', "colour"),
        ('id = "X', "not valid TOML"),
    ],
)
def test_a_bad_prompt_is_one_clear_line(tmp_path, table, said):
    file = tmp_path / "own.toml"
    file.write_text(f"[[prompt]]\n{table}\n")
    with pytest.raises(UserError, match=said.replace("{", r"\{")) as error:
        load_prompts(file)
    assert "\n" not in str(error.value) and "own.toml" in str(error.value)


def test_there_are_29_prompts_and_three_are_unseen():
    prompts = load_prompts()
    assert len(prompts) == 29
    assert [name for name, prompt in prompts.items() if prompt.unseen] == ["A-9", "B-8", "C-12"]
