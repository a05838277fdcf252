"""``python -m tests.miniature DEST`` makes the repository and prints its URL."""

import sys
from pathlib import Path

from tests.miniature import build_repo

if len(sys.argv) != 2:
    sys.exit("usage: python -m tests.miniature DEST")
if Path(sys.argv[1]).exists():
    sys.exit(f"error: {sys.argv[1]} is there already: give a folder that is not")
print(build_repo(Path(sys.argv[1]).resolve()).as_uri())
