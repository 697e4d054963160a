# Each target is a script of ci/.
.PHONY: test quick bench wheels pythons tree
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
