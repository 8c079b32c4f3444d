#include "driver.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define HUGE_PAGE ((size_t)2 << 20)

static double seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double now(void) { return seconds(CLOCK_MONOTONIC); }

double processor_time(void) { return seconds(CLOCK_PROCESS_CPUTIME_ID); }

const char *option(int argc, char **argv, const char *name, const char *otherwise)
{
    size_t length = strlen(name);

    for (int i = argc - 1; i > 0; i--)
        if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=')
            return argv[i] + length + 1;
    return otherwise;
}

size_t number_option(int argc, char **argv, const char *name, size_t otherwise)
{
    const char *text = option(argc, argv, name, NULL);
    char *end;

    if (!text)
        return otherwise;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end || errno || *text == '-')
        errx(2, "%s=%s: not a whole number", name, text);
    return value;
}

static void *room(const char *path, size_t alignment, size_t bytes)
{
    void *out = aligned_alloc(alignment, (bytes / alignment + 1) * alignment);

    if (!out)
        errx(1, "%s: no memory for %zu bytes", path, bytes);
    if (alignment == HUGE_PAGE) /* as the library's own memory */
        (void)madvise(out, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    return out;
}

static void read_exactly(FILE *file, const char *path, void *out, size_t bytes)
{
    if (fread(out, 1, bytes, file) != bytes)
        errx(1, "%s: ends too early", path);
}

static size_t size_of(FILE *file)
{
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;

    rewind(file);
    return size < 0 ? 0 : (size_t)size;
}

/* .npy: magic, version, length of the header, the header as Python text, then the rows. */
static void read_npy(FILE *file, const char *path, size_t most, struct matrix *out)
{
    char header[4096] = {0};
    uint8_t start[10];
    const char *shape;

    read_exactly(file, path, start, sizeof start);
    size_t length = (size_t)start[8] | (size_t)start[9] << 8;
    if (length >= sizeof header)
        errx(1, "%s: a header of %zu bytes", path, length);
    read_exactly(file, path, header, length);
    if (!strstr(header, "<f4") || !(shape = strstr(header, "'shape': (")) ||
        sscanf(shape + 10, "%zu, %zu", &out->rows, &out->dim) != 2)
        errx(1, "%s: not rows of float32", path);
    if (most && most < out->rows)
        out->rows = most;
    out->data = room(path, HUGE_PAGE, out->rows * out->dim * 4);
    read_exactly(file, path, out->data, out->rows * out->dim * 4);
}

/* .fvecs, .ivecs: each row after its dimension. */
static void read_vecs(FILE *file, const char *path, size_t most, struct matrix *out)
{
    size_t size = size_of(file);
    int32_t dim;

    read_exactly(file, path, &dim, 4);
    if (dim <= 0)
        errx(1, "%s: dimension %d", path, (int)dim);
    rewind(file);
    out->dim = (size_t)dim;
    out->rows = size / (4 * (out->dim + 1));
    if (most && most < out->rows)
        out->rows = most;
    out->data = room(path, HUGE_PAGE, out->rows * out->dim * 4);
    for (size_t i = 0; i < out->rows; i++) {
        read_exactly(file, path, &dim, 4);
        if ((size_t)dim != out->dim)
            errx(1, "%s: row %zu has dimension %d, the first has %zu", path, i, (int)dim, out->dim);
        read_exactly(file, path, out->ints + i * out->dim, 4 * out->dim);
    }
}

struct matrix matrix_read(const char *path, size_t most)
{
    size_t length = strlen(path);
    struct matrix out = {0};
    FILE *file = fopen(path, "rb");

    if (!file)
        err(1, "%s", path);
    if (length > 4 && !strcmp(path + length - 4, ".npy"))
        read_npy(file, path, most, &out);
    else
        read_vecs(file, path, most, &out);
    fclose(file);
    return out;
}

void matrix_free(struct matrix *matrix)
{
    free(matrix->data);
    *matrix = (struct matrix){0};
}

void *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    void *out;

    if (!file)
        return NULL;
    *size = size_of(file);
    out = room(path, HUGE_PAGE, *size);
    read_exactly(file, path, out, *size);
    fclose(file);
    return out;
}

void write_whole(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        err(1, "%s", path);
}

int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}
