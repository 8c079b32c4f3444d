# Fuzzing: tests/fuzz/<name>.c, seeds in tests/fuzz/corpus/<name>/. Needs clang; replaying the corpora does not.
FUZZ_NAMES := $(filter-out main,$(basename $(notdir $(wildcard tests/fuzz/*.c))))
FUZZ_CC ?= $(firstword $(foreach name,clang clang-17 clang-16 clang-15 clang-14,$(shell command -v $(name))))
SECONDS ?= 60
FUZZ_SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all

.PHONY: fuzz fuzz-replay
fuzz: ## fuzz a parser of files or text: T=segment SECONDS=60
	@test -n "$(filter $(T),$(FUZZ_NAMES))" || { echo "make fuzz T=name: one of $(FUZZ_NAMES)"; exit 1; }
	@test -n "$(FUZZ_CC)" || { echo "make fuzz needs clang"; exit 1; }
	@$(MAKE) --no-print-directory BUILD=build-fuzz CC=$(FUZZ_CC) OPT=-O1 CFLAGS='$(CFLAGS) -DVECDB_FUZZ' \
	    SANITIZE='-fsanitize=fuzzer-no-link $(FUZZ_SANITIZE)' build-fuzz/fuzz/$(T)
	@mkdir -p build-fuzz/corpus/$(T) tests/fuzz/corpus/$(T)
	build-fuzz/fuzz/$(T) -max_total_time=$(SECONDS) -rss_limit_mb=1024 -timeout=10 -max_len=300000 \
	    build-fuzz/corpus/$(T) tests/fuzz/corpus/$(T)

$(BUILD)/fuzz/%: tests/fuzz/%.c $(OBJS) $(SUPPORT_OBJS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Itests $< $(OBJS) $(SUPPORT_OBJS) -o $@ -fsanitize=fuzzer $(LDFLAGS_ALL) $(LIBS) -lcmocka

# The corpora, run once; part of make test.
$(BUILD)/fuzz-replay/%: tests/fuzz/%.c tests/fuzz/main.c $(OBJS) $(SUPPORT_OBJS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Itests $< tests/fuzz/main.c $(OBJS) $(SUPPORT_OBJS) -o $@ $(LDFLAGS_ALL) $(LIBS) -lcmocka

FUZZ_REPLAYS := $(FUZZ_NAMES:%=$(BUILD)/fuzz-replay/%)
EXTRA_TEST_DEPS += $(FUZZ_REPLAYS)
EXTRA_TESTS += tests/fuzz/run
fuzz-replay: $(FUZZ_REPLAYS) ## run every seed and every find of the fuzzers once
	@BUILD=$(BUILD) tests/fuzz/run
