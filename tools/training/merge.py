"""Merge an adapter into its base model: ``python -m tools merge ADAPTER DEST``.

Needs a training stack's python, not the light one. What DEST then holds is an ordinary model
folder: it loads without peft, and a base model that brings its own code still does.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from tools.errors import UserError
from tools.training import answers, destination, loading, model_folder, payload, tied_weights

GENERATION_CONFIG = "generation_config.json"


def merge(adapter: Path, dest: Path, base: str | None = None, trust: bool = False) -> None:
    """Write base and adapter as one model to ``dest``, whole or not at all.

    Args:
        adapter: a folder with adapter_config.json, such as the trainer's output folder.
        dest: the folder to make; must not exist, or be empty.
        base: the base model, where it isn't the one that the adapter was trained on.
        trust: run the code that comes with the base model, as ChatGLM's does.

    Raises:
        UserError: no adapter, no base, one that is broken, two that do not fit each other, or a
            ``dest`` that cannot be made.
    """
    with payload.stack():
        source = loading.find(adapter, base, trust)
        _require_weights(source)
        destination.check(dest, source.folders())
        if Path(source.base).is_dir():  # a hub's model is as yet nowhere
            destination.require_space(dest, model_folder.weights_size(Path(source.base)))
        tokenizer = loading.load_tokenizer(source)
        model = loading.load_base(source)
        destination.require_space(dest, _size(model))
        model = merged(model, source)
        with destination.written(dest) as folder, loading.told(f"cannot write {dest}"):
            _save(model, tokenizer, source, folder)


def _require_weights(source: loading.Source) -> None:
    """Raise UserError for an adapter that is a prompt, of which no weight of the base changes."""
    import peft

    kind = source.settings["peft_type"]
    if issubclass(peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[kind], peft.PromptLearningConfig):
        raise UserError(f"cannot merge {source.adapter}: {kind} changes no weights of the base")


def _size(model) -> int:
    """Bytes of the weights."""
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def merged(model, source: loading.Source):
    """The base model with the adapter's changes in its weights, of the dtypes that they had."""
    dtypes = {name: weight.dtype for name, weight in model.state_dict().items()}
    ties, originals = tied_weights.find(model), dict(model.named_modules())
    model = loading.add_adapter(model, source)
    tied_weights.part(model)
    model = _unload(model, originals, source)
    if model.state_dict().keys() != dtypes.keys():
        raise UserError(f"cannot merge {source.adapter}: peft leaves a part of it unmerged")
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(dtypes[name])
    tied_weights.join_again(model, ties)
    return model


def _unload(model, originals: dict, source: loading.Source):
    """The base model out of a peft model whose weights have been merged."""
    import peft

    with loading.told(f"cannot merge {source.adapter}"):
        if hasattr(peft.tuners, "tuners_utils"):
            return model.merge_and_unload()
        return _unload_old(model, originals)


def _unload_old(model, originals: dict):
    """``_unload`` in peft before 0.4, whose own knows neither embeddings nor GPT-2's layers."""
    from peft.tuners.lora import LoraLayer
    from peft.utils.other import ModulesToSaveWrapper

    base = model.get_base_model()
    for path, original in originals.items():
        parent, _, name = path.rpartition(".")
        wrapper = base.get_submodule(path)
        trained = wrapper
        if isinstance(wrapper, ModulesToSaveWrapper):
            trained = wrapper.modules_to_save[wrapper.active_adapter]
        if isinstance(trained, LoraLayer):
            trained.merge()
            original.weight = trained.weight
            if getattr(trained, "bias", None) is not None:
                original.bias = trained.bias
            trained = original
        if trained is not wrapper:
            setattr(base.get_submodule(parent), name, trained)
    return base


def _save(model, tokenizer, source: loading.Source, folder: Path) -> None:
    """Write the model folder. How to generate comes from the adapter where it says so."""
    import transformers

    generation = _generation_config(model, tokenizer, source)
    # Newer releases refuse to save some published ones; nothing is wrong with leaving them so.
    model.generation_config = transformers.GenerationConfig()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = json.loads(generation.to_json_string())
    # Without the mark of one made from config.json: older releases would make it once more.
    kept = {name: value for name, value in settings.items() if not name.startswith("_")}
    (folder / GENERATION_CONFIG).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    if Path(source.base).is_dir():  # a hub's model keeps its code there, a folder's must come along
        for file in Path(source.base).glob("*.py"):
            shutil.copy(file, folder)


def _generation_config(model, tokenizer, source: loading.Source):
    """The adapter's, which names the ends that were learnt; else the base's, and these ends."""
    import transformers

    if (source.adapter / GENERATION_CONFIG).is_file():
        return transformers.GenerationConfig.from_pretrained(source.adapter)
    generation = getattr(model, "generation_config", None) or transformers.GenerationConfig()
    with contextlib.suppress(ValueError):  # a chat template that nothing can have been learnt of
        ends = answers.stops(model, tokenizer, answers.series_of(tokenizer))
        generation.eos_token_id = ends if len(ends) > 1 else ends[0]
    return generation
