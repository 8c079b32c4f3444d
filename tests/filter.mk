# Filters against sqlite3 and a naive evaluator; EXPRESSIONS and SEED change the amount and the dice.
EXPRESSIONS ?= 20000
FILTER_DRIVER := $(BUILD)/tests/filter_driver

$(FILTER_DRIVER): tests/filter/driver.c $(OBJS) $(BUILD)/tests/support/filter_rows.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Itests $< $(OBJS) $(BUILD)/tests/support/filter_rows.o -o $@ $(LDFLAGS_ALL) $(LIBS)

.PHONY: test-filter-oracle soak
test-filter-oracle: $(FILTER_DRIVER) $(BUILD)/libvecdb.so ## filters against sqlite3 and a naive evaluator, EXPRESSIONS=20000
	@BUILD=$(BUILD) EXPRESSIONS=$(EXPRESSIONS) SEED=$(SEED) tests/filter/oracle

# Takes some two hours of processor time; stopped, or with SOAK_SECONDS, it goes on where it was when it is run again.
SOAK_EXPRESSIONS ?= 5000000
SOAK_JOBS ?= $(shell nproc)
soak: $(FILTER_DRIVER) $(BUILD)/libvecdb.so ## filters against the oracle with 5,000,000 expressions: resumable, SOAK_SECONDS=300 does a part
	@mkdir -p $(BUILD)/soak
	@python3 tests/python/test_filter_oracle.py --driver $(FILTER_DRIVER) --library $(BUILD)/libvecdb.so \
	    --expressions $(SOAK_EXPRESSIONS) --jobs $(SOAK_JOBS) --state $(BUILD)/soak/filter $(if $(SOAK_SECONDS),--seconds $(SOAK_SECONDS)) \
	    $(if $(SEED),--seed $(SEED))

EXTRA_TESTS += tests/filter/oracle
EXTRA_TEST_DEPS += $(FILTER_DRIVER)

# The parser and evaluator under libFuzzer: FUZZ_SECONDS of it. New inputs go to $(BUILD)/fuzz/filter.
FUZZ_SECONDS ?= 60
FUZZ_SRCS := $(foreach d,base schema filter,$(wildcard src/$(d)/*.c))
FUZZ_OBJS := $(FUZZ_SRCS:src/%.c=$(BUILD)/fuzz/obj/%.o)
# Kernels as they are: instrumented they take minutes to compile.
FUZZ_KERNELS := $(filter $(BUILD)/obj/simd/%,$(OBJS))
FUZZ_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined

$(BUILD)/fuzz/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(Q)clang-14 $(CFLAGS_ALL) -O1 $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c $< -o $@

$(BUILD)/fuzz/filter: tests/fuzz/filter.c tests/support/filter_fuzz.c tests/support/filter_rows.c $(FUZZ_OBJS) $(FUZZ_KERNELS)
	$(Q)clang-14 $(CFLAGS_ALL) -O1 -Itests $(FUZZ_FLAGS) -fsanitize=fuzzer $^ -o $@ $(LDFLAGS_ALL) $(LIBS)

-include $(FUZZ_OBJS:.o=.d)

.PHONY: fuzz-filter
fuzz-filter: $(BUILD)/fuzz/filter ## filters under libFuzzer, FUZZ_SECONDS=60
	@mkdir -p $(BUILD)/fuzz/found
	@$(BUILD)/fuzz/filter -max_total_time=$(FUZZ_SECONDS) -timeout=10 -max_len=600 -artifact_prefix=$(BUILD)/fuzz/ -dict=tests/fuzz/filter.dict \
	    $(BUILD)/fuzz/found tests/fuzz/corpus/filter

$(BUILD)/bench_filter: bench/filter.c $(OBJS)
	$(Q)$(CC) $(CFLAGS_ALL) $< $(OBJS) -o $@ $(LDFLAGS_ALL) $(LIBS)

.PHONY: bench-filter
bench-filter: $(BUILD)/bench_filter ## filters against DuckDB and NumPy: needs python3 with duckdb and numpy
	@python3 bench/filter.py $(BUILD)/bench_filter
