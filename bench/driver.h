/* What the drivers in C share: clocks, options, matrices from files. Whatever cannot be read ends the program with its name. */
#ifndef VECDB_BENCH_DRIVER_H
#define VECDB_BENCH_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Rows of four-byte elements: floats, or the row numbers of a ground truth. */
struct matrix {
    union {
        void *data;
        float *floats;
        int32_t *ints;
    };
    size_t rows, dim;
};

/** Seconds of the clock on the wall. */
double now(void);
/** Seconds of processor time of all threads: what a busy machine does not stretch. */
double processor_time(void);

/** The value of NAME=VALUE among the arguments, the last of several; `otherwise` when there is none. */
const char *option(int argc, char **argv, const char *name, const char *otherwise);
size_t number_option(int argc, char **argv, const char *name, size_t otherwise);

/** The first `most` rows (0: all) of a .fvecs, .ivecs or .npy (float32) file. */
struct matrix matrix_read(const char *path, size_t most);
void matrix_free(struct matrix *matrix);
/** A file in memory, at a multiple of 4096; NULL when there is none. */
void *read_whole(const char *path, size_t *size);
void write_whole(const char *path, const void *data, size_t size);

/** For qsort() of doubles. */
int by_value(const void *a, const void *b);

#endif
