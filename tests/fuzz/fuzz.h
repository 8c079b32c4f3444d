/* A fuzz target is a function from bytes to nothing. `make fuzz T=name` gives it to libFuzzer; tests/unit/test_fuzz_corpus.c
 * gives it what libFuzzer found before. */
#ifndef VECDB_TESTS_FUZZ_H
#define VECDB_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#ifdef VECDB_FUZZ_MAIN
#define FUZZ_TARGET(name)                                                                                              \
    void fuzz_##name(const uint8_t *data, size_t size);                                                                \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);                                                      \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)                                                       \
    {                                                                                                                  \
        fuzz_##name(data, size);                                                                                       \
        return 0;                                                                                                      \
    }                                                                                                                  \
    void fuzz_##name(const uint8_t *data, size_t size)
#else
#define FUZZ_TARGET(name)                                                                                              \
    void fuzz_##name(const uint8_t *data, size_t size);                                                                \
    void fuzz_##name(const uint8_t *data, size_t size)
#endif

/** What must hold, in every build. */
#define FUZZ_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            __builtin_trap();                                                                                          \
    } while (0)

#endif
