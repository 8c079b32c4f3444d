/* What vecdb does, on real pictures: index the 60,000 Fashion-MNIST training images in several ways, ask for the nearest ten
 * of each of the 10,000 test images, compare with a brute force of our own, and draw some of the answers.
 *
 *   demo DIRECTORY PICTURE.png      DIRECTORY holds the data set's .gz files */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <vecdb.h>

enum { SIDE = 28, DIM = SIDE * SIDE, ROWS = 60000, QUERIES = 10000, K = 10, PICTURE_ROWS = 12 };

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "demo: %s: %s\n", what, detail);
    exit(1);
}

static void check(vecdb_status status, const char *what)
{
    if (status < 0)
        die(what, vecdb_last_error());
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- the images ---- */

static uint8_t *read_images(const char *directory, const char *name, size_t count)
{
    uint8_t header[16], *images = malloc(count * DIM);
    char command[1024];
    FILE *file;

    snprintf(command, sizeof command, "gzip -dc '%s/%s'", directory, name);
    file = popen(command, "r");
    if (!file || !images || fread(header, 1, 16, file) != 16 || fread(images, DIM, count, file) != count)
        die(name, "cannot be read; is the package dataset-fashion-mnist installed?");
    pclose(file);
    return images;
}

static float *as_floats(const uint8_t *bytes, size_t count)
{
    float *floats = malloc(count * sizeof *floats);

    if (!floats)
        die("images", "out of memory");
    for (size_t i = 0; i < count; i++)
        floats[i] = bytes[i];
    return floats;
}

/* ---- brute force, by whole numbers, knowing nothing of vecdb ---- */

static const uint8_t *base, *test;
static int32_t (*truth)[K]; /* the K smallest distances of each query, ascending */

#if defined(__x86_64__)
__attribute__((target_clones("avx2", "default")))
#endif
static int32_t distance(const uint8_t *a, const uint8_t *b)
{
    int32_t sum = 0;

    for (int i = 0; i < DIM; i++) {
        int16_t difference = (int16_t)(a[i] - b[i]);
        sum += difference * difference;
    }
    return sum;
}

static void *brute_force(void *which)
{
    size_t half = (size_t)which;

    for (size_t first = half * QUERIES / 2; first < (half + 1) * QUERIES / 2; first += 8) /* a row meets eight queries */
        for (size_t row = 0; row < ROWS; row++)
            for (size_t q = first; q < first + 8; q++) {
                int32_t d = distance(test + q * DIM, base + row * DIM);
                int i = K - 1;
                if (row == 0)
                    for (int j = 0; j < K; j++)
                        truth[q][j] = INT32_MAX;
                if (d >= truth[q][K - 1])
                    continue;
                for (; i > 0 && truth[q][i - 1] > d; i--)
                    truth[q][i] = truth[q][i - 1];
                truth[q][i] = d;
            }
    return NULL;
}

/* ---- one kind of index ---- */

static vecdb_collection *load(vecdb_db *db, const char *name, const float *rows)
{
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "image", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM}};
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_collection *collection;
    int64_t ids[2000];

    schema.name = name, schema.fields = fields, schema.field_count = 2;
    check(vecdb_collection_create(db, &schema, &collection), "create");
    for (size_t at = 0; at < ROWS; at += 2000) {
        vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = ids},
                                  {.field = "image", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = rows + at * DIM}};
        vecdb_batch batch = VECDB_BATCH_INIT;
        for (size_t i = 0; i < 2000; i++)
            ids[i] = (int64_t)(at + i);
        batch.columns = columns, batch.column_count = 2, batch.row_count = 2000;
        check(vecdb_insert(collection, &batch, NULL), "insert");
    }
    return collection;
}

/* A number behind a key of a flat JSON text; 0 when it is not there. */
static double json_number(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    return at ? strtod(at + strlen(key), NULL) : 0;
}

