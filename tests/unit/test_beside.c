#include "base/beside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

struct errand {
    atomic_bool may_go, gone;
    struct mem_account *account;
    uint64_t charged;
    vecdb_status status;
};

static vecdb_status run(void *context)
{
    struct errand *errand = context;
    void *memory = mem_alloc(1 << 20);

    while (!atomic_load(&errand->may_go))
        ;
    errand->charged = mem_account_used(errand->account);
    mem_free(memory);
    atomic_store(&errand->gone, true);
    return errand->status == VECDB_OK ? VECDB_OK : error_set(errand->status, "the errand failed");
}

/* The caller goes on, though the work cannot end before it does; memory is charged to the caller's account. */
static void goes_on_beside(void **state)
{
    struct mem_account *account = mem_account_create(0), *before = mem_account_enter(account);
    struct errand errand = {.account = account};
    struct beside beside;

    (void)state;
    beside_begin(&beside, run, &errand);
    assert_false(atomic_load(&errand.gone));
    atomic_store(&errand.may_go, true);
    assert_int_equal(beside_end(&beside), VECDB_OK);
    assert_true(atomic_load(&errand.gone));
    assert_true(errand.charged >= 1 << 20);
    assert_ptr_equal(mem_account_enter(before), account);
    assert_int_equal(mem_account_used(account), 0);
    mem_account_release(account);
}

static void failure_becomes_the_callers(void **state)
{
    struct errand errand = {.account = mem_account_create(0), .status = VECDB_ERR_IO};
    struct beside beside;

    (void)state;
    atomic_init(&errand.may_go, true);
    error_clear();
    beside_begin(&beside, run, &errand);
    assert_int_equal(beside_end(&beside), VECDB_ERR_IO);
    assert_string_equal(error_last()->message, "the errand failed");
    mem_account_release(errand.account);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_beside),
        cmocka_unit_test(failure_becomes_the_callers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
