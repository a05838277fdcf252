"""Is a generated script right? Told by running it beside upstream's, without looking at codemods/.

Both run in every scenario under the recorder. The promises of the series' patches say what may
differ (tests/fuzz/promises.py); everything else the two must have done alike, in the same order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from tests.fuzz.grafts import patches, payload_reasons
from tests.fuzz.promises import PROMISES
from tests.fuzz.runs import Runs
from tests.fuzz.stand_ins import replace
from tools.follow.behaviour.arguments import arguments
from tools.follow.behaviour.events import Event, Trace
from tools.follow.behaviour.scenarios import HUB, SCENARIOS, Scenario
from tools.follow.behaviour.script import ERRORS, Script

# Errors that say that a script is broken, not that a user asked for something impossible.
BROKEN = (
    *("NameError", "UnboundLocalError", "AttributeError", "TypeError", "KeyError", "IndexError"),
    *("ImportError", "ZeroDivisionError", "RecursionError", "TooLong"),
)
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
SIZE = "block_size"  # the argument that measured chunks, and goes with them
# What encode_datasets reads itself, of the data arguments that it is given; and what it need not
# be told, since it sees whether data is a stream.
READ_BY_US = {f"data_args.{n}" for n in ("preprocessing_num_workers", "overwrite_cache")}
SEEN_BY_US = {"data_args.streaming"}


class Judge:
    """Upstream's side of the comparison, kept for several generated scripts of a series.

    ``broken`` is why upstream's script itself does not run; None if it does.
    """

    def __init__(self, upstream: str, series: str = "chatglm"):
        self.series, self.names = series, [p["name"] for p in patches(series)]
        self.broken: str | None = None
        try:
            self.script = Script(upstream)
            self.fields = arguments(self.script)
        except ERRORS as error:
            self.broken = f"{type(error).__name__}: {error}"
            return
        self.traces = {s.name: self._run(s) for s in SCENARIOS}
        # What serves scoring in one scenario does so in others, where it may be of no use.
        self.served = self.script.served.union(*(t.served for t in self.traces.values()))
        if all(_is_broken(t) for t in self.traces.values()):
            self.broken = "; ".join(sorted({str(t.raised) for t in self.traces.values()}))

    def _run(self, scenario: Scenario) -> Trace:
        """What upstream would do if it trusted what the series trusts, and knew jsonl files."""
        fields = {n: _json(v) for n, v in scenario.fields.items()}
        if "trust-remote-code" in self.names:
            fields.setdefault("trust_remote_code", True)
        return self.script.run(dataclasses.replace(scenario, fields=fields))

    def judge(self, generated: str) -> list[str]:
        """Reasons why ``generated`` is not this script with the series applied; [] if it is."""
        try:
            script = Script(generated, replace)
            fields = arguments(script)
        except ERRORS as error:
            return [f"importing it: {type(error).__name__}: {error}"]
        out = [*payload_reasons(generated, script, self.series), *self._arguments(fields)]
        if found := difference(*(_left(s.preamble, self.served) for s in (self.script, script))):  # fmt: skip
            out.append(f"on import: {found}")
        lost = [n for n in self.fields if n not in fields]
        for scenario in (*SCENARIOS, *(_with_size(name) for name in lost)):
            up = self.traces.get(scenario.name) or self._run(scenario)
            if not _is_broken(up):
                reasons = self._one(scenario, up, script.run(scenario), lost)
                out += [f"{scenario.name}: {r}" for r in reasons]
        return out

    def _one(self, scenario: Scenario, up: Trace, gen: Trace, lost: list[str]) -> Iterator[str]:
        gen.events = [e.edited(_json) for e in gen.events]
        if gen.raised:
            gen.raised = (gen.raised[0], _json(gen.raised[1]))
        if gen.raised != up.raised:
            yield f"it raises {gen.raised}, upstream {up.raised}"
            return
        runs = Runs(scenario, up, gen, list(up.events), list(gen.events), lost)
        for name in self.names:
            yield from PROMISES.get(name, lambda _: ())(runs)
        served = up.served | self.served
        if found := difference(*(_left(events, served) for events in (runs.up, runs.gen))):
            yield found
        for role, was in up.arguments.items():
            now = gen.arguments.get(role, {})
            gone = object()
            changed = [n for n, v in was.items() if n not in lost and _json(now.get(n, gone)) != v]
            if changed:
                yield f"{role} ends up with other {', '.join(changed)}"
        unread = up.reads - gen.reads - READ_BY_US - SEEN_BY_US
        if unread := sorted(n for n in unread if n.partition(".")[2] not in lost):
            yield f"nothing reads {', '.join(unread)}, which upstream reads"

    def _arguments(self, now: dict[str, Any]) -> Iterator[str]:
        """What is wrong with the arguments that the generated script defines."""
        trusts = "trust-remote-code" in self.names
        lost = [n for n in self.fields if n not in now]
        if len(lost) > 1 or (SIZE in self.fields and lost not in ([SIZE], [])):
            yield f"arguments lost are {lost}, not {SIZE} alone"
        if unknown := sorted(n for n in READ_BY_US if n.partition(".")[2] not in now):
            yield f"the payload reads {', '.join(unknown)}, which are no arguments"
        for name, (default, kind, meta) in self.fields.items():
            expected = "True" if trusts and name == "trust_remote_code" else default
            if name in now and now[name] != (expected, kind, meta):
                yield f"argument {name} is {now[name]}, upstream's is {(expected, kind, meta)}"
        for name, default in NEW_ARGUMENTS.items():
            if name not in now or now[name][0] != default:
                yield f"argument {name}: {now.get(name, 'missing')}"


def judge(upstream: str, generated: str, series: str = "chatglm") -> list[str]:
    """Reasons why ``generated`` is wrong; [] if it is right, or if ``upstream`` is broken."""
    one = Judge(upstream, series)
    return [] if one.broken else one.judge(generated)


def difference(up: list[Event], gen: list[Event]) -> str | None:
    """The first thing that only one of the two did."""
    for i in range(max(len(up), len(gen))):
        did, does = ([*map(str, events[i : i + 1]), "nothing more"][0] for events in (up, gen))
        if did != does:
            return f"upstream does {did[:300]}, the generated script {does[:300]}"
    return None


def _left(events: list[Event], served: set[str]) -> list[Event]:
    """The events without what served mapping or scoring only, and contexts that hold nothing."""
    kept: list[Event] = []
    for e in events:
        if str(e) in served:
            continue
        if e.what == "exit" and kept and kept[-1] == Event("enter", e.args):
            kept.pop()
        else:
            kept.append(e)
    return kept


def _with_size(name: str) -> Scenario:
    """An argument that is lost must not have mattered but for the chunks."""
    return Scenario(f"{name} is 77", {**HUB, name: 77}, {"do_train": True, "do_eval": True})


def _json(value: Any) -> Any:
    """``value`` with json instead of jsonl, which is read as that."""
    return value.replace("jsonl", "json") if isinstance(value, str) else value


def _is_broken(trace: Trace) -> bool:
    return trace.raised is not None and trace.raised[0] in BROKEN
