#include "index/graph_codec.h"

#include "base/bytes.h"
#include "base/float16.h"
#include "base/mem.h"
#include "index/spread.h"
#include "simd/graph.h"
#include "simd/kernels.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#define TRAIN_ROWS 4096
#define REACH_ROWS 1024        /* looked at to know whether codes reach as far as rows do: */
#define REACH_CUT 0.5          /* mean square, in steps, of what is cut off a row for it to count, six times what rounding takes; */
#define REACH_SHARE 16         /* and one row in so many that may */
#define CHECK_ROWS 256         /* looked at by one task */
#define RETRAIN_FACTOR 4       /* codes are cut anew when there are so many times the rows they were cut for */
#define RETRAIN_ROWS 65536     /* and no more beyond: enough to know the data by */
#define CENTER_ROWS 127        /* whose medians say where a dimension lies, before any mean is taken */
#define BIN_SHIFT 19           /* a histogram by a float's exponent and upper four bits of fraction: 4 % wide bins */
#define HISTOGRAM_BINS (1u << (31 - BIN_SHIFT))
#define MEAN_SHARE 0.5         /* COSINE: with more of the squared length than this common to all, go by distance */
#define DOT_BIAS 0x80000000u
#define BEYOND_LEAST 2.0       /* root mean square, in steps, of what a code leaves out of a query for it to be far out */
#define BEYOND_MOST 1e60
#define SCORE_MOST 4294967040.0
#define SCORE_BLOCK 64
#define ORDER_LEAST 256   /* bytes of a code: of shorter ones nothing is gained by scoring a part */
#define HEAD_SHARE 0.75   /* of the squared distance between two rows, on average */
#define MIDDLE_SHARE 0.95
#define HEAD_MOST 0.67    /* of the bytes: with more, dimensions are too much alike for an order to pay */

void graph_codec_deinit(struct graph_codec *codec)
{
    mem_free(codec->mean);
    mem_free(codec->signs);
    mem_free(codec->order);
    memset(codec, 0, sizeof *codec);
}

vecdb_status graph_codec_alloc(struct graph_codec *codec)
{
    if (codec->kind >= GRAPH_CODE_HAMMING) {
        size_t bytes = codec->code_dim / 8;
        codec->stride = align_up(bytes, bytes < 64 ? 16 : 64);
        return VECDB_OK;
    }
    codec->stride = codec->code_dim;
    codec->mean = mem_array_zalloc(codec->code_dim, sizeof *codec->mean);
    if (codec->rotate)
        codec->signs = mem_zalloc(codec->code_dim / 2);
    if (codec->head)
        codec->order = mem_array_zalloc(codec->dim, sizeof *codec->order);
    if (!codec->mean || (codec->rotate && !codec->signs) || (codec->head && !codec->order)) {
        graph_codec_deinit(codec);
        return error_nomem("graph codes");
    }
    return VECDB_OK;
}

static bool same_order(const struct graph_codec *a, const struct graph_codec *b)
{
    if (!a->order || !b->order || a->dim != b->dim)
        return !a->order && !b->order;
    return a->head == b->head && a->middle == b->middle && memcmp(a->order, b->order, a->dim * sizeof *a->order) == 0;
}

bool graph_codec_same_values(const struct graph_codec *a, const struct graph_codec *b)
{
    return a->kind == b->kind && a->kind < GRAPH_CODE_HAMMING && a->lossless && b->lossless && a->dim == b->dim &&
           a->code_dim == b->code_dim && a->mean[0] == b->mean[0];
}

void graph_codec_places(const struct graph_codec *from, const struct graph_codec *to, uint32_t *places)
{
    for (uint32_t i = 0; i < from->dim; i++)
        places[from->dim + (from->order ? from->order[i] : i)] = i;
    for (uint32_t i = 0; i < to->dim; i++)
        places[i] = places[from->dim + (to->order ? to->order[i] : i)];
}

bool graph_codec_equal(const struct graph_codec *a, const struct graph_codec *b)
{
    return same_order(a, b) && a->kind == b->kind && a->dim == b->dim && a->code_dim == b->code_dim && a->lossless == b->lossless &&
           a->rotate == b->rotate && a->normalize == b->normalize && a->augment == b->augment && a->step == b->step &&
           a->radius == b->radius && (!a->mean || memcmp(a->mean, b->mean, a->code_dim * sizeof *a->mean) == 0) &&
           (!a->signs || memcmp(a->signs, b->signs, a->code_dim / 2) == 0);
}

bool graph_codec_knows(const struct graph_codec *codec, size_t rows)
{
    return codec->trained_rows >= RETRAIN_ROWS || rows <= RETRAIN_FACTOR * (size_t)codec->trained_rows;
}

