"""A toy ChatGLM: ChatGLM-6B's interface and conventions in a few hundred lines.

What makes it a ChatGLM and not a plain decoder:

* ``prompt [gMASK] <sop> response <eop>``. The context is everything before ``<sop>``: every token
  sees all of it; from ``<sop>`` on attention is causal. With no mask passed, the model builds it.
* Two position streams, ``position_ids[batch, 2, seq]``. In the prompt they are (0, 1, 2, ...) and
  (0, 0, 0, ...); from ``<sop>`` on (place of [gMASK], repeated) and (1, 2, 3, ...). Each rotates
  one half of every head.
* ``query_key_value`` is one linear layer, head by head (q, k, v of head 0, then of head 1, ...).
* Masks are boolean, ``[batch, 1, query, key]``, and True means hidden.
* ``forward`` shifts ``labels`` itself.

It runs on transformers 4.28 (caches are tuples, generation is built in) and on 5.x (``Cache``
objects, ``GenerationMixin``, models created on the meta device).
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn
from torch.nn.utils import skip_init
from transformers import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel

from .configuration_toy_chatglm import ChatGLMConfig

try:
    from transformers.cache_utils import DynamicCache
except ImportError:  # transformers before 4.36: tuples of (key, value)
    DynamicCache = None


def layer_factory(empty_init):
    """How to create a layer: ``skip_init`` leaves its weights unset, for a checkpoint to fill.

    ``skip_init`` creates the layer on the meta device and then allocates it. Inside DeepSpeed's
    ``zero.Init`` (ZeRO-3) that fails on transformers 4.28: pass ``empty_init=False`` there.
    """
    if not empty_init:
        return lambda cls, *args, **kwargs: cls(*args, **kwargs)
    # skip_init allocates on the CPU unless told; inside `torch.device("meta")` stay there.
    device = torch.empty(0).device
    return lambda cls, *args, **kwargs: skip_init(cls, *args, device=device, **kwargs)


def first_index(hits):
    """Of each row of a boolean ``[batch, seq]``: where it is first True, ``seq`` if nowhere."""
    places = torch.arange(hits.shape[1], device=hits.device)
    return torch.where(hits, places, hits.shape[1]).min(dim=1, keepdim=True).values


def build_layout(input_ids, config):
    """The mask ``[batch, 1, seq, seq]`` and positions ``[batch, 2, seq]`` of whole sequences."""
    size = input_ids.shape[1]
    context = first_index(input_ids == config.bos_token_id)
    place = first_index(input_ids == config.gmask_token_id)
    place = torch.where(place < size, place, first_index(input_ids == config.mask_token_id))
    if (context == size).any() or (place == size).any():
        raise ValueError(
            f"every sequence needs a mask token ({config.gmask_token_id} or {config.mask_token_id})"
            f" and the start-of-piece token ({config.bos_token_id})"
        )
    steps = torch.arange(size, device=input_ids.device)
    visible = (steps <= steps[:, None]) | (steps < context)[:, None, :]
    position = torch.where(steps < context, steps, place)
    block = (steps - context + 1).clamp(min=0)
    return ~visible[:, None], torch.stack([position, block], dim=1)


def is_mask(tensor):
    """Whether this is a mask of ours; generation code makes its own 2-D integer ones."""
    return tensor is not None and tensor.dtype == torch.bool and tensor.dim() == 4


def is_real_columns(tensor):
    """Whether this is what ``generate`` makes of such a mask on 5.x: True for real tokens."""
    return tensor is not None and tensor.dtype == torch.bool and tensor.dim() == 2


def cached_length(past):
    if past is None:
        return 0
    if isinstance(past, (tuple, list)):
        return past[0][0].shape[-2]
    return past.get_seq_length()


def rotation(position_ids, head_dim, dtype):
    """Cosine and sine ``[batch, 2, 1, seq, head_dim // 2]`` of both position streams."""
    half = head_dim // 2
    steps = torch.arange(0, half, 2, device=position_ids.device, dtype=torch.float32)
    angles = position_ids[..., None].float() * 10000.0 ** (-steps / half)
    angles = torch.cat([angles, angles], dim=-1)[:, :, None]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(states, cos, sin):
    """Rotate ``[batch, heads, seq, head_dim]``: first half by position, second by block."""
    turned = []
    for stream, part in enumerate(states.chunk(2, dim=-1)):
        low, high = part.chunk(2, dim=-1)
        swapped = torch.cat([-high, low], dim=-1)
        turned.append(part * cos[:, stream] + swapped * sin[:, stream])
    return torch.cat(turned, dim=-1)


class SelfAttention(nn.Module):
    def __init__(self, config, layer_id, empty_init=True):
        super().__init__()
        make = layer_factory(empty_init)
        self.layer_id = layer_id
        self.heads = config.num_attention_heads
        self.query_key_value = make(nn.Linear, config.hidden_size, 3 * config.hidden_size)
        self.dense = make(nn.Linear, config.hidden_size, config.hidden_size)

    def forward(self, hidden_states, attention_mask, cos, sin, past=None):
        fused = self.query_key_value(hidden_states).unflatten(-1, (self.heads, -1))
        query, key, value = fused.transpose(1, 2).chunk(3, dim=-1)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        if isinstance(past, (tuple, list)):
            key, value = torch.cat([past[0], key], dim=-2), torch.cat([past[1], value], dim=-2)
        elif past is not None:
            key, value = past.update(key, value, self.layer_id)
        scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)
        scores = scores.float()
        if attention_mask is not None:
            # Finite, so that the rows of left padding (all hidden) give no NaN.
            scores = scores.masked_fill(attention_mask, -10000.0)
        weights = scores.softmax(dim=-1).to(value.dtype)
        mixed = (weights @ value).transpose(1, 2).flatten(2)
        return self.dense(mixed), (key, value), weights


