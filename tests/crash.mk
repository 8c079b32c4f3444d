# Power cuts, failing disks, full disks, no memory, flipped bytes: tests/crash.
CRASH_SRCS := $(wildcard tests/crash/*.c)
CRASH_SUPPORT = $(patsubst %,$(BUILD)/tests/support/%.o,simfs fault oracle)
$(BUILD)/crash/crash: $(CRASH_SRCS) $(wildcard tests/crash/*.h) $(OBJS) $(CRASH_SUPPORT)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Itests $(CRASH_SRCS) $(OBJS) $(CRASH_SUPPORT) -o $@ $(LDFLAGS_ALL) $(LIBS)

.PHONY: crash crash-check crash-planted
# RESUME=1 takes up a run that was stopped.
crash: $(BUILD)/crash/crash crash-planted ## power cuts, failing disks, no memory, damage: everything (up to 40 minutes)
	@$(if $(RESUME),,rm -f $(BUILD)/crash/log)
	@rm -rf $(BUILD)/crash/work && mkdir -p $(BUILD)/crash/work
	@$(BUILD)/crash/crash --log=$(BUILD)/crash/log --planted=$(BUILD)/crash/planted $(BUILD)/crash/work

crash-check: $(BUILD)/crash/crash ## a minute's worth of make crash
	@rm -rf $(BUILD)/crash/work && mkdir -p $(BUILD)/crash/work
	@$(BUILD)/crash/crash --check $(BUILD)/crash/work

# The same sources with bugs to be switched on, and a harness that must notice each.
crash-planted: ## plant known bugs one by one: the crash tests must catch every one
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/planted CFLAGS='$(CFLAGS) -DVECDB_PLANT' $(BUILD)/planted/crash/crash
	@mkdir -p $(BUILD)/crash
	@$(BUILD)/planted/crash/crash >$(BUILD)/crash/planted; result=$$?; cat $(BUILD)/crash/planted; exit $$result
