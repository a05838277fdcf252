"""Evaluation's predictions as two numbers a row, however long the rows are, and their accuracy."""


def _response_counts(logits, labels):
    """Count, row by row, the labels that were predicted and all labels.

    Ids of all positions would be kept until evaluation ends, for every row.

    Args:
        logits: float [rows, positions, words], or a tuple that begins with them.
        labels: int64 [rows, positions], -100 where a position is no target.

    Returns:
        (hits, counted): int64 [rows, 1], the number of labels (but -100) that the position before
        predicts, and of all labels (but -100).
    """
    logits = logits[0] if isinstance(logits, (tuple, list)) else logits
    expected = labels[:, 1:]
    counted = expected != -100
    hits = (logits[:, :-1].argmax(-1) == expected) & counted
    return hits.sum(-1, keepdim=True), counted.sum(-1, keepdim=True)


def _response_accuracy(evaluated):
    """Return {"accuracy": float}, the share of response tokens predicted right; 0.0 of none.

    Args:
        evaluated: transformers.EvalPrediction of the counts that `_response_counts` returns.
    """
    return {"accuracy": float(evaluated.predictions.sum() / max(evaluated.label_ids.sum(), 1))}
