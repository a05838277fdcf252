"""What the workflows tell GitHub, each thing once: what is there is updated, not doubled.

``python -m tools.follow.publish comment|pull-request|issue|close-issue``, on a runner of GitHub Actions:
talks through ``gh api``, which takes its token from GH_TOKEN, and GITHUB_REPOSITORY says where.
The first line of a pull request's or issue's text is a heading: its title.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from tools import running
from tools.errors import UserError
from tools.follow import checkout

BOT = "github-actions[bot]"
LABEL = "upstream-watch"
APPLIES = "Every patch applies again: see the newest run of this workflow."


def call(method: str, path: str, body: dict | None = None) -> list | dict:
    """One request to GitHub's REST API below this repository; every page of a list."""
    where = f"repos/{os.environ.get('GITHUB_REPOSITORY', '')}/{path}"
    command = ["gh", "api", "--method", method, where]
    command += ["--input", "-"] if body is not None else ["--paginate"] if method == "GET" else []
    try:
        ran = subprocess.run(
            command,
            input=None if body is None else json.dumps(body),
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        raise UserError("gh is not installed: this is for GitHub's runners") from None
    if ran.returncode:
        line = " ".join(ran.stderr.split())[:300]
        raise UserError(f"gh api {method} {path.partition('?')[0]} failed: {line}")
    return _pages(ran.stdout)


def _pages(text: str) -> list | dict:
    """gh prints one JSON value, or one list a page, one after another."""
    decoder, values, text = json.JSONDecoder(), [], text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:].lstrip()
    if len(values) == 1:
        return values[0]
    return [entry for page in values for entry in page]


def comment(number: int, text: str) -> str:
    """Put ``text``, whose first line marks it, on a pull request: over our earlier one if any."""
    mark = text.partition("\n")[0]
    for old in call("GET", f"issues/{number}/comments?per_page=100"):
        if old["user"]["login"] == BOT and old["body"].startswith(mark):
            return call("PATCH", f"issues/comments/{old['id']}", {"body": text})["html_url"]
    return call("POST", f"issues/{number}/comments", {"body": text})["html_url"]


def pull_request(text: str, branch: str, base: str) -> str:
    """Push HEAD to ``branch``, and open a pull request from it into ``base``, or update its text."""
    if not push(branch, base):
        return f"left alone: {branch} has commits of somebody else's"
    title, body = titled(text)
    owner = os.environ.get("GITHUB_REPOSITORY", "").partition("/")[0]
    there = call("GET", f"pulls?state=open&head={owner}:{branch}&base={base}&per_page=100")
    if there:
        return call("PATCH", f"pulls/{there[0]['number']}", {"title": title, "body": body})[
            "html_url"
        ]
    new = {"title": title, "body": body, "head": branch, "base": base}
    return call("POST", "pulls", new)["html_url"]


def push(branch: str, base: str) -> bool:
    """Replace ``branch`` of origin by HEAD, unless a person has committed to it since."""
    checkout.run("fetch", "--quiet", "origin", f"+refs/heads/{base}:refs/remotes/origin/{base}")
    if checkout.run("ls-remote", "origin", f"refs/heads/{branch}"):
        there = f"refs/remotes/origin/{branch}"
        checkout.run("fetch", "--quiet", "origin", f"+refs/heads/{branch}:{there}")
        said = checkout.run("log", "--format=%an", f"refs/remotes/origin/{base}..{there}")
        if set(said.decode().split("\n")) - {BOT, ""}:
            return False
        lease = [f"--force-with-lease={branch}:{checkout.commit_of(there)}"]
    else:
        lease = []
    checkout.run("push", "--quiet", *lease, "origin", f"HEAD:refs/heads/{branch}")
    return True


def issue(text: str) -> str:
    """Open the issue with our label, or rewrite the open one."""
    title, body = titled(text)
    there = _issues()
    if there:
        return call("PATCH", f"issues/{there[0]['number']}", {"title": title, "body": body})[
            "html_url"
        ]
    return call("POST", "issues", {"title": title, "body": body, "labels": [LABEL]})["html_url"]


def close_issue() -> str:
    """Close what issue() opened, saying why."""
    there = _issues()
    for old in there:
        call("POST", f"issues/{old['number']}/comments", {"body": APPLIES})
        call("PATCH", f"issues/{old['number']}", {"state": "closed"})
    return ", ".join(f"closed {old['html_url']}" for old in there) or "no issue to close"


def _issues() -> list:
    """Open issues of ours, oldest first; the API lists pull requests among them."""
    found = call("GET", f"issues?state=open&labels={LABEL}&direction=asc&per_page=100")
    return [one for one in found if "pull_request" not in one and one["user"]["login"] == BOT]


def titled(text: str) -> tuple[str, str]:
    """(title, body): the first line is a heading; the body fits where GitHub takes it."""
    head, _, body = text.partition("\n")
    return head.removeprefix("# ").strip(), body.strip() + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.follow.publish", description=__doc__.split("\n")[0]
    )
    parser.add_argument("what", choices=("comment", "pull-request", "issue", "close-issue"))
    parser.add_argument("--text", type=Path, action="append", default=[], help="files, joined")
    parser.add_argument("--number", type=int, help="of the pull request to comment")
    parser.add_argument("--branch", default="upstream-bump", help="of the pull request")
    parser.add_argument("--base", default="main", help="the branch it goes into")
    args = parser.parse_args(argv)
    try:
        text = "\n".join(file.read_text(encoding="utf-8") for file in args.text)
        if args.what == "comment":
            print(comment(args.number, text))
        elif args.what == "pull-request":
            print(pull_request(text, args.branch, args.base))
        elif args.what == "issue":
            print(issue(text))
        else:
            print(close_issue())
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(running.run(main))