class GLU(nn.Module):
    """The feed-forward part (the name is the published one; it has no gate)."""

    def __init__(self, config, empty_init=True):
        super().__init__()
        make = layer_factory(empty_init)
        self.dense_h_to_4h = make(nn.Linear, config.hidden_size, config.inner_hidden_size)
        self.dense_4h_to_h = make(nn.Linear, config.inner_hidden_size, config.hidden_size)

    def forward(self, hidden_states):
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(hidden_states), approximate="tanh"))


class GLMBlock(nn.Module):
    """Attention and feed-forward; the residual is the normed input, scaled up by ``alpha``."""

    def __init__(self, config, layer_id, empty_init=True):
        super().__init__()
        self.alpha = math.sqrt(2 * config.num_layers)
        size, epsilon = config.hidden_size, config.layernorm_epsilon
        self.input_layernorm = nn.LayerNorm(size, eps=epsilon)
        self.attention = SelfAttention(config, layer_id, empty_init=empty_init)
        self.post_attention_layernorm = nn.LayerNorm(size, eps=epsilon)
        self.mlp = GLU(config, empty_init=empty_init)

    def forward(self, hidden_states, attention_mask, cos, sin, past=None):
        normed = self.input_layernorm(hidden_states)
        mixed, present, weights = self.attention(normed, attention_mask, cos, sin, past)
        normed = self.post_attention_layernorm(normed * self.alpha + mixed)
        return normed * self.alpha + self.mlp(normed), present, weights


class ChatGLMPreTrainedModel(PreTrainedModel):
    config_class = ChatGLMConfig
    base_model_prefix = "transformer"
    supports_gradient_checkpointing = True
    is_parallelizable = False
    _no_split_modules: ClassVar[list] = ["GLMBlock"]

    def _init_weights(self, module):
        # By torch's functions: transformers 5 guards those, so loaded parameters are left alone.
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)

    if not hasattr(PreTrainedModel, "_set_gradient_checkpointing"):
        # transformers 4.28 leaves the switch to the model; 5.x has its own, of another form.
        def _set_gradient_checkpointing(self, module, value=False):
            if isinstance(module, ChatGLMModel):
                module.gradient_checkpointing = value


