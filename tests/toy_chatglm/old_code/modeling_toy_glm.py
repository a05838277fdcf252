"""A toy ChatGLM2, 3 and GLM-4 that does what their code does and newer releases object to.

* Caches are tuples of (keys, values), each (length, batch, groups, size), and the model is no
  GenerationMixin by itself; `_extract_past_from_model_output` is called in its oldest form.
* `post_init` is never called, `_init_weights` does nothing, layers are made by `skip_init`.
* The configuration is asked for `max_length` and has no `num_hidden_layers`.
* After the first step `prepare_inputs_for_generation` gives the last token, cached or not.

A GLM-4 (`GLM4ForConditionalGeneration`) also asks the configuration how to attend, and its switch
for gradient checkpointing is connected to nothing.
"""

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn
from torch.nn.utils import skip_init
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel

from .configuration_toy_glm import ChatGLMConfig


def default_init(cls, *args, **kwargs):
    return cls(*args, **kwargs)


class RMSNorm(nn.Module):
    def __init__(self, size, eps, device=None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, device=device))
        self.eps = eps

    def forward(self, states):
        scale = states.float().pow(2).mean(-1, keepdim=True).add(self.eps).rsqrt()
        return (states * scale).to(states.dtype) * self.weight


class RotaryEmbedding(nn.Module):
    """Angles of positions, for the first half of a head."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("inv_freq", 1.0 / 10000 ** (torch.arange(0, size, 2) / size))

    def forward(self, positions):
        angles = positions[..., None].float() * self.inv_freq.float()
        return angles.cos(), angles.sin()


def rotate(states, cos, sin):
    """Turn pairs of the first half of (length, batch, heads, size) by (batch, length, size / 4)."""
    turned, kept = states.chunk(2, dim=-1)
    cos, sin = (each.transpose(0, 1)[:, :, None].to(states.dtype) for each in (cos, sin))
    even, odd = turned[..., ::2], turned[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)
    return torch.cat([turned, kept], dim=-1)


class SelfAttention(nn.Module):
    def __init__(self, config, device=None):
        super().__init__()
        self.size, self.heads = config.kv_channels, config.num_attention_heads
        self.groups = config.multi_query_group_num
        width = self.size * (self.heads + 2 * self.groups)
        self.query_key_value = nn.Linear(config.hidden_size, width, device=device)
        self.dense = nn.Linear(
            self.size * self.heads, config.hidden_size, bias=False, device=device
        )

    def forward(self, states, mask, rotary, past):
        parts = self.query_key_value(states).unflatten(-1, (-1, self.size))
        query, key, value = parts.split([self.heads, self.groups, self.groups], dim=2)
        query, key = rotate(query, *rotary), rotate(key, *rotary)
        if past is not None:
            key, value = (torch.cat(pair, dim=0) for pair in zip(past, (key, value)))
        present = (key, value)
        key, value = (e.repeat_interleave(self.heads // self.groups, dim=2) for e in present)
        query, key, value = (each.permute(1, 2, 0, 3) for each in (query, key, value))
        scores = (query @ key.transpose(-1, -2)).float() / self.size**0.5
        if mask is not None:
            scores = scores.masked_fill(mask, -1e4)
        mixed = scores.softmax(-1).to(value.dtype) @ value
        return self.dense(mixed.permute(2, 0, 1, 3).flatten(2)), present


class MLP(nn.Module):
    def __init__(self, config, device=None):
        super().__init__()
        hidden, inner = config.hidden_size, config.ffn_hidden_size
        self.dense_h_to_4h = nn.Linear(hidden, 2 * inner, bias=False, device=device)
        self.dense_4h_to_h = nn.Linear(inner, hidden, bias=False, device=device)

    def forward(self, states):
        gate, up = self.dense_h_to_4h(states).chunk(2, dim=-1)
        return self.dense_4h_to_h(F.silu(gate) * up)


class GLMBlock(nn.Module):
    def __init__(self, config, device=None):
        super().__init__()
        size, eps = config.hidden_size, config.layernorm_epsilon
        self.input_layernorm = RMSNorm(size, eps, device=device)
        self.self_attention = SelfAttention(config, device=device)
        self.post_attention_layernorm = RMSNorm(size, eps, device=device)
        self.mlp = MLP(config, device=device)

    def forward(self, states, mask, rotary, past):
        mixed, present = self.self_attention(self.input_layernorm(states), mask, rotary, past)
        states = states + mixed
        return states + self.mlp(self.post_attention_layernorm(states)), present


class GLMTransformer(nn.Module):
    def __init__(self, config, device=None):
        super().__init__()
        self.layers = nn.ModuleList(
            GLMBlock(config, device=device) for _ in range(config.num_layers)
        )
        self.final_layernorm = RMSNorm(config.hidden_size, config.layernorm_epsilon, device=device)
        self.gradient_checkpointing = False

    def forward(self, states, mask, rotary, past):
        presents = ()
        for i, layer in enumerate(self.layers):
            given = (states, mask, rotary, past[i] if past else None)
            if self.gradient_checkpointing and self.training:
                states, present = torch.utils.checkpoint.checkpoint(
                    layer, *given, use_reentrant=False
                )
            else:
                states, present = layer(*given)
            presents += (present,)
        return self.final_layernorm(states), presents


class Embedding(nn.Module):
    def __init__(self, config, device=None):
        super().__init__()
        rows, size = config.padded_vocab_size, config.hidden_size
        self.word_embeddings = nn.Embedding(rows, size, device=device)

    def forward(self, input_ids):
        return self.word_embeddings(input_ids).transpose(0, 1)


class ChatGLMPreTrainedModel(PreTrainedModel):
    is_parallelizable = False
    supports_gradient_checkpointing = True
    config_class = ChatGLMConfig
    base_model_prefix = "transformer"
    _no_split_modules = ["GLMBlock"]
    _supports_sdpa = True

    def _init_weights(self, module):
        return

    def get_masks(self, input_ids, past, padding_mask):
        """(batch, 1, length, past and length), True for hidden."""
        batch, length = input_ids.shape
        before = past[0][0].shape[0] if past else 0
        visible = torch.ones(batch, length, before + length, device=input_ids.device).tril(before)
        if padding_mask is not None:
            visible = visible * padding_mask[:, None]
        return (visible < 0.5)[:, None]

    def get_position_ids(self, input_ids):
        return torch.arange(input_ids.shape[1], device=input_ids.device).repeat(len(input_ids), 1)

    def _set_gradient_checkpointing(self, module, value=False):
        if isinstance(module, GLMTransformer):
            module.gradient_checkpointing = value


class ChatGLMModel(ChatGLMPreTrainedModel):
    def __init__(self, config, device=None, empty_init=True):
        super().__init__(config)
        make = skip_init if empty_init else default_init
        self.embedding = make(Embedding, config)
        self.rotary_pos_emb = RotaryEmbedding(config.kv_channels // 2)
        self.encoder = make(GLMTransformer, config)
        rows, size = config.padded_vocab_size, config.hidden_size
        self.output_layer = make(nn.Linear, size, rows, bias=False)

    def get_input_embeddings(self):
        return self.embedding.word_embeddings

    def forward(self, input_ids, position_ids=None, attention_mask=None, past_key_values=None):
        if position_ids is None:
            position_ids = self.get_position_ids(input_ids)
        mask = self.get_masks(input_ids, past_key_values, attention_mask)
        rotary = self.rotary_pos_emb(position_ids)
        return self.encoder(self.embedding(input_ids), mask, rotary, past_key_values)


class ChatGLMForConditionalGeneration(ChatGLMPreTrainedModel):
    def __init__(self, config, empty_init=True, device=None):
        super().__init__(config)
        self.max_sequence_length = config.max_length
        self.transformer = ChatGLMModel(config, empty_init=empty_init, device=device)

    def _update_model_kwargs_for_generation(
        self, outputs, model_kwargs, is_encoder_decoder=False, standardize_cache_format=False
    ):
        model_kwargs["past_key_values"] = self._extract_past_from_model_output(
            outputs, standardize_cache_format=standardize_cache_format
        )
        if "attention_mask" in model_kwargs:
            mask = model_kwargs["attention_mask"]
            model_kwargs["attention_mask"] = torch.cat([mask, torch.ones_like(mask[:, :1])], -1)
        if "position_ids" in model_kwargs:
            steps = model_kwargs["position_ids"]
            model_kwargs["position_ids"] = torch.cat([steps, steps[..., -1:] + 1], dim=-1)
        model_kwargs["is_first_forward"] = False
        return model_kwargs

    def prepare_inputs_for_generation(
        self,
        input_ids,
        past_key_values=None,
        attention_mask=None,
        position_ids=None,
        is_first_forward=True,
        **kwargs,
    ):
        if position_ids is None:
            position_ids = self.get_position_ids(input_ids)
        if not is_first_forward:
            position_ids, input_ids = position_ids[..., -1:], input_ids[:, -1:]
        return {
            "input_ids": input_ids,
            "past_key_values": past_key_values,
            "position_ids": position_ids,
            "attention_mask": attention_mask,
        }

    def forward(
        self,
        input_ids=None,
        position_ids=None,
        attention_mask=None,
        past_key_values=None,
        labels=None,
        use_cache=None,
        return_dict=None,
        **kwargs,
    ):
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        states, presents = self.transformer(
            input_ids, position_ids, attention_mask, past_key_values
        )
        logits = self.transformer.output_layer(states).transpose(0, 1).contiguous()
        loss = None
        if labels is not None:
            predicted, expected = logits[:, :-1].float(), labels[:, 1:]
            loss = F.cross_entropy(predicted.flatten(0, 1), expected.flatten(), ignore_index=-100)
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=presents if use_cache else None
        )

    @staticmethod
    def _reorder_cache(past, beam_idx):
        return tuple(tuple(each.index_select(1, beam_idx) for each in layer) for layer in past)

    @torch.inference_mode()
    def chat(self, tokenizer, query, history=None, **options):
        """The reply, and the history with this turn added."""
        history = list(history or [])
        inputs = tokenizer.build_chat_input(query, history).to(self.device)
        ids = self.generate(**inputs, eos_token_id=tokenizer.get_ends(), **options)
        reply = tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return reply.strip(), [*history, (query, reply.strip())]


class GLM4ForConditionalGeneration(ChatGLMForConditionalGeneration):
    def __init__(self, config, empty_init=True, device=None):
        super().__init__(config, empty_init=empty_init, device=device)
        self.attention_kind = {"eager": 0, "sdpa": 1}[config._attn_implementation]

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs=None):
        if not self.supports_gradient_checkpointing:
            raise ValueError(f"{type(self).__name__} cannot")
