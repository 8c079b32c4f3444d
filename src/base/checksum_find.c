/* One changed byte, found by trying them all: 255 values at each of n places. Computing each checksum anew would take half
 * a minute for 64 KiB. XXH3 (its specification is in xxhash's repository, doc/xxhash_spec.md) makes that much shorter: it has eight
 * accumulators of 64 bits, and a byte goes into two of them only, a pair that meets the others no sooner than in the last sum.
 * What the rest of the bytes adds to these two, block by block, is known beforehand, and so is what the pair must come to. */
#include "base/checksum_find.h"

#include "base/bytes.h"
#include "base/checksum.h"

#include <string.h>

#define LANES 8
#define STRIPE 64
#define BLOCK 1024 /* bytes between two scramblings: 16 stripes, the secret moving on by 8 bytes each */
#define SECRET 192
#define SCRAMBLE_SECRET (SECRET - STRIPE)
#define LAST_SECRET (SECRET - STRIPE - 7)
#define MERGE_SECRET 11
#define LONG 241 /* fewer bytes go another way */
#define VALUES 256
#define TOGETHER 4
#define PRIME32_1 0x9E3779B1u
#define PRIME32_2 0x85EBCA77u
#define PRIME32_3 0xC2B2AE3Du
#define PRIME64_1 0x9E3779B185EBCA87u
#define PRIME64_2 0xC2B2AE3D27D4EB4Fu
#define PRIME64_3 0x165667B19E3779F9u
#define PRIME64_4 0x85EBCA77C2B2AE63u
#define PRIME64_5 0x27D4EB2F165667C5u
#define AVALANCHE 0x165667919E3779F9u

struct finder {
    const uint8_t *data;
    size_t size, blocks; /* whole ones; what comes after them is one more, never empty */
    uint64_t seed, expected;
    uint8_t secret[SECRET];
    uint64_t before[CHECKSUM_FIND_MAX / BLOCK + 1][LANES]; /* the accumulators where a block begins */
    uint64_t added[CHECKSUM_FIND_MAX / BLOCK + 1][LANES];  /* what its bytes add to them */
    uint64_t wanted[LANES / 2];                            /* what each pair must come to, if it is the one */
};

static uint64_t secret_at(const struct finder *finder, size_t at) { return load_u64(finder->secret + at); }

static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word_product(uint64_t word, uint64_t secret)
{
    uint64_t key = word ^ secret;

    return (key & UINT32_MAX) * (key >> 32);
}

static void add_stripe(const struct finder *finder, size_t at, size_t secret, uint64_t *sums)
{
    for (size_t lane = 0; lane < LANES; lane++) {
        uint64_t word = load_u64(finder->data + at + 8 * lane);
        sums[lane ^ 1] += word;
        sums[lane] += word_product(word, secret_at(finder, secret + 8 * lane));
    }
}

static uint64_t scramble(uint64_t sum, uint64_t secret) { return (sum ^ sum >> 47 ^ secret) * PRIME32_1; }

static uint64_t pair_value(const struct finder *finder, size_t pair, uint64_t even, uint64_t odd)
{
    return fold(even ^ secret_at(finder, MERGE_SECRET + 16 * pair), odd ^ secret_at(finder, MERGE_SECRET + 16 * pair + 8));
}

/* What the sum of all pairs was before the last mixing made `expected` of it. */
static uint64_t unmixed(uint64_t expected)
{
    uint64_t inverse = AVALANCHE; /* right in 3 bits; each step doubles them */

    for (int i = 0; i < 5; i++)
        inverse *= 2 - AVALANCHE * inverse;
    expected ^= expected >> 32;
    expected *= inverse;
    return expected ^ expected >> 37;
}

