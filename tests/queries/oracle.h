/* Random operations on a collection through the public interface, each answer compared with the model's. */
#ifndef TESTS_QUERIES_ORACLE_H
#define TESTS_QUERIES_ORACLE_H

#include <stddef.h>
#include <stdint.h>

#define ORACLE_KINDS 24

/** What was done, and how well approximate searches did; added to by each run. */
struct query_tally {
    uint64_t operations, rows_written, exact, approximate, ranged, grouped, hybrid, cursors, pages, queries, counts, gets;
    struct {
        const char *kind;
        uint64_t found, wanted, in_range, range_wanted, searches;
    } recall[ORACLE_KINDS];
};

/** One seed's run. Returns 0, or 1 after saying on stderr what differs and how to replay it. */
int query_oracle(uint64_t seed, size_t operations, struct query_tally *tally);
/** The lowest recall of any index kind that was searched at least 200 times; 1 when none was. */
double query_tally_worst(const struct query_tally *tally, const char **kind);
void query_tally_print(const struct query_tally *tally);

#endif
