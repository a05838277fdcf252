"""Rows of similar length in one batch, in an order that ranks and resumed runs agree on."""

import torch
from transformers.trainer_pt_utils import (
    DistributedLengthGroupedSampler,
    get_length_grouped_indices,
)


class _EpochLengthGroupedSampler(DistributedLengthGroupedSampler):
    """Groups rows by length, in an order that the seed and the epoch alone decide.

    The releases' own order for one process takes the random state as it happens to be. Ranks, which
    each take their share of it, then see some rows twice and others never where their states
    differ, and a resumed run goes on in another order than the one it was stopped in. Their own
    order for several deals row by row, so that each rank's batches spread over all ranks' rows.
    """

    def __init__(self, trainer, sampler):
        """
        Args:
            trainer: its state says which epoch it is; not all releases tell a sampler so.
            sampler: the release's sampler, for the rows of all ranks, which are then shared out
                batch by batch, or of one.
        """
        seed = trainer.args.seed if trainer.args.data_seed is None else trainer.args.data_seed
        super().__init__(
            sampler.batch_size,
            # Sliced: newer releases of datasets hand out columns that read from disk at each index.
            lengths=sampler.lengths[:],
            num_replicas=getattr(sampler, "num_replicas", 1),
            rank=getattr(sampler, "rank", 0),
            seed=seed,
        )
        self.trainer = trainer

    def __iter__(self):
        """Yield row numbers, `batch_size` at a time of similar length, in all ranks at once."""
        epoch = int(self.trainer.state.epoch or 0)
        generator = torch.Generator().manual_seed(self.seed + epoch)
        rows = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        rows += rows[: self.total_size - len(rows)]
        step = self.batch_size * self.num_replicas
        for start in range(0, self.total_size, step):
            shared = rows[start : start + step]
            share = len(shared) // self.num_replicas
            yield from shared[self.rank * share : (self.rank + 1) * share]
