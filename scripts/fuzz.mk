# libFuzzer: make fuzz T=wal SECONDS=30. A target is a file in tests/fuzz; its corpus in tests/fuzz/corpus/<target> grows.
# Checksums are bypassed (-DVECDB_FUZZ), or the fuzzer would never get past the first.
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
FUZZ_CC ?= clang-14
FUZZ_SUPPORT := tests/support/simfs.c tests/support/fault.c tests/support/oracle.c tests/support/one_file.c $(wildcard tests/crash/db_driver.c)
FUZZ_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SECONDS ?= 60
.PHONY: fuzz fuzz-targets
fuzz: ## fuzz one target for a while: T=wal SECONDS=60; T= one of those that make fuzz-targets prints
	$(if $(filter $(T),$(FUZZ_TARGETS)),,$(error T=$(T) is none of $(FUZZ_TARGETS)))
	@$(MAKE) --no-print-directory BUILD=build-fuzz CC=$(FUZZ_CC) OPT=-O1 CFLAGS='$(CFLAGS) -DVECDB_FUZZ' \
	    SANITIZE='$(FUZZ_SANITIZE) -fsanitize=fuzzer-no-link' build-fuzz/fuzz/$(T)
	@mkdir -p tests/fuzz/corpus/$(T) build-fuzz/found
	@OPENBLAS_NUM_THREADS=1 build-fuzz/fuzz/$(T) -max_total_time=$(SECONDS) -rss_limit_mb=1024 -timeout=10 \
	    -artifact_prefix=build-fuzz/found/$(T)- -print_final_stats=1 $(FUZZ_FLAGS) tests/fuzz/corpus/$(T)

fuzz-targets: ## what make fuzz can fuzz
	@echo $(FUZZ_TARGETS)

$(BUILD)/fuzz/%: tests/fuzz/%.c tests/fuzz/fuzz.h $(OBJS) $(FUZZ_SUPPORT)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -DVECDB_FUZZ_MAIN -fsanitize=fuzzer -Itests $< $(FUZZ_SUPPORT) $(OBJS) -o $@ \
	    $(LDFLAGS_ALL) $(LIBS)
