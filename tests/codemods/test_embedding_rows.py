"""codemods/embedding_rows.py"""

from __future__ import annotations

from codemods import embedding_rows
from tests.codemods.helpers import Tables

of = Tables(embedding_rows, "resize")


def grown(text: str, receiver: str = "model") -> tuple[str, str]:
    """``GROW(`` is where the call's own arguments begin."""
    old = text.replace("GROW(", f"{receiver}.resize_token_embeddings(")
    return old, text.replace("GROW(", f"grow_embeddings({receiver}, ")


TRANSFORMED = {
    "as it is": grown(
        """
        size = model.get_input_embeddings().weight.shape[0]
        if len(tokenizer) > size:
            GROW(len(tokenizer))
        """
    ),
    "always": grown("GROW(len(tokenizer))"),
    "padded": grown("GROW(len(tokenizer), pad_to_multiple_of=8)  # for speed"),
    "by keyword": grown("GROW(new_num_tokens=len(tokenizer), **more)"),
    "over lines": grown("GROW(len(tokenizer),\n    mean_resizing=False,\n)"),
    "its result is used": grown("rows = GROW(9).weight.shape[0]"),
    "twice": grown("GROW(8)\nif margs:\n    GROW(9)"),
    "in a lambda": grown("grow = lambda: GROW(9)\ngrow()"),
    "of a part": grown("GROW(9)", "unwrap(model).module"),
    "resized where it is loaded": grown("GROW(9)", "AutoModelForCausalLM.from_pretrained('a')"),
    "no arguments": (
        "model.resize_token_embeddings()",
        "grow_embeddings(model)",
    ),
    "nothing is resized": ("pass", "pass"),
}
test_transformed = of.transforms(TRANSFORMED)


def test_in_a_function():
    helper = "def fit(net, words):\n    {}\n    return net"
    old, new = grown("GROW(len(words))", "net")
    call = "model = fit(model, tokenizer)"
    of.transformed({"helper": (helper.format(old), helper.format(new)), "resize": (call, call)})


test_record = of.records("ModelOptions", both=[("changed", "main", "grow_embeddings(model, 101)")])

CALLED = "every use of resize_token_embeddings to be a call of it"
ALIAS = "resize = model.resize_token_embeddings"
REFUSED = {
    "an alias": (CALLED, ALIAS, f"{ALIAS}\nresize(9)"),
    "handed on": (CALLED, "once(model.resize_token_embeddings)(9)", "once(model.resize_token_embeddings)(9)"),
}  # fmt: skip
test_refused = of.refuses(REFUSED)

GROWS, MODEL = "embeddings only grow", "grow_embeddings is given a model"
VERIFY_CATCHES = {
    "the method itself": (GROWS, "model.resize_token_embeddings(9)"),
    "the method besides": (GROWS, "grow_embeddings(model, 9)\nmodel.resize_token_embeddings(8)"),
    "under another name": (GROWS, "resize = model.resize_token_embeddings"),
    "no model": (MODEL, "grow_embeddings()"),
    "a model by keyword": (MODEL, "grow_embeddings(model=model)"),
    "whatever there is": (MODEL, "grow_embeddings(*all)"),
}
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts("pass", "grow_embeddings(model)", "grow_embeddings(model, 9)")
