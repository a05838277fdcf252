"""``python -m tests.toy_chatglm DEST``: write a toy ChatGLM model folder."""

import argparse
from pathlib import Path

from . import build, family


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.toy_chatglm", description=__doc__)
    parser.add_argument("dest", metavar="DEST", type=Path, help="folder to write")
    parser.add_argument("--hidden-size", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--vocab-size", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--corpus", metavar="FILE", type=Path, help="train the tokenizer on the lines of this file"
    )
    parser.add_argument(
        "--kind",
        choices=family.KINDS,
        help="one with the habits of its time; the sizes and the corpus are for chatglm6b alone",
    )
    options = vars(parser.parse_args())
    if options["corpus"] is not None:
        options["corpus"] = options["corpus"].read_text(encoding="utf-8").splitlines()
    dest, kind = options.pop("dest"), options.pop("kind")
    if kind in family.LATER:
        options = {"seed": options["seed"]}
    print(family.build(dest, kind, **options) if kind else build(dest, **options))


if __name__ == "__main__":
    main()
