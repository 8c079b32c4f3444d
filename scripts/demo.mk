# The demonstration: real pictures, found.
FASHION_MNIST ?= /usr/share/datasets/fashion-mnist
.PHONY: demo deps-demo
deps-demo:
	@scripts/setup demo

demo: deps-demo ## index and search Fashion-MNIST, check the answers, draw demo.png
	@$(MAKE) --no-print-directory all
	$(Q)$(CC) -std=gnu11 -O3 -Wall -Wextra -Iinclude examples/demo.c -o $(BUILD)/demo -L$(BUILD) -lvecdb \
	    -Wl,-rpath,'$$ORIGIN' -lm -lpthread
	@$(BUILD)/demo $(FASHION_MNIST) demo.png