vecdb_status graph_codec_copy(const struct graph_codec *from, struct graph_codec *to)
{
    *to = *from;
    to->mean = NULL;
    to->signs = NULL;
    to->order = NULL;
    TRY(graph_codec_alloc(to));
    if (from->mean)
        memcpy(to->mean, from->mean, from->code_dim * sizeof *from->mean);
    if (from->signs)
        memcpy(to->signs, from->signs, from->code_dim / 2);
    if (from->order)
        memcpy(to->order, from->order, from->dim * sizeof *from->order);
    return VECDB_OK;
}

size_t graph_codec_scratch(const struct graph_codec *codec)
{
    return codec->kind >= GRAPH_CODE_HAMMING ? 0 : codec->order ? 2 * (size_t)codec->code_dim : codec->code_dim;
}

static void load_floats(vecdb_type type, const void *row, size_t dim, float *out)
{
    const struct code_kernels *kernels = simd_codes();

    switch (type) {
    case VECDB_TYPE_FLOAT16_VECTOR:
        kernels->f32_from_f16(row, dim, out);
        break;
    case VECDB_TYPE_BFLOAT16_VECTOR:
        kernels->f32_from_bf16(row, dim, out);
        break;
    case VECDB_TYPE_INT8_VECTOR:
        kernels->f32_from_i8(row, dim, out);
        break;
    default:
        memcpy(out, row, dim * sizeof *out);
    }
}

/* A row with its dimensions in the order of codes, and zeros after them up to code_dim. */
static void load_ordered(const struct graph_codec *codec, vecdb_type type, const void *row, float *x)
{
    const float *from = row;

    memset(x + codec->dim, 0, (codec->code_dim - codec->dim) * sizeof *x);
    if (!codec->order) {
        load_floats(type, row, codec->dim, x);
        return;
    }
    if (type != VECDB_TYPE_FLOAT_VECTOR) {
        load_floats(type, row, codec->dim, x + codec->code_dim);
        from = x + codec->code_dim;
    }
    for (size_t i = 0; i < codec->dim; i++)
        x[i] = from[codec->order[i]];
}

/* A row in the space the codes are cut from: normalized, lengthened, rotated; not centred. */
static void transform(const struct graph_codec *codec, vecdb_type type, const void *row, bool query, float *x)
{
    const struct code_kernels *kernels = simd_codes();

    load_ordered(codec, type, row, x);
    if (codec->normalize)
        kernels->normalize_f32(x, codec->dim, x);
    if (codec->augment && !query) {
        float rest = codec->radius * codec->radius - kernels->sumsq_f32(x, codec->dim);
        x[codec->dim] = rest > 0 ? sqrtf(rest) : 0;
    }
    if (codec->rotate)
        kernels->rotate(x, codec->code_dim, codec->signs);
}

/* Smallest and largest value if all are integers. */
static bool integer_range(const float *x, size_t dim, float *low, float *high)
{
    float least = *low, most = *high;
    bool whole = true;

    for (size_t i = 0; i < dim; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
        whole &= rintf(x[i]) == x[i];
    }
    *low = least;
    *high = most;
    return whole;
}

bool graph_codec_fits(const struct graph_codec *codec, vecdb_type type, const void *row)
{
    float x[256], low = INFINITY, high = -INFINITY;
    size_t width = type == VECDB_TYPE_FLOAT_VECTOR ? 4 : type == VECDB_TYPE_INT8_VECTOR ? 1 : 2;

    if (!codec->lossless || codec->kind >= GRAPH_CODE_HAMMING || type == VECDB_TYPE_INT8_VECTOR)
        return true;
    for (size_t i = 0; i < codec->dim; i += 256) {
        size_t n = codec->dim - i < 256 ? codec->dim - i : 256;
        uint8_t bytes[256];
        if (type == VECDB_TYPE_FLOAT_VECTOR && codec->mean[0] == 0) { /* the common case, at once */
            if (!simd_codes()->u8_from_f32((const uint8_t *)row + i * width, n, bytes))
                return false;
            continue;
        }
        load_floats(type, (const uint8_t *)row + i * width, n, x);
        if (!integer_range(x, n, &low, &high) || low < codec->mean[0] || high > codec->mean[0] + 255)
            return false;
    }
    return true;
}

static bool is_present(const struct vectors *vectors, size_t row)
{
    return !vectors->present || bitmap_get(vectors->present, row);
}

