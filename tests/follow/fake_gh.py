#!/usr/bin/env python3
"""A gh that keeps a repository's pull requests, issues and comments in $FAKE_GH, a JSON file.

GitHub cannot be reached from tests. This answers the few requests of tools/follow/publish.py as GitHub's
REST API does, by its documentation, and notes in "calls" every one it was asked.
"""

import json
import os
import re
import sys
from urllib.parse import parse_qs, urlsplit

BOT = {"login": "github-actions[bot]"}


def answer(state: dict, method: str, path: str, body: dict):
    url = urlsplit(path)
    query = {k: v[0] for k, v in parse_qs(url.query).items()}
    place = url.path.removeprefix(f"repos/{os.environ['GITHUB_REPOSITORY']}/")
    if state.get("read_only") and method != "GET":
        sys.exit("gh: Resource not accessible by integration (HTTP 403)")
    if method == "GET" and (m := re.fullmatch(r"issues/(\d+)/comments", place)):
        return [c for c in state["comments"] if c["on"] == int(m[1])]
    if method == "POST" and (m := re.fullmatch(r"issues/(\d+)/comments", place)):
        return add(state, "comments", body, on=int(m[1]))
    if method == "PATCH" and (m := re.fullmatch(r"issues/comments/(\d+)", place)):
        return change(state["comments"], "id", int(m[1]), body)
    if method == "GET" and place == "pulls":
        branch = query["head"].partition(":")[2]
        assert query["head"].startswith(os.environ["GITHUB_REPOSITORY"].partition("/")[0] + ":")
        fits = {"state": query["state"], "head": branch, "base": query["base"]}
        return [p for p in state["pulls"] if all(p[k] == v for k, v in fits.items())]
    if method == "GET" and place == "issues":
        all_of_them = state["issues"] + [{**p, "pull_request": {}} for p in state["pulls"]]
        return [
            i
            for i in all_of_them
            if i["state"] == query["state"] and query["labels"] in i.get("labels", [])
        ]
    if method == "POST" and place in ("pulls", "issues"):
        return add(state, place, body, state="open")
    if method == "PATCH" and (m := re.fullmatch(r"(pulls|issues)/(\d+)", place)):
        return change(state[m[1]], "number", int(m[2]), body)
    sys.exit(f"gh: Not Found (HTTP 404): {method} {path}")


def add(known: dict, kind: str, body: dict, **more) -> dict:
    number = 1 + sum(len(known[k]) for k in ("pulls", "issues", "comments"))
    new = {"id": number, "number": number, "user": BOT, **body, **more}
    new["html_url"] = f"https://example.org/{kind}/{number}"
    known[kind].append(new)
    return new


def change(entries: list, key: str, value: int, body: dict) -> dict:
    entry = next(e for e in entries if e[key] == value)
    entry.update(body)
    return entry


def main(arguments: list[str]) -> None:
    if not os.environ.get("GH_TOKEN"):
        sys.exit("gh: To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN variable")
    with open(os.environ["FAKE_GH"], encoding="utf-8") as stream:
        state = json.load(stream)
    state["calls"].append(arguments)
    if arguments[0] == "api":
        assert arguments[1] == "--method"
        body = json.load(sys.stdin) if "--input" in arguments else {}
        for text in filter(None, (body.get("body"), body.get("title"))):
            assert len(text) <= 65_536, "gh: body is too long (maximum is 65536 characters)"
        found = answer(state, arguments[2], arguments[3], body)
        if isinstance(found, list) and len(found) > 1:  # as two pages are printed
            print(json.dumps(found[:1]) + json.dumps(found[1:]))
        else:
            print(json.dumps(found))
    with open(os.environ["FAKE_GH"], "w", encoding="utf-8") as stream:
        json.dump(state, stream)


if __name__ == "__main__":
    main(sys.argv[1:])
