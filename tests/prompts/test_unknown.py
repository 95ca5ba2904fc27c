"""Of people who are not known, nothing is said: the prompt is as if it had no word for them."""

from dataclasses import replace

import numpy as np
import pytest

from vip5.prompts import Prompt, PromptCompiler, load_prompts, render


def without_people(prompt: Prompt) -> Prompt:
    words = [word for word in prompt.input.split() if "{user_" not in word]
    return prompt.model_copy(update={"input": " ".join(words)})


@pytest.mark.parametrize("user_tokens", [False, True], ids=["text", "atomic"])
@pytest.mark.parametrize("scheme", ["atomic", "sequential"])
def test_the_word_is_left_out(scheme, user_tokens, texts_of, some_samples, check_equal):
    texts, prompts = texts_of(scheme, user_tokens=user_tokens), list(load_prompts().values())
    samples = some_samples(29, 9, 200)
    samples = replace(samples, user=np.where(np.arange(200) % 2, samples.user, -1))
    compiler, plain = (PromptCompiler(ps, texts) for ps in (prompts, [without_people(p) for p in prompts]))
    check_equal(compiler, samples, texts)
    for row in range(0, 200, 2):
        prompt = prompts[samples.prompt[row]]
        said, target = render(prompt, samples, row, texts)
        assert said == render(without_people(prompt), samples, row, texts)[0]
        assert "user_" not in said and target == render(prompt, samples, row, texts)[1]
    strangers = samples.take(np.arange(0, 200, 2))
    for name in ("tokens", "words", "content", "offsets"):
        assert (getattr(compiler.inputs(strangers), name) == getattr(plain.inputs(strangers), name)).all()


def test_only_people_who_are_not_known_are_left_out(texts_of, some_samples):
    """The last person in the table has a word, and -1 is not that person."""
    texts = texts_of("atomic")
    compiler = PromptCompiler([load_prompts()["A-1"]], texts)
    known = some_samples(1, 10, 1)
    last = texts.catalogue.n_users - 1
    lengths = {u: compiler.input_lengths(replace(known, user=np.array([u])))[0] for u in (-1, last)}
    assert lengths[last] == lengths[-1] + len(texts.codes.vocabulary.encode([f"user_{last + 1}"]).tokens.values)


def test_the_samples_that_are_asked_about_stay_as_they_are(texts_of, some_samples):
    texts = texts_of("atomic")
    samples = replace(some_samples(1, 11, 4), user=np.array([-1, 0, -1, 3]))
    PromptCompiler([load_prompts()["A-1"]], texts).inputs(samples)
    assert samples.user.tolist() == [-1, 0, -1, 3]
