# Filters against sqlite3 and a naive evaluator; EXPRESSIONS and SEED change the amount and the dice.
EXPRESSIONS ?= 20000
FILTER_DRIVER := $(BUILD)/tests/filter_driver

$(FILTER_DRIVER): tests/filter/driver.c $(OBJS) $(BUILD)/tests/support/filter_rows.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Itests $< $(OBJS) $(BUILD)/tests/support/filter_rows.o -o $@ $(LDFLAGS_ALL) $(LIBS)

.PHONY: test-filter-oracle
test-filter-oracle: $(FILTER_DRIVER) ## filters against sqlite3 and a naive evaluator, EXPRESSIONS=20000
	@python3 tests/python/test_filter_oracle.py --driver $(FILTER_DRIVER) --expressions $(EXPRESSIONS) $(if $(SEED),--seed $(SEED))
