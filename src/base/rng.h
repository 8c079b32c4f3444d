/* Random numbers: xoshiro256** (Blackman and Vigna, arXiv:1805.01407), seeded by splitmix64. Same seed, same numbers. */
#ifndef VECDB_BASE_RNG_H
#define VECDB_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t state[4];
};

static inline uint64_t rng_mix(uint64_t *counter)
{
    uint64_t z = (*counter += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

static inline struct rng rng_seeded(uint64_t seed)
{
    struct rng rng;
    for (int i = 0; i < 4; i++)
        rng.state[i] = rng_mix(&seed);
    return rng;
}

static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t *s = rng->state, x = s[1] * 5, result = (x << 7 | x >> 57) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return result;
}

/** 0 .. bound - 1 (bound > 0), with a bias below bound / 2^64. */
static inline uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)rng_next(rng) * bound) >> 64);
}

/** [0, 1) */
static inline double rng_unit(struct rng *rng) { return (double)(rng_next(rng) >> 11) * 0x1p-53; }

/** Roughly normal, mean 0, variance 1: the sum of twelve uniforms less six. */
static inline double rng_normal(struct rng *rng)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += rng_unit(rng);
    return sum;
}

#endif
