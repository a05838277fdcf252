"""Sentencepiece models that spell every text, trained in a moment."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence

BUILTIN_PIECES = ["<unk>", "<s>", "</s>", "<pad>"]


def train_tokenizer(
    corpus: Iterable[str],
    vocab_size: int,
    control: Sequence[str],
    *,
    written_out: Sequence[str] = (),
    dummy_prefix: bool = False,
) -> bytes:
    """A sentencepiece model with a piece for every byte and for common characters and words.

    Text never gives the pieces ``control``; it gives those ``written_out`` where it holds them.
    """
    import sentencepiece

    lines = [line for text in corpus for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError("the corpus has no text to train a tokenizer on")
    # The commonest characters get pieces of their own, in about half of the room there is. At the
    # others (bytes will spell them) the lines are cut, so that the trainer never meets them.
    room = vocab_size - len(BUILTIN_PIECES) - len(control) - len(written_out) - 256
    counts = Counter("".join(lines))
    kept = set(sorted(counts, key=lambda char: (-counts[char], char))[: room // 2])
    text = "\n".join("".join(c if c in kept else "\n" for c in line) for line in lines)
    lines = [line for line in text.split("\n") if line.strip()]
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        model_type="unigram",
        vocab_size=vocab_size,
        hard_vocab_limit=False,  # a small corpus may not hold that many pieces
        character_coverage=1.0,
        byte_fallback=True,
        split_digits=True,
        control_symbols=list(control),
        user_defined_symbols=list(written_out),
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=3,
        pad_piece=BUILTIN_PIECES[3],
        # Texts must come back as they were: nothing is normalised or dropped.
        normalization_rule_name="identity",
        add_dummy_prefix=dummy_prefix,
        remove_extra_whitespaces=False,
        # The same corpus must give the same bytes.
        num_threads=1,
        input_sentence_size=0,
        shuffle_input_sentence=False,
        max_sentence_length=1 << 20,
        minloglevel=2,
    )
    return written.getvalue()
