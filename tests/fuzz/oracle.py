"""Is a generated script right? Told by running it beside upstream's, without looking at codemods/.

``judge(upstream, generated, series)`` runs both scripts in every scenario under the recorder and
returns the reasons why the generated one is wrong; none if it is right. First come the promises of
the series (what the generated script must do that upstream's doesn't), then everything else: once
the promised differences are taken out, the two must have done the same things in the same order.

Only the series "chatglm" promises AutoModel, trust in remote code and ZeRO-3's arguments; of any
other, that models load just as upstream's do.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import itertools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.recorder import (
    HERE,
    LORA,
    DataDict,
    Event,
    Model,
    Recorder,
    Scenario,
    Script,
    Trace,
    Value,
    World,
    encoded,
)

PATCHES = Path(__file__).resolve().parents[2] / "patches"
HUB = {"dataset_name": "d", "model_name_or_path": "m", "cache_dir": "c", "model_revision": "r"}
SCENARIOS = (
    Scenario("train", {**HUB, "max_train_samples": 5}, {"do_train": True}),
    Scenario(
        "evaluate a stream",
        {**HUB, "streaming": True, "max_eval_samples": 7, "use_auth_token": True},
        {"do_eval": True, "should_log": False},
        splits=("train",),
        resize=False,
    ),
    Scenario(
        "from scratch",
        {
            "model_type": "gpt2",
            "config_overrides": "a=1",
            "tokenizer_name": "tok",
            "train_file": "a.csv",
            "validation_file": "b.csv",
        },
        {"do_train": True, "do_eval": True},
    ),
    Scenario(
        "config and tokenizer of their own",
        {
            "model_name_or_path": "m",
            "config_name": "conf",
            "tokenizer_name": "tok",
            "train_file": "a.txt",
            "trust_remote_code": False,
            "torch_dtype": "float16",
            "dtype": "float16",
            "use_fast_tokenizer": False,
        },
        {"do_train": True, "do_eval": True},
        splits=("train",),
        json=True,
    ),
    Scenario(
        "predict after all",
        {**HUB, "dataset_config_name": "dc", "trust_remote_code": True, "token": "t"},
        {"do_train": True, "do_eval": True, "do_predict": True, "push_to_hub": True},
        splits=("train", "validation", "test"),
        xla=True,
    ),
    Scenario("predict only", HUB, {"do_predict": True}),
    Scenario(
        "resume as told",
        {**HUB, "max_eval_samples": 500, "max_train_samples": 500},
        {"do_train": True, "do_eval": True, "resume_from_checkpoint": "ckpt", "output_dir": HERE},
        checkpoint="found",
    ),
    Scenario(
        "resume as found",
        {**HUB, "streaming": True, "max_train_samples": 3},
        {"do_train": True, "output_dir": HERE},
        checkpoint="found",
    ),
    Scenario(
        "jsonl files",
        {"model_name_or_path": "m", "train_file": "a.jsonl", "validation_file": "b.jsonl"},
        {"do_train": True, "do_eval": True},
        splits=("train",),
    ),
    Scenario("no data", {"model_name_or_path": "m"}, {"do_train": True}),
    Scenario("no tokenizer", {"model_type": "gpt2", "train_file": "a.csv"}, {"do_train": True}),
)
# Errors that say that a script is broken, not that a user asked for something impossible.
BROKEN = (
    "NameError",
    "UnboundLocalError",
    "AttributeError",
    "TypeError",
    "KeyError",
    "IndexError",
    "ImportError",
    "ZeroDivisionError",
    "RecursionError",
)


# -- the payload -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grafts:
    pieces: tuple[tuple[str, str], ...]  # name, text of the whole definition
    imports: tuple[tuple[str, str, str | None], ...]  # local name, module, name in it


@functools.cache
def grafts(series: str) -> Grafts:
    """What stands at module level in the files of patches/ that the series grafts."""
    pieces, imports = [], []
    table = tomllib.loads((PATCHES / "series.toml").read_text(encoding="utf-8"))
    layers = table["series"][series]["layers"]
    files = {
        f"{p['layer']}/{m}.py"
        for p in table["patch"]
        if p["layer"] in layers
        for m in p.get("payload", ())
    }
    for file in [PATCHES / name for name in sorted(files)]:
        text = file.read_text(encoding="utf-8")
        lines = text.splitlines(keepends=True)
        for node in ast.parse(text).body:
            if isinstance(node, ast.Import):
                imports += [
                    (
                        a.asname or a.name.partition(".")[0],
                        a.name if a.asname else a.name.partition(".")[0],
                        None,
                    )
                    for a in node.names
                ]
            elif isinstance(node, ast.ImportFrom):
                beside = (file.parent, PATCHES / "common")
                if not any((f / f"{node.module}.py").exists() for f in beside):  # grafted as well
                    imports += [(a.asname or a.name, node.module or "", a.name) for a in node.names]
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                pieces.append((node.name, "".join(lines[first - 1 : node.end_lineno])))
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                if node.targets[0].id != "logger":
                    pieces.append(
                        (node.targets[0].id, "".join(lines[node.lineno - 1 : node.end_lineno]))
                    )
    return Grafts(tuple(pieces), tuple(dict.fromkeys(imports)))


def _bound_at_top(tree: ast.Module) -> list[str]:
    out: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            out.append(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            out += [a.asname or a.name.partition(".")[0] for a in node.names]
        else:
            out += [
                n.id
                for n in ast.walk(node)
                if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
            ]
    return out


def _payload_reasons(text: str, script: Script, series: str) -> list[str]:
    text = text.replace("\r\n", "\n")
    bound, out = _bound_at_top(script.tree), []
    for name, piece in grafts(series).pieces:
        if text.count(piece) != 1:
            out.append(f"payload: the text of {name} is not there once, unchanged")
        elif bound.count(name) != 1:
            out.append(f"payload: {name} is bound {bound.count(name)} times")
    for local, module, name in grafts(series).imports:
        wanted = script.world.importer(module, None, None, (name,) if name else (module,), 0)
        if name:
            wanted = getattr(wanted, name)
        if local not in script.names or script.rec.label(script.names[local]) != script.rec.label(
            wanted
        ):
            out.append(f"payload: {local} is not what the payload imports by that name")
    if script.rec.label(script.names.get("logger")) != "logger":
        out.append("payload: no logger")
    return out


def _replace(rec: Recorder, world: World, names: dict[str, Any]) -> None:
    """Recorders in the place of the grafted functions."""

    def add_lora(model: Any, *rest: Any) -> Model:
        rec.note("add_lora", (model, *rest))
        return Model(rec, LORA + rec.label(model))

    def encode_datasets(raw: Any, *rest: Any) -> DataDict:
        rec.note("encode_datasets", (raw, *rest))
        training, out = rest[-1], DataDict()
        for split, flag in (("train", "do_train"), ("validation", "do_eval")):
            if getattr(training, flag, False) is True and split in raw:
                out[split] = raw[split]._also(encoded(raw[split]._label))
        return out

    def predict_responses(*args: Any) -> None:
        rec.note("predict_responses", args)

    def load_files(self: Any, *args: Any, **kwargs: Any) -> Any:
        return world.loaded(f"{rec.label(self)}.load_files", args, kwargs)

    def zero3_model_kwargs(*args: Any) -> dict:
        return {"zero3": args}

    def pair_collator(*args: Any, **kwargs: Any) -> Value:
        return Value(rec, f"PairCollator{rec.label(args)}{kwargs or ''}")

    def response_accuracy(*args: Any, **kwargs: Any) -> Value:
        rec.note("ResponseAccuracy", args, kwargs)
        return Value(rec, "<metric>")

    def run_main(main: Any) -> Any:
        rec.note("run_main")
        try:
            return main()
        finally:
            rec.note("end of run_main")

    if base := names.get("PromptResponseArguments"):
        base.load_files = load_files
        base.files = lambda self, argument: [getattr(self, argument)]  # which need not be there
    names.update(
        LenientArgumentParser=type("LenientArgumentParser", (world.parser,), {}),
        show_preview=lambda *args: rec.note("show_preview", args),
        run_main=run_main,
        add_lora=add_lora,
        encode_datasets=encode_datasets,
        predict_responses=predict_responses,
        zero3_model_kwargs=zero3_model_kwargs,
        join_process_group=lambda *args: rec.note("join_process_group", args),
        PairCollator=pair_collator,
        make_callbacks=lambda *args: [Value(rec, f"make_callbacks{rec.label(args)}")],
        ResponseAccuracy=response_accuracy,
        AdapterTrainer=type("AdapterTrainer", (world.trainer,), {}),
        encode_prompt=Value(rec, "encode_prompt"),
        stop_ids=Value(rec, "stop_ids"),
        lead_ids=Value(rec, "lead_ids"),
        encode_pair=Value(rec, "encode_pair"),
    )


# -- one scenario ------------------------------------------------------------------------------------

ANY_CONFIG = r"(?:<config#\d+>|transformers\.CONFIG_MAPPING\[.*\]\(\))"
LOADS = re.compile(r"transformers\.(?:\w+\.)*(Auto(?:Config|Tokenizer|Model\w*))\.(from_\w+)$")
DROPPED = (
    "map",
    "evaluate.load",
    "ResponseAccuracy",
    "run_main",
    "end of run_main",
    "join_process_group",
    "show_preview",
    "add_lora",
    "encode_datasets",
    "predict_responses",
)
CALLBACKS = "make_callbacks[data_args, training_args]"
REPLACED = {  # after which the Trainer is no longer what the patches made of it
    f"set trainer.{name}"
    for name in (
        "data_collator",
        "train_dataset",
        "eval_dataset",
        "compute_metrics",
        "preprocess_logits_for_metrics",
        "callback_handler",
    )
}
OPTIONAL = ("transformers.utils.logging.get_logger",)


FILES_LOAD = "data_args.load_files"


def _loads_files(load: Event) -> bool:
    """Is the load given data files, by name or in their place?"""
    return load.get("data_files") is not None or len(load.args) > 3


def _loading_promises(gen: Trace, up: Trace, trust: str) -> list[str]:
    """What the series "chatglm" promises of config, tokenizer and model."""
    out: list[str] = []
    for e in gen.events:
        if not (found := LOADS.match(e.what)):
            continue
        cls, how = found.groups()
        # Upstream may itself say True to one load, whatever its argument says.
        theirs = e.what.replace("AutoModel.", "AutoModelForCausalLM.")
        always = any(
            u.what in (e.what, theirs) and u.get("trust_remote_code") == "True" for u in up.events
        )
        if e.get("trust_remote_code") != trust and not (always and trust == "False"):
            out.append(
                f"{cls}.{how} gets trust_remote_code={e.get('trust_remote_code')}, not {trust}"
            )
        if cls.startswith("AutoModel") and cls != "AutoModel":
            out.append(f"the model comes from {cls}")
        if cls == "AutoModel" and how == "from_pretrained":
            given = e.get("config") or ""  # upstream itself may give it none, or nonsense
            config = re.escape(given) if given.startswith("<config#") else ANY_CONFIG
            if not re.fullmatch(rf"\[{config}, model_args\]", e.get("zero3") or ""):
                out.append(f"the model is loaded without its zero3 arguments: {e.get('zero3')}")
    return out


def _promises(gen: Trace, up: Trace) -> list[str]:
    """What every series promises, looked up in one run of the generated script."""
    out: list[str] = []
    events = gen.events
    at = {
        name: [i for i, e in enumerate(events) if e.what == name]
        for name in (
            "LenientArgumentParser",
            "run_main",
            "end of run_main",
            "show_preview",
            "add_lora",
            "encode_datasets",
            "predict_responses",
            "trainer.train",
            "trainer.evaluate",
        )
    }
    inside = [
        i
        for name in ("LenientArgumentParser", "trainer.train", "trainer.evaluate")
        for i in at[name]
    ]
    started, ended = at["run_main"], at["end of run_main"]
    if len(started) != 1 or any(not started[0] < i < ended[0] for i in inside):
        out.append(f"run_main is called {len(started)} times, not once around everything")
    if len(at["LenientArgumentParser"]) != 1:
        out.append(f"{len(at['LenientArgumentParser'])} lenient parsers are made, one is promised")
    for e in events:
        if e.what == "load_dataset" and _loads_files(e):
            out.append(f"load_dataset is given files: {e}")
        if e.what.endswith("load_files") and (e.what != FILES_LOAD or len(e.args) > 3):
            out.append(f"what is loaded through the data arguments is {e}")
    if any(e.what == "evaluate.load" for e in events):
        out.append("evaluate.load asks the hub")
    if any(e.what == "map" for e in events):
        out.append("something still maps the data")
    made = [i for i, e in enumerate(events) if e.what.startswith("Trainer:")]
    if gen.raised and not made:
        return out
    if [events[i].what for i in made] != ["Trainer:AdapterTrainer"]:
        return [*out, f"trainers made: {[events[i].what for i in made]}, not one AdapterTrainer"]
    trainer = events[made[0]]
    models = [i for i, e in enumerate(events) if (m := LOADS.match(e.what)) and "Model" in m[1]]
    joined = [i for i, e in enumerate(events) if e.what == "join_process_group"]
    if len(joined) != 1 or any(i < joined[0] for i in models):
        out.append(f"the ranks are joined {len(joined)} times, once before any model is promised")
    elif events[joined[0]].args != ("training_args",):
        out.append(f"join_process_group gets {events[joined[0]].args}")
    if len(at["add_lora"]) != 1 or at["add_lora"][0] > made[0]:
        out.append(
            f"add_lora is called {len(at['add_lora'])} times, once before the Trainer is promised"
        )
    else:
        lora = events[at["add_lora"][0]]
        touched = [
            i
            for i, e in enumerate(events)
            if "resize_token_embeddings" in e.what
            or ((m := LOADS.match(e.what)) and "Model" in m[1])
        ]
        if any(i > at["add_lora"][0] for i in touched):
            out.append("the model is loaded or resized after LoRA was added")
        if lora.args[2:] != ("stop_ids", "model_args", "training_args"):
            out.append(f"add_lora gets {lora.args}")
        if trainer.get("model") != LORA + lora.args[0]:
            out.append(f"the Trainer's model is {trainer.get('model')}, not the LoRA model")
    for part in ("train_dataset", "eval_dataset"):
        if (given := trainer.get(part)) and given != "None" and "encoded(" not in given:
            out.append(f"{part} is not encoded: {given}")
    given = trainer.get("processing_class") or trainer.get("tokenizer")
    if trainer.get("data_collator") != f"PairCollator[{given}, data_args]":
        if (given or "").startswith("<tokenizer#") or not re.fullmatch(
            r"PairCollator\[<tokenizer#\d+>, data_args\]", trainer.get("data_collator") or ""
        ):
            out.append(f"data_collator is {trainer.get('data_collator')}")
    if not (trainer.get("callbacks") or "").endswith(f"{CALLBACKS}]"):
        out.append(f"the Trainer's callbacks are {trainer.get('callbacks')}")
    out += [f"the Trainer's {e.what[12:]} is replaced" for e in events if e.what in REPLACED]
    if len(at["encode_datasets"]) != 1:
        out.append(f"encode_datasets is called {len(at['encode_datasets'])} times")
    else:
        call = events[at["encode_datasets"][0]]
        known = (given or "").startswith("<tokenizer#")  # upstream itself may give it nonsense
        tokenizer = call.args[2] if len(call.args) == 6 else ""
        # Of the model only its positions are asked for, which LoRA does not change.
        plain = (trainer.get("model") or "").replace(LORA, "")
        model = call.args[3].replace(LORA, "") if len(call.args) == 6 else ""
        rest = (call.args[1:2], model, call.args[4:])
        if rest != (("encode_pair",), plain, ("data_args", "training_args")):
            out.append(f"encode_datasets gets {call.args}")
        if not tokenizer.startswith("<tokenizer#") or (known and tokenizer != given):
            out.append(f"encode_datasets gets the tokenizer {tokenizer}, the Trainer {given}")
        mapped = next((e.args[0] for e in up.events if e.what == "map"), None)
        if mapped is not None and call.args[0] != mapped:
            out.append(f"encode_datasets gets {call.args[0]}, upstream maps {mapped}")
        shown = [events[i].args for i in at["show_preview"]]
        if any(i > j for i in at["show_preview"] for j in models):
            out.append("the preview comes after a model is loaded")
        if shown != [(call.args[:3] + call.args[4:])]:
            out.append(f"previews show {shown}, not once what is encoded")
    wants = int(gen_wants_prediction(gen))
    if not gen.raised and len(at["predict_responses"]) != wants:
        out.append(f"predict_responses is called {len(at['predict_responses'])} times, not {wants}")
    for i in at["predict_responses"]:
        if any(j > i for name in ("trainer.train", "trainer.evaluate") for j in at[name]):
            out.append("prediction comes before training or evaluation")
        call = events[i].args
        known = (given or "").startswith("<tokenizer#")
        tokenizer = call[1] if len(call) == 9 else ""
        series = ("encode_prompt", "stop_ids", "lead_ids")
        wanted = ("<trainer#1>", given if known else tokenizer, *series)
        rest = ("model_args", "data_args", "training_args")
        raw = call[5] if len(call) == 9 else ""
        if (
            call[:5] + call[6:] != wanted + rest
            or not tokenizer.startswith("<tokenizer#")
            or "#" not in raw
            or "encoded(" in raw
        ):
            out.append(f"predict_responses gets {call}")
    return out


def gen_wants_prediction(trace: Trace) -> bool:
    return bool(trace.arguments.get("", {}).get("do_predict"))


def _common(trace: Trace, generated: bool, is_chatglm: bool) -> list[Event]:
    """The events, the promised differences taken out."""
    out: list[Event] = []
    for e in trace.events:
        if e.what in DROPPED:
            continue
        if generated and e.what == FILES_LOAD:  # which hands on what has no files
            e = Event("load_dataset", e.args, e.kwargs)
        if generated and e.what == "LenientArgumentParser":
            e = Event("HfArgumentParser", e.args, e.kwargs)
        if is_chatglm and (found := LOADS.match(e.what)):
            cls, how = found.groups()
            cls = "AutoModel" if cls in ("AutoModel", "AutoModelForCausalLM") else cls
            e = Event(f"{cls}.{how}", e.args, e.kwargs).without("trust_remote_code", "zero3")
        if e.what.startswith("Trainer:"):
            right = "Trainer:AdapterTrainer" if generated else "Trainer:Trainer"
            what = "Trainer" if e.what == right else e.what
            e = Event(what, e.args, e.kwargs).without("data_collator")
            own = re.sub(rf"(, )?{re.escape(CALLBACKS)}\]$", "]", e.get("callbacks") or "")
            e = e.without("callbacks")
            if own not in ("", "[]", "None"):
                e = Event(e.what, e.args, (*e.kwargs, ("callbacks", own)))
        out.append(_plain(e))
    kept: list[Event] = []
    for e in out:  # what a context manager surrounded may all be gone
        if e.what == "exit" and kept and kept[-1].what == "enter" and kept[-1].args == e.args:
            kept.pop()
        else:
            kept.append(e)
    return kept


def _plain(e: Event) -> Event:
    return Event(
        e.what.replace(LORA, ""),
        tuple(a.replace(LORA, "") for a in e.args),
        tuple((k, v.replace(LORA, "")) for k, v in e.kwargs),
    )


def _window(trace: Trace) -> set[Event]:
    """Messages and pure calls that may go with the chunking: before upstream's last map."""
    maps = [i for i, e in enumerate(trace.events) if e.what == "map"]
    loads = [i for i, e in enumerate(trace.events) if LOADS.match(e.what)]
    out = {e for e in trace.events if e.what in OPTIONAL}
    if maps and loads:
        out |= {_plain(e) for e in trace.events[loads[-1] : maps[-1]] if e.what.startswith("log.")}
    return out


