# The Python binding: its tests, and its wheel.
PYTHON_VENV ?= $(BUILD)/python-venv

.PHONY: test-python wheel
$(PYTHON_VENV)/ready: bindings/python/setup_venv
	@mkdir -p $(dir $(PYTHON_VENV))
	@bindings/python/setup_venv $(PYTHON_VENV)

test-python: $(BUILD)/libvecdb.so $(PYTHON_VENV)/ready ## Python tests against the library just built; T=test_search runs one file
	@VECDB_LIBRARY=$(abspath $(BUILD))/libvecdb.so $(PYTHON_VENV)/bin/python tests/python/run.py $(T)

wheel: $(BUILD)/libvecdb.so $(PYTHON_VENV)/ready ## the Python wheel, in build/dist; auditwheel makes it manylinux where installed
	@VECDB_LIBRARY=$(abspath $(BUILD))/libvecdb.so $(PYTHON_VENV)/bin/python -m pip wheel -q --no-deps --no-build-isolation \
	    -w $(BUILD)/dist bindings/python
	@if command -v auditwheel >/dev/null && command -v patchelf >/dev/null; then \
	    auditwheel -v repair --plat auto -w $(BUILD)/dist $(BUILD)/dist/vecdb-*-linux_*.whl >/dev/null 2>&1 \
	    && rm -f $(BUILD)/dist/vecdb-*-linux_*.whl; fi
	@ls $(BUILD)/dist
