/* Measures what this machine allows: the constants that a "ratio to the limit" is taken against.
 *
 *   read bandwidth     sums 1 GiB of huge pages from front to back, on one core and on all
 *   random latency     follows a random cycle through 512 MiB, a line at a time: one miss after another
 *   random lines/s     the same lines in random order, asked for 32 ahead by prefetch: misses side by side
 *   FMA peak           float32 multiply-adds that never leave the registers
 *   VNNI peak          multiply-adds of bytes, likewise
 *
 *   probe [--json] [--seconds S]
 *
 * Each figure is the best of several goes within S seconds: a limit is what was reached, not the average.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define LINE 64
#define STREAM_BYTES ((size_t)1 << 30)
#define CHASE_BYTES ((size_t)1 << 29)
#define AHEAD 32
#define MAX_THREADS 256

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Zeroed memory on 2 MiB pages where the kernel gives them, so that page walks are not what is measured. */
static void *huge_alloc(size_t bytes)
{
    size_t huge = (size_t)2 << 20;
    uint8_t *p = mmap(NULL, bytes + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    p = (uint8_t *)(((uintptr_t)p + huge - 1) & ~(uintptr_t)(huge - 1));
    madvise(p, bytes, MADV_HUGEPAGE);
    memset(p, 1, bytes);
    return p;
}

/* ---- read bandwidth ---- */

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static uint64_t sum_avx512(const uint8_t *p, size_t bytes)
{
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;

    for (size_t i = 0; i < bytes; i += 4 * LINE) {
        a = _mm512_add_epi64(a, _mm512_load_si512(p + i));
        b = _mm512_add_epi64(b, _mm512_load_si512(p + i + LINE));
        c = _mm512_add_epi64(c, _mm512_load_si512(p + i + 2 * LINE));
        d = _mm512_add_epi64(d, _mm512_load_si512(p + i + 3 * LINE));
    }
    return (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d)));
}

__attribute__((target("avx2"))) static uint64_t sum_avx2(const uint8_t *p, size_t bytes)
{
    __m256i sum[8];
    uint64_t lanes[4];

    for (int j = 0; j < 8; j++)
        sum[j] = _mm256_setzero_si256();
    for (size_t i = 0; i < bytes; i += 4 * LINE)
        for (int j = 0; j < 8; j++)
            sum[j] = _mm256_add_epi64(sum[j], _mm256_load_si256((const __m256i *)(p + i) + j));
    for (int j = 1; j < 8; j++)
        sum[0] = _mm256_add_epi64(sum[0], sum[j]);
    _mm256_storeu_si256((__m256i *)lanes, sum[0]);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}
#endif

static uint64_t sum_plain(const uint8_t *p, size_t bytes)
{
    const uint64_t *x = (const uint64_t *)(const void *)p;
    uint64_t a = 0, b = 0, c = 0, d = 0;

    for (size_t i = 0; i < bytes / 8; i += 4) {
        a += x[i];
        b += x[i + 1];
        c += x[i + 2];
        d += x[i + 3];
    }
    return a + b + c + d;
}

static uint64_t sum_bytes(const uint8_t *p, size_t bytes)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return sum_avx512(p, bytes);
    if (__builtin_cpu_supports("avx2"))
        return sum_avx2(p, bytes);
#endif
    return sum_plain(p, bytes);
}

/* ---- arithmetic peaks: enough independent sums that none waits for another ---- */

#define CHAINS 10
#define ROUNDS 20000
#define UNROLL _Pragma("GCC unroll 10") /* the sums must stay in registers */

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static double fma_avx512(void)
{
    __m512 s[CHAINS], m = _mm512_set1_ps(0.999f), x = _mm512_set1_ps(0.5f);

    UNROLL for (int j = 0; j < CHAINS; j++)
        s[j] = _mm512_set1_ps((float)j);
    for (int i = 0; i < ROUNDS; i++)
        UNROLL for (int j = 0; j < CHAINS; j++)
            s[j] = _mm512_fmadd_ps(s[j], m, x);
    UNROLL for (int j = 1; j < CHAINS; j++)
        s[0] = _mm512_add_ps(s[0], s[j]);
    return (double)_mm512_reduce_add_ps(s[0]);
}

__attribute__((target("avx2,fma"))) static double fma_avx2(void)
{
    __m256 s[CHAINS], m = _mm256_set1_ps(0.999f), x = _mm256_set1_ps(0.5f);
    float lanes[8];

    UNROLL for (int j = 0; j < CHAINS; j++)
        s[j] = _mm256_set1_ps((float)j);
    for (int i = 0; i < ROUNDS; i++)
        UNROLL for (int j = 0; j < CHAINS; j++)
            s[j] = _mm256_fmadd_ps(s[j], m, x);
    UNROLL for (int j = 1; j < CHAINS; j++)
        s[0] = _mm256_add_ps(s[0], s[j]);
    _mm256_storeu_ps(lanes, s[0]);
    return (double)(lanes[0] + lanes[7]);
}

