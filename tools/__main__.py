"""The command line. The Makefile's targets are thin wrappers over its commands."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import sys
from pathlib import Path

from tools import running
from tools.errors import UserError

FIRST_REF = "v4.28.0"
EVERY_SERIES = ("locks", "bump", "watch")  # unless --series says one, where they take it


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools",
        description="Regenerate the LoRA trainer from upstream's run_clm.py.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, run, what in (
        ("regenerate", regenerate, "fetch, patch, verify and write script, lock and review sheet"),
        ("check", check, "regenerate in memory and compare with lock and sheet"),
        ("diff", diff, "show upstream → generated as a unified diff"),
        ("review", review, "write one HTML page: upstream → generated side by side, labelled"),
        ("sweep", sweep, "try many refs and tell how each patch fares"),
        ("locks", locks, "check every lock, and sweep all releases up to the newest of them"),
        ("bump", bump, "commit locks and sheets of upstream's newest release"),
        ("watch", watch, "look for newer releases, and write what there is to say of them"),
    ):
        sub = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        sub.set_defaults(run=run)
        sub.add_argument("--repo", help="git URL or path of a local clone (default: GitHub's)")
        default = None if name in EVERY_SERIES else "chatglm"
        if name not in ("locks", "watch"):
            sub.add_argument("--series", default=default, help="a series of patches/series.toml")
        sub.add_argument("--out", default="generated", type=Path, help="folder of the outputs")
        if name == "sweep":
            sub.add_argument("--refs", nargs="*", metavar="REF", help="default: all releases")
        if name in ("sweep", "locks"):
            sub.add_argument("--jobs", type=int, help="processes (default: one a core)")
            continue
        if name == "watch":
            sub.add_argument("--into", default="build/watch", type=Path, help="folder of the texts")
            continue
        if name == "bump":
            sub.add_argument("--to", metavar="REF", help="default: the newest release")
            sub.add_argument("--accept-moved", action="store_true", help="take a tag that moved")
            continue
        sub.add_argument("--upstream-file", metavar="FILE", help="a run_clm.py instead of a fetch")
        if name != "check":
            sub.add_argument("--ref", help="tag, branch or commit (default: the lock's)")
            sub.add_argument("--refresh", action="store_true", help="ask for a cached tag again")
        if name == "review":
            sub.add_argument("--base", metavar="COMMIT", help="also show what changed since it")
        if name == "regenerate":
            sub.add_argument(
                "--accept-moved", action="store_true", help="take a tag that left its locked commit"
            )
    sub = commands.add_parser(
        "demo", help="regenerate, port and train a toy ChatGLM, show what it learnt"
    )
    sub.set_defaults(run=demo)
    sub.add_argument("--repo", help="git URL or path of a local clone (default: GitHub's)")
    sub.add_argument(
        "--ref",
        help="genuine upstream at this ref (default: the locks' newest with --repo, else the "
        "miniature upstream)",
    )
    sub.add_argument("--work", default=Path("build/demo"), type=Path, help="folder to write")
    sub = commands.add_parser("stack", help="print which training stack fits a ref")
    sub.set_defaults(run=stack)
    sub.add_argument("--ref", help="a tag, a branch or a commit (default: the newest stack)")
    sub = commands.add_parser("merge", help="merge an adapter into its base (a stack's python)")
    sub.set_defaults(run=merge)
    sub.add_argument("adapter", type=Path, help="the trainer's output folder, or a checkpoint")
    sub.add_argument("dest", type=Path, help="the model folder to write")
    sub.add_argument("--base", help="default: the model that the adapter was trained on")
    sub.add_argument("--trust_remote_code", action="store_true", help="ChatGLM needs it")
    sub = commands.add_parser("port", help="make a ChatGLM's code work on a stack (its python)")
    sub.set_defaults(run=port)
    sub.add_argument("model", help="a model's folder, or its name on the hub")
    sub.add_argument("dest", type=Path, help="the model folder to write")
    sub.add_argument("--revision", help="a branch, tag or commit of the hub's model")
    sub.add_argument("--trust_remote_code", action="store_true", help="ChatGLM needs it")
    sub = commands.add_parser("chat", help="talk with what was trained (a stack's python)")
    sub.set_defaults(run=chat)
    sub.add_argument("folder", type=Path, help="the trainer's output folder, or a merged model's")
    sub.add_argument("--base", help="default: the model that the adapter was trained on")
    sub.add_argument("--merged", action="store_true", help="FOLDER is a model (default: looked up)")
    sub.add_argument("--trust_remote_code", action="store_true", help="ChatGLM needs it")
    sub.add_argument("--series", choices=("chatglm", "causal"), help="default: the tokenizer's")
    sub.add_argument("--system", metavar="TEXT", help="what the system says first (causal)")
    sub.add_argument(
        "--max_source_length", type=int, default=1024, metavar="N", help="default: 1024"
    )
    sub.add_argument("--max_new_tokens", type=int, default=256, metavar="N", help="default: 256")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    gc.disable()  # trees have no cycles: looking for some costs a tenth
    return running.told(lambda: args.run(args))


def regenerate(args: argparse.Namespace) -> int:
    """Fetch, apply, verify, write."""
    from tools.regenerate import outputs, series, transform

    chosen = series.load(args.series)
    with outputs.held(args.out):
        lock = outputs.read_lock(args.out, chosen.script)
        found = _fetch(args, lock)
        outputs.not_moved(found, lock, args.accept_moved)
        result = transform.transform(found, chosen)
        changed = outputs.write(args.out, outputs.render(result))
    print(f"upstream   {transform.shown_repo(found)} {found.ref} {found.commit[:12]} {found.path}")
    print(
        f"applied    {len(result.patches)} patches, verified; {result.lines_changed} places of upstream changed"
    )
    for name in outputs.names(chosen.script):
        print(f"{'wrote' if name in changed else 'unchanged':10} {args.out / name}")
    return 0


def check(args: argparse.Namespace) -> int:
    """Compare lock, sheet and, where it was built, the script with a fresh regenerate."""
    from tools.regenerate import outputs, series, transform

    chosen = series.load(args.series)
    lock = outputs.read_lock(args.out, chosen.script)
    if lock is None:
        raise UserError(f"no lock of {chosen.script} in {args.out} to check: make regenerate first")
    files = outputs.render(transform.transform(_locked(args, lock), chosen))
    lines = outputs.differences(args.out, files, optional=chosen.script)
    if not lines:
        print(f"up to date {args.out / chosen.script} ({lock['upstream']['ref']})")
        return 0
    _show_diff(lines)
    print(
        f"error: {args.out} is not what upstream and the patches give: make regenerate",
        file=sys.stderr,
    )
    return 1


def diff(args: argparse.Namespace) -> int:
    """Upstream → generated, on the terminal."""
    import difflib

    from tools.regenerate import outputs, series, transform

    chosen = series.load(args.series)
    found = _fetch(args, outputs.read_lock(args.out, chosen.script))
    result = transform.transform(found, chosen)
    _show_diff(
        difflib.unified_diff(
            found.text.splitlines(),
            result.text.splitlines(),
            f"upstream {found.ref} {found.path}",
            chosen.script,
            lineterm="",
        )
    )
    return 0


def review(args: argparse.Namespace) -> int:
    """Upstream → generated, and what changed since a commit of this repository, as one page."""
    from tools.follow import at_commit
    from tools.regenerate import outputs, series, transform
    from tools.review import page

    chosen = series.load(args.series)
    lock = outputs.read_lock(args.out, chosen.script)
    found = _fetch(args, lock)
    asked = at_commit.Asked(chosen.name, chosen.script, found.ref, args.repo, args.upstream_file)
    then = None if args.base is None else at_commit.regenerate(args.base, asked)
    result = transform.transform(found, chosen)
    name = page.name(chosen.script)
    with outputs.held(args.out):
        changed = outputs.write(args.out, {name: page.render(result, then).encode()})
    print(f"{'wrote' if changed else 'unchanged':10} {args.out / name}")
    return 0


def sweep(args: argparse.Namespace) -> int:
    """Try many refs."""
    from tools.follow import sweep as sweeping
    from tools.upstream import fetch as upstream

    repo = args.repo or upstream.DEFAULT_REPO
    return sweeping.run(
        repo, args.refs or upstream.release_tags(repo, FIRST_REF), args.series, args.jobs
    )


def demo(args: argparse.Namespace) -> int:
    """Everything, end to end, at toy size."""
    from tools.training import demo as showing

    return showing.run(args)


def stack(args: argparse.Namespace) -> int:
    """Name the environment of a ref: the Makefile's .venv-STACK."""
    from tools.training import stacks

    print(stacks.stack_for(args.ref) if args.ref else stacks.stacks()[-1])
    return 0


