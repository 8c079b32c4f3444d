#include "support/oracle.h"

#include <assert.h>

void oracle_init(struct oracle *oracle, const struct driver *driver)
{
    oracle->driver = driver;
    oracle->count = oracle->durable = 0;
    oracle->hashes[0] = driver->expect(oracle->steps, 0);
}

void oracle_begin(struct oracle *oracle, const struct step *step)
{
    assert(oracle->count < ORACLE_MAX_STEPS);
    oracle->steps[oracle->count++] = *step;
    oracle->hashes[oracle->count] = oracle->driver->expect(oracle->steps, oracle->count);
}

void oracle_end(struct oracle *oracle, vecdb_status status)
{
    if (status >= 0 && oracle->driver->promises(&oracle->steps[oracle->count - 1]))
        oracle->durable = oracle->count;
    else if (status < 0 && status != VECDB_ERR_POISONED)
        oracle->count--;
}

long oracle_find(const struct oracle *oracle, uint64_t hash)
{
    for (size_t i = oracle->count + 1; i-- > oracle->durable;)
        if (oracle->hashes[i] == hash)
            return (long)i;
    return -1;
}

void oracle_settle(struct oracle *oracle, size_t prefix) { oracle->count = oracle->durable = prefix; }
