"""The tokens that an answer ends with: learnt, stopped at, and saved for whoever generates."""


def _all_stop_ids(model, tokenizer, stops):
    """Return `stops` and what the model itself was published to stop at, each id once.

    Of the model's own only special tokens of this tokenizer count: a configuration made for
    another one may name any token.
    """
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    own = own if isinstance(own, (list, tuple)) else [] if own is None else [own]
    return list(dict.fromkeys([*stops, *(i for i in own if i in tokenizer.all_special_ids)]))


def _end_answers_at(model, tokenizer, stops):
    """Have `generate` stop at `stops`, too, also after the model's generation_config is saved."""
    config = getattr(model, "generation_config", None)
    if config is not None:
        config.eos_token_id = _all_stop_ids(model, tokenizer, stops)
        # Releases make one anew that they believe to say no more than the model's configuration.
        config._from_model_config = False
