"""A model's head computes the positions that the loss counts, and of many a few at a time.

Logits of all positions, prompts and padding included, would be the largest thing in memory: with
ChatGLM-6B's 130,528 words half a megabyte a position, several times over.
"""

import functools
import logging
import re

import torch
from chunked_loss import _loss_in_chunks, _summed_loss
from evaluation_counts import _response_counts
from label_positions import LabelPositions
from transformers.modeling_outputs import CausalLMOutput

logger = logging.getLogger(__name__)

LOGITS_AT_ONCE = 2**25  # 128 MiB in float32
# Which logits a loss is computed from, from what needs least memory to what suits any model.
CHUNKS = "those that predict a label, some at a time"
AT_ONCE = "those that predict a label, all at once"
ALL = "all"


class _OtherCode(Exception):
    """The model's code does not do what a way of computing its loss builds on."""


class _Batch:
    """One batch on its way through a model: what its head saw, and the part of its loss made there.

    Attributes:
        positions: LabelPositions of the batch.
        through: of its kept positions, the first ones, whose logits the model itself goes on with.
        raw: these logits as they leave the head, for comparison; None if there is none to make.
        rest: the summed loss of the others, float32; None if there are none.
        hits: int64 [rows, 1] of the others, in evaluation.
    """

    def __init__(self, labels, most, judged):
        self.positions = LabelPositions(labels)
        self.through = min(most, len(self.positions.expected))
        self.reached, self.judged = False, judged
        self.raw = self.rest = None
        self.hits = 0

    @property
    def labels(self):
        """The labels of the positions whose logits the model itself goes on with, [1, through]."""
        return self.positions.labels[:, : self.through]


