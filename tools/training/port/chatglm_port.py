"""ChatGLM's published classes (6B, 2, 3, GLM-4-9B) on releases of transformers they do not know.

`python -m tools port` copies this file into a model's folder, beside the published code and beside
modules that derive each published class from one of the classes here. Arithmetic and vocabulary
stay the published code's; here is only what newer releases ask of a model and it does not do.
"""

import contextlib
import inspect
import itertools
import sys

import torch
from transformers import AddedToken, PreTrainedModel, PreTrainedTokenizer
from transformers.generation import LogitsProcessorList

# What the published code calls mask and positions, and what they are called while `generate` is
# at work: it rejects ChatGLM-6B's mask, (batch, 1, query, key), True for hidden, and repeats its
# positions, (batch, 2, length), along the wrong dimension.
CARRIED = {"attention_mask": "published_mask", "position_ids": "published_positions"}
STANDARD_TOKENS = ("bos_token", "eos_token", "pad_token", "mask_token", "unk_token")
OWN_STEPS = (
    "prepare_inputs_for_generation",
    "_update_model_kwargs_for_generation",
    "_reorder_cache",
)


def _published(ported):
    """The class of the published code that a ported one derives from."""
    line = ported.__mro__
    return line[1 + max(i for i, each in enumerate(line) if each.__module__ == __name__)]


def _owner(published, name):
    """The class of a model's own code that says what ``name`` is; None if only the library does."""
    owner = next((each for each in published.__mro__ if name in vars(each)), object)
    is_own = owner.__module__.split(".")[0] not in ("transformers", "builtins", "torch")
    return owner if is_own else None


def _unknown(ported, what):
    return NotImplementedError(f"{ported.__name__} {what}, so it is no published ChatGLM's")


class PortedConfig:
    """A configuration that has what the model's code, or the release, reads."""

    # 5.x keeps no generation settings, and no tying unless the file says it.
    use_cache = True
    tie_word_embeddings = True

    def __init_subclass__(cls, **options):
        cls.__init__ = _published(cls).__init__  # 5.x writes one for a class without
        super().__init_subclass__(**options)
        if "num_layers" not in inspect.signature(cls.__init__).parameters:
            raise _unknown(cls, "takes no num_layers")
        cls.attribute_map = {**getattr(cls, "attribute_map", {}), "num_hidden_layers": "num_layers"}


class PortedTokenizer:
    """A tokenizer that has its vocabulary before the base's constructor asks for it."""

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        pieces = getattr(sys.modules[_published(cls).__module__], "SPTokenizer", None)
        cls._pieces = pieces
        takes = inspect.signature(pieces.__init__).parameters if pieces else {}
        cls._is_first = "num_image_tokens" in takes  # ChatGLM-6B's
        if pieces and not cls._is_first and "model_path" not in takes:
            raise _unknown(cls, "has an SPTokenizer that takes neither images nor model_path")
        if not _owner(_published(cls), "_pad"):
            raise _unknown(cls, "has no _pad of its own")

    def __init__(self, vocab_file, *args, **kwargs):
        if self._is_first:
            count = kwargs.get("num_image_tokens", 20000)
            self.sp_tokenizer = self._pieces(vocab_file, num_image_tokens=count)
            kwargs.setdefault("clean_up_tokenization_spaces", True)  # once the default
        elif self._pieces:
            self.tokenizer = pieces = self._pieces(vocab_file)
            ids = {"<bos>": pieces.bos_id, "<eos>": pieces.eos_id, "<pad>": pieces.pad_id}
            self.special_tokens = ids
        for name in STANDARD_TOKENS:
            # What a saved tokenizer's file names, though it cannot be set.
            known = getattr(type(self), name, None)
            if isinstance(known, property) and known.fset is None:
                kwargs.pop(name, None)
        super().__init__(vocab_file, *args, **kwargs)
        if self._is_first:
            self._strip_beside_special_tokens()

    @property
    def all_special_tokens(self):
        """Without those that only ChatGLM-6B's has: 5.x finds them, too, in a text."""
        own = {str(getattr(self, name, None)) for name in ("end_token", "gmask_token")}
        return [token for token in super().all_special_tokens if token not in own]

    def _strip_beside_special_tokens(self):
        """Take blanks beside a special token in a text, as old releases did."""
        for name in STANDARD_TOKENS:
            token = str(getattr(self, name))
            index = self._added_tokens_encoder[token]
            self._added_tokens_decoder[index] = AddedToken(
                token, lstrip=True, rstrip=True, normalized=False, special=True
            )

    def _pad(self, *args, padding_side=None, **kwargs):
        if padding_side not in (None, self.padding_side):
            raise ValueError(f"ChatGLM's code pads on the {self.padding_side}")
        return super()._pad(*args, **kwargs)

    if not hasattr(PreTrainedTokenizer, "batch_encode_plus"):

        def batch_encode_plus(self, batch, **kwargs):
            """As older releases, for the published `build_chat_input`."""
            return self(batch, **kwargs)

    def convert_tokens_to_string(self, tokens):
        """One run of text at a time, as older releases called it: GLM-4's repeats text else."""
        added = self._added_tokens_encoder
        if self._pieces or not any(token in added for token in tokens):
            return super().convert_tokens_to_string(tokens)
        texts = []
        for is_added, run in itertools.groupby(tokens, added.__contains__):
            run = list(run)
            texts += run if is_added else [super().convert_tokens_to_string(run)]
        return " ".join(texts)


