"""codemods/user_errors.py"""

from __future__ import annotations

import pytest

from codemods import user_errors
from tests.codemods.helpers import (
    BASES,
    OLD,
    apply,
    check_accepted,
    check_caught,
    check_refused,
    check_transformed,
    render,
)

TRANSFORMED = {
    "as upstream has it": (
        """
        def _mp_fn(index):
            # For xla_spawn (TPUs)
            main()


        if __name__ == "__main__":
            main()
        """,
        """
        def _mp_fn(index):
            # For xla_spawn (TPUs)
            main()


        if __name__ == "__main__":
            run_main(main)
        """,
    ),
    "the other way round, with a comment": (
        """
        if '__main__' == __name__:  # started
            main()  # go
        """,
        """
        if '__main__' == __name__:  # started
            run_main(main)  # go
        """,
    ),
    "on one line": (
        'if __name__ == "__main__": main()',
        'if __name__ == "__main__": run_main(main)',
    ),
    "its result is used": (
        """
        if __name__ == "__main__":
            import sys
            sys.exit(main())
        """,
        """
        if __name__ == "__main__":
            import sys
            sys.exit(run_main(main))
        """,
    ),
    "inside something": (
        """
        if __name__ == "__main__":
            with quiet():
                main()
        """,
        """
        if __name__ == "__main__":
            with quiet():
                run_main(main)
        """,
    ),
    "two blocks": (
        """
        if __name__ == "__main__":
            print("hello")
        if __name__ == "__main__":
            main()
        """,
        """
        if __name__ == "__main__":
            print("hello")
        if __name__ == "__main__":
            run_main(main)
        """,
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("before", "after"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_transformed(before, after, base):
    patch = check_transformed(user_errors, before, after, slot="start", base=BASES[base])
    assert [(c.kind, c.where, c.code) for c in patch.changes] == [
        ("changed", "module", "run_main(main)")
    ]


@pytest.mark.parametrize(("before", "after"), TRANSFORMED.values(), ids=TRANSFORMED)
def test_crlf(before, after):
    check_transformed(user_errors, before, after, slot="start", newline="\r\n")


def test_main_by_another_name():
    text, _ = apply(render(OLD).replace("main()", "train()"), user_errors)
    assert text == render(
        OLD | {"start": OLD["start"].replace("main()", "run_main(train)")}
    ).replace("main()", "train()")


def test_the_payload_stands_before_main():
    _, patch = apply(render(OLD), user_errors)
    assert patch.graft_before.name.value == "main"


LOOKED_FOR = 'call of main() under the module\'s if __name__ == "__main__"'
HINT = "A user's mistake is told where the script starts"
GUARD = 'if __name__ == "__main__":'
REFUSED = {
    "no start": ("print()", (), HINT),
    "started anyhow": ("main()", ("main()",), HINT),
    "another test": ("if __name__ != '__main__':\n    main()", ("main()",), HINT),
    "a longer test": ("if __name__ == '__main__' and main:\n    main()", ("main()",), HINT),
    "in the else part": (f"{GUARD}\n    pass\nelse:\n    main()", (GUARD, "main()"), HINT),
    "through a function": (
        f"def start():\n    return main()\n{GUARD}\n    start()",
        (GUARD, "return main()"),
        HINT,
    ),
    "in a definition": (
        f"{GUARD}\n    run = lambda: main()",
        (GUARD, "run = lambda: main()"),
        HINT,
    ),
    "already": (f"{GUARD}\n    run_main(main)", (GUARD,), HINT),
    "twice": (f"{GUARD}\n    a = main()\n    b = main()", ("a = main()", "b = main()"), HINT),
    "in a function only": (f"def go():\n    {GUARD}\n        main()", ("main()",), HINT),
}


@pytest.mark.parametrize(("start", "nearest", "hint"), REFUSED.values(), ids=REFUSED)
def test_refused(start, nearest, hint):
    check_refused(user_errors, LOOKED_FOR, nearest=nearest, hint=hint, start=start)


def test_refuses_arguments():
    check_refused(
        user_errors,
        "main() to be started without arguments",
        nearest=("main(1)",),
        start=f"{GUARD}\n    main(1)",
    )


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


@pytest.mark.parametrize("start", CAUGHT.values(), ids=CAUGHT)
def test_verify_catches(start):
    check_caught(user_errors, "main() is started through run_main", start=start)


@pytest.mark.parametrize(
    "start",
    [
        "if '__main__' == __name__:\n    run_main(main)",
        f"{GUARD}\n    import sys\n    sys.exit(run_main(main))",
        f"def _mp_fn(index):\n    main()\n{GUARD}\n    run_main(main)",
    ],
)
def test_verify_accepts(start):
    check_accepted(user_errors, start=start)
