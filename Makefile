# vecdb. `make help` lists what there is.
VERSION := 0.1.0
SOVERSION := 0
CC ?= gcc
PREFIX ?= /usr/local
DESTDIR ?=
LIBDIR ?= $(PREFIX)/lib
BUILD ?= build
ifeq ($(origin CC),default)
CC := gcc
endif

ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)
PKGS := liblz4 libxxhash jansson libpcre2-8
PKG_CONFIG ?= pkg-config

OPT ?= -O3
# V=1 shows the commands
Q := @
ifdef V
Q :=
endif
say = @printf '  %-4s %s\n'
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wno-unused-parameter
HARDEN := -fstack-protector-strong
CFLAGS_ALL = -std=gnu11 $(OPT) -g $(WARN) $(HARDEN) -fPIC -fvisibility=hidden -pthread -D_GNU_SOURCE -DVECDB_BUILD \
    -Iinclude -Isrc $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null) $(CFLAGS) $(SANITIZE)
LIBS = $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null) -lm -lpthread
LDFLAGS_ALL = $(LDFLAGS) $(SANITIZE) -Wl,-z,relro,-z,now

# Kernels of an instruction set are compiled for it, and for nothing else; dispatch.c chooses at run time.
SIMD_DIRS := scalar
ifeq ($(ARCH),x86_64)
SIMD_DIRS += avx2 avx2vnni avx512vnni avx512
endif
ifeq ($(ARCH),aarch64)
SIMD_DIRS += neon neondot
endif
SIMD_FLAGS_avx2 := -mavx2 -mfma -mf16c -mpopcnt -mbmi -mbmi2 -mlzcnt
SIMD_FLAGS_avx2vnni := $(SIMD_FLAGS_avx2) -mavxvnni
SIMD_FLAGS_avx512vnni := $(SIMD_FLAGS_avx2) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni \
    -mprefer-vector-width=512
SIMD_FLAGS_avx512 := $(SIMD_FLAGS_avx512vnni) -mavx512vbmi -mavx512vbmi2 -mavx512vpopcntdq -mavx512bitalg
SIMD_FLAGS_neondot := -march=armv8.2-a+dotprod

SRC_DIRS := base schema simd quant filter index storage query collection api
SRCS := $(foreach d,$(SRC_DIRS),$(wildcard src/$(d)/*.c)) $(foreach d,$(SIMD_DIRS),$(wildcard src/simd/$(d)/*.c))
OBJS := $(SRCS:src/%.c=$(BUILD)/obj/%.o)
SO := $(BUILD)/libvecdb.so.$(VERSION)
CLI_SRCS := $(wildcard cli/*.c)
TESTS := $(wildcard tests/unit/test_*.c)
# QUICK=1 leaves out the tests that take long under a sanitizer.
ifdef QUICK
SLOW_TESTS := annoy flat graph graph_file ivf kmeans rabitq segment segment_damage simd_codes simd_compare simd_distance \
    simd_metric tombstones filter_corpus filter_limits
TESTS := $(filter-out $(SLOW_TESTS:%=tests/unit/test_%.c),$(TESTS))
endif
TEST_BINS := $(TESTS:tests/unit/%.c=$(BUILD)/tests/%)
SUPPORT_OBJS := $(patsubst tests/support/%.c,$(BUILD)/tests/support/%.o,$(wildcard tests/support/*.c))

.PHONY: all help
.DEFAULT_GOAL := all
all: $(BUILD)/libvecdb.so $(BUILD)/libvecdb.a $(if $(CLI_SRCS),$(BUILD)/vecdb) ## the library, shared and static, and the command line

$(BUILD)/obj/%.o: src/%.c | deps
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CFLAGS_ALL) $(SIMD_FLAGS_$(notdir $(<D))) -MMD -MP -c $< -o $@

# Square roots of all lists are taken four at a time.
$(BUILD)/obj/index/graph_lists_scan.o: CFLAGS_ALL += -fno-math-errno

$(SO): $(OBJS)
	$(say) LD $@
	$(Q)$(CC) -shared -o $@ $(OBJS) -Wl,-soname,libvecdb.so.$(SOVERSION) -Wl,--no-undefined $(LDFLAGS_ALL) $(LIBS)

$(BUILD)/libvecdb.so: $(SO)
	@ln -sf $(notdir $(SO)) $(BUILD)/libvecdb.so.$(SOVERSION)
	@ln -sf libvecdb.so.$(SOVERSION) $@

# One object in which only vecdb_* is visible, so that the static library hides the rest as the shared one does.
$(BUILD)/libvecdb.a: $(OBJS)
	$(Q)$(CC) -r -nostdlib -o $(BUILD)/vecdb_all.o $(OBJS)
	$(Q)objcopy -w --keep-global-symbol='vecdb_*' $(BUILD)/vecdb_all.o
	@rm -f $@
	$(Q)ar rcs $@ $(BUILD)/vecdb_all.o

$(BUILD)/vecdb: $(CLI_SRCS) $(wildcard cli/*.h) $(BUILD)/libvecdb.so
	$(Q)$(CC) -std=gnu11 -O2 -g $(WARN) $(CFLAGS) $(SANITIZE) -D_GNU_SOURCE -Iinclude -Icli $(CLI_SRCS) -o $@ \
	    -L$(BUILD) -lvecdb -Wl,-rpath,'$$ORIGIN' $(shell $(PKG_CONFIG) --libs jansson) -lm $(LDFLAGS_ALL)

# Tests see inside: they link the objects, not the library.
$(BUILD)/tests/support/%.o: tests/support/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Itests -MMD -MP -c $< -o $@

$(BUILD)/tests/%.o: tests/unit/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Itests -MMD -MP -c $< -o $@

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(OBJS) $(SUPPORT_OBJS)
	$(Q)$(CC) $< $(OBJS) $(SUPPORT_OBJS) -o $@ $(LDFLAGS_ALL) $(LIBS) -lcmocka

.SECONDARY: $(OBJS) $(SUPPORT_OBJS) $(TEST_BINS:%=%.o)
-include $(OBJS:.o=.d) $(TEST_BINS:%=%.d) $(SUPPORT_OBJS:.o=.d)

.PHONY: unit
CHOSEN := $(filter $(BUILD)/tests/test_$(T)%,$(TEST_BINS))
unit: $(CHOSEN) ## unit tests; T=name builds and runs only tests/unit/test_name*
	@$(if $(CHOSEN),,echo "no tests/unit/test_$(T)*.c" >&2; exit 1)
	@scripts/run_tests $(CHOSEN)

# -- more commands, a file each
-include scripts/*.mk bench/bench.mk bindings/python/python.mk bench/python.mk tests/*.mk

# Here because only now all files have said what they add.
.PHONY: test-all
test-all: all $(TEST_BINS) $(EXTRA_TEST_DEPS)
	@BUILD=$(BUILD) scripts/run_tests $(TEST_BINS) $(EXTRA_TESTS)
