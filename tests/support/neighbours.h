/* Rows to search, and what the answer is: for the tests of every index kind. */
#ifndef VECDB_TESTS_NEIGHBOURS_H
#define VECDB_TESTS_NEIGHBOURS_H

#include "base/rng.h"
#include "index/index.h"

/** VECDB_TEST_SEED, or a fixed one; printed. */
uint64_t test_seed(void);

struct test_rows {
    struct vectors vectors;
    uint8_t *data;
    const uint8_t **blocks;
    uint64_t *present;
};
enum test_shape {
    TEST_CLUSTERS,  /* Gaussian clusters */
    TEST_INTEGERS,  /* whole numbers 0..255, in clusters */
    TEST_CONSTANT,  /* all rows alike */
    TEST_OFFSET,    /* clusters far from the origin */
    TEST_UNEVEN,    /* whole numbers 0..255 that differ much in every third dimension alone */
};
/** block_rows: a power of two, or 0 for one block. nulls: some rows have no value. */
struct test_rows test_rows_make(struct rng *rng, vecdb_type type, uint32_t dim, size_t rows, enum test_shape shape,
                                size_t block_rows, bool nulls);
void test_rows_free(struct test_rows *rows);

/** The distance, in double precision from the stored elements. */
double test_distance(vecdb_metric metric, vecdb_type type, uint32_t dim, const void *a, const void *b);
/** Assert that `count` hits are the nearest rows that the search allows, but for distances that differ by rounding. */
void test_check_exact(const struct vectors *vectors, vecdb_metric metric, const struct index_search *search,
                      size_t query, const struct hit *hits, size_t count);
/** Assert that hits are sorted, distinct, allowed, of the right distance, and within the radius. */
void test_check_sound(const struct vectors *vectors, vecdb_metric metric, const struct index_search *search,
                      size_t query, const struct hit *hits, size_t count, double tolerance);
/** The share of the true k nearest (by distance, so that ties count) among the hits of all queries. */
double test_recall(const struct vectors *vectors, vecdb_metric metric, const struct index_search *search,
                   const struct hit *hits, const size_t *counts);
/** A bitmap of `rows` with about `share` of them set; *count receives how many. */
uint64_t *test_bitmap(struct rng *rng, size_t rows, double share, size_t *count);

#endif
