/* The command line: a program like any user's, on vecdb.h alone. */
#ifndef VECDB_CLI_H
#define VECDB_CLI_H

#include "vecdb.h"

#include <jansson.h>
#include <stdio.h>

/* Exit codes. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NOT_FOUND = 3 };

/** An option of a command; `value` NULL for one that is only there or not. */
struct option_spec {
    const char *name;    /* "--limit" */
    const char *value;   /* "N" */
    const char *meaning;
    char short_name;     /* 'k', or 0 */
};

struct command {
    const char *name;
    const char *arguments; /* "DB COLLECTION FILE" */
    const char *meaning;
    int least, most;       /* arguments */
    const struct option_spec *options; /* ends with a NULL name */
    int (*run)(void);
};

/* The command line as it was taken apart. */
const char *argument(int i);              /* NULL past the last */
const char *option(const char *name);     /* value, "" for one without, NULL when it is not there */
const char *option_at(const char *name, int i); /* the i-th of an option that may come several times */
bool option_number(const char *name, double low, double high, double default_value, double *out); /* false: complained */
bool json_wanted(void);

int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** Complain of the thread's last vecdb failure and return the exit code for it. */
int failure(vecdb_status status);
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Open the database of argument 0 and the collection of argument 1, if there is such an argument. */
struct session {
    vecdb_db *db;
    vecdb_collection *collection;
};
enum { TO_CREATE = 0, TO_WRITE = VECDB_OPEN_NO_CREATE, TO_READ = VECDB_OPEN_NO_CREATE | VECDB_OPEN_READ_ONLY };
int session_open(struct session *session, uint32_t flags, bool with_collection);
/** Close both; returns `code`, or a failure's code when closing fails and `code` is EXIT_DONE. */
int session_close(struct session *session, int code);

/** A progress bar on standard error, when that is a terminal. For vecdb_progress. */
bool show_progress(void *context, const char *stage, uint64_t done, uint64_t total);
void end_progress(void);

/** Vectors, or numbers, read from a .npy, .fvecs, .bvecs or .ivecs file. */
struct matrix {
    vecdb_type type;   /* FLOAT_VECTOR, FLOAT16_VECTOR, INT8_VECTOR or, from one dimension, a scalar type */
    size_t rows;
    uint32_t dim;      /* 1 for scalars */
    void *data;        /* packed; for free() */
    uint64_t offsets[2]; /* a SPARSE_FLOAT_VECTOR: `data` is as many vecdb_sparse */
};
/** Returns EXIT_DONE, or complains. */
int matrix_read(const char *path, struct matrix *out);
bool matrix_is_file(const char *path);

/** The type of a field from "FLOAT_VECTOR(384)", "VARCHAR(200)", "ARRAY<INT64>(100)", "INT64"; false: complained. */
bool parse_type(const char *text, vecdb_field *field);
/** The field that searches look at: --field, or the only vector one; NULL: complained. */
const vecdb_field *vector_field(const vecdb_schema *schema);
const vecdb_field *find_field(const vecdb_schema *schema, const char *name);
/** A sparse vector from a JSON object, {"7": 0.5}; `out` has room for all its members. False: it is no such object. */
bool sparse_from_json(const json_t *object, vecdb_sparse *out);
/** A row's value as JSON text. */
void print_value(FILE *out, const vecdb_column *column, size_t row);
/** All rows first .. first + count - 1 of a result: a table, or JSON objects in an array. */
void print_rows(const vecdb_result *result, size_t first, size_t count);
/** JSON text with a quoted, escaped string. */
void print_json_string(FILE *out, const char *text, size_t length);

int run_create(void);
int run_ttl(void);
int run_import(void);
int run_index(void);
int run_search(void);
int run_query(void);
int run_count(void);
int run_delete(void);
int run_info(void);
int run_bench(void);
int run_verify(void);
int run_repair(void);
int run_backup(void);
int run_compact(void);

#endif