/* Whether all rows are integers within 255 of *low. */
static bool all_bytes(const struct vectors *vectors, float *scratch, float *base)
{
    float low = INFINITY, high = -INFINITY;
    size_t seen = 0;

    for (size_t row = 0; row < vectors->row_count; row++) {
        if (!is_present(vectors, row))
            continue;
        load_floats(vectors->type, vectors_row(vectors, row), vectors->dim, scratch);
        if (!integer_range(scratch, vectors->dim, &low, &high) || high - low > 255 || low < -65536 || high > 65536)
            return false;
        seen++;
    }
    *base = !seen ? 0 : low >= 0 && high <= 255 ? 0 : low >= -128 && high <= 127 ? -128 : low;
    return seen > 0;
}

struct check {
    const struct vectors *vectors;
    atomic_bool fails;
};

static vecdb_status check_task(void *context, size_t task, unsigned worker)
{
    struct check *check = context;
    const struct vectors *vectors = check->vectors;
    size_t row = task * CHECK_ROWS, end = row + CHECK_ROWS < vectors->row_count ? row + CHECK_ROWS : vectors->row_count;
    uint8_t *bytes = mem_alloc((size_t)vectors->dim + 1);

    if (!bytes)
        return error_nomem("graph codes");
    for (; row < end && !atomic_load_explicit(&check->fails, memory_order_relaxed); row++)
        if (is_present(vectors, row) && !simd_codes()->u8_from_f32(vectors_row(vectors, row), vectors->dim, bytes))
            atomic_store_explicit(&check->fails, true, memory_order_relaxed);
    mem_free(bytes);
    return VECDB_OK;
}

/* The same where it is seen at once: all rows are floats that are integers 0 .. 255. */
static vecdb_status all_unsigned(const struct vectors *vectors, struct pool *pool, bool *out)
{
    struct check check = {.vectors = vectors};
    bool any = false;
    vecdb_status status;

    for (size_t row = 0; row < vectors->row_count && !any; row++)
        any = is_present(vectors, row);
    atomic_init(&check.fails, !any || vectors->type != VECDB_TYPE_FLOAT_VECTOR);
    status = atomic_load(&check.fails) ? VECDB_OK
                                       : pool_run(pool, (vectors->row_count + CHECK_ROWS - 1) / CHECK_ROWS, check_task, &check);
    *out = !atomic_load(&check.fails);
    return status;
}

/* Where to clip, c: the one that loses least, rounding and clipping taken together. Returns the loss. */
static double best_clip(const uint64_t *bins, double *clip)
{
    double best = INFINITY;
    uint64_t total = 0;
    size_t used = 0, first = 0;

    for (size_t b = 0; b < HISTOGRAM_BINS; b++) {
        total += bins[b];
        used = bins[b] ? b + 1 : used;
    }
    *clip = 0;
    first = used > 160 ? used - 160 : 0; /* a factor of 1000 below the largest */
    for (size_t c = first; c < used; c++) {
        double reach = float_from_bits((uint32_t)(c + 1) << BIN_SHIFT), step = 2 * reach / 255;
        double loss = (double)total * step * step / 12;
        for (size_t b = c + 1; b < used; b++) {
            double beyond = float_from_bits((uint32_t)b << BIN_SHIFT) - reach;
            loss += (double)bins[b] * beyond * beyond;
        }
        if (loss < best) {
            best = loss;
            *clip = reach;
        }
    }
    return used && best < INFINITY ? best : 0;
}

struct fit {
    double loss, clip;
};

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Mean of each dimension, far-off values drawn in to where nearly all lie. x: (CENTER_ROWS + 1) x code_dim. */
static void find_means(struct graph_codec *codec, const struct vectors *vectors, const uint32_t *rows, size_t n, float *x,
                       double *sums)
{
    size_t dim = codec->code_dim, center_rows = n < CENTER_ROWS ? n : CENTER_ROWS;
    float *line = x + CENTER_ROWS * dim, *low = codec->mean, *high = x; /* once the medians are known */

    for (size_t i = 0; i < center_rows; i++)
        transform(codec, vectors->type, vectors_row(vectors, rows[i * n / center_rows]), false, x + i * dim);
    for (size_t d = 0; d < dim && n; d++) {
        float column[CENTER_ROWS], spread, median;
        for (size_t i = 0; i < center_rows; i++)
            column[i] = x[i * dim + d];
        qsort(column, center_rows, sizeof *column, compare_floats);
        median = column[center_rows / 2];
        spread = column[center_rows * 9 / 10] - column[center_rows / 10];
        low[d] = median - 4 * spread;
        high[d] = median + 4 * spread;
        sums[d] = 0;
    }
    for (size_t i = 0; i < n; i++) {
        transform(codec, vectors->type, vectors_row(vectors, rows[i]), false, line);
        for (size_t d = 0; d < dim; d++)
            sums[d] += line[d] < low[d] ? low[d] : line[d] > high[d] ? high[d] : line[d];
    }
    for (size_t d = 0; d < dim; d++)
        codec->mean[d] = n ? (float)(sums[d] / (double)n) : 0;
}

