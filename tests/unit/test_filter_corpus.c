/* Replays what the filter fuzzer has found interesting: tests/fuzz/corpus/filter. And damages it, a little. */
#include "base/rng.h"
#include "fuzz/filter.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CORPUS "tests/fuzz/corpus/filter"

static void test_corpus(void **state)
{
    const char *seed = getenv("VECDB_TEST_SEED");
    struct rng rng = rng_seeded(seed ? strtoull(seed, NULL, 10) : 20261122);
    struct test_table *table = filter_fuzz_table();
    DIR *directory = opendir(CORPUS);
    size_t files = 0, compiled = 0;
    struct dirent *entry;

    print_message("VECDB_TEST_SEED=%s\n", seed ? seed : "20261122");
    if (!directory)
        fail_msg("%s is not there: run from the top of the tree", CORPUS);
    while ((entry = readdir(directory))) {
        char path[512];
        uint8_t bytes[4096];
        size_t size;
        FILE *file;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", CORPUS, entry->d_name);
        file = fopen(path, "rb");
        assert_non_null(file);
        size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        files++;
        compiled += filter_fuzz_one(table, bytes, size);
        for (int round = 0; round < 20 && size; round++) {
            uint8_t damaged[sizeof bytes];

            memcpy(damaged, bytes, size);
            for (uint64_t n = 1 + rng_below(&rng, 3); n; n--)
                damaged[rng_below(&rng, size)] = (uint8_t)rng_next(&rng);
            filter_fuzz_one(table, damaged, size);
        }
    }
    closedir(directory);
    test_table_free(table);
    assert_true(files >= 50);
    assert_true(compiled >= files / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
