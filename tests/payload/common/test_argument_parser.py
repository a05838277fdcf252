"""Arguments files spelled as the command line is; reports that are not installed."""

# ruff: noqa: UP006, UP007, UP035, UP045 (as upstream has them, for old releases)
import json
from dataclasses import dataclass, field
from typing import List, Optional, Union

import pytest

transformers = pytest.importorskip("transformers")
import argument_parser
from argument_parser import LenientArgumentParser


@dataclass
class Arguments:
    names: Optional[str] = None
    text: str = "t"
    count: int = 1
    most: Optional[int] = None
    rate: float = 0.5
    switch: bool = False
    listed: List[str] = field(default_factory=list)
    either: Optional[Union[str, dict]] = None
    report_to: Optional[List[str]] = None


@pytest.fixture
def parse(tmp_path):
    def run(**given):
        file = tmp_path / "args.json"
        file.write_text(json.dumps(given))
        return LenientArgumentParser((Arguments,)).parse_json_file(str(file))[0]

    return run


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("names", ["q_proj", "v_proj"], "q_proj,v_proj"),
        ("names", [1, "b", 0.5], "1,b,0.5"),
        ("names", "q_proj,v_proj", "q_proj,v_proj"),
        ("names", 8, "8"),
        ("names", None, None),
        ("text", [], ""),
        ("text", ["a", ["b"]], ["a", ["b"]]),
        ("text", True, True),
        ("count", "8", 8),
        ("count", 8.0, 8),
        ("most", "-1", -1),
        ("most", None, None),
        ("rate", "1e-4", 1e-4),
        ("rate", 1, 1.0),
        ("switch", "no", False),
        ("switch", "True", True),
        ("switch", True, True),
        ("listed", ["a", "b"], ["a", "b"]),
        ("listed", [1], [1]),
        ("either", ["a"], ["a"]),
        ("either", {"a": 1}, {"a": 1}),
        ("either", 8, 8),
    ],
)
def test_values(parse, name, value, found):
    taken = getattr(parse(**{name: value}), name)
    assert taken == found
    assert type(taken) is type(found)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("count", "8.5", "--count: '8.5' is no int."),
        ("count", 8.5, "--count: 8.5 is no int."),
        ("count", [8], "--count: [8] is no int."),
        ("most", "many", "--most: 'many' is no int."),
        ("rate", "", "--rate: '' is no float."),
        ("rate", {}, "--rate: {} is no float."),
        ("switch", "maybe", "--switch: 'maybe' is no bool."),
    ],
)
def test_values_of_another_kind(parse, name, value, said):
    with pytest.raises(ValueError) as error:
        parse(**{name: value})
    assert str(error.value) == said


def test_what_is_no_object(tmp_path):
    (tmp_path / "a.json").write_text('["--do_train"]')
    with pytest.raises(ValueError, match="expected an object with arguments, found "):
        LenientArgumentParser((Arguments,)).parse_json_file(str(tmp_path / "a.json"))


def test_names_that_no_argument_has(parse):
    with pytest.raises(ValueError, match="counts"):
        parse(counts=3)


def test_the_scripts_own_arguments(tmp_path):
    """All that transformers has keeps its value, of whichever type."""
    plain, lenient = (
        kind((transformers.TrainingArguments,)).parse_dict(
            {"output_dir": str(tmp_path), "report_to": "none", "label_names": ["a"], "seed": 3}
        )[0]
        for kind in (transformers.HfArgumentParser, LenientArgumentParser)
    )
    assert lenient.report_to == [] and lenient.label_names == ["a"]
    differing = {k for k, v in plain.to_dict().items() if v != lenient.to_dict()[k]}
    assert differing <= {"logging_dir"}  # which has the time in it


@pytest.mark.parametrize("how", ["file", "line"])
@pytest.mark.parametrize("kind", [RuntimeError, ImportError, ValueError])
def test_reports_that_are_not_installed(parse, monkeypatch, how, kind):
    def missing():
        raise kind("needs what is not there: pip install it")

    monkeypatch.setattr(
        argument_parser, "INTEGRATION_TO_CALLBACK", {"board": missing, "other": dict}
    )

    def run(*names):
        if how == "file":
            return parse(report_to=list(names))
        line = ["--report_to", *names]
        return LenientArgumentParser((Arguments,)).parse_args_into_dataclasses(line)[0]

    assert run("other").report_to == ["other"]
    with pytest.raises(ValueError) as error:
        run("other", "board")
    assert str(error.value) == "--report_to board: needs what is not there: pip install it"
    with pytest.raises(ValueError) as error:
        run("bord")
    assert str(error.value) == "--report_to bord: there is none of that name but board, other."


@pytest.mark.parametrize("name", ["comet_ml", "codecarbon"])
def test_real_reports(name):
    """What this stack lacks is told in the library's own words."""
    try:
        transformers.integrations.INTEGRATION_TO_CALLBACK[name]()
        pytest.skip(f"{name} is installed")
    except RuntimeError as error:
        words = str(error)
    with pytest.raises(ValueError) as told:
        LenientArgumentParser((Arguments,)).parse_dict({"report_to": [name]})
    assert str(told.value) == f"--report_to {name}: {words}"