/* Stray rows are left out of account, so that they do not take the resolution from all others. */
static float longest_ordinary(float *squares, size_t n)
{
    float limit;

    qsort(squares, n, sizeof *squares, compare_floats);
    limit = n ? 16 * squares[n - 1 - n / 10] : 0;
    return limit > 0 ? limit : INFINITY;
}

/* Mean, and how well one step for all dimensions would do. */
static vecdb_status fit_step(struct graph_codec *codec, const struct vectors *vectors, const uint32_t *rows, size_t n,
                             struct fit *fit)
{
    const struct code_kernels *kernels = simd_codes();
    uint64_t *bins = mem_array_zalloc(HISTOGRAM_BINS, sizeof *bins);
    double *sums = mem_array_zalloc(codec->code_dim, sizeof *sums);
    float *x = mem_array_alloc((CENTER_ROWS + 1) * (size_t)codec->code_dim, sizeof *x), limit;
    float *squares = mem_array_alloc(n + 1, sizeof *squares);
    vecdb_status status = bins && sums && x && squares ? VECDB_OK : error_nomem("graph codes");

    if (status == VECDB_OK) {
        find_means(codec, vectors, rows, n, x, sums);
        for (size_t i = 0; i < n; i++) {
            transform(codec, vectors->type, vectors_row(vectors, rows[i]), false, x);
            kernels->sub_f32(x, codec->mean, codec->code_dim, x);
            squares[i] = kernels->sumsq_f32(x, codec->code_dim);
        }
        limit = longest_ordinary(squares, n);
        for (size_t i = 0; i < n; i++) {
            transform(codec, vectors->type, vectors_row(vectors, rows[i]), false, x);
            kernels->sub_f32(x, codec->mean, codec->code_dim, x);
            if (kernels->sumsq_f32(x, codec->code_dim) > limit)
                continue;
            for (size_t d = 0; d < codec->code_dim; d++)
                bins[(bits_from_float(x[d]) & 0x7FFFFFFF) >> BIN_SHIFT]++;
        }
        fit->loss = best_clip(bins, &fit->clip);
    }
    mem_free(bins);
    mem_free(sums);
    mem_free(x);
    mem_free(squares);
    return status;
}

/* The length IP rows are brought to: the longest, unless it stands far out. */
static bool choose_radius(struct graph_codec *codec, const struct vectors *vectors, const uint32_t *rows, size_t n,
                          float *x, float *lengths)
{
    const struct code_kernels *kernels = simd_codes();

    for (size_t i = 0; i < n; i++) {
        load_floats(vectors->type, vectors_row(vectors, rows[i]), vectors->dim, x);
        lengths[i] = sqrtf(kernels->sumsq_f32(x, vectors->dim));
    }
    qsort(lengths, n, sizeof *lengths, compare_floats);
    codec->radius = n ? lengths[n - 1] : 1;
    if (n && codec->radius > 2 * lengths[n - 1 - n / 100])
        codec->radius = 2 * lengths[n - 1 - n / 100];
    return n && lengths[0] < 0.999f * codec->radius;
}

static void draw_signs(struct graph_codec *codec, uint64_t seed)
{
    struct rng rng = rng_seeded(seed ^ 0x726F74617465ull);

    for (size_t i = 0; i < codec->code_dim / 2; i++)
        codec->signs[i] = (uint8_t)rng_next(&rng);
}

static size_t sample_rows(const struct vectors *vectors, uint32_t *rows)
{
    size_t step = vectors->row_count / TRAIN_ROWS + 1, n = 0;

    for (size_t row = 0; row < vectors->row_count && n < TRAIN_ROWS; row += step)
        for (size_t r = row; r < row + step && r < vectors->row_count; r++)
            if (is_present(vectors, r)) {
                rows[n++] = (uint32_t)r;
                break;
            }
    return n;
}