__attribute__((target("avx512f,avx512vnni"))) static double vnni_avx512(void)
{
    __m512i s[CHAINS], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);

    UNROLL for (int j = 0; j < CHAINS; j++)
        s[j] = _mm512_set1_epi32(j);
    for (int i = 0; i < ROUNDS; i++)
        UNROLL for (int j = 0; j < CHAINS; j++) {
            s[j] = _mm512_dpbusd_epi32(s[j], a, b);
            __asm__ volatile("" : "+v"(s[j])); /* the compiler would otherwise sum the constants itself */
        }
    UNROLL for (int j = 1; j < CHAINS; j++)
        s[0] = _mm512_add_epi32(s[0], s[j]);
    return (double)_mm512_reduce_add_epi32(s[0]);
}
#endif

static double fma_plain(void)
{
    float s[CHAINS] = {0};

    for (int i = 0; i < ROUNDS; i++)
        UNROLL for (int j = 0; j < CHAINS; j++)
            s[j] = s[j] * 0.999f + 0.5f;
    return (double)(s[0] + s[CHAINS - 1]);
}

/* Operations (multiply and add counted apart for floats, as one for bytes) of one call; 0: not on this CPU. */
static double fma_once(volatile double *sink)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        *sink += fma_avx512();
        return 2.0 * 16 * CHAINS * ROUNDS;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        *sink += fma_avx2();
        return 2.0 * 8 * CHAINS * ROUNDS;
    }
#endif
    *sink += fma_plain();
    return 2.0 * CHAINS * ROUNDS;
}

static double vnni_once(volatile double *sink)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vnni")) {
        *sink += vnni_avx512();
        return 64.0 * CHAINS * ROUNDS;
    }
#endif
    (void)sink;
    return 0.0;
}

/* ---- random lines ---- */

/* One cycle through all lines (Sattolo's shuffle), its successor stored in each line. */
static void make_cycle(uint8_t *p, uint32_t *order, size_t lines)
{
    uint64_t seed = 88172645463325252ull;

    for (size_t i = 0; i < lines; i++)
        order[i] = (uint32_t)i;
    for (size_t i = lines - 1; i > 0; i--) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        size_t j = seed % i;
        uint32_t t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (size_t i = 0; i < lines; i++)
        *(uint32_t *)(void *)(p + (size_t)order[i] * LINE) = order[(i + 1) % lines];
}

static double chase_s(const uint8_t *p, size_t steps, volatile double *sink)
{
    uint32_t at = 0;
    double start = now_s();

    for (size_t i = 0; i < steps; i++)
        at = *(const uint32_t *)(const void *)(p + (size_t)at * LINE);
    *sink += at;
    return (now_s() - start) / (double)steps;
}

static double prefetched_s(const uint8_t *p, const uint32_t *order, size_t lines, volatile double *sink)
{
    uint64_t sum = 0;
    double start = now_s();

    for (size_t i = 0; i + AHEAD < lines; i++) {
        __builtin_prefetch(p + (size_t)order[i + AHEAD] * LINE, 0, 3);
        sum += p[(size_t)order[i] * LINE];
    }
    *sink += (double)sum;
    return (now_s() - start) / (double)(lines - AHEAD);
}

/* ---- running a measurement on several cores at once ---- */

enum what { READ, FMA, VNNI, LINES };

struct job {
    enum what what;
    const uint8_t *bytes; /* this thread's part */
    size_t size;
    const uint32_t *order;
    size_t lines;
    int cpu;
    double seconds;
    pthread_barrier_t *gate;
    double done; /* bytes, operations or lines a second */
};

