# The measuring stick. bench/README.md tells what it measures and how.
BENCH_PYTHON := bench/.venv/bin/python
BENCH_OUT := bench/out

$(BUILD)/bench/probe: bench/probe.c
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) -std=gnu11 -O2 $(WARN) $(CFLAGS) $< -o $@ -lpthread

.PHONY: bench-probe bench-setup bench bench-full bench-report bench-vecdb
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

bench-full: $(BENCH_PYTHON) $(BUILD)/bench/probe bench-vecdb bench-setup ## everything: all rivals, data sets, workloads; resumable
	$(Q)BUILD=$(BUILD) bench/suite full

bench-report: $(BENCH_PYTHON) ## docs/benchmarks.md from the results in bench/out
	$(Q)$(BENCH_PYTHON) bench/report