def _difference(up: list[Event], gen: list[Event], optional: set[Event]) -> str | None:
    """The first thing that only one of the two did."""
    i = j = 0
    while i < len(up):
        if j < len(gen) and up[i] == gen[j]:
            i, j = i + 1, j + 1
        elif up[i] in optional:
            i += 1
        elif after := _empty(up, i, optional):
            i = after
        else:
            did = str(gen[j])[:300] if j < len(gen) else "nothing more"
            return f"upstream does {str(up[i])[:300]}, the generated script {did}"
    return f"the generated script also does {str(gen[j])[:300]}" if j < len(gen) else None


def _empty(events: list[Event], i: int, optional: set[Event]) -> int | None:
    """Past a context that only surrounds what may be gone, if one is entered at ``i``."""
    if events[i].what != "enter":
        return None
    inside = itertools.takewhile(lambda e: e in optional, events[i + 1 :])
    end = i + 1 + len(list(inside))
    return end + 1 if events[end : end + 1] == [Event("exit", events[i].args)] else None


# -- everything ------------------------------------------------------------------------------------


class Judge:
    """Upstream's side of the comparison, kept for several generated scripts of a series."""

    def __init__(self, upstream: str, series: str = "chatglm"):
        self.text, self.series = upstream, series
        self.is_chatglm = series == "chatglm"
        self.broken: str | None = None
        try:
            self.script = Script(upstream)
        except Exception as error:
            self.broken = f"{type(error).__name__}: {error}"
            return
        self.fields = _fields(self.script)
        self.own_trust = "trust_remote_code" in self.fields
        self.traces = {s.name: self._run(s) for s in SCENARIOS}
        if all(_is_broken(t) for t in self.traces.values()):
            self.broken = "; ".join(sorted({str(t.raised) for t in self.traces.values()}))

    def _run(self, scenario: Scenario) -> Trace:
        trusts = self.is_chatglm and self.own_trust
        if trusts and "trust_remote_code" not in scenario.fields:
            fields = {
                **scenario.fields,
                "trust_remote_code": True,
            }  # as the generated one defaults to
            scenario = dataclasses.replace(scenario, fields=fields)
        # What it would do if it knew that jsonl files are json files.
        fields = {n: _as_json(v) for n, v in scenario.fields.items()}
        return self.script.run(dataclasses.replace(scenario, fields=fields))

    def judge(self, generated: str) -> list[str]:
        """Reasons why ``generated`` is not this script with the series applied."""
        try:
            script = Script(generated, _replace)
        except Exception as error:
            return [f"importing it: {type(error).__name__}: {error}"]
        out = _payload_reasons(generated, script, self.series)
        out += _argument_reasons(self.fields, _fields(script), self.is_chatglm)
        if difference := _difference(self.script.preamble, script.preamble, set()):
            out.append(f"on import: {difference}")
        for scenario in SCENARIOS:
            up = self.traces[scenario.name]
            if _is_broken(up):
                continue
            reasons = self._one(scenario, up, script)
            out += [f"{scenario.name}: {r}" for r in reasons]
        return out

    def _one(self, scenario: Scenario, up: Trace, script: Script) -> list[str]:
        gen = _as_json(script.run(scenario))
        gen.arguments[""] = scenario.training
        if gen.raised != up.raised:
            return [f"it raises {gen.raised}, upstream {up.raised}"]
        out = _promises(gen, up)
        if self.is_chatglm:
            own = self.own_trust
            trust = repr(scenario.fields.get("trust_remote_code", True)) if own else "True"
            out += _loading_promises(gen, up, trust)
        events = [_common(up, False, self.is_chatglm), _common(gen, True, self.is_chatglm)]
        difference = _difference(*events, _window(up))
        if difference:
            out.append(difference)
        for role in ("model_args", "data_args"):
            was, now = up.arguments.get(role, {}), gen.arguments.get(role, {})
            changed = [
                n for n, v in was.items() if n != "block_size" and (n not in now or now[n] != v)
            ]
            if changed:
                out.append(f"{role} ends up with other {', '.join(changed)}")
        return out