/* How codes differ by dimension, times the square of their number; whole numbers, which doubles keep. */
static void find_spreads(const struct graph_codec *codec, const struct vectors *vectors, const uint32_t *rows, size_t n,
                         float *x, uint8_t *code, uint32_t *sums, uint32_t *squares, struct spread *spreads)
{
    for (size_t i = 0; i < n; i++) { /* 4,096 times 255^2 fits 32 bits */
        graph_codec_encode(codec, vectors->type, vectors_row(vectors, rows[i]), x, code);
        for (size_t d = 0; d < codec->dim; d++) {
            sums[d] += code[d];
            squares[d] += (uint32_t)code[d] * code[d];
        }
    }
    for (size_t d = 0; d < codec->dim; d++)
        spreads[d] = (struct spread){(double)((uint64_t)n * squares[d] - (uint64_t)sums[d] * sums[d]), (uint32_t)d};
}

/* Put the dimensions that differ most first, where that pays. */
static vecdb_status choose_order(struct graph_codec *codec, const struct vectors *vectors, const uint32_t *rows, size_t n)
{
    size_t dim = codec->dim;
    float *x = mem_array_alloc(codec->code_dim, sizeof *x);
    uint8_t *code = mem_aligned_alloc(64, codec->stride);
    uint32_t *sums = mem_array_zalloc(dim, 2 * sizeof *sums);
    struct spread *spreads = mem_array_alloc(dim, sizeof *spreads);
    bool enough = x && code && sums && spreads;
    double total;

    if (enough) {
        find_spreads(codec, vectors, rows, n, x, code, sums, sums + dim, spreads);
        total = spread_sort(spreads, dim);
        codec->head = spread_reach(spreads, dim, total, HEAD_SHARE);
        codec->middle = spread_reach(spreads, dim, total, MIDDLE_SHARE);
        if (total > 0 && (double)codec->head <= HEAD_MOST * (double)codec->stride) {
            enough = (codec->order = mem_array_alloc(dim, sizeof *codec->order)) != NULL;
            for (size_t d = 0; enough && d < dim; d++) {
                codec->order[d] = spreads[d].dim;
                x[d] = codec->mean[spreads[d].dim];
            }
            if (enough)
                memcpy(codec->mean, x, dim * sizeof *x);
        } else
            codec->head = codec->middle = 0;
    }
    mem_free(x);
    mem_free(code);
    mem_free(sums);
    mem_free(spreads);
    return enough ? VECDB_OK : error_nomem("graph codes");
}

static vecdb_status train_bytes(struct graph_codec *codec, const struct vectors *vectors, vecdb_metric metric,
                                uint64_t seed, struct pool *pool, const uint32_t *rows, size_t n, float *x, float *lengths)
{
    struct graph_codec rotated;
    struct fit plain_fit, rotated_fit;
    bool whole = false;
    float low = 0;

    codec->kind = metric == VECDB_METRIC_L2 ? GRAPH_CODE_L2 : GRAPH_CODE_DOT;
    if (metric == VECDB_METRIC_L2)
        TRY(all_unsigned(vectors, pool, &whole));
    if (metric == VECDB_METRIC_L2 &&
        (whole || (vectors->type == VECDB_TYPE_INT8_VECTOR ? (low = -128, true) : all_bytes(vectors, x, &low)))) {
        codec->lossless = true;
        codec->code_dim = (uint32_t)align_up(codec->dim, 64);
        codec->step = 1;
        TRY(graph_codec_alloc(codec));
        for (size_t d = 0; d < codec->code_dim; d++)
            codec->mean[d] = low;
        return VECDB_OK;
    }
    codec->normalize = metric == VECDB_METRIC_COSINE;
    codec->radius = 1;
    codec->augment = metric == VECDB_METRIC_IP && choose_radius(codec, vectors, rows, n, x, lengths);
    codec->code_dim = (uint32_t)align_up(codec->dim + codec->augment, 64);
    rotated = *codec;
    rotated.rotate = true;
    TRY(graph_codec_alloc(codec));
    TRY(graph_codec_alloc(&rotated));
    draw_signs(&rotated, seed);
    if (fit_step(codec, vectors, rows, n, &plain_fit) != VECDB_OK ||
        fit_step(&rotated, vectors, rows, n, &rotated_fit) != VECDB_OK) {
        graph_codec_deinit(&rotated);
        return error_last()->status;
    }
    if (rotated_fit.loss < 0.7 * plain_fit.loss) { /* worth a microsecond per query */
        graph_codec_deinit(codec);
        *codec = rotated;
        plain_fit = rotated_fit;
    } else
        graph_codec_deinit(&rotated);
    if (codec->normalize && simd_codes()->sumsq_f32(codec->mean, codec->code_dim) > MEAN_SHARE)
        codec->kind = GRAPH_CODE_L2; /* a query of signed bytes would spend them on what all rows have in common */
    codec->step = plain_fit.clip > 0 ? (float)(2 * plain_fit.clip / 255) : 1;
    if (!(codec->step > 1e-30f) || !isfinite(codec->step) || !isfinite(1 / codec->step))
        codec->step = 1;
    return VECDB_OK;
}

