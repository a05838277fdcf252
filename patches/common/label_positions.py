"""Which positions of a batch its loss needs."""

import torch


class LabelPositions:
    """The positions of one batch that have a label or predict one; its loss needs no others.

    Those that predict none, each answer's last, let a model pair logits and labels in its own way:
    the kept labels read, answer by answer, -100 and its ids, so that shifting them by one pairs
    each with what predicts it, and no answer with another.

    Attributes:
        shape: (rows, positions) of the batch.
        rows, columns: int64 [kept], where the kept positions stand.
        labels: int64 [1, kept], theirs.
        expected: int64 [kept], the label after each, -100 where there is none.
        counted: int64 [rows, 1], the labels that are predicted.
    """

    def __init__(self, labels):
        self.shape = tuple(labels.shape)
        nothing = torch.full_like(labels[:, :1], -100)
        labels = torch.cat([nothing, labels[:, 1:]], dim=1)  # nothing predicts a row's first
        expected = torch.cat([labels[:, 1:], nothing], dim=1)
        kept = (labels != -100) | (expected != -100)
        if not kept.any():
            kept[0, 0] = True  # for the model to say what a loss of nothing is
        self.rows, self.columns = kept.nonzero(as_tuple=True)
        self.labels, self.expected = labels[kept][None], expected[kept]
        self.counted = (expected != -100).sum(-1, keepdim=True)

    def pick(self, states, positions_first):
        """Return those of `states`, [rows, positions, width] or positions first: [kept, width]."""
        (rows, positions), row, position = self.shape, self.rows, self.columns
        index = position * rows + row if positions_first else row * positions + position
        return states.flatten(0, 1).index_select(0, index.to(states.device))

    def predicting(self, start, stop):
        """Return the indices, int64, of the kept ones from `start` to `stop` that predict a label."""
        return (self.expected[start:stop] != -100).nonzero().flatten() + start

    def hits(self, predicted, indices):
        """Return int64 [rows, 1], how many of the ids `predicted` for `indices` are the label."""
        right = (predicted == self.expected[indices].to(predicted.device)).long()
        none = torch.zeros_like(self.counted[:, 0], device=right.device)
        return none.index_add(0, self.rows[indices].to(right.device), right)[:, None]
