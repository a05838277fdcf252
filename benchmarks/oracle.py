"""The least that training can take: the head for what is learnt alone, in a bare loop.

No padding is left in its rows (``rivals.equal_lengths``), so nothing is computed that is not needed.
"""

from __future__ import annotations

import torch
from torch.nn import functional
from transformers.trainer_utils import TrainOutput


def loss(model, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean loss of the labels (but -100) of ``[rows, positions]`` without padding."""
    base = model.get_base_model()
    body = getattr(base, base.base_model_prefix)
    hidden = body(input_ids=ids, use_cache=False).last_hidden_state
    expected = labels[:, 1:]
    learnt = expected != -100
    logits = base.get_output_embeddings()(hidden[:, :-1][learnt])
    return functional.cross_entropy(logits.float(), expected[learnt])


def loop(base: type) -> type:
    """``base``, a Trainer, which trains one epoch in a loop of its own, row after row."""

    class Loop(base):
        def train(self, *unused, **also_unused):
            weights = [weight for weight in self.model.parameters() if weight.requires_grad]
            optimizer = torch.optim.AdamW(weights, lr=self.args.learning_rate)
            self.model.train()
            self.callback_handler.on_train_begin(self.args, self.state, self.control)
            size, losses = self.args.per_device_train_batch_size, []
            for start in range(0, len(self.train_dataset), size):
                rows = self.train_dataset[start : start + size]
                batch = {name: torch.tensor(rows[name]) for name in ("input_ids", "labels")}
                losses.append(float(self.training_step(self.model, batch)))
                optimizer.step()
                optimizer.zero_grad()
            self.callback_handler.on_train_end(self.args, self.state, self.control)
            return TrainOutput(len(losses), sum(losses) / len(losses), {})

        def training_step(self, model, inputs, *unused):
            value = loss(model, inputs["input_ids"], inputs["labels"])
            value.backward()
            return value.detach()

    return Loop
