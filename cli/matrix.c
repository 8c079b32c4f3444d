/* Files of vectors: .npy of one or two dimensions, and the .fvecs family, in which each row is an int32 count and so many
 * values. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *extension(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot ? dot : "";
}

bool matrix_is_file(const char *path)
{
    static const char *const known[] = {".npy", ".fvecs", ".bvecs", ".ivecs"};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcasecmp(extension(path), known[i]) == 0)
            return true;
    return false;
}

/* The text of a key in a .npy header, behind its colon. */
static const char *header_value(const char *header, const char *key)
{
    const char *at = strstr(header, key);

    if (!at)
        return NULL;
    at += strlen(key);
    while (*at == ' ' || *at == ':' || *at == '\'' || *at == '"')
        at++;
    return at;
}

static int read_npy(FILE *file, const char *path, struct matrix *out)
{
    static const struct {
        const char *descr;
        vecdb_type vector, scalar;
        size_t width;
    } kinds[] = {
        {"<f4", VECDB_TYPE_FLOAT_VECTOR, VECDB_TYPE_FLOAT, 4},  {"<f2", VECDB_TYPE_FLOAT16_VECTOR, VECDB_TYPE_NONE, 2},
        {"|i1", VECDB_TYPE_INT8_VECTOR, VECDB_TYPE_INT8, 1},    {"<f8", VECDB_TYPE_NONE, VECDB_TYPE_DOUBLE, 8},
        {"<i8", VECDB_TYPE_NONE, VECDB_TYPE_INT64, 8},          {"<i4", VECDB_TYPE_NONE, VECDB_TYPE_INT32, 4},
        {"<i2", VECDB_TYPE_NONE, VECDB_TYPE_INT16, 2},          {"|b1", VECDB_TYPE_NONE, VECDB_TYPE_BOOL, 1},
        {"|u1", VECDB_TYPE_FLOAT_VECTOR, VECDB_TYPE_NONE, 1},
    };
    unsigned char magic[10], more[2] = {0, 0};
    unsigned long long rows = 0, dim = 1;
    const char *descr, *shape, *order;
    size_t length, kind, bytes;
    char *header;
    int fields;

    if (fread(magic, 1, 10, file) != 10 || memcmp(magic, "\x93NUMPY", 6) != 0)
        return complain("%s is no .npy file", path);
    length = magic[8] | (size_t)magic[9] << 8;
    if (magic[6] >= 2) {
        if (fread(more, 1, 2, file) != 2)
            return complain("%s ends in its header", path);
        length |= (size_t)more[0] << 16 | (size_t)more[1] << 24;
    }
    if (length > 1 << 20 || !(header = calloc(1, length + 1)))
        return complain("%s has a header of %zu bytes", path, length);
    if (fread(header, 1, length, file) != length) {
        free(header);
        return complain("%s ends in its header", path);
    }
    for (size_t end = strlen(header); end && isspace((unsigned char)header[end - 1]);) /* it is padded */
        header[--end] = '\0';
    descr = header_value(header, "'descr'");
    order = header_value(header, "'fortran_order'");
    shape = header_value(header, "'shape'");
    fields = shape ? sscanf(shape, "(%llu, %llu", &rows, &dim) : 0;
    for (kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++)
        if (descr && strncmp(descr, kinds[kind].descr, 3) == 0)
            break;
    if (!descr || fields < 1 || (order && strncmp(order, "False", 5) != 0) || kind == sizeof kinds / sizeof kinds[0] ||
        (shape && strchr(shape, ')') && fields == 2 && strchr(strchr(shape, ',') + 1, ',') &&
         strchr(strchr(shape, ',') + 1, ',') < strchr(shape, ')') &&
         strspn(strchr(strchr(shape, ',') + 1, ',') + 1, " )") == 0)) {
        int code = complain("%s: an array of one or two dimensions in C order, of f4, f2, i1, u1 or a scalar type, is wanted; "
                            "its header is %s", path, header);
        free(header);
        return code;
    }
    free(header);
    bytes = kinds[kind].width;
    out->type = fields == 2 ? kinds[kind].vector : kinds[kind].scalar;
    if (out->type == VECDB_TYPE_NONE)
        return complain("%s: %s cannot be %s%s", path, kinds[kind].descr, fields == 2 ? "vectors" : "a column",
                        fields == 2 ? "; save them as float32" : "");
    if (dim == 0 || dim > VECDB_MAX_DIM)
        return complain("%s: vectors have %llu dimensions, 1 to %d are possible", path, dim, VECDB_MAX_DIM);
    if (__builtin_mul_overflow(bytes, (size_t)rows, &bytes) || __builtin_mul_overflow(bytes, (size_t)dim, &bytes))
        return complain("%s: %llu x %llu is too large", path, rows, dim);
    out->rows = (size_t)rows;
    out->dim = (uint32_t)dim;
    out->data = malloc(bytes ? bytes : 1);
    if (!out->data || fread(out->data, 1, bytes, file) != bytes) {
        free(out->data);
        return complain("%s ends before its %llu x %llu values", path, rows, dim);
    }
    if (strcmp(kinds[kind].descr, "|u1") == 0) { /* bytes become floats: there is no vector type of unsigned bytes */
        float *floats = malloc((size_t)rows * dim * sizeof *floats + 1);
        if (!floats)
            return free(out->data), complain("%s: out of memory", path);
        for (size_t i = 0; i < (size_t)rows * dim; i++)
            floats[i] = ((unsigned char *)out->data)[i];
        free(out->data);
        out->data = floats;
    }
    return EXIT_DONE;
}

