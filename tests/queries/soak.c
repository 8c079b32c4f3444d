/* make soak-queries: many seeds, each a run of random operations against the model. */
#include "queries/oracle.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000, failed = 0;
    size_t operations = argc > 3 ? strtoull(argv[3], NULL, 10) : 500;
    struct query_tally tally = {0};
    const char *kind = "";
    double worst;

    printf("seeds %llu .. %llu, %zu operations each\n", (unsigned long long)first, (unsigned long long)(first + seeds - 1), operations);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        failed += (uint64_t)query_oracle(seed, operations, &tally);
        if ((seed - first + 1) % 100 == 0) {
            printf("%llu seeds\n", (unsigned long long)(seed - first + 1));
            fflush(stdout);
        }
    }
    query_tally_print(&tally);
    worst = query_tally_worst(&tally, &kind);
    if (worst < 0.9) {
        printf("recall of %s is %.4f, below 0.9\n", kind, worst);
        failed++;
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)(seeds - (failed < seeds ? failed : seeds)), (unsigned long long)failed);
    return failed != 0;
}