def merge(args: argparse.Namespace) -> int:
    """One model of adapter and base."""
    from tools.training import merge as merging

    merging.merge(args.adapter, args.dest, args.base, args.trust_remote_code)
    print(f"wrote {args.dest}")
    return 0


def port(args: argparse.Namespace) -> int:
    """A model folder whose code works on this stack."""
    from tools.training.port import port as porting

    porting.port(args.model, args.dest, args.revision, args.trust_remote_code)
    print(f"wrote {args.dest}")
    return 0


def chat(args: argparse.Namespace) -> int:
    """Talk with base and adapter, or with a merged model."""
    from tools.training import answers
    from tools.training import chat as chatting

    for name, least in (("max_source_length", 2), ("max_new_tokens", 1)):
        if getattr(args, name) < least:
            raise UserError(f"--{name} must be at least {least}, not {getattr(args, name)}")
    limits = answers.Limits(args.max_source_length, args.max_new_tokens)
    asked = (args.base, args.merged, args.trust_remote_code, args.series, args.system)
    chatting.run(args.folder, chatting.Options(*asked, limits))
    return 0


def locks(args: argparse.Namespace) -> int:
    """Check and sweep every series that has a lock: what CI does before the tests."""
    from tools.follow import bump as bumping
    from tools.follow import sweep as sweeping
    from tools.training import stacks
    from tools.upstream import fetch as upstream

    args.repo = args.repo or upstream.DEFAULT_REPO
    known = bumping.locked(args.out)
    reached = [v for _, lock in known if (v := stacks.version(lock["upstream"]["ref"]))]
    tags = [
        tag
        for tag in upstream.release_tags(args.repo, FIRST_REF)
        if reached and stacks.version(tag) <= max(reached)
    ]
    failed = 0
    for one, _ in known:
        asked = argparse.Namespace(**vars(args), series=one.name, upstream_file=None)
        failed |= check(asked) | (sweeping.run(args.repo, tags, one.name, args.jobs) if tags else 0)
    return failed


