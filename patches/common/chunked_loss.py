"""The loss of many positions without all of their logits at once."""

import torch


class _Known(torch.autograd.Function):
    """A number whose gradients by some tensors are known already."""

    @staticmethod
    def forward(ctx, number, gradients, *tensors):
        ctx.save_for_backward(*gradients)
        return number.clone()

    @staticmethod
    def backward(ctx, gradient):
        return None, None, *(gradient.to(known.device) * known for known in ctx.saved_tensors)


def _summed_loss(logits, labels, smoother=None):
    """Return the summed loss of logits, [positions, words], and labels, int64 [positions]."""
    labels = labels.to(logits.device)
    if smoother is None:
        return torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
    return smoother({"logits": logits.float()}, labels) * len(labels)


def _loss_in_chunks(states, labels, head, learnt, size, smoother=None, predict=False):
    """Return the summed loss of hidden states and their labels, `size` positions at a time.

    The gradients are made chunk by chunk as well, of the sum, which is in half precision's range
    where that of a mean over many would not be.

    Args:
        states: hidden states, [positions, width].
        labels: int64 [positions], none of them -100.
        head: `head(states)` returns logits, [positions, words].
        learnt: the weights of the head that are trained.
        size: positions at a time.
        smoother: transformers' LabelSmoother, or None.
        predict: whether the most likely ids are asked for.

    Returns:
        (loss, predicted): float32, and int64 [positions] or None.
    """
    wanted = [t for t in (states, *learnt) if t.requires_grad and torch.is_grad_enabled()]
    by_states = any(t is states for t in wanted)
    total, predicted = torch.zeros((), device=states.device), []
    gradients = [torch.zeros_like(tensor) for tensor in wanted]
    for start in range(0, len(states), size):
        here = slice(start, start + size)
        part = states[here].detach().requires_grad_(by_states)
        logits = head(part)
        loss = _summed_loss(logits, labels[here], smoother)
        total += loss.detach()
        if predict:
            predicted.append(logits.argmax(-1))
        if wanted:
            by = [part, *wanted[1:]] if by_states else wanted
            known = [g[here] if t is part else g for t, g in zip(by, gradients)]
            for whole, more in zip(known, torch.autograd.grad(loss, by, allow_unused=True)):
                if more is not None:
                    whole += more
        del logits, loss  # before the next ones are made
    if wanted:
        total = _Known.apply(total, gradients, *wanted)
    return total, torch.cat(predicted) if predict else None
