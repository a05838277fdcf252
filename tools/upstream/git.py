"""The git commands behind tools/upstream/fetch.py: one remote, one commit, one file, few bytes.

Every command runs through GitPython, without a shell, in a session of its own (so that a
timeout ends git's helpers too), against a throw-away bare repository. The address, which may
hold credentials, reaches git through GIT_CONFIG_* variables: never through a command line that
GitPython logs, nor a file. Needs git 2.31 or newer, and POSIX.

What moves: the commit alone (``--depth=1 --filter=tree:0``), then one tree for each folder of
the path, then the blob. Servers that refuse that filter get ``blob:none``, then no filter.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn
from urllib.parse import unquote

from tools import git_variables, regular
from tools.errors import UserError
from tools.upstream.address import Address

REMOTE = "run-clm-lora-upstream"
PIN = "refs/pin/commit"
FILTERS = ("tree:0", "blob:none", "")
DEFAULT_TIMEOUT = 120.0
FEW_BYTES = 500_000  # with no more room than this, a disk is full
WAYS_OUT = (
    "give a mirror (TRANSFORMERS_REPO=URL), a local clone (TRANSFORMERS_REPO=path) "
    "or the file itself (UPSTREAM_FILE=path)"
)
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no")
_DULL = re.compile(
    r"could not read from remote|remote end hung up|early EOF|index-pack failed|invalid index-pack"
    r"|correct access rights|repository exists|^warning:|^hint:|^remote: *$",
    re.IGNORECASE,
)
_KINDS = {  # what git says (in the C locale) -> the kind of a GitError; the first match wins
    "disk": r"no space left|disk quota|out of disk|file too large|signal 25\b",
    "settings": r"bad (?:\w+ )?config|unable to parse \S*config|error: (?:invalid|empty) config",
    "missing": r"couldn't find remote ref",
    "owner": r"dubious ownership|unsafe repository",
    "refused": r"not our ref|unadvertised object|not allowed to request",
    "filter": r"filter[^\n]*not (?:supported|allowed)|(?:unexpected|invalid|expected)[^\n]*filter",
    "none": r"does not appear to be a git repository|not a git repository|repository not found",
}


class GitError(Exception):
    """A git command failed. `kind` is a key of _KINDS, "timeout", "own" or ""; the text is one line.

    "own" is git's trouble with the throw-away folder, not with the repository that is asked.
    """

    def __init__(self, kind: str, line: str) -> None:
        super().__init__(line)
        self.kind = kind


def timeout() -> float:
    """Seconds one git command may take. UserError when RUN_CLM_LORA_TIMEOUT is no such number."""
    given = os.environ.get("RUN_CLM_LORA_TIMEOUT", "")
    with contextlib.suppress(ValueError):
        seconds = float(given) if given else DEFAULT_TIMEOUT
        if 0 < seconds < 1e6:
            return seconds
    raise UserError(
        f"RUN_CLM_LORA_TIMEOUT={given!r} is not a number of seconds: give 120, or unset it"
    )


def telling_line(stderr: str, secrets: Sequence[str] = ()) -> str:
    """The one line of git's stderr that says what is wrong, without credentials."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    keen = [line for line in lines if re.match(r"(?:fatal|error|ERROR|remote error|ssh):", line)]
    line = next(
        (x for x in [*keen, *lines] if not _DULL.search(x)), (lines or ["no reason given"])[0]
    )
    line = re.sub(r"^(?:(?:fatal|error|ERROR|remote error|remote):\s*)+", "", line)
    for secret in secrets:
        line = line.replace(secret, "***")
    line = re.sub(r"://[^/\s]*@", "://", line)
    line = "".join(c if c.isprintable() else " " for c in line).rstrip(". ")
    return line if len(line) <= 200 else line[:197] + "..."


