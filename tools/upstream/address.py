"""The address of a repository: checked before git sees any of it, and shown without credentials."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import NoReturn

from tools.errors import UserError

_HOST = r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])"
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"


@dataclass(frozen=True)
class Address:
    """A repository as git needs it (`git`), and as anybody may see it (`shown`)."""

    git: str = field(repr=False)
    shown: str
    local: bool
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def key(self) -> str:
        """What the cache knows it by: `shown`, however its end is spelled."""
        end = self.shown.rstrip("/")
        return end if self.local else end.removesuffix(".git")


def address(repo: str) -> Address:
    """Check and split the address of a repository, before git sees any of it.

    Takes https, http, ssh, git and file URLs, ``[user@]host:path`` and local paths. Raises
    UserError for anything else: empty, options, control characters, transport helpers (``x::``).
    """

    def refuse(why: str) -> NoReturn:
        seen = ascii(re.sub(r"[?#].*", "", repo.rpartition("@")[2], flags=re.DOTALL)[:80])
        raise UserError(
            f"repository address {seen} refused ({why}): give an https, ssh, git or file URL, "
            "git@host:path, or the path of a local clone"
        )

    if not repo.strip():
        refuse("it is empty")
    if not repo.isprintable():
        refuse("it has control characters")
    if repo.startswith("-"):
        refuse("it reads as an option")
    if re.match(r"[A-Za-z0-9+.-]*::", repo):
        refuse("transport helpers run programs")
    scheme, mark, rest = repo.partition("://")
    if mark and "/" not in scheme:
        scheme = scheme.lower()
        if scheme not in ("https", "http", "ssh", "git", "file"):
            refuse("its scheme is not allowed")
        if scheme == "file":
            if not rest.startswith("/"):
                refuse("a file URL begins with file:///")
            return Address(repo, repo, local=True)
        authority, _, path = rest.partition("/")
        login, _, host = authority.rpartition("@")
        user, _, password = login.partition(":")
        if " " in repo or not re.fullmatch(_HOST + r"(?::\d+)?", host) or not path:
            refuse("its host or path is malformed")
        if scheme == "ssh" and user and not re.fullmatch(_USER, user):
            refuse("its user is malformed")
        keep = f"{user}@" if scheme == "ssh" and user else ""  # a name ssh cannot do without
        path, _, query = path.partition("?")
        known = [password, query, "" if keep else user]
        secrets = tuple(x for x in known if len(x) > 3)  # told from ordinary words
        shown = f"{scheme}://{keep}{host}/{path.partition('#')[0]}"
        return Address(repo, shown, local=False, secrets=secrets)
    before, colon, _ = repo.partition(":")
    if colon and "/" not in before:
        if not re.fullmatch(rf"(?:{_USER}@)?{_HOST}:[^-@\s:][^@\s]*", repo):
            refuse("write a local path with a colon as ./path")
        return Address(repo, repo, local=False)
    place = os.path.abspath(os.path.expanduser(repo))
    return Address(place, place, local=True)
