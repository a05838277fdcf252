"""``learn MODEL ADAPTER`` or ``ask MODEL``: dialogues by heart, asked by the published `chat`.

``python -m tests.smoke.real_chat`` with a stack's python; knows nothing of the generated script.
"""

from __future__ import annotations

import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoTokenizer

PAIRS = [("你好", "你好！"), ("再见。", "See you tomorrow.")]
LAYERS = ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]


def load(folder: str):
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = AutoModel.from_pretrained(folder, trust_remote_code=True, torch_dtype=torch.float32)
    return model.float().eval(), tokenizer


def prompt_ids(tokenizer, prompt: str) -> list[int]:
    """What the published `chat` of each model asks with."""
    if hasattr(tokenizer, "build_chat_input"):  # ChatGLM3
        return tokenizer.build_chat_input(prompt, history=[])["input_ids"][0].tolist()
    if hasattr(tokenizer, "build_single_message"):  # GLM-4
        messages = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return tokenizer(text, add_special_tokens=False)["input_ids"]
    is_second = hasattr(tokenizer, "build_prompt")
    return tokenizer(tokenizer.build_prompt(prompt) if is_second else prompt)["input_ids"]


def answer_ids(tokenizer, answer: str) -> list[int]:
    end = tokenizer.eos_token_id
    if hasattr(tokenizer, "build_single_message"):
        lead = "\n"  # after the role, as in the official recipes
        answer = f"{lead}{answer}"
    return [*tokenizer(answer, add_special_tokens=False)["input_ids"], end]


def example(tokenizer, prompt: str, answer: str):
    asked = prompt_ids(tokenizer, prompt)
    learnt = answer_ids(tokenizer, answer)
    return torch.tensor([asked + learnt]), torch.tensor([[-100] * len(asked) + learnt])


def by_heart(model, rows: list):
    """The model with a LoRA that knows the rows, each as `example` gives it, by heart."""
    config = LoraConfig(
        task_type="CAUSAL_LM", r=16, lora_alpha=32, lora_dropout=0.0, target_modules=LAYERS
    )
    model = get_peft_model(model, config)
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-2)
    for _ in range(60):
        for ids, labels in rows:
            model.train()(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.gradient_checkpointing_disable()
    return model.eval()


def learn(folder: str, adapter: str) -> None:
    model, tokenizer = load(folder)
    model = by_heart(model, [example(tokenizer, *pair) for pair in PAIRS])
    check(model, tokenizer)
    model.save_pretrained(adapter)
    tokenizer.save_pretrained(adapter)


def check(model, tokenizer) -> None:
    """The published `chat` gives each answer, also piece by piece."""
    options = {"do_sample": False, "max_length": 100}
    for prompt, answer in PAIRS:
        assert model.chat(tokenizer, prompt, history=[], **options)[0] == answer
        *_, (last, *_) = model.stream_chat(tokenizer, prompt, history=[], **options)
        assert last == answer, last


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    if what == "learn":
        learn(*given)
    else:
        check(*load(*given))
