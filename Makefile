# Each target is a script of ci/.
.PHONY: lint test quick bench wheels pythons tree
lint:
	bash ci/lint
test:
	bash ci/test
quick:
	bash ci/test --quick
bench:
	bash ci/bench
wheels:
	bash ci/wheels
pythons:
	bash ci/pythons
tree:
	ci/tree --write
