/* As much of cmocka as the kernel tests use, for a cross-compiler that has no cmocka to link with. Same names, same output
 * lines; a failed assertion ends its test. */
#ifndef VECDB_TESTS_NEON_CMOCKA_H
#define VECDB_TESTS_NEON_CMOCKA_H

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef void (*CMUnitTestFunction)(void **state);

struct CMUnitTest {
    const char *name;
    CMUnitTestFunction test_func;
    int (*setup_func)(void **state);
    int (*teardown_func)(void **state);
    void *initial_state;
};

static jmp_buf cmocka_failed;

static inline void cmocka_check(int holds, const char *what, const char *file, int line)
{
    if (holds)
        return;
    printf("[  ERROR   ] --- %s\n%s:%d\n", what, file, line);
    longjmp(cmocka_failed, 1);
}

#define CMOCKA_CHECK(holds, what) cmocka_check(holds, what, __FILE__, __LINE__)
#define assert_true(c) CMOCKA_CHECK(!!(c), #c)
#define assert_false(c) CMOCKA_CHECK(!(c), "not " #c)
#define assert_non_null(p) CMOCKA_CHECK((p) != NULL, #p " is null")
#define assert_int_equal(a, b) CMOCKA_CHECK((uintmax_t)(a) == (uintmax_t)(b), #a " == " #b)
#define assert_ptr_equal(a, b) CMOCKA_CHECK((const void *)(a) == (const void *)(b), #a " == " #b)
#define assert_string_equal(a, b) CMOCKA_CHECK(strcmp(a, b) == 0, #a " equals " #b)
#define assert_memory_equal(a, b, size) CMOCKA_CHECK(memcmp(a, b, size) == 0, #a " equals " #b)
#define fail() CMOCKA_CHECK(0, "fail()")
#define print_error(...) printf(__VA_ARGS__)

static inline int _cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t count,
                                          int (*setup)(void **), int (*teardown)(void **))
{
    volatile int failed = 0;

    (void)group;
    (void)setup;
    (void)teardown;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("[==========] Running %zu test(s).\n", count);
    for (volatile size_t i = 0; i < count; i++) {
        void *state = tests[i].initial_state;
        printf("[ RUN      ] %s\n", tests[i].name);
        if (setjmp(cmocka_failed) == 0) {
            tests[i].test_func(&state);
            printf("[       OK ] %s\n", tests[i].name);
        } else {
            printf("[  FAILED  ] %s\n", tests[i].name);
            failed++;
        }
    }
    printf("[==========] %zu test(s) run.\n", count);
    return failed;
}

#endif
