"""``--preview`` shows the data as the model will see it, and ends the run before it is loaded.

                                        →  show_preview(raw_datasets, encode_pair, tokenizer, …)
model = AutoModelForCausalLM.…             model = AutoModelForCausalLM.…

Where one call of upstream's gives model and tokenizer, it follows that: there is no place before.
"""

from __future__ import annotations

from .engine import loading
from .engine.flow import is_bound
from .engine.nodes import binds
from .engine.patch import Patch
from .engine.promises import one_call, takes
from .engine.script import Script

GIVEN = ("data", "tokenizer", "data_args", "training_args")
WHY = "the data may be looked at before any weight is loaded"


def apply(patch: Patch) -> None:
    patch.graft(before=patch.script.main)
    place = loading.place(patch.script, *GIVEN)
    scope = patch.script.scope(place)
    data, *others = (patch.script.name(role, scope) for role in GIVEN)
    late = {n for n in (data, *others) if not is_bound(patch.script, n, place)}
    comes_with_it = late and late <= {*binds(place)}
    insert = patch.insert_after if comes_with_it else patch.insert_before
    insert(place, f"show_preview({data}, encode_pair, {', '.join(others)})", WHY)


def verify(script: Script) -> None:
    call = one_call(script, "show_preview")
    takes(script, call, WHY, "data", "encode_pair", *GIVEN[1:])
    loading.verify_before(script, call, WHY, *GIVEN)
