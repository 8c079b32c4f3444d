# What Python costs, and what the Milvus facade gains.
.PHONY: bench-python bench-milvus-facade
$(BUILD)/bench/python_overhead.so: bench/python_overhead.c include/vecdb.h $(BUILD)/libvecdb.so
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) -std=gnu11 -O2 $(WARN) $(CFLAGS) -fPIC -shared -Iinclude $< -o $@ -L$(BUILD) -lvecdb -Wl,-rpath,$(abspath $(BUILD))

bench-python: $(BUILD)/bench/python_overhead.so $(PYTHON_VENV)/ready ## the Python binding beside C, on the same collections, in turn
	@VECDB_LIBRARY=$(abspath $(BUILD))/libvecdb.so $(PYTHON_VENV)/bin/python bench/python_overhead.py $<

bench-milvus-facade: $(BUILD)/libvecdb.so $(PYTHON_VENV)/ready ## vecdb.milvus beside pymilvus with milvus-lite, in turn
	@VECDB_LIBRARY=$(abspath $(BUILD))/libvecdb.so $(PYTHON_VENV)/bin/python bench/milvus_facade.py
