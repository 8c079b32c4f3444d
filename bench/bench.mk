# The measuring stick. bench/README.md tells what it measures and how.
BENCH_PYTHON := bench/.venv/bin/python
BENCH_OUT := bench/out

$(BUILD)/bench/probe: bench/probe.c
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) -std=gnu11 -O2 $(WARN) $(CFLAGS) $< -o $@ -lpthread

.PHONY: bench-probe bench-setup bench bench-million bench-filters bench-cells bench-full bench-report bench-vecdb
bench-probe: $(BUILD)/bench/probe ## build the program that measures what this machine allows

bench-setup: ## a virtual environment with every rival that can be installed
	$(Q)bench/setup

$(BENCH_PYTHON):
	$(Q)bench/setup --only hnswlib,faiss

# The benchmarks take the Python package as it lies in the tree, with the library just built.
bench-vecdb: all
	@test -d bindings/python/vecdb || echo "bench: bindings/python is not there; vecdb will be absent"

bench: $(BENCH_PYTHON) $(BUILD)/bench/probe bench-vecdb ## vecdb beside hnswlib and faiss on Fashion-MNIST, under 10 minutes
	$(Q)BUILD=$(BUILD) bench/suite quick

bench-million: $(BENCH_PYTHON) $(BUILD)/bench/probe bench-vecdb ## the same on a million rows, about 12 minutes; builds are kept
	$(Q)BUILD=$(BUILD) bench/suite million $(if $(BENCH_SCALE),--scale $(BENCH_SCALE))

bench-filters: $(BENCH_PYTHON) $(BUILD)/bench/probe bench-vecdb ## the filter grid beside every rival that filters, about 15 minutes; ONLY=fashion-mnist-filters
	$(Q)BUILD=$(BUILD) bench/suite filters $(if $(ONLY),--only $(ONLY))

bench-cells: $(BENCH_PYTHON) $(BUILD)/bench/grid ## filtered search, every cell beside the plain plans, about 2 minutes; DATA="fashion-mnist hog1m"
	$(Q)BUILD=$(BUILD) bench/cells $(DATA)

bench-full: $(BENCH_PYTHON) $(BUILD)/bench/probe bench-vecdb bench-setup ## everything: all rivals, data sets, workloads; resumable; BENCH_SCALE=small
	$(Q)BUILD=$(BUILD) bench/suite full $(ARGS)

bench-report: $(BENCH_PYTHON) ## docs/benchmarks.md from the results in bench/out
	$(Q)$(BENCH_PYTHON) bench/report

# The store by itself, beside SQLite where its header is there.
BENCH_SQLITE = $(shell $(PKG_CONFIG) --exists sqlite3 2>/dev/null && echo "-DHAVE_SQLITE -lsqlite3")
$(BUILD)/bench/store: bench/store.c bench/store_sqlite.c bench/store_sqlite.h bench/driver.c bench/driver.h $(BUILD)/libvecdb.so
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) -std=gnu11 -O2 $(WARN) $(CFLAGS) -D_GNU_SOURCE -Iinclude $(filter %.c,$^) -o $@ -L$(BUILD) -lvecdb \
	    -Wl,-rpath,'$$ORIGIN/..' $(BENCH_SQLITE) -lpthread

.PHONY: bench-store
bench-store: ## the store's speeds, each beside its bar: ARGS="only=insert,single dir=/tmp"
	@scripts/setup store
	@$(MAKE) --no-print-directory $(BUILD)/bench/store
	@$(BUILD)/bench/store $(ARGS)

# Filtered search cell by cell: bench/cells runs it
$(BUILD)/bench/grid: bench/grid.c bench/driver.c bench/driver.h $(BUILD)/libvecdb.so
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) -std=gnu11 -O3 -D_GNU_SOURCE $(WARN) $(CFLAGS) -Iinclude -Isrc $(filter %.c,$^) -o $@ -L$(BUILD) -lvecdb -Wl,-rpath,'$$ORIGIN/..' -lm

# What a second thread is worth, beside what the machine gives it: build/bench/threads BASE QUERIES
$(BUILD)/bench/threads: bench/threads.c bench/driver.c bench/driver.h $(BUILD)/libvecdb.so
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) -std=gnu11 -O3 -D_GNU_SOURCE $(WARN) $(CFLAGS) -Iinclude $(filter %.c,$^) -o $@ -L$(BUILD) -lvecdb -Wl,-rpath,'$$ORIGIN/..' -lpthread

# Graph kinds by themselves: build/bench/graph BASE.fvecs QUERIES.fvecs TRUTH.ivecs
$(BUILD)/bench/graph: bench/graph.c bench/driver.c bench/driver.h $(OBJS)
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CFLAGS_ALL) $(filter %.c,$^) $(OBJS) -o $@ $(LDFLAGS_ALL) $(LIBS)