vecdb_status graph_codec_train(struct graph_codec *codec, const struct vectors *vectors, vecdb_metric metric,
                               uint64_t seed, struct pool *pool)
{
    uint32_t *rows;
    float *x, *lengths;
    size_t n;
    vecdb_status status;

    memset(codec, 0, sizeof *codec);
    codec->dim = vectors->dim;
    codec->trained_rows = (uint32_t)vectors->row_count;
    if (vectors->type == VECDB_TYPE_BINARY_VECTOR) {
        codec->kind = metric == VECDB_METRIC_JACCARD ? GRAPH_CODE_JACCARD : GRAPH_CODE_HAMMING;
        codec->code_dim = codec->dim;
        codec->lossless = true;
        return graph_codec_alloc(codec);
    }
    rows = mem_array_alloc(TRAIN_ROWS, sizeof *rows);
    lengths = mem_array_alloc(TRAIN_ROWS, sizeof *lengths);
    x = mem_array_alloc(align_up((size_t)codec->dim + 1, 64), sizeof *x);
    if (!rows || !x || !lengths)
        status = error_nomem("graph codes");
    else {
        n = sample_rows(vectors, rows);
        status = train_bytes(codec, vectors, metric, seed, pool, rows, n, x, lengths);
        if (status == VECDB_OK && codec->kind == GRAPH_CODE_L2 && !codec->rotate && codec->stride >= ORDER_LEAST)
            status = choose_order(codec, vectors, rows, n);
    }
    if (status != VECDB_OK)
        graph_codec_deinit(codec);
    mem_free(rows);
    mem_free(lengths);
    mem_free(x);
    return status;
}

/* By how many steps x misses the range of codes, without overflow. */
static double cut_off_exactly(double x, double low, double step)
{
    double out = (x - low) / step;

    out = out < 0 ? out : out > 255 ? out - 255 : 0;
    return out > BEYOND_MOST ? BEYOND_MOST : out < -BEYOND_MOST ? -BEYOND_MOST : out;
}

vecdb_status graph_codec_reaches(const struct graph_codec *codec, const struct vectors *vectors, bool *out)
{
    size_t step = vectors->row_count / REACH_ROWS + 1, seen = 0, cut = 0;
    float *x = mem_array_alloc(graph_codec_scratch(codec) + 1, sizeof *x);

    if (!x)
        return error_nomem("graph codes");
    for (size_t row = 0; row < vectors->row_count; row += step) {
        double squares = 0;
        if (!is_present(vectors, row))
            continue;
        transform(codec, vectors->type, vectors_row(vectors, row), false, x);
        simd_codes()->sub_f32(x, codec->mean, codec->code_dim, x);
        for (size_t d = 0; d < codec->code_dim; d++) {
            double beyond = cut_off_exactly((double)x[d], -128 * (double)codec->step, (double)codec->step);
            squares += beyond * beyond;
        }
        cut += squares > REACH_CUT * (double)codec->code_dim;
        seen++;
    }
    mem_free(x);
    *out = cut * REACH_SHARE <= seen;
    return VECDB_OK;
}

void graph_codec_encode(const struct graph_codec *codec, vecdb_type type, const void *row, float *scratch, uint8_t *code)
{
    const struct code_kernels *kernels = simd_codes();

    if (codec->kind >= GRAPH_CODE_HAMMING) {
        memcpy(code, row, codec->code_dim / 8);
        memset(code + codec->code_dim / 8, 0, codec->stride - codec->code_dim / 8);
    } else if (codec->lossless) {
        load_ordered(codec, type, row, scratch);
        kernels->sq8_encode(scratch, codec->dim, codec->mean[0], 1, code);
        memset(code + codec->dim, 0, codec->stride - codec->dim);
    } else {
        transform(codec, type, row, false, scratch);
        kernels->sub_f32(scratch, codec->mean, codec->code_dim, scratch);
        kernels->sq8_encode(scratch, codec->code_dim, -128 * codec->step, 1 / codec->step, code);
    }
}

