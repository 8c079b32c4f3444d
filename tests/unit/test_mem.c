#include "base/mem.h"
#include "support/fault.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void alignment_and_contents(void **state)
{
    for (size_t alignment = 16; alignment <= (size_t)2 << 20; alignment *= 2) {
        unsigned char *memory = mem_aligned_alloc(alignment, 100);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % alignment, 0);
        memset(memory, 7, 100);
        memory = mem_realloc(memory, 1000);
        for (int i = 0; i < 100; i++)
            assert_int_equal(memory[i], 7);
        mem_free(memory);
    }
    char *zeros = mem_zalloc(333);
    for (int i = 0; i < 333; i++)
        assert_int_equal(zeros[i], 0);
    mem_free(zeros);
    mem_free(NULL);
    char *copy = mem_strdup("text");
    assert_string_equal(copy, "text");
    mem_free(copy);
}

static void sizes_that_overflow(void **state)
{
    size_t bytes;

    assert_true(mem_array_size(3, 5, &bytes));
    assert_int_equal(bytes, 15);
    assert_false(mem_array_size(SIZE_MAX, 2, &bytes));
    assert_null(mem_array_alloc(SIZE_MAX / 2, 3));
    assert_null(mem_array_zalloc((size_t)1 << 33, (size_t)1 << 33));
    assert_null(mem_alloc(SIZE_MAX));
    assert_null(mem_alloc(SIZE_MAX - 16));
}

static void account_holds_to_its_limit(void **state)
{
    struct mem_account *account = mem_account_create(1000000), *before = mem_account_enter(account);
    void *first = mem_alloc(600000), *second = mem_alloc(600000);

    assert_non_null(first);
    assert_null(second);
    assert_in_range(mem_account_used(account), 600000, 601000);
    void *third = mem_alloc(300000);
    assert_non_null(third);
    /* growing in place of the old block needs both for a moment */
    assert_null(mem_realloc(first, 700000));
    assert_ptr_equal(mem_account_enter(before), account);
    void *uncharged = mem_alloc(5000000);
    assert_non_null(uncharged);
    mem_free(uncharged);
    mem_free(first);
    mem_free(third); /* credited though another account is entered now */
    assert_int_equal(mem_account_used(account), 0);
    assert_in_range(mem_account_peak(account), 900000, 902000);
    assert_int_equal(mem_account_limit(account), 1000000);
    mem_account_release(account);
}

static void account_outlives_its_owner(void **state)
{
    struct mem_account *account = mem_account_create(0), *before = mem_account_enter(account);
    char *memory = mem_alloc(100);

    mem_account_enter(before);
    mem_account_release(account);
    memory[99] = 1;
    mem_free(memory); /* the last one frees the account: a sanitizer would see otherwise */
}

static void *charge(void *argument)
{
    mem_account_enter(argument);
    for (int i = 0; i < 20000; i++) {
        void *memory = mem_alloc((size_t)(i % 977));
        memory = mem_realloc(memory, (size_t)(i % 1777) + 1);
        mem_free(memory);
    }
    mem_account_enter(NULL);
    return NULL;
}

static void account_counts_from_many_threads(void **state)
{
    struct mem_account *account = mem_account_create(0);
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, charge, account), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(mem_account_used(account), 0);
    mem_account_release(account);
}

static void nth_allocation_fails(void **state)
{
    fault_memory(2, false);
    void *first = mem_alloc(10), *second = mem_alloc(10), *third = mem_alloc(10);
    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    assert_true(fault_memory_hit());
    mem_free(first);
    mem_free(third);
    assert_int_equal(fault_memory_live(), 0);
    fault_memory(1, true);
    assert_null(mem_alloc(1));
    assert_null(mem_alloc(1));
    fault_memory_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alignment_and_contents),
        cmocka_unit_test(sizes_that_overflow),
        cmocka_unit_test(account_holds_to_its_limit),
        cmocka_unit_test(account_outlives_its_owner),
        cmocka_unit_test(account_counts_from_many_threads),
        cmocka_unit_test(nth_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