static void prepare(struct finder *finder)
{
    uint64_t sums[LANES] = {PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3, PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1};
    uint64_t total = finder->size * PRIME64_1, pairs[LANES / 2];

    memset(finder->added, 0, sizeof finder->added);
    for (size_t b = 0; b <= finder->blocks; b++) {
        size_t end = b < finder->blocks ? (b + 1) * BLOCK : (finder->size - 1) / STRIPE * STRIPE;
        memcpy(finder->before[b], sums, sizeof sums);
        for (size_t at = b * BLOCK; at < end; at += STRIPE)
            add_stripe(finder, at, at % BLOCK / STRIPE * 8, finder->added[b]);
        if (b == finder->blocks)
            add_stripe(finder, finder->size - STRIPE, LAST_SECRET, finder->added[b]);
        for (size_t lane = 0; lane < LANES; lane++) {
            sums[lane] += finder->added[b][lane];
            if (b < finder->blocks)
                sums[lane] = scramble(sums[lane], secret_at(finder, SCRAMBLE_SECRET + 8 * lane));
        }
    }
    for (size_t pair = 0; pair < LANES / 2; pair++)
        total += pairs[pair] = pair_value(finder, pair, sums[2 * pair], sums[2 * pair + 1]);
    for (size_t pair = 0; pair < LANES / 2; pair++)
        finder->wanted[pair] = unmixed(finder->expected) - (total - pairs[pair]);
}

/* With the checksum itself. */
static bool is_right(const struct finder *finder, size_t at, uint8_t value)
{
    struct iovec parts[3] = {{(void *)(uintptr_t)finder->data, at},
                             {&value, 1},
                             {(void *)(uintptr_t)(finder->data + at + 1), finder->size - at - 1}};

    return value != finder->data[at] && checksum_parts(parts, 3, finder->seed) == finder->expected;
}

static bool find_plainly(const struct finder *finder, size_t from, size_t *at, uint8_t *right)
{
    for (*at = from; *at < finder->size; ++*at)
        for (unsigned value = 0; value < VALUES; value++)
            if (is_right(finder, *at, *right = (uint8_t)value))
                return true;
    return false;
}

/* From the end of block `from` to the end of all. Several values at a time: each step waits for the one before. */
static void advance(const struct finder *finder, size_t from, size_t lane, uint64_t sums[TOGETHER])
{
    uint64_t secret = secret_at(finder, SCRAMBLE_SECRET + 8 * lane), s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];

    for (size_t b = from + 1; b <= finder->blocks; b++) {
        uint64_t added = finder->added[b][lane];
        s0 = scramble(s0, secret) + added;
        s1 = scramble(s1, secret) + added;
        s2 = scramble(s2, secret) + added;
        s3 = scramble(s3, secret) + added;
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

/* Every value of the byte `at`, which is not one of the last STRIPE: these are in two stripes. */
static bool find_value(const struct finder *finder, size_t at, uint8_t *right)
{
    size_t block = at / BLOCK, lane = at % STRIPE / 8, pair = lane / 2;
    unsigned shift = at % 8 * 8;
    uint64_t word = load_u64(finder->data + at / 8 * 8), secret = secret_at(finder, at % BLOCK / STRIPE * 8 + 8 * lane);
    uint64_t sum = finder->before[block][lane] + finder->added[block][lane] - word_product(word, secret);
    uint64_t other_sum = finder->before[block][lane ^ 1] + finder->added[block][lane ^ 1] - word;

    for (unsigned first = 0; first < VALUES; first += TOGETHER) {
        uint64_t own[TOGETHER], other[TOGETHER];
        for (unsigned i = 0; i < TOGETHER; i++) {
            uint64_t changed = (word & ~((uint64_t)0xFF << shift)) | (uint64_t)(first + i) << shift;
            own[i] = sum + word_product(changed, secret);
            other[i] = other_sum + changed;
        }
        advance(finder, block, lane, own);
        advance(finder, block, lane ^ 1, other);
        for (unsigned i = 0; i < TOGETHER; i++)
            if (pair_value(finder, pair, lane & 1 ? other[i] : own[i], lane & 1 ? own[i] : other[i]) == finder->wanted[pair] &&
                is_right(finder, at, *right = (uint8_t)(first + i)))
                return true;
    }
    return false;
}

bool checksum_find_byte(const uint8_t *data, size_t size, uint64_t seed, uint64_t expected, size_t *at, uint8_t *right)
{
    struct finder finder = {.data = data, .size = size, .seed = seed, .expected = expected};

    if (size > CHECKSUM_FIND_MAX)
        return false;
    if (size < LONG)
        return find_plainly(&finder, 0, at, right);
    finder.blocks = (size - 1) / BLOCK;
    XXH3_generateSecret_fromSeed(finder.secret, seed);
    prepare(&finder);
    for (*at = 0; *at < size - STRIPE; ++*at)
        if (find_value(&finder, *at, right))
            return true;
    return find_plainly(&finder, size - STRIPE, at, right);
}
