/* SQLite doing what the store's benchmark does: the same rows (an integer key, an integer, a real and a blob), the log in WAL mode. */
#ifndef BENCH_STORE_SQLITE_H
#define BENCH_STORE_SQLITE_H

#include <stdbool.h>
#include <stddef.h>

/** NULL where the benchmark was built without SQLite: then nothing else here may be called. */
const char *sqlite_version(void);
/** Commits of one row a second, synchronous=full. */
double sqlite_single_rate(const char *path, const void *blob, size_t blob_size, double seconds);
/** Rows a second into a new database at `path`, which stays: transactions of `batch_rows` rows, synchronous = `mode`; the blobs are those
 * of `blob_count` rows in turn. */
double sqlite_insert_rate(const char *path, const char *mode, const char *blobs, size_t blob_size, size_t blob_count, size_t row_count,
                          size_t batch_rows);
/** Milliseconds to open it and read one row. */
double sqlite_open_ms(const char *path);
/** Rows a second, by key, in random order: one column, or all. */
double sqlite_get_rate(const char *path, size_t row_count, bool all, double seconds);
/** Open it, read one row, and leave it open: for a process whose memory is then looked at. */
void sqlite_leave_open(const char *path);
/** Remove a database with its log. */
void sqlite_remove(const char *path);

#endif
