/* Index files: what was saved comes back under the same binding, and under no other; damage is refused. */
#include "base/mem.h"
#include "storage/index_file.h"
#include "support/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sample_dir dir;
static int open_dir(void **state) { return sample_dir_open(&dir), 0; }
static int close_dir(void **state) { return sample_dir_close(&dir), 0; }

static const struct index_binding binding = {.segment_id = 5, .row_count = 100, .data_checksum = 0xABCDEF, .definition = 3,
                                             .field = 2, .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 8,
                                             .metric = VECDB_METRIC_L2, .format = 1, .kind = "HNSW", .params = "M=16"};

static vecdb_status try_open(const struct container_id *id, const struct index_binding *as)
{
    struct index_file *file;
    vecdb_status status = index_file_open(&dir.dir, sample_uuid, id, as, false, &file);

    assert_true((file != NULL) == (status == VECDB_OK));
    index_file_close(file);
    return status;
}

static void test_binding(void **state)
{
    uint8_t data[100000];
    struct container_id id;
    struct index_file *file;
    struct index_binding other;
    size_t size;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 31);
    assert_int_equal(index_file_write(&dir.dir, sample_uuid, 9, &binding, data, sizeof data, &id), VECDB_OK);
    for (int heap = 0; heap < 2; heap++) {
        assert_int_equal(index_file_open(&dir.dir, sample_uuid, &id, &binding, heap, &file), VECDB_OK);
        assert_memory_equal(index_file_data(file, &size), data, sizeof data);
        assert_int_equal(size, sizeof data);
        index_file_close(file);
    }
#define refused(member, value)                                                                                         \
    do {                                                                                                               \
        other = binding;                                                                                               \
        other.member = (value);                                                                                        \
        assert_int_equal(try_open(&id, &other), VECDB_ERR_CORRUPT);                                                    \
    } while (0)
    refused(segment_id, 6);
    refused(row_count, 101);
    refused(data_checksum, 0xABCDEE);
    refused(definition, 4);
    refused(field, 1);
    refused(type, VECDB_TYPE_INT8_VECTOR);
    refused(dim, 9);
    refused(metric, VECDB_METRIC_IP);
    refused(format, 2);
    refused(params, "M=17");
    refused(params, "");
    other = binding;
    snprintf(other.kind, sizeof other.kind, "NSG");
    assert_int_equal(try_open(&id, &other), VECDB_ERR_CORRUPT);
    id.checksum ^= 1; /* not the file that the manifest means */
    assert_int_equal(try_open(&id, &binding), VECDB_ERR_CORRUPT);
}

static void count_problem(void *context, const char *file, uint64_t offset, const char *what) { ++*(size_t *)context; }

static void test_damage(void **state)
{
    static const struct container_id unknown = {10, 0, 0};
    struct rng rng = rng_seeded(sample_seed(1));
    struct container_id id;
    struct buf bytes = {0};
    size_t problems = 0;
    struct problem_sink sink = {count_problem, &problems};

    assert_int_equal(index_file_write(&dir.dir, sample_uuid, 10, &binding, "some index", 10, &id), VECDB_OK);
    assert_int_equal(index_file_verify(&dir.dir, sample_uuid, &id, &sink), VECDB_OK);
    assert_int_equal(problems, 0);
    sample_read_file(&dir, "idx-10.idx", &bytes);
    for (int i = 0; i < 400; i++) {
        size_t at = rng_below(&rng, bytes.size);
        bytes.data[at] ^= 4;
        sample_write_file(&dir, "idx-10.idx", bytes.data, bytes.size);
        assert_true(try_open(&unknown, &binding) < 0);
        problems = 0;
        assert_int_equal(index_file_verify(&dir.dir, sample_uuid, &unknown, &sink), VECDB_ERR_CORRUPT);
        assert_true(problems > 0);
        bytes.data[at] ^= 4;
    }
    for (int i = 0; i < 200; i++) {
        sample_write_file(&dir, "idx-10.idx", bytes.data, rng_below(&rng, bytes.size));
        assert_int_equal(try_open(&unknown, &binding), VECDB_ERR_CORRUPT);
    }
    buf_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_binding), cmocka_unit_test(test_damage)};

    return cmocka_run_group_tests(tests, open_dir, close_dir);
}
