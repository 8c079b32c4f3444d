.PHONY: bench-ivf
bench-ivf: $(BUILD)/bench_ivf ## FLAT and IVF kinds on an .npy file: see bench/ivf.c
$(BUILD)/bench_ivf: bench/ivf.c $(OBJS)
	$(Q)$(CC) $(CFLAGS_ALL) $< $(OBJS) -o $@ $(LDFLAGS_ALL) $(LIBS)
