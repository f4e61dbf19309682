# The two commands that a newcomer needs are `make run` and `make test`; the rest is listed by `make help`.

NODE_VERSION := 24.21.0
NODE := scripts/node
BIN := node_modules/.bin
SOURCES := common services clients library test bench scripts

.DEFAULT_GOAL := help
.PHONY: help run test setup build proto lint format bench torture fuzz coverage soak sbom sea clean

help: ## What there is
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

run: setup ## Both programs: a server keeping dir/server in step with dir/client (CDIR=… SDIR=… for others)
	@CDIR='$(CDIR)' SDIR='$(SDIR)' exec $(NODE) scripts/run-pair.ts

# The whole suite tries the programs as they are shipped; a part of it takes the sources where they are newer.
test: $(if $(ONLY),setup,build) ## The whole test suite (ONLY=test/path for a part of it, JOBS=1 for one file at a time)
	@$(NODE) scripts/run-tests.ts $(if $(JOBS),--jobs $(JOBS)) $(ONLY)

setup: .tools/ready node_modules/.package-lock.json gen/image.binpb ## Dependencies and generated stubs

build: setup ## The compiled dist/ that the npm package ships
	@rm -rf dist
	@mkdir dist
	@touch dist/.begun
	@$(NODE) node_modules/typescript/bin/tsc -p tsconfig.build.json
	@$(NODE) scripts/bundle.ts
	@mv dist/.begun dist/folded
	@echo 'built dist/'

proto: ## Generate the typed stubs anew
	@scripts/generate.sh

lint: setup ## Types, lint, format, import arrows, protocol, manual pages
	@$(NODE) node_modules/typescript/bin/tsc -p tsconfig.json
	@$(NODE) $(BIN)/oxlint --type-aware --deny-warnings $(SOURCES)
	@$(NODE) node_modules/@biomejs/biome/bin/biome format --error-on-warnings
	@$(NODE) scripts/check-arrows.ts
	@$(NODE) scripts/check-protocol.ts
	@$(NODE) scripts/list-cases.ts --check
	@$(NODE) scripts/man-pages.ts --check

format: setup ## Format everything
	@$(NODE) node_modules/@biomejs/biome/bin/biome format --write
	@PATH="$$PWD/.tools/node_modules/node/bin:$$PATH" $(BIN)/buf format -w proto --path proto/lockstep

bench: build ## Benchmarks beside rsync and others (CASE=… for one, PROFILE=1 for CPU profiles)
	@$(NODE) bench/run.ts $(CASE)

torture: setup ## Random and enumerated faults (SEEDS=… simulations, ROUNDS=… times the cases, MINUTES=… of chance)
	@$(NODE) test/torture/budget.ts
	@$(NODE) scripts/run-tests.ts --jobs 2 test/torture

fuzz: setup ## Hostile input (SECONDS_PER_TARGET=… for how long)
	@$(NODE) scripts/run-tests.ts test/fuzz

coverage: setup ## Branches that the rooms' own tests take; fails below 95 % (ONLY=test/path for other tests)
	@$(NODE) scripts/coverage.ts $(ONLY)

soak: setup ## Random changes, faults and large trees, longer than CI has time for (MINUTES=… for how long)
	@$(NODE) scripts/run-tests.ts test/soak

sbom: setup ## Software bill of materials: sbom.cdx.json (CycloneDX), from the lock file
	@$(NODE) scripts/sbom.ts > sbom.cdx.json
	@echo 'wrote sbom.cdx.json'

sea: build .tools/sea/node_modules/postject ## One executable for machines without Node: sea/sync-server, sea/sync-watcher
	@$(NODE) scripts/sea.ts

.tools/sea/node_modules/postject:
	@npm install --prefix .tools/sea --ignore-scripts --no-audit --no-fund --loglevel=error postject@1.0.0-alpha.6

clean: ## Removes what was installed, generated or built; leaves dir/ alone
	@rm -rf node_modules .tools dist sea coverage sbom.cdx.json

# A machine whose Node is new enough gets none of its own.
.tools/ready: Makefile scripts/node
	@mkdir -p .tools
	@if rm -f .tools/ready; scripts/node --version >/dev/null 2>&1; then :; else \
	  echo 'installing Node $(NODE_VERSION) into .tools/'; \
	  npm install --prefix .tools --ignore-scripts=false --no-audit --no-fund --loglevel=error node@$(NODE_VERSION); fi
	@scripts/node --version >/dev/null && touch .tools/ready

node_modules/.package-lock.json: package-lock.json | .tools/ready
	@echo 'installing the dependencies'
	@PATH="$$PWD/.tools/node_modules/node/bin:$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

gen/image.binpb: $(shell find proto -name '*.proto') buf.gen.yaml node_modules/.package-lock.json
	@scripts/generate.sh
	@touch $@
