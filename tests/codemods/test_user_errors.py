"""codemods/user_errors.py"""

from __future__ import annotations

from codemods import user_errors
from tests.codemods.helpers import OLD, Tables, apply, render

of = Tables(user_errors, "start")

GUARD = 'if __name__ == "__main__":'
SPAWN = "def _mp_fn(index):\n    # For xla_spawn (TPUs)\n    main()\n\n\n"


def runs(text: str) -> tuple[str, str]:
    return text.replace("RUN", "main()"), text.replace("RUN", "run_main(main)")


TRANSFORMED = {
    "as upstream has it": runs(f"{SPAWN}{GUARD}\n    RUN"),
    "the other way round, with comments": runs("if '__main__' == __name__:  # go\n    RUN  # so"),
    "on one line": runs(f"{GUARD} RUN"),
    "its result is used": runs(f"{GUARD}\n    import sys\n    sys.exit(RUN)"),
    "inside something": runs(f"{GUARD}\n    with quiet():\n        RUN"),
    "two blocks": runs(f"{GUARD}\n    print('hello')\n{GUARD}\n    RUN"),
    "through a function": (
        f"def start():\n    return main()\n\n\n{GUARD}\n    start()",
        f"def start():\n    return main()\n\n\n{GUARD}\n    run_main(start)",
    ),
}
test_transformed = of.transforms(TRANSFORMED)

test_record = of.records("main", both=[("changed", "module", "run_main(main)")])


def test_main_by_another_name():
    text, _ = apply(render(OLD).replace("main()", "train()"), user_errors)
    start = {"start": OLD["start"].replace("main()", "run_main(train)")}
    assert text == render(OLD, start).replace("main()", "train()")


LOOKED_FOR = (
    'call of main() under the module\'s if __name__ == "__main__"'
    " … A user's mistake is told where the script starts"
)
REFUSED = {
    "no start": ("", "print()"),
    "started anyhow": ("main()", "main()"),
    "another test": ("main()", "if __name__ != '__main__':\n    main()"),
    "a longer test": ("main()", "if __name__ == '__main__' and main:\n    main()"),
    "in the else part": (f"{GUARD}\nmain()", f"{GUARD}\n    pass\nelse:\n    main()"),
    "in a definition": (f"{GUARD}\nrun = lambda: main()", f"{GUARD}\n    run = lambda: main()"),
    "already": (GUARD, f"{GUARD}\n    run_main(main)"),
    "twice": ("a = main()\nb = main()", f"{GUARD}\n    a = main()\n    b = main()"),
}
INSIDE = (LOOKED_FOR.replace("main", "go", 1), "", f"def go():\n    {GUARD}\n        main()")
WITH = ("main() to be started without arguments", "main(1)", f"{GUARD}\n    main(1)")
REFUSED_ROWS = {
    **{name: (LOOKED_FOR, *row) for name, row in REFUSED.items()},
    "with arguments": WITH,
    "in a function only": INSIDE,
}
test_refused = of.refuses(REFUSED_ROWS)

CAUGHT = {
    "upstream's": f"{GUARD}\n    main()",
    "both": f"{GUARD}\n    run_main(main)\n    main()",
    "twice": f"{GUARD}\n    run_main(main)\n    run_main(main)",
    "called first": f"{GUARD}\n    run_main(main())",
    "another function": f"{GUARD}\n    run_main(helper)",
    "nothing to run": f"{GUARD}\n    run_main()",
    "by keyword": f"{GUARD}\n    run_main(main=main)",
    "anyhow": "run_main(main)",
    "elsewhere too": f"run_main(main)\n{GUARD}\n    run_main(main)",
    "not started": f"{GUARD}\n    print(run_main)",
    "under another test": "if __name__ == '__main':\n    run_main(main)",
}
PROMISE = "main() is started through run_main"
VERIFY_CATCHES = {n: (PROMISE, s) for n, s in CAUGHT.items()}
test_verify_catches = of.catches(VERIFY_CATCHES)
test_verify_accepts = of.accepts(
    "if '__main__' == __name__:\n    run_main(main)",
    f"{SPAWN}{GUARD}\n    import sys\n    sys.exit(run_main(main))",
)
