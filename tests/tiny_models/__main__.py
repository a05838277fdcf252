"""``python -m tests.tiny_models KIND DEST``: write a tiny model folder."""

import argparse
import sys
from pathlib import Path

from . import FAMILIES, build


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tiny_models", description=__doc__)
    parser.add_argument("kind", metavar="KIND", choices=list(FAMILIES), help=", ".join(FAMILIES))
    parser.add_argument("dest", metavar="DEST", type=Path, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-template", action="store_true", help="a tokenizer without one")
    args = parser.parse_args()
    try:
        print(build(args.kind, args.dest, template=not args.no_template, seed=args.seed))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
