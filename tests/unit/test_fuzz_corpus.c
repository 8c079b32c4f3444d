/* What the fuzzers found worth keeping, again: none of it may crash, leak or trip a check. */
#include "base/buf.h"
#include "base/mem.h"
#include "support/fault.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The targets themselves: they bring no names but their own. */
#include "fuzz/block.c"
#include "fuzz/manifest.c"
#include "fuzz/segment.c"
#include "fuzz/wal.c"

static const struct {
    const char *name;
    void (*run)(const uint8_t *data, size_t size);
} targets[] = {
    {"block", fuzz_block},
    {"manifest", fuzz_manifest},
    {"segment", fuzz_segment},
    {"wal", fuzz_wal},
};

static void replay(void **state)
{
    for (size_t t = 0; t < sizeof targets / sizeof targets[0]; t++) {
        char path[300];
        struct dirent *item;
        size_t count = 0;
        DIR *list;

        snprintf(path, sizeof path, "tests/fuzz/corpus/%s", targets[t].name);
        list = opendir(path);
        assert_non_null(list);
        while ((item = readdir(list)) != NULL) {
            static uint8_t data[1 << 20];
            FILE *file;
            size_t size;
            if (item->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "tests/fuzz/corpus/%s/%s", targets[t].name, item->d_name);
            file = fopen(path, "rb");
            assert_non_null(file);
            size = fread(data, 1, sizeof data, file);
            fclose(file);
            fault_memory(0, false);
            targets[t].run(data, size);
            assert_int_equal(fault_memory_live(), 0);
            fault_memory_end();
            count++;
        }
        closedir(list);
        assert_true(count > 0);
        print_message("%s: %zu inputs\n", targets[t].name, count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(replay)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
