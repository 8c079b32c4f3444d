# The Python binding: its tests, and its wheel.
PYTHON_VENV ?= $(BUILD)/python-venv

.PHONY: test-python wheel test-wheel
$(PYTHON_VENV)/ready: bindings/python/setup_venv
	@mkdir -p $(dir $(PYTHON_VENV))
	@bindings/python/setup_venv $(PYTHON_VENV)

test-python: $(BUILD)/libvecdb.so $(BUILD)/vecdb $(PYTHON_VENV)/ready ## Python tests against the library just built; T=test_search runs one file
	@VECDB_LIBRARY=$(abspath $(BUILD))/libvecdb.so $(PYTHON_VENV)/bin/python tests/python/run.py $(T)

wheel: $(BUILD)/libvecdb.so $(BUILD)/vecdb $(PYTHON_VENV)/ready ## the Python wheel, in build/dist: one file for every CPython from 3.9 on
	@rm -f $(BUILD)/dist/*.whl
	@VECDB_BUILD=$(abspath $(BUILD)) $(PYTHON_VENV)/bin/python -m pip wheel -q --disable-pip-version-check -w $(BUILD)/dist bindings/python
	@ls $(BUILD)/dist

test-wheel: $(BUILD)/libvecdb.so $(BUILD)/vecdb $(PYTHON_VENV)/ready ## wheel and sdist, installed and tested on every CPython to be had
	@$(PYTHON_VENV)/bin/python tests/python/check_wheel.py $(BUILD) $$(bindings/python/other_pythons $(BUILD)/pythons)

.PHONY: docs-python
docs-python: ## docs/python-api.md out of the package's docstrings
	@python3 bindings/python/api_reference.py

# AddressSanitizer's runtime has to be there before Python's. Python itself frees little at its end, so leaks are not looked for.
.PHONY: python-asan
python-asan: $(PYTHON_VENV)/ready ## threads that write, search, read and close at once, under AddressSanitizer; SECONDS=20
	@$(MAKE) --no-print-directory BUILD=build-asan OPT=-O1 SANITIZE='-fsanitize=address -fno-omit-frame-pointer' build-asan/libvecdb.so
	@LD_PRELOAD=$$($(CC) -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:halt_on_error=1 \
	    VECDB_LIBRARY=$(abspath build-asan)/libvecdb.so PYTHONPATH=tests/python \
	    $(abspath $(PYTHON_VENV))/bin/python tests/python/stress.py $(or $(SECONDS),20)
