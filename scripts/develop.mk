# Building, testing, checking, installing: what a developer types.
deps: | scripts/setup
	@scripts/setup build

.PHONY: deps-test deps-check test check asan ubsan tsan layers format format-check headers install uninstall clean
deps-test:
	@scripts/setup test
deps-check:
	@scripts/setup check

EXTRA_TESTS += tests/headers/run tests/examples/run tests/cli/run

test: deps-test ## all tests; T=name runs tests/unit/test_name only
	@$(MAKE) --no-print-directory $(if $(T),unit,test-all)

# Sanitizers: the unit tests, in build directories of their own.
SANITIZER_TESTS ?= $(TEST_BINS)
asan: deps-test ## unit tests under AddressSanitizer, leaks included
	@$(MAKE) --no-print-directory BUILD=build-asan OPT=-O1 \
	    SANITIZE='-fsanitize=address -fno-omit-frame-pointer' unit
# -O2: at -O1 with this sanitizer GCC 12 miscompiles a loop of the AVX-512 comparisons.
ubsan: deps-test ## unit tests under UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory BUILD=build-ubsan OPT=-O2 SANITIZE='-fsanitize=undefined -fno-sanitize-recover=all' unit
tsan: deps-test ## the tests that use threads, under ThreadSanitizer
	@$(MAKE) --no-print-directory BUILD=build-tsan OPT=-O1 SANITIZE='-fsanitize=thread' unit-threads

# Tests of code that runs on several threads; the rest would only be slow there.
THREAD_TESTS := $(filter %pool %threads %convoy %group_insert %wal %store %freshness %row_codes %filter_rows %query_features,$(TEST_BINS))
.PHONY: unit-threads
unit-threads: $(THREAD_TESTS)
	@scripts/run_tests $(THREAD_TESTS)

layers: ## includes that point the wrong way; nothing printed is success
	@scripts/layers

FORMATTED = $(shell git ls-files 'src/*.[ch]' 'cli/*.[ch]' 'tests/*.[ch]' 'examples/*.[ch]' 'bench/*.[ch]')
format: ## clang-format the sources
	@clang-format-14 -i $(FORMATTED)

check: deps-check ## all that CI runs
	@scripts/check

# ldconfig, so that programs find the library at once
install: all ## into PREFIX (and DESTDIR): library, header, pkg-config file, command line
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/bin
	install -m 644 include/vecdb.h include/vecdb_plugin.h $(DESTDIR)$(PREFIX)/include/
	install -m 755 $(SO) $(DESTDIR)$(LIBDIR)/libvecdb.so.$(VERSION)
	ln -sf libvecdb.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libvecdb.so.$(SOVERSION)
	ln -sf libvecdb.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libvecdb.so
	install -m 644 $(BUILD)/libvecdb.a $(DESTDIR)$(LIBDIR)/libvecdb.a
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' scripts/vecdb.pc.in \
	    > $(DESTDIR)$(LIBDIR)/pkgconfig/vecdb.pc
	$(if $(CLI_SRCS),install -m 755 $(BUILD)/vecdb $(DESTDIR)$(PREFIX)/bin/vecdb)
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig || true

uninstall: ## take out again what install put there
	rm -f $(DESTDIR)$(PREFIX)/include/vecdb.h $(DESTDIR)$(PREFIX)/include/vecdb_plugin.h $(DESTDIR)$(LIBDIR)/libvecdb.so $(DESTDIR)$(LIBDIR)/libvecdb.so.$(SOVERSION) \
	    $(DESTDIR)$(LIBDIR)/libvecdb.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libvecdb.a \
	    $(DESTDIR)$(LIBDIR)/pkgconfig/vecdb.pc $(DESTDIR)$(PREFIX)/bin/vecdb

clean: ## remove what was built
	rm -rf build build-*

help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | sort | \
	    awk -F '\t' '{printf "  make %-18s %s\n", $$1, $$2}'