def _init_weights(self, module):
    """Give what a checkpoint lacks the value that torch, or the published constructor, gives it.

    The published method does nothing, and on 5.x what is not loaded would be left as it is in
    memory.
    """
    frequencies = getattr(module, "inv_freq", None)
    if isinstance(frequencies, torch.Tensor):
        count = frequencies.shape[0]
        steps = torch.arange(count, device=frequencies.device, dtype=torch.float32) / count
        with torch.no_grad():
            frequencies.copy_(1.0 / 10000**steps)
    elif hasattr(module, "reset_parameters"):
        module.reset_parameters()


@contextlib.contextmanager
def _max_length(config):
    """A configuration with the generation setting that published constructors copy from it."""
    is_missing = not hasattr(config, "max_length")
    if is_missing:
        config.max_length = 20
    try:
        yield
    finally:
        if is_missing:
            del config.max_length


class PortedModel:
    """A model that loads and trains."""

    # Its loss is a mean, whatever the names that its `forward` takes: without this, 5.x's Trainer
    # multiplies the loss by the number of ranks, and does not divide it by accumulated batches.
    accepts_loss_kwargs = False
    # The published ones set their flag in a way of their own, or do nothing at all.
    gradient_checkpointing_enable = PreTrainedModel.gradient_checkpointing_enable
    _set_gradient_checkpointing = getattr(PreTrainedModel, "_set_gradient_checkpointing", None)

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        published = _published(cls)
        module = sys.modules[published.__module__]
        for name in vars(module):
            if name.startswith("is_transformers_4_"):  # takes 5.23 for 4.23
                setattr(module, name, False)
        base = _owner(published, "_init_weights")
        if base is None:
            raise _unknown(cls, "has no _init_weights of its own")
        base._init_weights = _init_weights  # the inner model's class, too, derives from it
        if "empty_init" not in inspect.signature(published.__init__).parameters:
            raise _unknown(cls, "takes no empty_init")
        if _owner(published, "get_output_embeddings"):  # ChatGLM-6B's, whose head is its embedding
            cls._tied_weights_keys = {"lm_head.weight": "transformer.word_embeddings.weight"}

    def __init__(self, config, *args, **kwargs):
        if not args:
            # Releases leave weights out themselves while they load; `skip_init` would fill memory.
            kwargs.setdefault("empty_init", False)
        with _max_length(config):
            super().__init__(config, *args, **kwargs)
        for part in (*self.children(), self):
            if isinstance(part, PreTrainedModel):
                part.post_init()

    def set_input_embeddings(self, value):
        """Change them where the published code has them, which of ChatGLM2 and later says no place."""
        if _owner(_published(type(self)), "set_input_embeddings"):
            super().set_input_embeddings(value)
            return
        current = self.get_input_embeddings()
        for module in self.modules():
            for name, child in list(module.named_children()):
                if child is current:
                    setattr(module, name, value)

    def tie_weights(self, *args, **kwargs):
        """As older releases: whatever a checkpoint holds, a tied head is the embedding."""
        super().tie_weights(*args, **kwargs)
        if self._tied_weights_keys and self.config.tie_word_embeddings:
            self.get_output_embeddings().weight = self.get_input_embeddings().weight


class PortedGeneration:
    """A model that generates: by its own mask, positions and tuples of keys and values."""

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        missing = [name for name in OWN_STEPS if not _owner(_published(cls), name)]
        if missing:
            raise _unknown(cls, f"has no {missing[0]} of its own")

    @classmethod
    def _supports_default_dynamic_cache(cls):
        return False

    def generate(self, inputs=None, *args, **kwargs):
        given = {own: kwargs.pop(name, None) for name, own in CARRIED.items()}
        kwargs.update({own: value for own, value in given.items() if value is not None})
        ids = kwargs.get("input_ids", inputs)
        if ids is not None:  # or `generate` warns where padding and end are one token
            kwargs["attention_mask"] = torch.ones_like(ids)
        return super().generate(inputs, *args, **kwargs)

    def prepare_inputs_for_generation(
        self, input_ids, published_mask=None, published_positions=None, **kwargs
    ):
        kwargs.update(attention_mask=published_mask, position_ids=published_positions)
        # Without a cache ChatGLM2's still gives the last token alone. 5.x's Trainer turns it off.
        return {"use_cache": True, **super().prepare_inputs_for_generation(input_ids, **kwargs)}

    def _update_model_kwargs_for_generation(self, outputs, model_kwargs, *args, **kwargs):
        released = {name: model_kwargs.pop(name) for name in CARRIED if name in model_kwargs}
        for name, own in CARRIED.items():
            if own in model_kwargs:
                model_kwargs[name] = model_kwargs.pop(own)
        model_kwargs = super()._update_model_kwargs_for_generation(outputs, model_kwargs)
        for name, own in CARRIED.items():
            if name in model_kwargs:
                model_kwargs[own] = model_kwargs.pop(name)
        return {**model_kwargs, **released}

    def _extract_past_from_model_output(self, outputs, **_):
        return outputs.past_key_values

    @classmethod
    def _reorder_cache(cls, past, beam_idx):
        return None if past is None else super()._reorder_cache(past, beam_idx)

    # What the published `stream_generate` calls, in the forms of older releases.

    def _get_logits_processor(self, generation_config, *args, **kwargs):
        if not hasattr(generation_config, "_eos_token_tensor"):
            generation_config._eos_token_tensor = None
        return super()._get_logits_processor(generation_config, *args, **kwargs)

    def _get_logits_warper(self, *args, **kwargs):
        return LogitsProcessorList()  # among the processors by now
