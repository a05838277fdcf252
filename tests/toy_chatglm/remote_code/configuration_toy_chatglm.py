"""Configuration of the toy ChatGLM: the field names and token roles of ChatGLM-6B, tiny sizes."""

from typing import ClassVar

from transformers.configuration_utils import PretrainedConfig


class ChatGLMConfig(PretrainedConfig):
    """Sizes and special-token ids of a toy ChatGLM.

    ``bos_token_id`` is ``<sop>`` (start of piece: where the response begins) and ``eos_token_id``
    is ``<eop>`` (end of piece). ``gmask_token_id``/``mask_token_id`` mark the place in the prompt
    whose position every response token shares. Like the published configuration this one has no
    ``keys_to_ignore_at_inference``, though the model returns a key/value cache unasked.
    """

    model_type = "chatglm"
    # Generic code (caches, estimators) asks for the standard name.
    attribute_map: ClassVar[dict] = {"num_hidden_layers": "num_layers"}

    def __init__(
        self,
        vocab_size=400,
        hidden_size=32,
        num_layers=2,
        num_attention_heads=4,
        layernorm_epsilon=1e-5,
        use_cache=True,
        bos_token_id=6,
        eos_token_id=7,
        mask_token_id=4,
        gmask_token_id=5,
        pad_token_id=3,
        max_sequence_length=2048,
        inner_hidden_size=128,
        position_encoding_2d=True,
        **kwargs,
    ):
        if not position_encoding_2d:
            raise ValueError("the toy ChatGLM has 2-D positions only: position_encoding_2d is True")
        if hidden_size % (4 * num_attention_heads):
            # A head is halved once for the two position streams, once more by the rotation.
            raise ValueError(
                f"hidden_size ({hidden_size}) must be a multiple of "
                f"4 * num_attention_heads ({4 * num_attention_heads})"
            )
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.num_attention_heads = num_attention_heads
        self.layernorm_epsilon = layernorm_epsilon
        self.use_cache = use_cache
        self.mask_token_id = mask_token_id
        self.gmask_token_id = gmask_token_id
        self.max_sequence_length = max_sequence_length
        self.inner_hidden_size = inner_hidden_size
        self.position_encoding_2d = position_encoding_2d
        super().__init__(
            bos_token_id=bos_token_id,
            eos_token_id=eos_token_id,
            pad_token_id=pad_token_id,
            **kwargs,
        )
