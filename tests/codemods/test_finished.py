"""The helpers' own scripts: what the tables build on must be right itself."""

from __future__ import annotations

import pytest

from codemods.engine.refusal import Refusal
from tests.codemods.helpers import BASES, FINISHED, OLD, PAYLOAD, finish, finished, render, series


def test_the_series_makes_the_finished_script_of_the_old_one():
    assert finish(render(OLD)) == render(FINISHED) + PAYLOAD


@pytest.mark.parametrize("codemod", series(), ids=lambda c: c.__name__.split(".")[-1])
def test_every_verify_accepts_the_finished_script(codemod):
    codemod.verify(finished(render(FINISHED) + PAYLOAD))


@pytest.mark.parametrize("codemod", series(), ids=lambda c: c.__name__.split(".")[-1])
@pytest.mark.parametrize("base", BASES)
def test_every_verify_accepts_what_the_series_makes(codemod, base):
    codemod.verify(finished(finish(render(BASES[base]))))


@pytest.mark.parametrize("codemod", series(), ids=lambda c: c.__name__.split(".")[-1])
@pytest.mark.parametrize("base", BASES)
def test_crlf_scripts_come_out_with_crlf(codemod, base):
    text = finish(render(BASES[base], newline="\r\n"))
    assert text.replace("\r\n", "").count("\n") == 0
    assert text.replace("\r\n", "\n") == finish(render(BASES[base]))
    codemod.verify(finished(text))


@pytest.mark.parametrize("codemod", series("causal"), ids=lambda c: c.__name__.split(".")[-1])
@pytest.mark.parametrize("base", BASES)
def test_every_verify_accepts_the_causal_script(codemod, base):
    codemod.verify(finished(finish(render(BASES[base]), "causal")))


@pytest.mark.parametrize("base", BASES)
def test_the_causal_series_leaves_loading_alone(base):
    text = finish(render(BASES[base]), "causal")
    for name in ("config", "tokenizer", "model"):
        for line in BASES[base][name].splitlines():
            assert line.strip() in text, "the series may not touch this"


def test_the_causal_script_is_no_chatglm_script():
    """Nor would the other series' eyes take it for one."""
    script = finished(finish(render(BASES["new"]), "causal"))
    for codemod in [c for c in series() if c not in series("causal")]:
        with pytest.raises(Refusal):
            codemod.verify(script)