def bump(args: argparse.Namespace) -> int:
    """One commit of locks and sheets at a newer release."""
    from tools.follow import bump as bumping
    from tools.upstream import fetch as upstream

    repo = args.repo or upstream.DEFAULT_REPO
    return bumping.run(repo, args.series, args.out, args.to, args.accept_moved)


def watch(args: argparse.Namespace) -> int:
    """What the weekly workflow asks."""
    from tools.follow import watch as watching
    from tools.upstream import fetch as upstream

    return watching.run(args.repo or upstream.DEFAULT_REPO, args.out, args.into)


def _fetch(args: argparse.Namespace, lock: dict | None):
    """Upstream's text as the command line asks for it; the lock says the default ref."""
    from tools.upstream import fetch as upstream

    if args.upstream_file:
        return upstream.from_file(args.upstream_file)
    pin = lock["upstream"] if lock and lock["upstream"]["commit"] else None
    ref = args.ref or (pin["ref"] if pin else FIRST_REF)
    repo = args.repo or upstream.DEFAULT_REPO
    return upstream.fetch(repo, ref, refresh=args.refresh, pin=pin)


def _locked(args: argparse.Namespace, lock: dict):
    """Upstream's text at the very commit that the lock names, wherever it now comes from."""
    from tools.upstream import fetch as upstream

    locked = lock["upstream"]
    if args.upstream_file or not locked["commit"]:
        if not args.upstream_file:
            raise UserError("the lock was made from a file of its own: set UPSTREAM_FILE to it")
        return upstream.from_file(args.upstream_file)
    repo = args.repo or (locked["repo"] if "://" in locked["repo"] else upstream.DEFAULT_REPO)
    found = upstream.fetch(repo, locked["commit"], pin=locked)
    return dataclasses.replace(found, repo=locked["repo"], ref=locked["ref"])


def _show_diff(lines) -> None:
    from rich.console import Console
    from rich.text import Text

    styles = {"+": "green", "-": "red", "@": "cyan"}
    console = Console(soft_wrap=True, highlight=False)
    for line in lines:
        bold = "bold" if line.startswith(("+++", "---")) else styles.get(line[:1], "")
        console.print(Text(line, style=bold), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(running.run(main))
