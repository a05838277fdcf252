"""Evaluation's predictions as two numbers a row, however long the rows are."""


def _response_counts(predicted, labels):
    """Count, row by row, the labels that were predicted and all labels.

    Ids of all positions would be kept until evaluation ends, for every row. With two equal columns
    the counts also survive the shift by one position of upstream's own metric.

    Args:
        predicted: int64 [rows, positions], the id predicted after each position.
        labels: int64 [rows, positions], -100 where a position is no target.

    Returns:
        (hits, counted): int64 [rows, 2], in both columns the number of labels (but -100) that the
        position before predicts, and of all labels (but -100).
    """
    expected = labels[:, 1:]
    counted = expected != -100
    hits = (predicted[:, :-1] == expected) & counted
    return tuple(each.sum(-1, keepdim=True).repeat(1, 2) for each in (hits, counted))
