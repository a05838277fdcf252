"""Configurations of toy ChatGLMs in the style of their time: what they do not set, nobody does."""

from transformers import PretrainedConfig


class FirstConfig(PretrainedConfig):
    """ChatGLM-6B's names."""

    model_type = "chatglm"

    def __init__(
        self,
        vocab_size=512,
        hidden_size=64,
        inner_hidden_size=256,
        num_layers=2,
        num_attention_heads=4,
        layernorm_epsilon=1e-5,
        use_cache=False,
        bos_token_id=8,
        eos_token_id=9,
        mask_token_id=4,
        gmask_token_id=5,
        pad_token_id=3,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.inner_hidden_size = inner_hidden_size
        self.num_layers = num_layers
        self.num_attention_heads = num_attention_heads
        self.layernorm_epsilon = layernorm_epsilon
        self.use_cache = use_cache
        self.mask_token_id = mask_token_id
        self.gmask_token_id = gmask_token_id
        super().__init__(
            bos_token_id=bos_token_id,
            eos_token_id=eos_token_id,
            pad_token_id=pad_token_id,
            **kwargs,
        )


class ChatGLMConfig(PretrainedConfig):
    """ChatGLM2-6B's names, and those of the models after it."""

    model_type = "chatglm"

    def __init__(
        self,
        num_layers=2,
        padded_vocab_size=512,
        hidden_size=32,
        ffn_hidden_size=64,
        kv_channels=8,
        num_attention_heads=4,
        multi_query_group_num=2,
        layernorm_epsilon=1e-5,
        **kwargs,
    ):
        self.num_layers = num_layers
        self.vocab_size = padded_vocab_size
        self.padded_vocab_size = padded_vocab_size
        self.hidden_size = hidden_size
        self.ffn_hidden_size = ffn_hidden_size
        self.kv_channels = kv_channels
        self.num_attention_heads = num_attention_heads
        self.multi_query_group_num = multi_query_group_num
        self.layernorm_epsilon = layernorm_epsilon
        super().__init__(**kwargs)
