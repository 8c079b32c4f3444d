.PHONY: bench-ivf
bench-ivf: $(BUILD)/bench_ivf ## FLAT and IVF kinds on an .npy file: see bench/ivf.c
$(BUILD)/bench_ivf: bench/ivf.c bench/driver.c bench/driver.h $(OBJS)
	$(Q)$(CC) $(CFLAGS_ALL) $(filter %.c,$^) $(OBJS) -o $@ $(LDFLAGS_ALL) $(LIBS)