def _as_json(value: Any) -> Any:
    """``value`` with json instead of jsonl wherever it ends or is read so."""
    if isinstance(value, str):
        return value.replace("jsonl", "json")
    if isinstance(value, tuple):
        return tuple(map(_as_json, value))
    if isinstance(value, list):
        return list(map(_as_json, value))
    if isinstance(value, dict):
        return {k: _as_json(v) for k, v in value.items()}
    if isinstance(value, Event):
        return Event(value.what, _as_json(value.args), _as_json(value.kwargs))
    if isinstance(value, Trace):
        return Trace(_as_json(value.events), _as_json(value.raised), _as_json(value.arguments))
    return value


def _is_broken(trace: Trace) -> bool:
    return trace.raised is not None and trace.raised[0] in BROKEN


def _fields(script: Script) -> dict[str, Any]:
    """Every command-line argument: name → what defines it."""
    script.run(SCENARIOS[0])
    out: dict[str, Any] = {}
    for cls in script.rec.parsed:
        for f in dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ():
            default = f.default
            if f.default_factory is not dataclasses.MISSING:
                default = ("made", script.rec.label(f.default_factory()))
            shown = "MISSING" if default is dataclasses.MISSING else script.rec.label(default)
            out[f.name] = (shown, str(f.type), script.rec.label(dict(f.metadata)))
    return out