static double measure(vecdb_collection *collection, const char *type, const char *params, const char *search_params,
                      const float *queries, int64_t *keys)
{
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    double begin = now(), build, one, batch;
    size_t hits = 0;
    char *facts;

    index.field = "image", index.type = type, index.metric = VECDB_METRIC_L2, index.params = params;
    check(vecdb_index_create(collection, &index), type);
    build = now() - begin;
    request.field = "image", request.dim = DIM, request.limit = K, request.params = search_params;
    request.queries = queries, request.query_count = QUERIES;
    check(vecdb_search_into(collection, &request, keys, NULL, NULL), type); /* warms up, too */
    begin = now();
    check(vecdb_search_into(collection, &request, keys, NULL, NULL), type);
    batch = QUERIES / (now() - begin);
    begin = now();
    request.query_count = 1;
    size_t asked = 0;
    for (; asked < QUERIES && (asked < 100 || now() - begin < 2); asked++) {
        int64_t own[K];
        request.queries = queries + asked * DIM;
        check(vecdb_search_into(collection, &request, own, NULL, NULL), type);
    }
    one = (double)asked / (now() - begin);
    for (size_t q = 0; q < QUERIES; q++) /* a hit is right when it is no farther than the tenth nearest */
        for (int i = 0; i < K; i++)
            hits += keys[q * K + (size_t)i] >= 0 &&
                    distance(test + q * DIM, base + (size_t)keys[q * K + (size_t)i] * DIM) <= truth[q][K - 1];
    check(vecdb_index_describe(collection, "image", &facts), type);
    printf("%-12s %10.4f %14.0f %14.0f %10.2f %10.1f\n", type, (double)hits / (QUERIES * K), one, batch, build,
           json_number(facts, "\"bytes\":") / 1e6);
    fflush(stdout);
    vecdb_free(facts);
    check(vecdb_index_drop(collection, "image"), type);
    return (double)hits / (QUERIES * K);
}

/* ---- the picture: a grey PNG, its pixels stored without compression ---- */

static uint32_t crc(uint32_t value, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        value ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xEDB88320u : value >> 1;
    }
    return value;
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void put_chunk(FILE *file, const char *type, const uint8_t *data, size_t size)
{
    uint8_t number[4];
    uint32_t sum = crc(0xFFFFFFFFu, (const uint8_t *)type, 4);

    put_u32(number, (uint32_t)size);
    fwrite(number, 1, 4, file);
    fwrite(type, 1, 4, file);
    fwrite(data, 1, size, file);
    put_u32(number, ~crc(sum, data, size));
    fwrite(number, 1, 4, file);
}

static void write_png(const char *path, const uint8_t *pixels, size_t width, size_t height)
{
    uint8_t header[13] = {0}, *data = malloc(height * (width + 1) + height * 5 + 6), *at = data;
    uint32_t a = 1, b = 0;
    FILE *file = fopen(path, "wb");

    if (!file || !data)
        die(path, "cannot be written");
    put_u32(header, (uint32_t)width);
    put_u32(header + 4, (uint32_t)height);
    header[8] = 8; /* bits, grey */
    *at++ = 0x78, *at++ = 0x01;
    for (size_t y = 0; y < height; y++) { /* one stored block a line */
        uint16_t size = (uint16_t)(width + 1);
        *at++ = y + 1 == height;
        *at++ = (uint8_t)size, *at++ = (uint8_t)(size >> 8), *at++ = (uint8_t)~size, *at++ = (uint8_t)(~size >> 8);
        *at++ = 0; /* no line filter; adds nothing to a, but a to b */
        b = (b + a) % 65521;
        for (size_t x = 0; x < width; x++) {
            *at++ = pixels[y * width + x];
            a = (a + pixels[y * width + x]) % 65521;
            b = (b + a) % 65521;
        }
    }
    put_u32(at, b << 16 | a);
    fwrite("\x89PNG\r\n\x1A\n", 1, 8, file);
    put_chunk(file, "IHDR", header, sizeof header);
    put_chunk(file, "IDAT", data, (size_t)(at + 4 - data));
    put_chunk(file, "IEND", header, 0);
    if (fclose(file) != 0)
        die(path, "cannot be written");
    free(data);
}

