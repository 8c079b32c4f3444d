# Each kernel's cost on each instruction set, beside the read bandwidth. ARGS="-d 128,768 -k l2sq -t avx512"
.PHONY: bench-kernels
bench-kernels: $(BUILD)/bench/kernels ## each kernel on each instruction set, beside the read bandwidth; ARGS="-d 768 -k l2sq"
	@$< $(ARGS)

$(BUILD)/bench/kernels: bench/kernels.c $(filter $(BUILD)/obj/simd/%,$(OBJS))
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@ $(LDFLAGS_ALL) -lm
