"""What is told of an adapter: flags, a file, and which of them wins."""

import dataclasses
import json

import pytest

pytest.importorskip("torch")
peft = pytest.importorskip("peft")
pytest.importorskip("transformers")
import lora
from argument_parser import LenientArgumentParser
from lora_config import _chosen_settings
from test_lora import add_lora, arguments, make_model, run_arguments
from user_error import UserError

KNOWN = {field.name for field in dataclasses.fields(peft.LoraConfig)}
NEWER = pytest.mark.skipif("use_dora" not in KNOWN, reason="this release of peft knows plain LoRA")


@pytest.fixture
def parsed(tmp_path):
    """The model arguments that a command line gives, or, of a dict, an arguments file."""

    def parse(given):
        parser = LenientArgumentParser((lora.LoraArguments,))
        if isinstance(given, dict):
            (tmp_path / "arguments.json").write_text(json.dumps(given))
            return parser.parse_json_file(str(tmp_path / "arguments.json"))[0]
        return parser.parse_args_into_dataclasses(given)[0]

    return parse


@pytest.fixture
def file(tmp_path):
    def write(content):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "lora.json").write_text(text)
        return str(tmp_path / "lora.json")

    return write


def test_a_flag_that_is_given_wins_even_with_its_default(parsed, file):
    where = file({"r": 4, "lora_alpha": 6, "bias": "all"})
    settings, said = _chosen_settings(parsed(["--lora_config", where, "--lora_alpha", "32"]))
    assert (settings["r"], settings["lora_alpha"], settings["bias"]) == (4, 32, "all")
    assert (said["r"], said["lora_alpha"]) == ("--lora_config: 'r'", "--lora_alpha")
    assert settings["lora_dropout"] == 0.1  # neither says it
    settings, _ = _chosen_settings(parsed({"lora_config": where, "lora_rank": "8"}))
    assert (settings["r"], settings["lora_alpha"]) == (8, 6)
    settings, _ = _chosen_settings(parsed({"lora_config": {"r": 3}}))
    assert settings["r"] == 3


def test_help_tells_the_defaults(capsys):
    with pytest.raises(SystemExit):
        LenientArgumentParser((lora.LoraArguments,)).parse_args(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "Rank of the update matrices. (default: 8)" in said


def test_without_that_parser_what_differs_from_a_default_was_given():
    given = arguments(lora_rank=4, lora_config={"r": 2, "lora_alpha": 5})
    settings, _ = _chosen_settings(given)
    assert (settings["r"], settings["lora_alpha"]) == (4, 5)


def test_an_adapter_s_own_file_will_do(tmp_path):
    changes = {"lora_rank": 3, "lora_target_modules": "dense"}
    add_lora(make_model(), arguments(**changes), run_arguments()).save_pretrained(tmp_path)
    given = arguments(lora_config=str(tmp_path / "adapter_config.json"))
    config = add_lora(make_model(), given, run_arguments()).peft_config["default"]
    assert (config.r, set(config.target_modules), config.inference_mode) == (3, {"dense"}, False)


WRONG = {
    "a name misspelt": ({"lora_alhpa": 8}, "knows no 'lora_alhpa'; it knows lora_alpha"),
    "no JSON": ("{r: 8}", "lora.json' is no JSON: Expecting property name"),
    "a list": ("[1]", "lora.json' holds [1], not an object"),
    "a text for a number": ({"r": "eight"}, "'r' is 'eight', not int."),
    "a switch for a number": ({"r": True}, "'r' is True, not int."),
    "names that are numbers": ({"target_modules": [1]}, "'target_modules' is [1], not "),
    "no such module": ({"target_modules": ["value"]}, "'target_modules': the model has no module"),
    "no such module in full": (
        {"modules_to_save": ["head"]},
        "'modules_to_save': the model has no",
    ),
    "no rank": ({"r": 0}, "--lora_config: 'r' must be at least 1, not 0."),
    "another kind": ({"peft_type": "IA3"}, "'peft_type' is 'IA3', not LORA."),
}
WRONG_IN_NEWER = {
    "near names": ({"use_dorra": True}, "knows no 'use_dorra'; it knows use_dora"),
    "in a setting of a setting": (
        {"eva_config": {"roh": 2.0}},
        "'eva_config': peft " + peft.__version__ + " knows no 'roh'; it knows rho",
    ),
    "what peft itself refuses": (
        {"layers_to_transform": [0], "target_modules": "a|b"},
        "peft refuses these --lora_* arguments: `layers_to_transform` cannot be used",
    ),
    "an unknown beginning": (
        {"init_lora_weights": "zero"},
        "peft refuses these --lora_* arguments",
    ),
    "gradients first": ({"init_lora_weights": "lora_ga"}, "needs a program of its own"),
}


def _refused(file, content):
    with pytest.raises(UserError) as error:
        add_lora(make_model(), arguments(lora_config=file(content)), run_arguments())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("what", WRONG)
def test_errors_take_one_line(file, what):
    content, said = WRONG[what]
    assert said in _refused(file, content)


@NEWER
@pytest.mark.parametrize("what", WRONG_IN_NEWER)
def test_errors_of_newer_settings_take_one_line(file, what):
    content, said = WRONG_IN_NEWER[what]
    assert said in _refused(file, content)


@pytest.mark.skipif("use_dora" in KNOWN, reason="this release of peft knows it")
def test_an_old_peft_tells_what_it_does_not_know(file):
    said = _refused(file, {"use_dora": True})
    assert f"peft {peft.__version__} knows no 'use_dora'" in said


def test_no_file(file, tmp_path):
    given = arguments(lora_config=str(tmp_path / "none.json"))
    with pytest.raises(UserError, match="cannot read '.*none.json': No such file"):
        add_lora(make_model(), given, run_arguments())
