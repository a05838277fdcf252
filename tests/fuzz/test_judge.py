"""The judge can find fault: scripts made wrong on purpose, each with the reason it must give."""

from __future__ import annotations

import functools
import re

import pytest

from tests.fuzz import run
from tests.fuzz.judge import Judge
from tests.fuzz.sources import few, sources
from tests.fuzz.wrong_scripts import WRONG, WRONG_CAUSAL
from tools.regenerate import series as all_series
from tools.regenerate.transform import transform


def made(text: str, series: str) -> str:
    """What the tool makes of a text."""
    return transform(run.upstream_of(text), run.series(series)).text


@functools.cache
def good(series: str) -> dict[str, tuple[Judge, str]]:
    """For each shape that upstream's script has had: its judge, and what the tool makes of it."""
    out = {}
    for name, text in few(sources()).items():
        out[name] = Judge(text, series), made(text, series)
    return out


@pytest.mark.parametrize("series", all_series.names())
def test_good_scripts_are_right(series):
    for name, (judge, generated) in good(series).items():
        assert judge.broken is None, name
        assert judge.judge(generated) == [], name


# What upstream may do next, and where: right if both do it, wrong if one of the two does it alone.
SEEDED = r"(?m)^    set_seed\(.*\n"  # the places stand after these lines
LOADED = r"(?m)^(?=    \w+ = \{\n        \"cache_dir\")"
ENCODED = r"(?m)^(?=    if \w+\.do_train:\n        if \"train\" not in)"
READY = r"(?m)^(?=    \w+ = (?:add_lora|Trainer)\()"
BOTH = [
    (READY, "for p in <model>.parameters(): p.requires_grad = False"),
    (READY, "<model> = <model>.to(torch.bfloat16)"),
    (READY, "<model>.lm_head.register_forward_hook(print)"),
    (READY, "del <model>.lm_head"),
    (ENCODED, "<encoded>['train'] = <encoded>['train'].shuffle(seed=2)"),
    (READY, "print(<data_args>.overwrite_cache, <model_args>.config_overrides)"),
    (READY, "logger.info(f'{<encoded>}')"),
    (SEEDED, "<data_args>.max_eval_samples = 3"),
    (SEEDED, "torch.use_deterministic_algorithms(True)"),
    (LOADED, "<raw> = <raw>.shuffle(seed=1)"),
    (LOADED, "<raw> = <raw>.filter(lambda row: row['text'])"),
    (LOADED, "<raw> = <raw>.map(lambda row: {'text': row['text'].strip()})"),
    (LOADED, "<raw>['train'] = datasets.concatenate_datasets([<raw>['train']] * 2)"),
    (LOADED, "<raw>['validation'] = <raw>['train'].select(range(9))"),
]
DRIFT = [
    pytest.param(
        r"(\n +)(with \w+\.main_process_first\(.*\):)",
        r'\1\2\1    logger.info("here")',
        id="a message among the statements that map the data",
    ),
    pytest.param(
        r"AutoModelForCausalLM\.from_config\(\w+",
        "AutoModelForCausalLM.from_pretrained(None",
        id="a model loaded without its config, where that is a new one",
    ),
]


@pytest.mark.parametrize("series", all_series.names())
@pytest.mark.parametrize(("pattern", "instead"), DRIFT)
def test_drift_that_changes_nothing_promised_is_right(series, pattern, instead):
    judged = 0
    for name, text in few(sources()).items():
        drifted = re.sub(pattern, instead, text)
        if drifted == text or judged == 3:
            continue
        judged += 1
        assert Judge(drifted, series).judge(made(drifted, series)) == [], name
    assert judged