class ChatGLMModel(ChatGLMPreTrainedModel):
    def __init__(self, config, empty_init=True):
        super().__init__(config)
        make = layer_factory(empty_init)
        self.word_embeddings = make(nn.Embedding, config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            GLMBlock(config, i, empty_init=empty_init) for i in range(config.num_layers)
        )
        self.final_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.word_embeddings

    def set_input_embeddings(self, new_embeddings):
        self.word_embeddings = new_embeddings

    def _run_layer(self, layer, *args):
        if not (self.gradient_checkpointing and self.training):
            return layer(*args)
        run = getattr(self, "_gradient_checkpointing_func", None)
        if run is None:  # transformers 4.28: the reentrant kind, as the published code has it
            return torch.utils.checkpoint.checkpoint(layer, *args, use_reentrant=True)
        return run(layer, *args)

    def forward(
        self,
        input_ids=None,
        position_ids=None,
        attention_mask=None,
        past_key_values=None,
        inputs_embeds=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
    ):
        config = self.config
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("pass one of input_ids and inputs_embeds")
        if attention_mask is not None and not is_mask(attention_mask):
            raise ValueError(
                "attention_mask must be boolean, [batch, 1, query, key], True meaning hidden; "
                "for training pass none"
            )
        use_cache = config.use_cache if use_cache is None else use_cache
        if self.gradient_checkpointing and self.training:
            use_cache = False
        if output_attentions is None:
            output_attentions = config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states

        whole = cached_length(past_key_values) == 0 and input_ids is not None
        if whole and (attention_mask is None or position_ids is None):
            mask, positions = build_layout(input_ids, config)
            attention_mask = mask if attention_mask is None else attention_mask
            position_ids = positions if position_ids is None else position_ids
        if position_ids is None:
            raise ValueError("position_ids are needed with a cache or with inputs_embeds")

        hidden_states = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        head_dim = config.hidden_size // config.num_attention_heads
        cos, sin = rotation(position_ids, head_dim, hidden_states.dtype)
        if use_cache and past_key_values is None and DynamicCache is not None:
            past_key_values = DynamicCache()

        presents, all_hidden, all_weights = (), (), ()
        for i, layer in enumerate(self.layers):
            if output_hidden_states:
                all_hidden += (hidden_states,)
            legacy = isinstance(past_key_values, (tuple, list))
            past = past_key_values[i] if legacy else past_key_values
            hidden_states, present, weights = self._run_layer(
                layer, hidden_states, attention_mask, cos, sin, past
            )
            # What nobody asked for is not kept: it would be most of what training takes.
            if use_cache:
                presents += (present,)
            if output_attentions:
                all_weights += (weights,)
        hidden_states = self.final_layernorm(hidden_states)
        all_hidden += (hidden_states,)

        if not use_cache:
            past_key_values = None
        elif past_key_values is None or isinstance(past_key_values, (tuple, list)):
            past_key_values = presents  # a Cache object has been updated in place
        output = BaseModelOutputWithPast(
            last_hidden_state=hidden_states,
            past_key_values=past_key_values,
            hidden_states=all_hidden if output_hidden_states else None,
            attentions=all_weights if output_attentions else None,
        )
        return_dict = config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()