static void dot_query(const struct graph_codec *codec, const float *x, uint8_t *code, struct graph_query *out)
{
    const struct code_kernels *kernels = simd_codes();
    double length = 0, along = 0, most = 0, nearest;
    float step;

    for (size_t d = 0; d < codec->code_dim; d++) {
        length += (double)x[d] * x[d];
        along += (double)x[d] * codec->mean[d];
        most = fabs(x[d]) > most ? fabs(x[d]) : most;
    }
    step = most > 0 ? (float)(most / 127) : 1;
    if (!(step > 1e-36f))
        step = 1e-36f;
    kernels->quantize_i8(x, codec->code_dim, 1 / step, (int8_t *)code);
    out->step = step;
    out->length = (float)sqrt(length);
    /* the inner product with a row straight ahead, in units of codes */
    nearest = (sqrt(length) * codec->radius - along) / ((double)codec->step * step) +
              128.0 * kernels->sum_i8(code, codec->code_dim);
    nearest = nearest > 2e9 ? 2e9 : nearest < -2e9 ? -2e9 : nearest;
    out->zero = (int64_t)DOT_BIAS - (int64_t)nearest;
}

static void choose_gather(struct graph_query *query)
{
    const struct graph_kernels *kernels = simd_graph();

    query->gather = query->kind == GRAPH_CODE_L2 ? kernels->l2sq_u8 : query->kind == GRAPH_CODE_DOT ? kernels->dot_u8s8 : NULL;
}

/* Whether the codes of x, of step 1, give x back. */
static bool is_restored(const float *x, const uint8_t *code, size_t dim, float low)
{
    int differs = 0;

    for (size_t d = 0; d < dim; d++)
        differs |= (float)code[d] + low != x[d];
    return !differs;
}

/* By how many steps x misses the range of codes. */
static inline float cut_off(float x, float low, float high, float unit)
{
    float out = x < low ? x - low : x > high ? x - high : 0;

    return out * unit;
}

/* Whether codes leave out enough of x to matter. */
static bool is_far_out(const float *x, size_t dim, float low, float step)
{
    float high = low + 255 * step, unit = 1 / step, sums[8] = {0}, sum = 0;
    size_t d = 0;

    for (; d + 8 <= dim; d += 8)
        for (size_t i = 0; i < 8; i++) {
            float out = cut_off(x[d + i], low, high, unit);
            sums[i] += out * out;
        }
    for (; d < dim; d++) {
        float out = cut_off(x[d], low, high, unit);
        sum += out * out;
    }
    for (size_t i = 0; i < 8; i++)
        sum += sums[i];
    return !(sum < (float)(BEYOND_LEAST * BEYOND_LEAST) * (float)dim);
}

/* What lies beyond the code, as signed bytes after it, and how scores are made of both. */
static void far_query(const struct graph_codec *codec, const float *x, size_t dim, float low, uint8_t *code,
                      struct graph_query *out)
{
    double most = 0, length = 0, across = 0, up = 0, down = 0, step, range;
    int8_t *beyond = (int8_t *)(code + codec->stride);

    memset(beyond, 0, codec->stride);
    for (size_t d = 0; d < dim; d++) {
        double e = fabs(cut_off_exactly((double)x[d], (double)low, (double)codec->step));
        most = e > most ? e : most;
    }
    step = most > 0 ? most / 127 : 1;
    for (size_t d = 0; d < dim; d++) {
        double e = rint(cut_off_exactly((double)x[d], (double)low, (double)codec->step) / step);
        beyond[d] = (int8_t)e;
        length += step * e * step * e;
        across += step * e * code[d];
        up += e > 0 ? step * e : 0;
        down -= e < 0 ? step * e : 0;
    }
    out->kind = GRAPH_CODE_FAR;
    out->gather = NULL;
    out->exact = false;
    out->beyond = beyond;
    out->along = 2 * step;
    out->least = -2 * 255 * up;
    range = 255.0 * 255.0 * (double)codec->code_dim + 2 * 255 * (up + down);
    out->scale = range > SCORE_MOST ? SCORE_MOST / range : 1;
    range = (-2 * across - length - out->least) * out->scale; /* of no distance */
    out->zero = range < -1e18 ? (int64_t)-1e18 : (int64_t)range;
}

void graph_codec_query(const struct graph_codec *codec, vecdb_type type, const void *query, float *scratch, uint8_t *code,
                       struct graph_query *out)
{
    const struct code_kernels *kernels = simd_codes();
    float low = codec->lossless ? codec->mean ? codec->mean[0] : 0 : -128 * codec->step;
    size_t dim = codec->lossless ? codec->dim : codec->code_dim;