@pytest.mark.parametrize(("place", "statement"), BOTH)
def test_what_both_do_is_right_and_what_one_does_alone_is_wrong(place, statement):
    name = next(iter(good("causal")))
    text, (judge, generated) = sources()[name], good("causal")[name]
    line = f"    {_named(generated, statement)}\n"
    up, gen = (re.sub(place, lambda m: m[0] + line, t, count=1) for t in (text, generated))
    assert up != text and gen != generated
    both = Judge(up, "causal")
    assert both.broken is None
    assert both.judge(gen) == []
    assert both.judge(generated), "upstream alone does it"
    assert judge.judge(gen), "the generated script alone does it"


def test_an_argument_that_only_the_chunking_read_is_missed():
    name = next(iter(good("causal")))
    text, (_, generated) = sources()[name], good("causal")[name]
    read = _named(generated, r"\1\2<data_args>.keep_linebreaks\n\2")
    up = re.sub(r"(    def \w+\(examples\):\n)( +)", read, text, count=1)
    assert "nothing reads data_args.keep_linebreaks" in "\n".join(
        Judge(up, "causal").judge(generated)
    )


def test_any_split_is_encoded_when_it_is_asked_for():
    name = next(iter(good("causal")))
    text, (_, generated) = sources()[name], good("causal")[name]
    line = "    if <training_args>.do_predict:\n        <trainer>.predict(<encoded>['test'])\n"
    ends = r"(?m)^(?=    \w+ = \{.finetuned_from)"
    up, gen = (re.sub(ends, _named(generated, line), t, count=1) for t in (text, generated))
    assert up != text
    assert Judge(up, "causal").judge(gen) == []
    assert "['test']" in gen and Judge(up, "causal").judge(gen.replace("['test']", "['train']"))


def test_a_script_of_another_series_is_wrong():
    for (judge, _), (_, generated) in zip(
        good("causal").values(), good("chatglm").values(), strict=True
    ):
        reasons = "\n".join(judge.judge(generated))
        assert "payload: the text of encode_prompt is not there" in reasons
        assert "trust_remote_code" in reasons


def _named(generated: str, given: str) -> str:
    """``given`` with this script's own names for <model>, <tokenizer> and so on."""
    lora = re.search(r"(\w+) = add_lora\(\w+, \w+, stop_ids, (\w+), (\w+)\)", generated)
    data = re.search(
        r"\n +([\w =]+) = encode_datasets\(\s*(\w+), encode_pair, (\w+), (\w+), \w+\s*\)", generated
    )
    zero = re.search(r"zero3_model_kwargs\((\w+), \w+\),?\n", generated)
    names = dict(zip(("model", "model_args", "training_args"), lora.groups(), strict=True))
    names |= dict(zip(("encoded", "raw", "tokenizer", "data_args"), data.groups(), strict=True))
    names["encoded"] = names["encoded"].rpartition(" ")[2]
    names |= {
        "config": zero and zero[1],
        "trainer": re.search(r"(\w+) = AdapterTrainer\(", generated)[1],
    }
    return re.sub(r"<(\w+)>", lambda m: names.get(m[1], m[0]), given)


@pytest.mark.parametrize(
    ("series", "edit", "reason"),
    [
        pytest.param(series, p.values[:2], p.values[2], id=f"{series}: {p.id}")
        for series, table in (("chatglm", WRONG), ("causal", WRONG_CAUSAL))
        for p in table
    ],
)
def test_wrong_scripts_are_wrong(series, edit, reason):
    tried = 0
    for name, (judge, generated) in good(series).items():
        pattern, instead = (_named(generated, given) for given in edit)
        head, mark, main = generated.rpartition("\ndef main(")
        if re.search(pattern, mark + main):
            edited = head + re.sub(pattern, instead, mark + main)
        else:
            edited = re.sub(pattern, instead, generated)
        if edited == generated or tried == 1:
            continue
        tried += 1
        reasons = judge.judge(edited)
        assert reasons, f"{name}: judged right"
        assert re.search(reason, "\n".join(reasons)), f"{name}: {reasons[:3]}"
    assert tried, "this edit finds nothing to do"
