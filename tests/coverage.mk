# Which lines and branches of the code that keeps the data the tests reach: make coverage.
COVERAGE_TESTS := vfs wal store manifest segment segment_damage segment_fields tombstones block file index_file key_index upkeep golden base mem \
    api api_errors api_threads group_insert convoy rows query_features index_reads simfs segment_faults large_batches scalar_indexes
COVERAGE_BUILD := build-coverage

.PHONY: coverage
coverage: ## lines and branches of the storage code that the tests reach (95 and 90 in a hundred are wanted)
	@$(MAKE) --no-print-directory BUILD=$(COVERAGE_BUILD) OPT=-O0 CFLAGS='$(CFLAGS) -DNDEBUG' \
	    SANITIZE='--coverage -fprofile-update=atomic' coverage-run

.PHONY: coverage-run
COVERAGE_BINS := $(filter $(COVERAGE_TESTS:%=$(BUILD)/tests/test_%),$(TEST_BINS))
coverage-run: $(COVERAGE_BINS) $(BUILD)/crash/crash \
        $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz-replay/%,$(filter-out tests/fuzz/main.c,$(wildcard tests/fuzz/*.c)))
	@find $(BUILD) -name '*.gcda' -delete
	@rm -rf $(BUILD)/crash/work && mkdir -p $(BUILD)/crash/work
	@scripts/run_tests $(COVERAGE_BINS)
	@BUILD=$(BUILD) tests/fuzz/run
	@$(BUILD)/crash/crash --check $(BUILD)/crash/work
	@$(BUILD)/crash/crash --only=scenarios --stride=4 $(BUILD)/crash/work
	@scripts/coverage $(BUILD)