NEW_ARGUMENTS = {  # the promised ones, and their defaults
    "prompt_column": "'prompt'",
    "response_column": "'response'",
    "history_column": "None",
    "messages_column": "None",
    "learn": "'last'",
    "preview": "None",
    "max_source_length": "1024",
    "max_target_length": "128",
    "ignore_pad_token_for_loss": "True",
    "test_file": "None",
    "max_predict_samples": "None",
    "early_stopping_patience": "None",
    "lora_rank": "8",
    "lora_alpha": "32",
    "lora_dropout": "0.1",
}


def _argument_reasons(was: dict[str, Any], now: dict[str, Any], is_chatglm: bool) -> list[str]:
    out = []
    for name, (default, kind, meta) in was.items():
        if name == "block_size":
            continue
        if name not in now:
            out.append(f"argument {name} is lost")
            continue
        expected = "True" if is_chatglm and name == "trust_remote_code" else default
        if now[name] != (expected, kind, meta):
            out.append(f"argument {name} is {now[name]}, upstream's is {(expected, kind, meta)}")
    if "block_size" in now:
        out.append("argument block_size is still there")
    for name, default in NEW_ARGUMENTS.items():
        if name not in now or now[name][0] != default:
            out.append(f"argument {name}: {now.get(name, 'missing')}")
    return out


def judge(upstream: str, generated: str, series: str = "chatglm") -> list[str]:
    """Reasons why ``generated`` is wrong; [] if it is right, or if ``upstream`` is broken."""
    j = Judge(upstream, series)
    return [] if j.broken else j.judge(generated)


def _splits(label: str) -> list[str]:
    """The entries of a dict of splits, as it is shown: upstream may add some later."""
    return re.findall(r"'(\w+)': ", label)