    *out = (struct graph_query){.codec = codec, .kind = codec->kind, .code = code};
    choose_gather(out);
    if (codec->kind >= GRAPH_CODE_HAMMING || codec->lossless) {
        graph_codec_encode(codec, type, query, scratch, code);
        out->exact = codec->kind >= GRAPH_CODE_HAMMING || is_restored(scratch, code, codec->dim, low);
        if (out->exact)
            return;
    } else {
        transform(codec, type, query, true, scratch);
        if (codec->kind == GRAPH_CODE_DOT) {
            dot_query(codec, scratch, code, out);
            return;
        }
        kernels->sub_f32(scratch, codec->mean, codec->code_dim, scratch);
        kernels->sq8_encode(scratch, codec->code_dim, low, 1 / codec->step, code);
    }
    if (is_far_out(scratch, dim, low, codec->step))
        far_query(codec, scratch, dim, low, code, out);
}

void graph_codec_self(const struct graph_codec *codec, const uint8_t *code, struct graph_query *out)
{
    *out = (struct graph_query){.codec = codec, .kind = codec->kind, .code = code};
    if (out->kind == GRAPH_CODE_DOT)
        out->kind = GRAPH_CODE_L2;
    choose_gather(out);
}

float graph_codec_distance(const struct graph_codec *codec, uint32_t score)
{
    return codec->kind == GRAPH_CODE_JACCARD ? float_from_bits(score) : (float)score;
}

static void from_dots(uint32_t *scores, size_t n)
{
    for (size_t i = 0; i < n; i++)
        scores[i] = DOT_BIAS - scores[i];
}

static void from_parts(const struct graph_query *query, const int32_t *products, uint32_t *scores, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double score = ((double)scores[i] - query->along * (double)products[i] - query->least) * query->scale;
        scores[i] = score > 0 ? (uint32_t)score : 0;
    }
}

static void far_scores(const struct graph_query *query, const uint8_t *codes, const uint32_t *ids, size_t n, uint32_t *out)
{
    size_t dim = query->codec->code_dim;
    uint32_t products[SCORE_BLOCK];

    for (size_t i = 0; i < n; i += SCORE_BLOCK) {
        size_t count = n - i < SCORE_BLOCK ? n - i : SCORE_BLOCK;
        simd_graph()->l2sq_u8(query->code, codes, ids + i, count, dim, out + i);
        simd_graph()->dot_u8s8(query->beyond, codes, ids + i, count, dim, products);
        from_dots(products, count);
        from_parts(query, (const int32_t *)products, out + i, count);
    }
}

static void far_scores_rows(const struct graph_query *query, const uint8_t *codes, size_t n, uint32_t *out)
{
    const struct graph_codec *codec = query->codec;
    int32_t products[SCORE_BLOCK];

    for (size_t i = 0; i < n; i += SCORE_BLOCK) {
        size_t count = n - i < SCORE_BLOCK ? n - i : SCORE_BLOCK;
        const uint8_t *block = codes + i * codec->stride;
        simd_distance()->l2sq_u8.rows(query->code, block, codec->stride, count, codec->code_dim, (int32_t *)out + i);
        simd_codes()->dot_u8s8.rows(query->beyond, block, codec->stride, count, codec->code_dim, products);
        from_parts(query, products, out + i, count);
    }
}

void graph_scores_other(const struct graph_query *query, const uint8_t *codes, const uint32_t *ids, size_t n, uint32_t *out)
{
    const struct graph_codec *codec = query->codec;

    if (query->kind == GRAPH_CODE_FAR)
        far_scores(query, codes, ids, n, out);
    else if (query->kind == GRAPH_CODE_HAMMING)
        simd_distance()->hamming_b1.gather(query->code, codes, codec->stride, ids, n, codec->code_dim, (int32_t *)out);
    else /* floats that are not negative are in the order of their bits */
        simd_distance()->jaccard_b1.gather(query->code, codes, codec->stride, ids, n, codec->code_dim, (float *)(void *)out);
}

void graph_scores_rows(const struct graph_query *query, const uint8_t *codes, size_t n, uint32_t *out)
{
    const struct graph_codec *codec = query->codec;

    switch (query->kind) {
    case GRAPH_CODE_L2:
        simd_distance()->l2sq_u8.rows(query->code, codes, codec->stride, n, codec->code_dim, (int32_t *)out);
        break;
    case GRAPH_CODE_DOT:
        simd_codes()->dot_u8s8.rows(query->code, codes, codec->stride, n, codec->code_dim, (int32_t *)out);
        from_dots(out, n);
        break;
    case GRAPH_CODE_HAMMING:
        simd_distance()->hamming_b1.rows(query->code, codes, codec->stride, n, codec->code_dim, (int32_t *)out);
        break;
    case GRAPH_CODE_FAR:
        far_scores_rows(query, codes, n, out);
        break;
    default:
        simd_distance()->jaccard_b1.rows(query->code, codes, codec->stride, n, codec->code_dim, (float *)(void *)out);
    }
}
