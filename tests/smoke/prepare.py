"""Make the script that the smoke runs try: ``python -m tests.smoke.prepare REF OUT``.

From genuine upstream where the tool's cache holds that ref, else from the miniature; it says which.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests import genuine
from tests.miniature import SHAPES
from tests.smoke.conftest import UPSTREAM
from tools.regenerate import outputs, series, transform
from tools.upstream import fetch as upstream


def source(ref: str) -> tuple[upstream.Upstream, str]:
    """Upstream's text for ``ref``, and a word on where it is from."""
    for found in upstream.cached():
        if found.ref == ref and found.path == upstream.PATH and genuine.is_genuine(found):
            return found, f"genuine upstream {ref}"
    why = f"the miniature upstream, since the cache holds no genuine {ref}"
    return upstream.from_file(SHAPES / f"{ref}.py"), why


def main(ref: str, out: Path) -> None:
    found, where = source(ref)
    with outputs.held(out):
        # For the tests that compare the two.
        (out / UPSTREAM).write_text(found.text, encoding="utf-8")
        for name in series.names():
            result = transform.transform(found, series.load(name))
            outputs.write(out, outputs.render(result))
    print(f"smoke runs on {where}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()))
