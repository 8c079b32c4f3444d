#include "store_sqlite.h"

#ifdef HAVE_SQLITE
#include "driver.h"

#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *sqlite_version(void) { return sqlite3_libversion(); }

static void need(sqlite3 *db, int status)
{
    if (status == SQLITE_OK || status == SQLITE_ROW || status == SQLITE_DONE)
        return;
    fprintf(stderr, "store: sqlite: %s\n", sqlite3_errmsg(db));
    exit(1);
}

static sqlite3 *open_it(const char *path)
{
    sqlite3 *db = NULL;

    need(db, sqlite3_open(path, &db));
    need(db, sqlite3_exec(db, "pragma mmap_size=4294967296", NULL, NULL, NULL));
    return db;
}

static sqlite3 *create_it(const char *path, const char *mode)
{
    char pragmas[200];
    sqlite3 *db;

    sqlite_remove(path);
    db = open_it(path);
    snprintf(pragmas, sizeof pragmas, "pragma journal_mode=wal; pragma synchronous=%s; create table rows(key integer primary key, "
             "number integer, real real, vector blob)", mode);
    need(db, sqlite3_exec(db, pragmas, NULL, NULL, NULL));
    return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *text)
{
    sqlite3_stmt *statement = NULL;

    need(db, sqlite3_prepare_v2(db, text, -1, &statement, NULL));
    return statement;
}

static void insert_row(sqlite3 *db, sqlite3_stmt *statement, size_t key, const void *blob, size_t blob_size)
{
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)key);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)key * 7);
    sqlite3_bind_double(statement, 3, (double)key / 3);
    sqlite3_bind_blob(statement, 4, blob, (int)blob_size, SQLITE_STATIC);
    need(db, sqlite3_step(statement));
    need(db, sqlite3_reset(statement));
}

double sqlite_single_rate(const char *path, const void *blob, size_t blob_size, double seconds)
{
    sqlite3 *db = create_it(path, "full");
    sqlite3_stmt *statement = prepare(db, "insert into rows values(?,?,?,?)");
    double start = now();
    size_t count = 0;

    for (; now() - start < seconds; count++)
        insert_row(db, statement, count, blob, blob_size);
    start = now() - start;
    sqlite3_finalize(statement);
    sqlite3_close(db);
    sqlite_remove(path);
    return (double)count / start;
}

double sqlite_insert_rate(const char *path, const char *mode, const char *blobs, size_t blob_size, size_t blob_count, size_t row_count,
                          size_t batch_rows)
{
    sqlite3 *db = create_it(path, mode);
    sqlite3_stmt *statement = prepare(db, "insert into rows values(?,?,?,?)");
    double start = now();

    for (size_t first = 0; first < row_count; first += batch_rows) {
        need(db, sqlite3_exec(db, "begin", NULL, NULL, NULL));
        for (size_t i = first; i < first + batch_rows && i < row_count; i++)
            insert_row(db, statement, i, blobs + i % blob_count * blob_size, blob_size);
        need(db, sqlite3_exec(db, "commit", NULL, NULL, NULL));
    }
    start = now() - start;
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return (double)row_count / start;
}

static sqlite3 *open_and_read(const char *path)
{
    sqlite3 *db = open_it(path);
    sqlite3_stmt *statement = prepare(db, "select number from rows where key = 5");

    need(db, sqlite3_step(statement));
    sqlite3_finalize(statement);
    return db;
}

double sqlite_open_ms(const char *path)
{
    double start = now();
    sqlite3 *db = open_and_read(path);

    start = now() - start;
    sqlite3_close(db);
    return start * 1000;
}

double sqlite_get_rate(const char *path, size_t row_count, bool all, double seconds)
{
    sqlite3 *db = open_it(path);
    sqlite3_stmt *statement = prepare(db, all ? "select key, number, real, vector from rows where key = ?" : "select number from rows where key = ?");
    uint64_t key = 1;
    double start = now();
    size_t count = 0;

    for (; count % 256 || now() - start < seconds; count++) {
        key = key * 6364136223846793005u + 1442695040888963407u;
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)((key >> 20) % row_count));
        if (sqlite3_step(statement) != SQLITE_ROW)
            fprintf(stderr, "store: sqlite: a key is not there\n"), exit(1);
        (void)sqlite3_column_int64(statement, 0);
        if (all)
            (void)sqlite3_column_blob(statement, 3);
        sqlite3_reset(statement);
    }
    start = now() - start;
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return (double)count / start;
}

void sqlite_leave_open(const char *path) { (void)open_and_read(path); }

void sqlite_remove(const char *path)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char name[700];

    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}
#else
const char *sqlite_version(void) { return NULL; }
double sqlite_single_rate(const char *path, const void *blob, size_t blob_size, double seconds) { return 0; }
double sqlite_insert_rate(const char *path, const char *mode, const char *blobs, size_t blob_size, size_t blob_count, size_t row_count,
                          size_t batch_rows)
{
    return 0;
}
double sqlite_open_ms(const char *path) { return 0; }
double sqlite_get_rate(const char *path, size_t row_count, bool all, double seconds) { return 0; }
void sqlite_leave_open(const char *path) {}
void sqlite_remove(const char *path) {}
#endif
