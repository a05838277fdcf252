"""What the generated script costs, beside what people run today: ``make bench``.

Each part measures rivals in one run, one after the other, round by round, and reports ratios of
medians: those mean the same on every machine. The parts that train run in the environments of the
training stacks; what they find goes to ``build/bench`` and from there into docs/benchmarks.md.
"""