class Session:
    """A throw-away repository in `folder` for reading from one address.

    Methods raise GitError (see `fail`, which turns it into the UserError to show), or UserError
    when git is absent. git gets the variables `more`, beside its own.
    """

    def __init__(self, at: Address, folder: str, more: Mapping[str, str] | None = None) -> None:
        self._at, self._folder, self._more = at, folder, more or {}
        self._timeout = timeout()
        self._filter, self._want, self._git = 0, "", None
        git_variables.clean()

    def _program(self):
        """GitPython's runner of commands, which looks at git as it is imported."""
        os.environ["GIT_PYTHON_REFRESH"] = "quiet"  # no git: our message, below
        try:
            import git.cmd
        except ModuleNotFoundError:
            raise UserError(
                "GitPython is not installed in this Python: install the project's requirements, "
                "or set UPSTREAM_FILE=path"
            ) from None
        except ImportError as error:  # git is there, and fails
            said = str(error).partition("stderr: ")[2].strip("'\n ") or str(error)
            raise self._error(said) from None
        self._git = git.cmd
        return git.cmd

    def _start(self) -> None:
        """A fresh empty repository: what it lacks, git cannot believe to have."""
        self._repo = os.path.join(self._folder, f"repo{self._filter}")
        self._env = self._environment()
        try:
            self._run("init", "--quiet", "--bare", "--template=", "--object-format=sha1")
        except GitError as error:
            error.kind = error.kind or "own"
            raise

    def _environment(self) -> dict[str, str]:
        config = {
            f"remote.{REMOTE}.url": self._at.git,
            "protocol.version": "2",
            "fetch.negotiationAlgorithm": "noop",
            "fetch.unpackLimit": "1",
            "gc.auto": "0",
            "maintenance.auto": "false",
            "core.hooksPath": os.devnull,
        }
        if self._at.local:  # one's own disk: no need to ask its owner to allow filters
            config[f"remote.{REMOTE}.uploadpack"] = "git -c uploadpack.allowFilter=true upload-pack"
        own = {
            "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
            "GIT_ASKPASS": os.environ.get("GIT_ASKPASS", ""),
            "GIT_TERMINAL_PROMPT": "0",
            "GCM_INTERACTIVE": "never",
            "SSH_ASKPASS_REQUIRE": "never",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_DIR": self._repo,
        }
        after = int(os.environ.get("GIT_CONFIG_COUNT", "0"))  # the user's own, proxies say
        return {**own, **git_variables.numbered([*config.items()], after), **self._more}

    def _run(self, *arguments: str) -> bytes:
        """Run one git command; its exact stdout. GitError, or UserError when git is absent."""
        git = self._git or self._program()
        began = time.monotonic()
        try:
            process = git.Git(self._folder).execute(
                [git.Git.GIT_PYTHON_GIT_EXECUTABLE or "git", *arguments],
                as_process=True,
                shell=False,
                env=self._env,
                start_new_session=True,
            )
        except (git.GitCommandNotFound, PermissionError):
            raise UserError(
                "git is not installed, or not on PATH: install git, or set UPSTREAM_FILE=path"
            ) from None
        popen = process.proc
        try:
            out, err = popen.communicate(timeout=self._timeout)
        except BaseException as error:  # a timeout, or Ctrl-C: git and its helpers go too
            with contextlib.suppress(OSError):
                os.killpg(popen.pid, signal.SIGKILL)
            popen.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            spent = f"no answer after {time.monotonic() - began:.0f} s (RUN_CLM_LORA_TIMEOUT)"
            raise GitError("timeout", spent) from None
        if popen.returncode:
            raise self._error(err.decode("utf-8", "replace") or f"signal {-popen.returncode}")
        return out

    def _error(self, said: str) -> GitError:
        bare = said.replace(self._at.git, "").replace(self._at.shown, "")
        rules = _KINDS.items()
        kind = next((k for k, rule in rules if re.search(rule, bare, re.IGNORECASE)), "")
        if not kind and (self._folder in said or self._full()):
            kind = "own"
        return GitError(kind, telling_line(said, self._at.secrets))

    def _full(self) -> bool:
        """Is there no room? Not all of git's programs say so."""
        with contextlib.suppress(OSError):
            return shutil.disk_usage(self._folder).free < FEW_BYTES
        return False

    def _fetch(self, want: str, *options: str) -> None:
        spec = FILTERS[self._filter]
        filters = [f"--filter={spec}"] if spec else []
        self._run(*_FETCH, *options, *filters, "--end-of-options", REMOTE, want)

    def pin(self, want: str) -> tuple[str, str]:
        """Fetch the commit of a full ref name or a 40-digit commit: (commit, its tree)."""
        self._want = want
        while True:
            self._start()
            try:
                self._fetch(f"+{want}:{PIN}", "--depth=1")
                break
            except GitError as error:
                if error.kind != "filter" or self._filter == len(FILTERS) - 1:
                    raise
                self._filter += 1
        lines = self._run("rev-list", "--max-count=1", "--format=%T", PIN, "--").decode().split()
        if len(lines) != 3:
            raise GitError("", f"{want} is not a commit")
        return lines[1], lines[2]

    def _object(self, name: str, *arguments: str) -> bytes:
        """Run a command that reads the object `name`, fetching that object if it is not here."""
        try:
            return self._run(*arguments)
        except GitError:
            self._fetch(name)
            return self._run(*arguments)

    def read(self, tree: str, path: str) -> bytes | None:
        """The bytes of the file `path` of the pinned commit's `tree`; None when it has none."""
        try:
            return self._walk(tree, path)
        except GitError as error:
            if not FILTERS[self._filter] or error.kind in ("timeout", "disk", "own"):
                raise
        self._filter = len(FILTERS) - 1  # the server gives no single objects: take them all
        self.pin(self._want)
        return self._walk(tree, path)

    def _walk(self, tree: str, path: str) -> bytes | None:
        name, kind = tree, "tree"
        for part in path.split("/"):
            if kind != "tree":
                return None
            listing = self._object(name, "ls-tree", "-z", "--full-tree", name, part)
            if not listing:
                return None
            mode, kind, name = listing.split(b"\t")[0].decode().split(" ")
        if kind != "blob" or mode == "120000":
            return None
        size = int(self._object(name, "cat-file", "-s", name))
        if size > regular.LIMIT:
            raise UserError(regular.too_large(path))
        return self._run("cat-file", "blob", name)

    def tags(self) -> list[str]:
        """The names of the repository's tags."""
        self._start()
        out = self._run("ls-remote", "--tags", "--refs", "--end-of-options", REMOTE).decode()
        rows = [line.partition("\t") for line in out.splitlines()]
        return [name.removeprefix("refs/tags/") for _, _, name in rows]

    def fail(self, error: GitError, doing: str) -> NoReturn:
        """Raise the UserError that says what went wrong while `doing` something, and what to do."""
        raise UserError(self._advice(error, doing)) from None

    def _advice(self, error: GitError, doing: str) -> str:
        shown, kind = self._at.shown, error.kind
        if kind in ("disk", "own"):
            return (
                f"no room, or no permission, for {doing} in {self._folder} ({error}): "
                "free some, or set XDG_CACHE_HOME to another folder"
            )
        if kind == "settings":
            return f"git cannot read its settings ({error}): mend them, then try again"
        if kind == "owner":
            place = unquote(self._at.git.removeprefix("file://")) if self._at.local else shown
            return (
                f"git does not trust {shown}, which another user owns: run "
                f"git config --global --add safe.directory {place}"
            )
        if kind == "none" and REMOTE in str(error):
            return "this git is too old: update it to 2.31 or newer"
        if kind == "none" and self._at.local:
            return f"{shown} is not a git repository: {WAYS_OUT}"
        if kind in ("refused", "missing"):
            return (
                f"{doing}: {shown} has not, or does not give, that object ({error}): "
                "check the ref, or give a repository that serves it with TRANSFORMERS_REPO"
            )
        if kind == "" and self._at.local:
            return f"{doing}: {shown} does not give it ({error}): {WAYS_OUT}"
        return f"{doing}: cannot reach {shown} ({error}): {WAYS_OUT}"
