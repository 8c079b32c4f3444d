# Every kind of query against a naive model: tests/queries. SEEDS=, OPERATIONS= and FIRST= change what soak-queries runs.
QUERY_SRCS := $(wildcard tests/queries/*.c)
FIRST ?= 1
SEEDS ?= 2000
OPERATIONS ?= 500
$(BUILD)/queries/soak: $(QUERY_SRCS) $(wildcard tests/queries/*.h) $(BUILD)/libvecdb.so
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Itests $(QUERY_SRCS) -o $@ -L$(BUILD) -lvecdb -Wl,-rpath,'$$ORIGIN/..' $(LDFLAGS_ALL) -lm

.PHONY: soak-queries
soak-queries: $(BUILD)/queries/soak ## random operations against a naive model: 2,000 seeds x 500 operations (SEEDS=, OPERATIONS=)
	@$(BUILD)/queries/soak $(FIRST) $(SEEDS) $(OPERATIONS)

# A few seconds of it in make test.
$(BUILD)/queries/few: $(BUILD)/queries/soak
	@printf '#!/bin/sh\nexec "$$(dirname "$$0")/soak" "$${VECDB_TEST_SEED:-1}" "$$([ -n "$$VECDB_TEST_SEED" ] && echo 1 || echo 12)" 500\n' >$@
	@chmod +x $@
EXTRA_TESTS += $(BUILD)/queries/few
EXTRA_TEST_DEPS += $(BUILD)/queries/few
