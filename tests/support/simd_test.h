/* What the kernel tests share: seeded random numbers, vectors that end where readable memory ends, and a list of tests
 * with one entry per kernel and instruction set. Needs nothing of the library but simd/kernels.h, so that the tests can
 * be cross-compiled with the kernels alone. */
#ifndef VECDB_TESTS_SIMD_TEST_H
#define VECDB_TESTS_SIMD_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "simd/kernels.h"

#define SIMD_TEST_UNUSED __attribute__((unused))

/* ---- random numbers ---- */

static uint64_t simd_test_state;

static SIMD_TEST_UNUSED void simd_test_seed(void)
{
    const char *text = getenv("VECDB_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();

    simd_test_state = seed;
    printf("VECDB_TEST_SEED=%llu\n", (unsigned long long)seed);
}

static SIMD_TEST_UNUSED uint64_t random_u64(void) /* splitmix64 */
{
    uint64_t z = (simd_test_state += 0x9e3779b97f4a7c15u);

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static SIMD_TEST_UNUSED float random_f32(void) /* -1 .. 1 */
{
    return (float)((double)(random_u64() >> 11) * 0x1p-52 - 1.0);
}

static SIMD_TEST_UNUSED void random_bytes(void *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)p)[i] = (uint8_t)random_u64();
}

/* ---- guarded memory ---- */

/* Memory whose last byte is followed by a page that may not be read. */
struct guarded {
    char *map;
    size_t map_size, room;
};

static SIMD_TEST_UNUSED void guarded_init(struct guarded *g, size_t room)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    g->room = (room + page - 1) / page * page;
    g->map_size = g->room + page;
    g->map = mmap(NULL, g->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g->map != MAP_FAILED);
    assert_int_equal(mprotect(g->map + g->room, page, PROT_NONE), 0);
}

/* The last `size` bytes before the forbidden page. */
static SIMD_TEST_UNUSED void *guarded_end(const struct guarded *g, size_t size)
{
    assert_true(size <= g->room);
    return g->map + g->room - size;
}

static SIMD_TEST_UNUSED void guarded_deinit(struct guarded *g)
{
    munmap(g->map, g->map_size);
}

/* ---- the list of tests ---- */

struct simd_test {
    const struct simd_row *row; /* the tables under test; NULL: the chosen ones */
    const void *kernel;         /* what the test makes of it */
};

#define SIMD_TESTS_MAX 1024
static struct CMUnitTest simd_tests[SIMD_TESTS_MAX];
static size_t simd_tests_count;

static SIMD_TEST_UNUSED void simd_test_add(const struct simd_row *row, const char *name, const void *kernel,
                                           CMUnitTestFunction function)
{
    struct CMUnitTest *test = &simd_tests[simd_tests_count];
    struct simd_test *state = malloc(sizeof *state);
    char *text = malloc(64);

    if (!state || !text || simd_tests_count == SIMD_TESTS_MAX)
        abort();
    state->row = row;
    state->kernel = kernel;
    snprintf(text, 64, "%s/%s", row ? row->name : simd_name(), name);
    memset(test, 0, sizeof *test);
    test->name = text;
    test->test_func = function;
    test->initial_state = state;
    simd_tests_count++;
}

static SIMD_TEST_UNUSED int simd_test_run(const char *group)
{
    int failed = _cmocka_run_group_tests(group, simd_tests, simd_tests_count, NULL, NULL);

    for (size_t i = 0; i < simd_tests_count; i++) {
        free((char *)simd_tests[i].name);
        free(simd_tests[i].initial_state);
    }
    return failed;
}

/* Walks the instruction sets that this CPU has. */
#define FOR_EACH_SUPPORTED_ROW(row)                                                                     \
    for (size_t row##_count, row##_index = 0; row##_index < (simd_rows(&row##_count), row##_count); row##_index++) \
        for (const struct simd_row *row = &simd_rows(&row##_count)[row##_index]; row && row->supported(); row = NULL)

#endif
