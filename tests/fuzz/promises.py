"""What the patches promise of a run: one function a patch, all of them blind to codemods/.

Each looks its promise up in the generated script's record, yields what is wrong, and takes the
promised difference out of both records. What is left must then be the same, event by event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.fuzz.runs import LOAD, Runs, data_in, is_its, model_in, tokenizer_given
from tests.fuzz.stand_ins import CALLBACKS, LORA
from tools.follow.behaviour.events import Event
from tools.follow.behaviour.trainer import SCORING

AUTO = re.compile(r"transformers\.(?:\w+\.)*(Auto(?:Config|Tokenizer|Model\w*))\.(from_\w+)$")
ANY_CONFIG = r"(?:<config#\d+>|transformers\.CONFIG_MAPPING\[.*\]\(\))"
MAPPED = re.compile(r"\|tokenised(?:\|tokenised)*")
TEARDOWN = re.compile(r"(^|\.)(destroy_process_group|end_training|_exit)$")
METRIC = re.compile(r"(^evaluate\.load|(^|\.)load_metric)$")
# After these are set the Trainer is no longer what the patches made of it.
GIVEN = ("data_collator", "train_dataset", "eval_dataset", "callback_handler", *SCORING)


def user_errors(runs: Runs) -> Iterator[str]:
    began, ended = runs.at("run_main"), runs.at("end of run_main")
    work = runs.at(r"LenientArgumentParser|add_lora|<trainer#\d+>\.(train|evaluate)")
    if len(began) != 1 or any(not began[0] < i < ended[0] for i in work):
        yield f"run_main is called {len(began)} times, not once around everything"
    runs.drop("run_main", "end of run_main")


def argument_parser(runs: Runs) -> Iterator[str]:
    if len(runs.at("LenientArgumentParser")) != 1 or runs.at("HfArgumentParser"):
        yield f"{len(runs.at('LenientArgumentParser'))} lenient parsers are made, not one alone"
    runs.edit(lambda e: e.edited(lambda s: s.replace("LenientArgumentParser", "HfArgumentParser")))


def data_files(runs: Runs) -> Iterator[str]:
    for e in runs.calls(r"load_dataset|.*load_files"):
        if e.what == "load_dataset" and (e.get("data_files") is not None or len(e.args) > 3):
            yield f"load_dataset is given files: {e}"
        elif e.what != "load_dataset" and (e.what != "data_args.load_files" or len(e.args) > 3):
            yield f"what is loaded through the data arguments is {e}"
    runs.edit(lambda e: Event(e.what.replace("data_args.load_files", "load_dataset"), e.args, e.kwargs))  # fmt: skip


def process_group(runs: Runs) -> Iterator[str]:
    yield from _before_models(runs, "join_process_group")
    for e in runs.calls("join_process_group"):
        if e.args != ("training_args",):
            yield f"join_process_group gets {e.args}"
    runs.drop("join_process_group")


def _before_models(runs: Runs, what: str) -> Iterator[str]:
    yield from runs.once(what)
    if runs.at(what) and runs.models and runs.models[0] < runs.at(what)[0]:
        yield f"{what} comes after a model is loaded"


def preview(runs: Runs) -> Iterator[str]:
    yield from runs.once("show_preview")  # before what loads the model, if not the tokenizer too
    encodes = [(data_in(e.args[0]), e.args[2:3]) for e in runs.calls("encode_datasets")]
    for e in runs.calls("show_preview"):
        same = not encodes or (data_in(e.args[0]), e.args[2:3]) == encodes[0]
        if not same or (e.args[1], *e.args[3:]) != ("encode_pair", "data_args", "training_args"):
            yield f"show_preview gets {e.args}"
    runs.drop("show_preview")


def pair_encoding(runs: Runs) -> Iterator[str]:
    yield from runs.once("encode_datasets")
    trainer = runs.trainer or Event("")
    for e in runs.calls("encode_datasets"):
        _, pair, tokenizer, *groups = e.args
        if (pair, *groups) != ("encode_pair", "data_args", "training_args"):
            yield f"encode_datasets gets {e.args}"
        # Upstream may hand its Trainer another one than it tokenised with.
        if tokenizer not in runs.upstream.served and not is_its(tokenizer, trainer):
            yield f"encode_datasets gets the tokenizer {tokenizer}, the Trainer {tokenizer_given(trainer)}"
    if runs.at("map"):
        yield "something still maps the data"
    for part in ("train_dataset", "eval_dataset"):
        if (given := trainer.get(part) or "None") != "None" and "|encoded" not in given:
            yield f"{part} is not encoded: {given}"
    runs.drop("encode_datasets")
    runs.up = [e.edited(_as_encoded) for e in runs.up]
    runs.edit(lambda e: e.edited(_any_splits))
    told = _told_of_chunks(runs.up, runs.sizes)
    runs.edit(lambda e: Event("map") if e in told or e.what == "map" else e)
    runs.up, runs.gen = ([e for e in events if e.what != "map"] for events in (runs.up, runs.gen))


def _as_encoded(label: str) -> str:
    return MAPPED.sub("|encoded", label).replace("|chunked", "")


def _any_splits(label: str) -> str:
    """All of the encoded data, printed: which of its splits are encoded yet is not told."""
    told = re.sub(r"\{'\w+': .*\|encoded.*\}", "<encoded data>", label)
    return told.replace('"', "'") if "<encoded data>" in told else told  # quoted alike, too


def _told_of_chunks(events: list[Event], sizes: str) -> set[Event]:
    """Messages on the size of chunks, and those in a context that the data is mapped in."""
    told, inside = set(), []
    for e in events:
        if e.what == "enter":
            inside.append([])
        elif e.what == "exit" and inside:
            messages = inside.pop()
            told |= {m for m in messages if m.what != "map"} if Event("map") in messages else set()
        elif e.what == "map" and inside:
            inside[-1].append(Event("map"))
        elif e.what.startswith("log.") or e.what == "print":
            told |= {e} if re.search(sizes, str(e)) else set()
            if inside:
                inside[-1].append(e)
    return told


def embedding_rows(runs: Runs) -> Iterator[str]:
    for i in runs.at(r".*\.resize_token_embeddings"):
        if runs.generated.events[i - 1].what != "grow_embeddings":
            yield f"embeddings may lose rows: {runs.generated.events[i]}"
    runs.drop("grow_embeddings")


def lora(runs: Runs) -> Iterator[str]:
    yield from runs.once("add_lora")
    made, added = runs.at("Trainer:.*"), runs.at("add_lora")
    if made and added:
        trainer, call = (runs.generated.events[i] for i in (made[0], added[0]))
        model, tokenizer, *rest = call.args
        if rest != ["stop_ids", "model_args", "training_args"] or not is_its(tokenizer, trainer):
            yield f"add_lora gets {call.args}"
        if trainer.get("model") != LORA + model:
            yield f"the Trainer's model is {trainer.get('model')}, not the LoRA model"
        between = runs.generated.events[added[0] + 1 : made[0]]
        # What is made of the LoRA model for the Trainer alone, such as an optimizer, is right.
        touched = [e for e in between if model_in(model) in str(e) and str(e) not in str(trainer)]
        if added[0] > made[0] or touched:
            yield f"the model is touched between add_lora and the Trainer: {[*map(str, touched)]}"
        old = re.compile(rf"(?<!{LORA}){re.escape(model)}")
        for name, value in trainer.without("callbacks").kwargs:
            if old.search(value):
                yield f"the Trainer's {name} is of the model without LoRA: {value}"
    runs.drop("add_lora")
    runs.edit(lambda e: e.edited(lambda s: s.replace(LORA, "")))


def pair_collator(runs: Runs) -> Iterator[str]:
    for e in runs.calls("Trainer:.*"):
        made = re.fullmatch(r"PairCollator\[(.*), data_args\]", e.get("data_collator") or "")
        if not made or not is_its(made[1], e):
            yield f"data_collator is {e.get('data_collator')}"
    runs.edit(lambda e: e.without("data_collator") if e.what.startswith("Trainer:") else e)


def response_accuracy(runs: Runs) -> Iterator[str]:
    for e in runs.generated.events:
        if METRIC.search(e.what):
            yield f"a metric is loaded: {e}"
        if e.what.startswith("Trainer:") and (own := [n for n in SCORING if e.get(n)]):
            yield f"the Trainer is given {', '.join(own)}"
    runs.up = [e for e in runs.up if not METRIC.search(e.what)]
    runs.edit(lambda e: e.without(*SCORING) if e.what.startswith("Trainer:") else e)


def adapter_trainer(runs: Runs) -> Iterator[str]:
    made = [e.what for e in runs.calls("Trainer:.*")]
    if made != ["Trainer:AdapterTrainer"] and (made or runs.ended_well):
        yield f"trainers made: {made}, not one AdapterTrainer"
    for e in runs.calls(rf"set <trainer#\d+>\.({'|'.join(GIVEN)})"):
        yield f"the Trainer's {e.what.rpartition('.')[2]} is replaced"
    runs.gen = [Event(e.what.replace(":AdapterTrainer", ":Trainer"), e.args, e.kwargs) for e in runs.gen]  # fmt: skip


def early_stopping(runs: Runs) -> Iterator[str]:
    for e in runs.calls("Trainer:.*"):
        if not (e.get("callbacks") or "").endswith(f"{CALLBACKS}]"):
            yield f"the Trainer's callbacks are {e.get('callbacks')}"
    runs.edit(_own_callbacks)


def _own_callbacks(e: Event) -> Event:
    """A Trainer's call with upstream's own callbacks only, as a list where there are any."""
    if not e.what.startswith("Trainer:"):
        return e
    own = re.sub(rf"(, )?{re.escape(CALLBACKS)}\]$", "]", e.get("callbacks") or "[]")
    own = own if own.startswith("[") else f"[{own}[Ellipsis]]"
    e = e.without("callbacks")
    none = own in ("[]", "[None[Ellipsis]]")
    return e if none else Event(e.what, e.args, (*e.kwargs, ("callbacks", own)))


def prediction(runs: Runs) -> Iterator[str]:
    calls, events = runs.at("predict_responses"), runs.generated.events
    wanted = int(bool(runs.scenario.training.get("do_predict")))
    if runs.ended_well and len(calls) != wanted:
        yield f"predict_responses is called {len(calls)} times, not {wanted}"
    for i in calls:
        if any(j > i for j in runs.at(r"<trainer#\d+>\.(train|evaluate)")):
            yield "prediction comes before training or evaluation"
        if ends := [e for e in events[:i] if TEARDOWN.search(e.what)]:
            yield f"prediction comes after {ends[0].what}"
        trainer, tokenizer, encode, stops, leads, raw, *groups = events[i].args
        known = (trainer, encode, stops, leads, *groups) == (
            "<trainer#1>",
            *("encode_prompt", "stop_ids", "lead_ids"),
            *("model_args", "data_args", "training_args"),
        )
        is_raw = data_in(raw) and "|encoded" not in raw
        if not known or not is_raw or not is_its(tokenizer, runs.trainer or Event("")):
            yield f"predict_responses gets {events[i].args}"
    runs.drop("predict_responses")


def trust_remote_code(runs: Runs) -> Iterator[str]:
    own = {**runs.upstream.arguments.get("model_args", {})}.get("trust_remote_code", True)
    # Upstream may itself say True to one load, whatever its argument says.
    always = {AUTO.sub("", e.what) for e in runs.upstream.events if e.get("trust_remote_code") == "True"}  # fmt: skip
    for e in runs.generated.events:
        if AUTO.match(e.what) and e.get("trust_remote_code") != repr(own) and not always:
            yield f"{e.what} gets trust_remote_code={e.get('trust_remote_code')}, not {own}"
    runs.edit(lambda e: e.without("trust_remote_code") if LOAD.match(e.what) else e)


def auto_model(runs: Runs) -> Iterator[str]:
    for e in runs.generated.events:
        if "AutoModelForCausalLM" in str(e):
            yield f"the model comes from AutoModelForCausalLM: {e}"
    old = r"transformers\.(?:\w+\.)*AutoModel(ForCausalLM)?\b"
    runs.edit(lambda e: e.edited(lambda s: re.sub(old, "transformers.AutoModel", s)))


def quantization(runs: Runs) -> Iterator[str]:
    for e in runs.generated.events:
        if (found := AUTO.match(e.what)) and found[2] == "from_pretrained" and "Model" in found[1]:
            if e.get("quantized") != "[model_args]":
                yield f"the model is loaded without what quantises it: {e.get('quantized')}"
    runs.edit(lambda e: e.without("quantized"))


def zero3(runs: Runs) -> Iterator[str]:
    for e in runs.generated.events:
        if (found := AUTO.match(e.what)) and found.groups() == ("AutoModel", "from_pretrained"):
            given = e.get("config") or ""  # upstream itself may give it none, or nonsense
            config = re.escape(given) if given.startswith("<config#") else ANY_CONFIG
            if not re.fullmatch(rf"\[{config}, model_args\]", e.get("zero3") or ""):
                yield f"the model is loaded without its zero3 arguments: {e.get('zero3')}"
    runs.edit(lambda e: e.without("zero3"))


# By the patches' names; what the others promise is not of a run.
PROMISES: dict[str, Callable[[Runs], Iterator[str]]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(data_files, argument_parser, process_group, pair_encoding, preview, embedding_rows, lora),
        *(pair_collator, response_accuracy, adapter_trainer, early_stopping, prediction),
        *(user_errors, trust_remote_code, auto_model, quantization, zero3),
    )
}