static void draw(const char *path, const int64_t *keys)
{
    enum { GAP = 2, CELL = SIDE + GAP, WIDTH = CELL * (K + 1) + 6, HEIGHT = CELL * PICTURE_ROWS };
    static uint8_t pixels[HEIGHT * WIDTH];

    memset(pixels, 255, sizeof pixels);
    for (size_t r = 0; r < PICTURE_ROWS; r++) {
        size_t q = r * (QUERIES / PICTURE_ROWS);
        for (size_t c = 0; c <= K; c++) {
            const uint8_t *image = c ? base + (size_t)keys[q * K + c - 1] * DIM : test + q * DIM;
            size_t left = c * CELL + (c ? 6 : 0); /* a gap behind the query */
            for (size_t y = 0; y < SIDE; y++)
                for (size_t x = 0; x < SIDE; x++)
                    pixels[(r * CELL + y) * WIDTH + left + x] = (uint8_t)(255 - image[y * SIDE + x]);
        }
    }
    write_png(path, pixels, WIDTH, HEIGHT);
}

int main(int count, char **words)
{
    static const struct {
        const char *type, *params, *search_params;
    } kinds[] = {{"FLAT", NULL, NULL}, {"HNSW", "M=16", "ef=64"}, {"IVF_FLAT", "nlist=256", "nprobe=16"}};
    int64_t *keys = malloc(sizeof *keys * QUERIES * K);
    vecdb_collection *collection;
    double recall = 0, begin;
    float *rows, *queries;
    pthread_t helper;
    vecdb_db *db;

    if (count != 3)
        die("usage", "demo DIRECTORY PICTURE.png");
    truth = malloc(sizeof *truth * QUERIES);
    if (!truth || !keys)
        die("answers", "out of memory");
    base = read_images(words[1], "train-images-idx3-ubyte.gz", ROWS);
    test = read_images(words[1], "t10k-images-idx3-ubyte.gz", QUERIES);
    rows = as_floats(base, (size_t)ROWS * DIM);
    queries = as_floats(test, (size_t)QUERIES * DIM);
    printf("Fashion-MNIST: %d images of %d x %d to search, %d to search for (vecdb %s, %s)\n", ROWS, SIDE, SIDE, QUERIES,
           vecdb_version(), vecdb_simd_name());
    begin = now();
    if (pthread_create(&helper, NULL, brute_force, (void *)1) != 0)
        die("brute force", "cannot start a thread");
    brute_force((void *)0);
    pthread_join(helper, NULL);
    printf("brute force to check against: %.1f s\n\n", now() - begin);
    check(vecdb_open(NULL, NULL, &db), "open");
    begin = now();
    collection = load(db, "fashion", rows);
    printf("%d rows inserted in %.2f s\n\n", ROWS, now() - begin);
    printf("%-12s %10s %14s %14s %10s %10s\n", "index", "recall@10", "QPS, single", "QPS, batch", "build s", "index MB");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!vecdb_has_feature(kinds[i].type[0] == 'F' ? "index.FLAT" : kinds[i].type[0] == 'H' ? "index.HNSW" : "index.IVF_FLAT"))
            continue;
        double found = measure(collection, kinds[i].type, kinds[i].params, kinds[i].search_params, queries, keys);
        if (i == 0) {
            recall = found;
            draw(words[2], keys);
        }
    }
    printf("\n%s: %d test images, each beside its ten nearest\n", words[2], PICTURE_ROWS);
    printf("demo: FLAT recall@10 = %.4f\n", recall);
    check(vecdb_collection_close(&collection), "close");
    check(vecdb_close(&db), "close");
    free(rows);
    free(queries);
    free((void *)base);
    free((void *)test);
    free(truth);
    free(keys);
    return recall == 1.0 ? 0 : 1;
}
