# The kernels for 64-bit ARM, cross-compiled and run under qemu: the same tests, without the rest of the library.
NEON_CC ?= aarch64-linux-gnu-gcc
NEON_RUN ?= $(firstword $(shell command -v qemu-aarch64-static qemu-aarch64 2>/dev/null) qemu-aarch64-static)
NEON_OUT := $(BUILD)/neon
NEON_OBJS := $(patsubst src/%.c,$(NEON_OUT)/%.o,$(wildcard src/simd/*.c src/simd/scalar/*.c src/simd/neon/*.c src/simd/neondot/*.c))
NEON_TESTS := $(patsubst tests/unit/%.c,$(NEON_OUT)/%,$(wildcard tests/unit/test_simd_*.c))

$(NEON_OUT)/%.o: src/%.c
	@mkdir -p $(@D)
	$(Q)$(NEON_CC) -std=gnu11 -O3 -g $(WARN) -D_GNU_SOURCE -Iinclude -Isrc $(SIMD_FLAGS_$(notdir $(<D))) -MMD -MP -c $< -o $@

$(NEON_OUT)/test_%: tests/unit/test_%.c tests/neon/cmocka.h $(wildcard tests/support/simd_*.h) $(NEON_OBJS)
	@mkdir -p $(@D)
	$(Q)$(NEON_CC) -std=gnu11 -O2 -g $(WARN) -D_GNU_SOURCE -Iinclude -Isrc -Itests/neon -Itests -static $< $(NEON_OBJS) -o $@.elf -lm
	@printf '#!/bin/sh\nexec $(NEON_RUN) "$$0.elf" "$$@"\n' >$@ && chmod +x $@

.SECONDARY: $(NEON_OBJS)
-include $(NEON_OBJS:.o=.d)

.PHONY: test-neon
test-neon: $(NEON_TESTS) ## the kernels for 64-bit ARM, cross-compiled, under qemu
	@scripts/run_tests $(NEON_TESTS)