class ChatGLMForConditionalGeneration(ChatGLMPreTrainedModel, GenerationMixin):
    # Input and output embeddings share one matrix, as transformers 4.28 ties them by default.
    _tied_weights_keys: ClassVar[dict] = {"lm_head.weight": "transformer.word_embeddings.weight"}

    def __init__(self, config, empty_init=True):
        super().__init__(config)
        self.max_sequence_length = config.max_sequence_length
        self.position_encoding_2d = config.position_encoding_2d
        self.transformer = ChatGLMModel(config, empty_init=empty_init)
        make = layer_factory(empty_init)
        self.lm_head = make(nn.Linear, config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.transformer.word_embeddings

    def set_input_embeddings(self, new_embeddings):
        self.transformer.word_embeddings = new_embeddings

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new_embeddings):
        self.lm_head = new_embeddings

    def forward(
        self,
        input_ids=None,
        position_ids=None,
        attention_mask=None,
        past_key_values=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
    ):
        body = self.transformer(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.lm_head(body.last_hidden_state)
        loss = None
        if labels is not None:
            predicted, expected = logits[:, :-1].float(), labels[:, 1:]
            loss = F.cross_entropy(predicted.flatten(0, 1), expected.flatten(), ignore_index=-100)
            loss = loss.to(logits.dtype)
        output = CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=body.past_key_values,
            hidden_states=body.hidden_states,
            attentions=body.attentions,
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()

    # -- generation ------------------------------------------------------------------------

    def generate(self, *args, **kwargs):
        mask = kwargs.get("attention_mask")
        if is_mask(mask) and DynamicCache is not None:
            # 5.x refuses masks that are not 2-D. The last token sees all but the padding; the
            # rest of the mask follows from the ids.
            kwargs["attention_mask"] = ~mask[:, 0, -1]
        return super().generate(*args, **kwargs)

    def prepare_inputs_for_generation(
        self,
        input_ids,
        past_key_values=None,
        attention_mask=None,
        position_ids=None,
        use_cache=None,
        **kwargs,
    ):
        """Inputs of one step: the tokens the cache lacks, their mask rows and positions.

        A mask and positions of the tokenizer's form are used; anything else that ``generate``
        made up is replaced by what the whole sequence (``input_ids``) says. As in the published
        model that goes for integer masks, too: left padding needs the tokenizer's mask.
        """
        usable_positions = position_ids is not None and position_ids.dim() == 3
        if not (is_mask(attention_mask) and usable_positions):
            mask, positions = build_layout(input_ids, self.config)
            if is_real_columns(attention_mask):
                mask = mask | ~attention_mask[:, None, None]
            attention_mask = attention_mask if is_mask(attention_mask) else mask
            position_ids = position_ids if usable_positions else positions
        done = cached_length(past_key_values)
        return {
            "input_ids": input_ids[:, done:],
            "attention_mask": attention_mask[:, :, done:],
            "position_ids": position_ids[..., done:],
            "past_key_values": past_key_values,
            "use_cache": use_cache,
        }

    def _update_model_kwargs_for_generation(
        self, outputs, model_kwargs, is_encoder_decoder=False, **kwargs
    ):
        """Grow mask and positions by the token just made: it sees what the last one saw."""
        model_kwargs["past_key_values"] = outputs.past_key_values
        mask, positions = model_kwargs.get("attention_mask"), model_kwargs.get("position_ids")
        if is_mask(mask):
            grown = F.pad(mask, (0, 1, 0, 1), value=True)
            grown[:, :, -1] = F.pad(mask[:, :, -1], (0, 1), value=False)
            model_kwargs["attention_mask"] = grown
        elif is_real_columns(mask):
            model_kwargs["attention_mask"] = F.pad(mask, (0, 1), value=True)
        if positions is not None and positions.dim() == 3:
            step = positions.new_tensor([[0], [1]])
            model_kwargs["position_ids"] = torch.cat([positions, positions[..., -1:] + step], -1)
        return model_kwargs

    def _expand_inputs_for_generation(self, expand_size=1, position_ids=None, **kwargs):
        # 5.x would repeat 3-D position ids along their second dimension, as if it were the batch.
        input_ids, kwargs = super()._expand_inputs_for_generation(expand_size=expand_size, **kwargs)
        if position_ids is not None:
            kwargs["position_ids"] = position_ids.repeat_interleave(expand_size, dim=0)
        return input_ids, kwargs

    @staticmethod
    def _reorder_cache(past_key_values, beam_idx):
        if past_key_values is None:  # 5.x asks even when nothing is cached
            return None
        if not isinstance(past_key_values, (tuple, list)):
            past_key_values.reorder_cache(beam_idx)
            return past_key_values
        return tuple(
            tuple(state.index_select(0, beam_idx.to(state.device)) for state in layer)
            for layer in past_key_values
        )

    @torch.no_grad()
    def chat(self, tokenizer, query, history=None, max_length=2048, do_sample=True, **kwargs):
        """One turn of a conversation: the reply, and the history with this turn added."""
        history = list(history or [])
        prompt = query
        if history:
            turns = [f"[Round {i}]\n问：{q}\n答：{a}\n" for i, (q, a) in enumerate(history)]
            prompt = "".join(turns) + f"[Round {len(history)}]\n问：{query}\n答："
        inputs = tokenizer([prompt], return_tensors="pt").to(self.device)
        ids = self.generate(**inputs, max_length=max_length, do_sample=do_sample, **kwargs)
        start = inputs["input_ids"].shape[1]
        reply = tokenizer.decode(ids[0, start:].tolist(), skip_special_tokens=True).strip()
        return reply, [*history, (query, reply)]
