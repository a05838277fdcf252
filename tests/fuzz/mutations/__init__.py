from tests.fuzz.mutations.code import MUTATIONS, Random, apply, draw, replay

__all__ = ["MUTATIONS", "Random", "apply", "draw", "replay"]