static int read_vecs(FILE *file, const char *path, struct matrix *out)
{
    bool bytes = strcasecmp(extension(path), ".bvecs") == 0, integers = strcasecmp(extension(path), ".ivecs") == 0;
    size_t width = bytes ? 1 : 4, capacity = 0, row = 0;
    unsigned char *line = NULL;
    float *data = NULL;
    int32_t dim;

    while (fread(&dim, sizeof dim, 1, file) == 1) {
        if (dim <= 0 || dim > VECDB_MAX_DIM || (row && (uint32_t)dim != out->dim))
            return free(data), free(line), complain("%s: row %zu has %d values, the first has %u", path, row, (int)dim, out->dim);
        if (row == 0) {
            out->dim = (uint32_t)dim;
            line = malloc((size_t)dim * width);
        }
        if (row == capacity) {
            float *grown;
            capacity = capacity ? capacity * 2 : 1024;
            grown = realloc(data, capacity * out->dim * sizeof *data);
            if (!grown || !line) {
                free(grown ? grown : data);
                free(line);
                return complain("%s: out of memory", path);
            }
            data = grown;
        }
        if (fread(line, width, (size_t)dim, file) != (size_t)dim)
            return free(data), free(line), complain("%s ends in row %zu", path, row);
        for (int32_t i = 0; i < dim; i++) {
            float x;
            int32_t n;
            if (bytes) {
                x = line[i];
            } else if (integers) {
                memcpy(&n, line + 4 * i, 4);
                x = (float)n;
            } else {
                memcpy(&x, line + 4 * i, 4);
            }
            data[row * out->dim + (size_t)i] = x;
        }
        row++;
    }
    free(line);
    out->type = VECDB_TYPE_FLOAT_VECTOR;
    out->rows = row;
    out->data = data;
    return row ? EXIT_DONE : complain("%s holds no vectors", path);
}

int matrix_read(const char *path, struct matrix *out)
{
    FILE *file = fopen(path, "rb");
    int code;

    memset(out, 0, sizeof *out);
    if (!file)
        return complain("cannot open %s: %s", path, strerror(errno)), EXIT_NOT_FOUND;
    code = strcasecmp(extension(path), ".npy") == 0 ? read_npy(file, path, out) : read_vecs(file, path, out);
    fclose(file);
    return code;
}