static void *job_run(void *arg)
{
    struct job *job = arg;
    volatile double sink = 0;
    double begin;
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(job->cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
    pthread_barrier_wait(job->gate);
    begin = now_s();
    do {
        double start = now_s(), amount = 0, spent;

        switch (job->what) {
        case READ:
            sink += (double)sum_bytes(job->bytes, job->size);
            amount = (double)job->size;
            break;
        case FMA:
            for (int i = 0; i < 20; i++)
                amount += fma_once(&sink);
            break;
        case VNNI:
            for (int i = 0; i < 20; i++)
                amount += vnni_once(&sink);
            break;
        case LINES:
            amount = 1.0 / prefetched_s(job->bytes, job->order, job->lines, &sink);
            break;
        }
        spent = now_s() - start;
        if (job->what != LINES)
            amount /= spent;
        if (amount > job->done)
            job->done = amount;
    } while (now_s() - begin < job->seconds);
    return NULL;
}

/* The sum over the threads of each one's best. */
static double measure(enum what what, int threads, const int *cpus, const uint8_t *bytes, size_t size,
                      const uint32_t *order, double seconds)
{
    pthread_t handle[MAX_THREADS];
    struct job job[MAX_THREADS];
    pthread_barrier_t gate;
    double total = 0;

    pthread_barrier_init(&gate, NULL, (unsigned)threads);
    for (int t = 0; t < threads; t++) {
        size_t part = size / (size_t)threads & ~(size_t)4095;
        size_t lines = CHASE_BYTES / LINE / (size_t)threads;

        job[t] = (struct job){.what = what, .cpu = cpus[t], .seconds = seconds, .gate = &gate};
        job[t].bytes = what == READ ? bytes + part * (size_t)t : bytes;
        job[t].size = part;
        job[t].order = order ? order + lines * (size_t)t : NULL;
        job[t].lines = lines;
        if (pthread_create(&handle[t], NULL, job_run, &job[t])) {
            fprintf(stderr, "probe: cannot start thread %d of %d\n", t + 1, threads);
            exit(1);
        }
    }
    for (int t = 0; t < threads; t++) {
        pthread_join(handle[t], NULL);
        total += job[t].done;
    }
    pthread_barrier_destroy(&gate);
    return total;
}

int main(int argc, char **argv)
{
    int json = 0, threads = 0, cpus[MAX_THREADS];
    double seconds = 1.0, read1, reada, latency = 1.0, lines1, linesa, fma1, fmaa, vnni1, vnnia;
    volatile double sink = 0;
    cpu_set_t allowed;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json")) {
            json = 1;
        } else if (!strcmp(argv[i], "--seconds") && i + 1 < argc) {
            seconds = strtod(argv[++i], NULL);
        } else {
            fprintf(stderr, "usage: probe [--json] [--seconds S]\n");
            return 2;
        }
    }
    if (!(seconds > 0 && seconds <= 60)) {
        fprintf(stderr, "probe: --seconds must be above 0 and at most 60\n");
        return 2;
    }
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (int c = 0; c < CPU_SETSIZE && threads < MAX_THREADS; c++)
        if (CPU_ISSET(c, &allowed))
            cpus[threads++] = c;

    uint8_t *stream = huge_alloc(STREAM_BYTES), *chase = stream;
    uint32_t *order = malloc(CHASE_BYTES / LINE * sizeof *order);
    if (!stream || !order) {
        fprintf(stderr, "probe: no memory for %zu bytes\n", STREAM_BYTES);
        return 1;
    }
    /* single-core figures on the last CPU, where the benchmarks run too */
    const int *last = &cpus[threads - 1];
    read1 = measure(READ, 1, last, stream, STREAM_BYTES, NULL, seconds);
    reada = measure(READ, threads, cpus, stream, STREAM_BYTES, NULL, seconds);
    fma1 = measure(FMA, 1, last, NULL, 0, NULL, seconds / 2);
    fmaa = measure(FMA, threads, cpus, NULL, 0, NULL, seconds / 2);
    vnni1 = measure(VNNI, 1, last, NULL, 0, NULL, seconds / 2);
    vnnia = measure(VNNI, threads, cpus, NULL, 0, NULL, seconds / 2);
    make_cycle(chase, order, CHASE_BYTES / LINE);
    for (double begin = now_s(); now_s() - begin < seconds;) {
        double t = chase_s(chase, (size_t)1 << 20, &sink);
        if (t < latency)
            latency = t;
    }
    lines1 = measure(LINES, 1, last, chase, 0, order, seconds);
    linesa = measure(LINES, threads, cpus, chase, 0, order, seconds);

    if (json)
        printf("{\"cores\": %d, \"read_gbs_1\": %.2f, \"read_gbs_all\": %.2f, \"latency_ns\": %.1f, "
               "\"random_lines_per_s_1\": %.4g, \"random_lines_per_s_all\": %.4g, \"misses_in_flight\": %.1f, "
               "\"fma_gflops_1\": %.1f, \"fma_gflops_all\": %.1f, \"vnni_gmacs_1\": %.1f, \"vnni_gmacs_all\": %.1f}\n",
               threads, read1 / 1e9, reada / 1e9, latency * 1e9, lines1, linesa, latency * lines1, fma1 / 1e9,
               fmaa / 1e9, vnni1 / 1e9, vnnia / 1e9);
    else
        printf("read bandwidth       1 core %8.1f GB/s      %d cores %8.1f GB/s\n"
               "random line latency  %8.1f ns\n"
               "random lines         1 core %8.1f M/s       %d cores %8.1f M/s   (%.1f misses in flight)\n"
               "FMA, float32         1 core %8.1f GFLOP/s   %d cores %8.1f GFLOP/s\n"
               "VNNI, bytes          1 core %8.1f GMAC/s    %d cores %8.1f GMAC/s\n",
               read1 / 1e9, threads, reada / 1e9, latency * 1e9, lines1 / 1e6, threads, linesa / 1e6,
               latency * lines1, fma1 / 1e9, threads, fmaa / 1e9, vnni1 / 1e9, threads, vnnia / 1e9);
    return 0;
}
