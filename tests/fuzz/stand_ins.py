"""Stand-ins for the functions that are grafted: each keeps its promise, and notes its call."""

from __future__ import annotations

from typing import Any

from tools.follow.behaviour.data import DataDict
from tools.follow.behaviour.recorder import Named, Recorder
from tools.follow.behaviour.values import Model, Value, plain
from tools.follow.behaviour.world import World

LORA = "LORA:"  # in front of the name of what add_lora returned
CALLBACKS = "make_callbacks[data_args, training_args]"
FLAGS = {"train": "do_train", "validation": "do_eval"}  # what is encoded at once, and when
NAMED = ("encode_prompt", "stop_ids", "lead_ids", "encode_pair")


class Encoded(DataDict, Named):
    """Holds the splits that the run asks for; any other of the raw data is encoded when asked."""

    _label = "<encoded data>"

    def __init__(self, raw: Any, training: Any):
        self._raw = raw
        wanted = [s for s, flag in FLAGS.items() if getattr(training, flag, False) is True]
        super().__init__({s: raw[s]._then("encoded") for s in wanted if s in raw})

    def __missing__(self, split: str) -> Any:
        return self.setdefault(split, self._raw[split]._then("encoded"))

    def __repr__(self) -> str:
        return self._label

    def __contains__(self, split: object) -> bool:
        return split in self._raw


def replace(rec: Recorder, world: World, names: dict[str, Any]) -> None:
    """Put the stand-ins in the place of a generated script's functions."""

    def noted(name: str) -> Any:
        return lambda *args: plain(rec, name)(*args)

    def add_lora(model: Any, *rest: Any) -> Model:
        rec.note("add_lora", (model, *rest))
        return Model(rec, LORA + rec.label(model))

    def grow_embeddings(model: Any, *args: Any, **kwargs: Any) -> Any:
        rec.note("grow_embeddings", (model,))
        return model.resize_token_embeddings(*args, **kwargs)

    def encode_datasets(raw: Any, *rest: Any) -> Encoded:
        rec.note("encode_datasets", (raw, *rest))
        return Encoded(raw, rest[-1])

    def load_files(self: Any, *args: Any, **kwargs: Any) -> Any:
        return world.loaded(f"{rec.label(self)}.load_files", args, kwargs)

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
        {name: Value(rec, name) for name in NAMED},
        LenientArgumentParser=type("LenientArgumentParser", (world.parser,), {}),
        AdapterTrainer=type("AdapterTrainer", (world.trainer,), {}),
        PairCollator=lambda *args: Value(rec, f"PairCollator{rec.label(args)}"),
        make_callbacks=lambda *args: [Value(rec, f"make_callbacks{rec.label(args)}")],
        zero3_model_kwargs=lambda *args: {"zero3": args},
        quantized=lambda *args: {"quantized": args},
        run_main=run_main,
        add_lora=add_lora,
        grow_embeddings=grow_embeddings,
        encode_datasets=encode_datasets,
        **{n: noted(n) for n in ("show_preview", "join_process_group", "predict_responses")},
    )