class HeadOnLabels:
    """Lets a model compute logits for the labels only, and its own loss from these.

    The head is given the hidden states of positions with labels, and the model these labels: the
    loss is what its code makes of them. Of many positions it gets the first ones; the summed cross
    entropy of the others, and its gradients, are made chunk by chunk within the head's call (where
    ZeRO-3 has its weights at hand). The first batch shows whether the two are the same: a model
    that does more with logits or loss gets all labels' positions at once, and one that has another
    kind of head all positions, as without this. A line says so.

    `model(…, labels=…)` returns its loss and, in evaluation, counts as logits: int64 [rows, 2],
    labels predicted right and labels. Without labels the model is what it was.

    Args:
        model: the peft model; the `forward` of its base model is replaced, and that of its head.
        smoother: transformers' LabelSmoother, or None.
        way: ALL to compute as without this; None to see.
    """

    def __init__(self, model, smoother=None, way=None):
        adapted, model = model, model.get_base_model()
        self.model, self.smoother, self.way = model, smoother, way
        self.batch = None  # that is being computed
        self.positions_first = None  # whether hidden states are [positions, rows, width]
        words = getattr(model.config, "vocab_size", None) or 2**17
        self.chunk = max(2, LOGITS_AT_ONCE // words)
        self.head = _head(model)
        self.model_forward = self._replace(model, self._forward)
        if "forward" in vars(adapted.base_model):  # older releases of peft keep the model's own
            adapted.base_model.forward = model.forward
        if self.head is None:
            self._settle(ALL, f"{type(model).__name__} does not say what its head is")
        else:
            self.head_forward = self._replace(self.head, self._head)

    @staticmethod
    def _replace(module, forward):
        """Let `module` run `forward`, with its own signature; return the one that it had."""
        own = module.forward
        module.forward = functools.wraps(own)(lambda *args, **kwargs: forward(*args, **kwargs))
        return own

    def _settle(self, way, why):
        self.way = way
        logger.info("Logits that are computed: %s (%s).", way, why)

    def _forward(self, *args, labels=None, **options):
        if labels is None:
            return self.model_forward(*args, **options)
        given = (args, labels, options)
        return self._find_way(*given) if self.way is None else self._run(self.way, *given)

    def _find_way(self, *given):
        labels = given[1]
        if labels.shape[0] == labels.shape[1]:  # states would not say which of both is which
            return self._run(ALL, *given)
        before = _random_numbers()
        try:
            outputs = self._run(CHUNKS, *given, judged=True)
        except Exception as error:  # whatever the model's code makes of other shapes than it knows
            why = f"{type(self.model).__name__}: {(str(error) or repr(error)).splitlines()[0]}"
        else:
            self.way = CHUNKS if _predicted(labels) else None
            return outputs
        before()
        outputs = self._run(ALL, *given)
        after = _random_numbers()
        before()
        self._settle(AT_ONCE if self._same_at_once(outputs.loss, given) else ALL, why)
        after()
        return outputs

    def _same_at_once(self, loss, given):
        try:
            with torch.no_grad():
                return _close(self._run(AT_ONCE, *given).loss, loss)
        except Exception:
            return False

    def _run(self, way, args, labels, options, judged=False):
        items = options.get("num_items_in_batch")
        if way == ALL:
            outputs = self.model_forward(*args, labels=labels, **options)
            return self._all(outputs, labels, items)
        most = self.chunk if way == CHUNKS else labels.numel()
        self.batch = batch = _Batch(labels, most, judged)
        try:
            outputs = self.model_forward(*args, labels=batch.labels, **options)
        finally:
            self.batch = None
        if not batch.reached or not isinstance(outputs, dict):
            raise _OtherCode("its head is not called, or its outputs have no names")
        if judged:
            self._judge(batch, outputs, items)
        return self._whole(batch, outputs, items)

    def _all(self, outputs, labels, items):
        named = outputs if isinstance(outputs, dict) else dict(zip(("loss", "logits"), outputs))
        loss, logits = named["loss"], named.get("logits")
        if self.smoother is not None:
            loss = self._smoothed(logits, labels, items)
        counts = None
        if not self.model.training and logits is not None:
            counts = torch.cat(_response_counts(logits, labels), dim=1)
        return CausalLMOutput(loss=loss, logits=counts)

    def _smoothed(self, logits, labels, items):
        """The smoothed loss, each label compared with what comes before it.

        Releases shift labels for the models that they know to be causal, which a peft model's
        class, or one of remote code, is not; unshifted, a model learns to repeat what it reads.
        """
        loss = self.smoother({"logits": logits}, labels, shift_labels=True)
        return loss if items is None else loss * (_predicted(labels) / items)

    def _head(self, hidden, *args, **kwargs):
        batch = self.batch
        if batch is None:
            return self.head_forward(hidden, *args, **kwargs)
        if batch.reached or args or kwargs:
            raise _OtherCode("its head is called twice, or with more than hidden states")
        batch.reached = True
        shape, leading = batch.positions.shape, tuple(hidden.shape[:2])
        if self.positions_first is None and hidden.dim() == 3 and leading in (shape, shape[::-1]):
            self.positions_first = leading != shape
        if hidden.dim() != 3 or leading != (shape[::-1] if self.positions_first else shape):
            raise _OtherCode(f"its head is given states of the shape {tuple(hidden.shape)}")
        learnt = [weight for weight in self.head.parameters() if weight.requires_grad]
        if batch.judged and any(hasattr(weight, "ds_id") for weight in learnt):
            raise _OtherCode("its head learns, and ZeRO-3 divides it among the ranks")
        states = batch.positions.pick(hidden, self.positions_first)
        if batch.through < len(states):
            indices = batch.positions.predicting(batch.through - 1, len(states))
            batch.rest, predicted = _loss_in_chunks(
                states.index_select(0, indices.to(states.device)),
                batch.positions.expected[indices],
                self._logits,
                learnt,
                self.chunk,
                self.smoother,
                predict=not self.model.training,
            )
            if predicted is not None:
                batch.hits = batch.positions.hits(predicted, indices)
        logits = self._logits(states[: batch.through])
        batch.raw = logits.detach().clone() if batch.judged else None
        return logits.unsqueeze(1 if self.positions_first else 0)

    def _logits(self, states):
        """Return the head's own logits, [positions, words], of hidden states, [positions, width]."""
        single = 1 if self.positions_first else 0
        return self.head_forward(states.unsqueeze(single)).squeeze(single)

    def _judge(self, batch, outputs, items):
        """Raise _OtherCode if the model makes something else of its logits than chunks do."""
        count = _predicted(batch.labels)
        if not count:
            return
        logits = outputs["logits"].flatten(0, 1)
        if logits.shape != batch.raw.shape or not torch.equal(logits.float(), batch.raw.float()):
            raise _OtherCode("it changes the logits of its head")
        loss = _summed_loss(batch.raw[:-1], batch.labels[0, 1:])
        loss = loss / (count if items is None else items)
        if self.smoother is None and not _close(outputs["loss"], loss, batch.raw.dtype):
            raise _OtherCode("its loss is not the mean cross entropy")

    def _whole(self, batch, outputs, items):
        """Return the loss of all labels of a batch, and in evaluation what was predicted right."""
        loss, positions = outputs["loss"], batch.positions
        if self.smoother is not None:
            loss = self._smoothed(outputs["logits"], batch.labels, items)
        if batch.rest is not None:
            rest = batch.rest.to(loss.device)
            here, count = _predicted(batch.labels), positions.counted.sum()
            loss = (loss.float() * here + rest) / count if items is None else loss + rest / items
        counts = None
        if not self.model.training:
            indices = positions.predicting(0, batch.through - 1)
            hits = positions.hits(outputs["logits"].flatten(0, 1)[indices].argmax(-1), indices)
            counts = torch.cat([hits + batch.hits, positions.counted.to(hits.device)], dim=1)
        return CausalLMOutput(loss=loss, logits=counts)


def _predicted(labels):
    """Return how many labels (but -100) of [rows, positions] have a position before them: a tensor."""
    return (labels[:, 1:] != -100).sum()


def _head(model):
    """Return a model's head: what it names so, or its only layer with as many outputs as words."""
    named = model.get_output_embeddings()
    if named is not None:
        return named
    sizes = {getattr(model.config, name, None) for name in ("vocab_size", "padded_vocab_size")}
    found = [n for n, m in model.named_modules() if getattr(m, "out_features", None) in sizes]
    # ChatGLM2's code and GLM-4's name none. Under LoRA peft's own layers are within it.
    names = {
        re.split(r"\.(?:base_layer|original_module|modules_to_save|lora_)", n)[0] for n in found
    }
    return model.get_submodule(names.pop()) if len(names) == 1 else None


def _close(loss, other, dtype=torch.float32):
    """Return whether two losses are the same but for rounding, in the coarsest type on the way."""
    half = {torch.float16, torch.bfloat16} & {loss.dtype, dtype}
    return torch.isclose(
        loss.float(), other.float(), rtol=0.02 if half else 1e-3, equal_nan=True
    ).item()


def _random_numbers():
    """Return a function that takes torch's random numbers back to where they are now."""
    cpu = torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def back():
        torch.set_rng_state(cpu)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)

    return back
