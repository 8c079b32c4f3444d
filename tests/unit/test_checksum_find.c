/* A byte that was changed is found again, whatever its place, the length and the seed. */
#include "support/unit.h"

#include "base/checksum.h"
#include "base/checksum_find.h"
#include "base/mem.h"
#include "base/rng.h"
#include "support/neighbours.h"

#define ROUNDS 4

static void find_one(struct rng *rng, uint8_t *data, size_t size, size_t place, uint64_t seed)
{
    uint64_t expected = checksum(data, size, seed);
    uint8_t was = data[place], right = 0;
    size_t at = size;

    data[place] ^= (uint8_t)(1 + rng_below(rng, 255));
    if (!checksum_find_byte(data, size, seed, expected, &at, &right) || at != place || right != was)
        fail_msg("%zu bytes, changed at %zu: found %zu, %u for %u", size, place, at, right, was);
    data[place] = was;
}

/* Lengths around all that the checksum treats differently; the first byte, the last, some between. */
static void test_every_length(void **state)
{
    static const size_t sizes[] = {1,   3,   8,    9,    16,   17,   128,  129,  240,   241,   255,  256,
                                   257, 512, 1000, 1023, 1024, 1025, 1088, 2048, 2049, 4088, 10000};
    struct rng rng = rng_seeded(test_seed());
    uint8_t data[10000];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)rng_below(&rng, 256);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        find_one(&rng, data, sizes[s], 0, s % 2 ? 0 : rng_next(&rng));
        find_one(&rng, data, sizes[s], sizes[s] - 1, s % 2 ? rng_next(&rng) : 0);
        for (int i = 0; i < ROUNDS; i++)
            find_one(&rng, data, sizes[s], rng_below(&rng, sizes[s]), i % 2 ? 0 : rng_next(&rng));
    }
}

static void test_a_piece_of_a_segment(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    size_t size = CHECKSUM_FIND_MAX;
    uint8_t *data = mem_zalloc(size + 1);

    (void)state;
    for (size_t i = 0; i < size; i += 3)
        data[i] = (uint8_t)rng_below(&rng, 256);
    find_one(&rng, data, size / 2, rng_below(&rng, size / 2), 0);
    find_one(&rng, data, size, size / 4, 7);
    mem_free(data);
}

/* Two bytes, none, or too many bytes to look at. */
static void test_nothing_to_find(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    uint8_t *data = mem_zalloc(CHECKSUM_FIND_MAX + 1), right;
    uint64_t expected = checksum(data, 3000, 0);
    size_t at;

    (void)state;
    assert_false(checksum_find_byte(data, 3000, 0, expected, &at, &right));
    data[100 + rng_below(&rng, 100)] ^= 1;
    data[2000 + rng_below(&rng, 100)] ^= 1;
    assert_false(checksum_find_byte(data, 3000, 0, expected, &at, &right));
    assert_false(checksum_find_byte(data, 0, 0, expected, &at, &right));
    expected = checksum(data, CHECKSUM_FIND_MAX + 1, 0);
    data[5]++;
    assert_false(checksum_find_byte(data, CHECKSUM_FIND_MAX + 1, 0, expected, &at, &right));
    mem_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_a_piece_of_a_segment),
        cmocka_unit_test(test_nothing_to_find),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
