"""A toy ChatGLM-6B that does what its code does and newer releases object to.

As modeling_toy_glm's, and: masks are (batch, 1, query, key), positions have two streams, and that
the head is the embedding stands nowhere. The arithmetic is modeling_toy_chatglm's.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import skip_init
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel

from .configuration_toy_chatglm import ChatGLMConfig  # noqa: F401  old releases look here alone
from .configuration_toy_glm import FirstConfig
from .modeling_toy_chatglm import GLMBlock, build_layout


class RotaryEmbedding(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.register_buffer("inv_freq", (1.0 / 10000 ** (torch.arange(0, size, 2) / size)).half())

    def forward(self, positions, dtype):
        angles = positions[..., None].float() * self.inv_freq.float()
        angles = torch.cat([angles, angles], dim=-1)[:, :, None]
        return angles.cos().to(dtype), angles.sin().to(dtype)


class ChatGLMPreTrainedModel(PreTrainedModel):
    is_parallelizable = False
    supports_gradient_checkpointing = True
    config_class = FirstConfig
    base_model_prefix = "transformer"
    _no_split_modules = ["GLMBlock"]

    def _init_weights(self, module):
        return

    def _set_gradient_checkpointing(self, module, value=False):
        if isinstance(module, ChatGLMModel):
            module.gradient_checkpointing = value


class ChatGLMModel(ChatGLMPreTrainedModel):
    def __init__(self, config, empty_init=True):
        super().__init__(config)
        make = skip_init if empty_init else (lambda cls, *args, **kwargs: cls(*args, **kwargs))
        self.word_embeddings = make(nn.Embedding, config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList()
        for i in range(config.num_layers):
            layer = GLMBlock(config, i, empty_init=False)
            size = config.hidden_size // config.num_attention_heads // 2
            layer.attention.rotary_emb = RotaryEmbedding(size)
            self.layers.append(layer)
        self.final_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.gradient_checkpointing = False

    def get_input_embeddings(self):
        return self.word_embeddings

    def set_input_embeddings(self, new_embeddings):
        self.word_embeddings = new_embeddings

    def forward(self, input_ids, position_ids=None, attention_mask=None, past_key_values=None):
        if past_key_values is None:
            mask, positions = build_layout(input_ids, self.config)
            attention_mask = mask if attention_mask is None else attention_mask
            position_ids = positions if position_ids is None else position_ids
        states, presents = self.word_embeddings(input_ids), ()
        for i, layer in enumerate(self.layers):
            rotary = layer.attention.rotary_emb(position_ids, states.dtype)
            past = None if past_key_values is None else past_key_values[i]
            given = (states, attention_mask, *rotary, past)
            if self.gradient_checkpointing and self.training:
                states, present, _ = torch.utils.checkpoint.checkpoint(
                    layer, *given, use_reentrant=False
                )
            else:
                states, present, _ = layer(*given)
            presents += (present,)
        return self.final_layernorm(states), presents


class ChatGLMForConditionalGeneration(ChatGLMPreTrainedModel):
    def __init__(self, config, empty_init=True):
        super().__init__(config)
        self.transformer = ChatGLMModel(config, empty_init=empty_init)
        self.lm_head = skip_init(nn.Linear, config.hidden_size, config.vocab_size, bias=False)

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new_embeddings):
        self.lm_head = new_embeddings

    def _update_model_kwargs_for_generation(
        self, outputs, model_kwargs, is_encoder_decoder=False, standardize_cache_format=False
    ):
        model_kwargs["past_key_values"] = self._extract_past_from_model_output(
            outputs, standardize_cache_format=standardize_cache_format
        )
        mask, positions = model_kwargs.get("attention_mask"), model_kwargs.get("position_ids")
        if mask is not None and mask.dtype == torch.bool:
            mask = F.pad(mask, (0, 1), value=True)
            row = mask[:, :, -1:].clone()
            row[..., -1] = False
            model_kwargs["attention_mask"] = torch.cat([mask, row], dim=2)
        if positions is not None:
            step = positions.new_tensor([[0], [1]])
            positions = torch.cat([positions, positions[..., -1:] + step], dim=-1)
            model_kwargs["position_ids"] = positions
        return model_kwargs

    def prepare_inputs_for_generation(
        self, input_ids, past_key_values=None, attention_mask=None, position_ids=None, **kwargs
    ):
        if attention_mask is not None and attention_mask.dtype != torch.bool:
            attention_mask = None  # generate's own
        mask, positions = build_layout(input_ids, self.config)
        attention_mask = mask if attention_mask is None else attention_mask
        position_ids = positions if position_ids is None else position_ids
        first = 0 if past_key_values is None else -1
        return {
            "input_ids": input_ids[:, first:],
            "past_key_values": past_key_values,
            "position_ids": position_ids[..., first:],
            "attention_mask": attention_mask[:, :, first:],
        }

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
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        states, presents = self.transformer(
            input_ids, position_ids, attention_mask, past_key_values
        )
        logits = self.lm_head(states)
        loss = None
        if labels is not None:
            predicted, expected = logits[:, :-1].float(), labels[:, 1:]
            loss = F.cross_entropy(predicted.flatten(0, 1), expected.flatten(), ignore_index=-100)
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=presents if use_cache else None
        )

    @staticmethod
    def _reorder_cache(past, beam_idx):
        return tuple(tuple(each.index_select(0, beam_idx) for each in layer) for layer in past)

    @torch.no_grad()
    def chat(self, tokenizer, query, history=None, **options):
        """The reply, and the history with this turn added."""
        history = list(history or [])
        prompt = query
        if history:
            turns = [f"[Round {i}]\n问：{q}\n答：{a}\n" for i, (q, a) in enumerate(history)]
            prompt = "".join(turns) + f"[Round {len(history)}]\n问：{query}\n答："
        inputs = tokenizer([prompt], return_tensors="pt").to(self.device)
        ids = self.generate(**inputs, **options)[0, inputs["input_ids"].shape[1] :]
        reply = tokenizer.decode(ids.tolist(), skip_special_tokens=True).strip()
        return reply, [*history, (query, reply)]
