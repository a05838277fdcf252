"""The git commands behind tools/upstream/fetch.py: one remote, one commit, one file, few bytes.

Every command runs through GitPython, without a shell, in a session of its own (so that a
timeout ends git's helpers too), against a throw-away bare repository. The address, which may
hold credentials, reaches git through GIT_CONFIG_* variables: never through a command line that
GitPython logs, nor a file. Needs git 2.31 or newer, and POSIX.

What moves: the commit alone (``--depth=1 --filter=tree:0``), then one tree for each folder of
the path, then the blob. Servers that refuse that filter get ``blob:none``, then no filter.
"""

from __future__ import annotations

import bisect
import contextlib
import difflib
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import unquote

from tools.errors import UserError
from tools.upstream.address import Address

REMOTE = "run-clm-lora-upstream"
PIN = "refs/pin/commit"
FILTERS = ("tree:0", "blob:none", "")
DEFAULT_TIMEOUT = 120.0
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
    "missing": r"couldn't find remote ref",
    "owner": r"dubious ownership|unsafe repository",
    "sha256": r"mismatched algorithms|hash algorithm|object format|sha256",
    "refused": r"not our ref|unadvertised object|not allowed to request",
    "filter": r"filter[^\n]*not (?:supported|allowed)|(?:unexpected|invalid|expected)[^\n]*filter",
    "disk": r"no space left|disk quota",
    "none": r"does not appear to be a git repository|not a git repository|repository not found",
    "ambiguous": r"ambiguous",
}


