"""Bytes over the wire of a cold fetch."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tools.errors import UserError
from tools.upstream import fetch as upstream
from tools.upstream.git import GitError, Session


def received(repo: str, ref: str) -> int:
    """Bytes over the wire, both ways, for a cold fetch of PATH; neither reads nor fills the cache.

    Measured as the size of the pack files received, plus every protocol line that git traced
    (GIT_TRACE_PACKET), lengths and newlines included. Leaves out what HTTP, TLS and ssh add.
    Raises UserError as fetch does.
    """
    at = upstream.address(repo)
    upstream.check_ref(ref)
    with tempfile.TemporaryDirectory(prefix="run-clm-lora-", ignore_cleanup_errors=True) as folder:
        trace = Path(folder, "trace")
        session = Session(at, folder, {"GIT_TRACE_PACKET": str(trace)})
        try:
            commit, tree, _ = upstream.resolve(session, at, ref)
            if session.read(tree, upstream.PATH) is None:
                raise UserError(f"{at.shown} has no file {upstream.PATH} at {ref} ({commit})")
        except GitError as error:
            session.fail(error, f"measuring {upstream.PATH} at {ref}")
        packs = sum(pack.stat().st_size for pack in Path(folder).rglob("*.pack"))
        return packs + sum(map(_said, trace.read_bytes().splitlines()))


def _said(line: bytes) -> int:
    """Bytes of a traced protocol line: what is said, four digits of its length, the newline."""
    who, _, said = line.partition(b"packet:")[2].strip().partition(b" ")
    return len(said) + 5 if who and not who.startswith(b"upload-pack") else 0