class GitError(Exception):
    """A git command failed. `kind` is a key of _KINDS, "timeout" or ""; the text is one line."""

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
    when git is absent. With `trace`, protocol lines are logged for `bytes_received`.
    """

    def __init__(self, at: Address, folder: str, *, offline: bool = False, trace: bool = False):
        try:
            os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # no git: our message, below
            import git.cmd
        except ImportError:
            raise UserError(
                "GitPython is not installed in this Python: install the project's requirements, "
                "or set UPSTREAM_FILE=path"
            ) from None
        self._module = git.cmd
        self._program = git.cmd.Git.GIT_PYTHON_GIT_EXECUTABLE or "git"
        self._at, self._folder = at, folder
        self._trace = os.path.join(folder, "trace") if trace else ""
        self._offline, self._timeout = offline, timeout()
        self._filter, self._want = 0, ""
        self._start()

    def _start(self) -> None:
        """A fresh empty repository: what it lacks, git cannot believe to have."""
        self._repo = os.path.join(self._folder, f"repo{self._filter}")
        self._env = self._environment()
        self._run("init", "--quiet", "--bare", "--template=", "--object-format=sha1")

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
        env = {
            "GIT_ALLOW_PROTOCOL": "file" if self._offline else "file:git:http:https:ssh",
            "GIT_ASKPASS": "",
            "GIT_TERMINAL_PROMPT": "0",
            "GCM_INTERACTIVE": "never",
            "SSH_ASKPASS_REQUIRE": "never",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_DIR": self._repo,  # a git hook may have set these for its own repository
            "GIT_OBJECT_DIRECTORY": os.path.join(self._repo, "objects"),
        }
        if self._trace:
            env["GIT_TRACE_PACKET"] = self._trace
        count = os.environ.get("GIT_CONFIG_COUNT", "")
        first = int(count) if count.isdecimal() else 0  # keep the user's own, proxies say
        for number, (key, value) in enumerate(config.items(), first):
            env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = key, value
        return env | {"GIT_CONFIG_COUNT": str(first + len(config))}

    def _run(self, *arguments: str, env: dict[str, str] | None = None) -> bytes:
        """Run one git command; its exact stdout. GitError, or UserError when git is absent."""
        began = time.monotonic()
        try:
            process = self._module.Git(self._folder).execute(
                [self._program, *arguments],
                as_process=True,
                shell=False,
                env=self._env if env is None else env,
                start_new_session=True,
            )
        except (self._module.GitCommandNotFound, PermissionError):
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
            text = err.decode("utf-8", "replace")
            bare = text.replace(self._at.git, "").replace(self._at.shown, "")
            kind = next(
                (k for k, rule in _KINDS.items() if re.search(rule, bare, re.IGNORECASE)), ""
            )
            raise GitError(kind, telling_line(text, self._at.secrets))
        return out

    def _fetch(self, want: str, *options: str) -> None:
        spec = FILTERS[self._filter]
        filters = [f"--filter={spec}"] if spec else []
        self._run(*_FETCH, *options, *filters, "--end-of-options", REMOTE, want)

    def pin(self, want: str) -> tuple[str, str]:
        """Fetch the commit of a full ref name or a 40-digit commit: (commit, its tree)."""
        self._want = want
        while True:
            try:
                self._fetch(f"+{want}:{PIN}", "--depth=1")
                break
            except GitError as error:
                if error.kind != "filter" or self._filter == len(FILTERS) - 1:
                    raise
                self._filter += 1
                self._start()
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
            if not FILTERS[self._filter] or error.kind in ("timeout", "disk"):
                raise
        self._filter = len(FILTERS) - 1  # the server gives no single objects: take them all
        self._start()
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
        return self._object(name, "cat-file", "blob", name)

    def expand(self, short: str) -> str:
        """The 40 digits of a short commit of a local repository, by its own git."""
        place = self._at.git
        if place.startswith("file://"):
            place = unquote(place.removeprefix("file://"))
        inner = os.path.join(place, ".git")
        place = inner if os.path.exists(inner) else place
        objects = {"GIT_OBJECT_DIRECTORY": os.path.join(place, "objects")}
        if os.path.isfile(inner):  # a linked work tree keeps its objects elsewhere
            objects = {}
        env = {k: v for k, v in self._env.items() if k != "GIT_OBJECT_DIRECTORY"}
        env |= {"GIT_DIR": place, **objects}
        line = self._run("rev-parse", "--verify", "--end-of-options", short + "^{commit}", env=env)
        return line.decode().strip().splitlines()[-1]

    def tags(self) -> list[str]:
        """The names of the repository's tags."""
        out = self._run("ls-remote", "--tags", "--refs", "--end-of-options", REMOTE).decode()
        rows = [line.partition("\t") for line in out.splitlines()]
        if any(len(row[0]) == 64 for row in rows):
            raise GitError("sha256", "its object format is sha256")
        return [name.removeprefix("refs/tags/") for _, _, name in rows]

    def bytes_received(self) -> int:
        """Bytes that crossed the wire, both ways: pack files and traced protocol lines."""
        total = 0
        for folder, _, names in os.walk(self._folder):
            packs = [name for name in names if name.endswith(".pack")]
            total += sum(os.path.getsize(os.path.join(folder, name)) for name in packs)
        with open(self._trace, "rb") as stream:
            for line in stream:
                who, _, said = line.partition(b"packet:")[2].strip().partition(b" ")
                if who and not who.startswith(b"upload-pack"):
                    total += len(said) + 5  # four hexadecimal digits of length, and the newline
        return total

    def fail(self, error: GitError, doing: str) -> NoReturn:
        """Raise the UserError that says what went wrong while `doing` something, and what to do."""
        shown, kind = self._at.shown, error.kind
        place = unquote(self._at.git.removeprefix("file://")) if self._at.local else shown
        if kind == "owner":
            raise UserError(
                f"git does not trust {shown}, which another user owns: run "
                f"git config --global --add safe.directory {place}"
            ) from None
        if kind == "sha256":
            raise UserError(
                f"{shown} is a sha256 repository, and this tool reads sha1 ones only: {WAYS_OUT}"
            ) from None
        if kind == "disk":
            raise UserError(
                f"no room for {doing} in {self._folder}: free some, or set XDG_CACHE_HOME"
            ) from None
        if kind == "none" and REMOTE in str(error):
            raise UserError("this git is too old: update it to 2.31 or newer") from None
        if kind == "none" and self._at.local:
            raise UserError(f"{shown} is not a git repository: {WAYS_OUT}") from None
        if kind in ("refused", "missing"):
            raise UserError(
                f"{doing}: {shown} has not, or does not give, that object ({error}): "
                "check the ref, or give a repository that serves it with TRANSFORMERS_REPO"
            ) from None
        if kind == "" and self._at.local:
            raise UserError(f"{doing}: {shown} does not give it ({error}): {WAYS_OUT}") from None
        raise UserError(f"{doing}: cannot reach {shown} ({error}): {WAYS_OUT}") from None


def nearest_tags(ref: str, tags: list[str], count: int = 5) -> list[str]:
    """At most `count` of `tags` that `ref` may have meant: by version if it reads as one."""

    def version(name: str) -> tuple[int, ...] | None:
        found = re.match(r"v?(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?", name.rpartition("/")[2])
        return tuple(int(part or 0) for part in found.groups()) if found else None

    def likeness(name: str) -> float:
        return difflib.SequenceMatcher(None, ref.lower(), name.lower()).ratio()

    asked = version(ref)
    versions = {name: number for name in tags if (number := version(name))}
    if asked and versions:
        ladder = sorted(set(versions.values()))
        place = bisect.bisect_left(ladder, asked) - (0 if asked in ladder else 0.5)

        def distance(name: str) -> tuple[float, float, str]:
            return abs(ladder.index(versions[name]) - place), -likeness(name), name

        return sorted(versions, key=distance)[:count]
    close = [name for name in tags if likeness(name) >= 0.5]
    return sorted(close, key=lambda name: (-likeness(name), name))[:count]
