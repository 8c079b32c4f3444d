/* vecdb COMMAND ...: what there is, and how each is asked for. */
#include "cli.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define END {NULL, NULL, NULL, 0}
#define JSON {"--json", NULL, "print JSON", 0}

static const struct option_spec create_options[] = {
    {"--field", "'NAME TYPE ...'", "a field, e.g. 'id INT64 primary', 'title VARCHAR(200) nullable', 'embedding FLOAT_VECTOR(384)'; repeat it", 'f'},
    {"--dynamic", NULL, "keep keys that are no field", 0},
    {"--ttl", "SECONDS", "rows expire so long after they were written (default 0: never)", 0},
    {"--description", "TEXT", "what the collection is", 0}, JSON, END};
static const struct option_spec import_options[] = {
    {"--field", "NAME", "field that a file of vectors fills (default: the only vector field, or \"vector\" of a new collection)", 'f'},
    {"--first-id", "N", "key of the first row of a file of vectors (default: the largest key there is, and one)", 0},
    {"--batch", "N", "rows per insert (default 10000)", 0},
    {"--limit", "N", "import no more than N rows", 'k'},
    {"--durability", "full|normal|none", "when a batch counts as written (default none, with one sync at the end)", 0},
    {"--upsert", NULL, "replace rows whose key is there already", 0}, JSON, END};
static const struct option_spec index_options[] = {
    {"--type", "TYPE", "HNSW, IVF_FLAT, FLAT, ...; INVERTED, BITMAP, ... of other fields (default AUTOINDEX)", 't'},
    {"--metric", "METRIC", "L2, IP, COSINE, HAMMING, JACCARD (default COSINE, HAMMING for bits)", 'm'},
    {"--params", "TEXT", "\"M=16, efConstruction=200\", 'json_path=meta[\"key\"]', or a JSON object", 'p'},
    {"--name", "NAME", "of the index (default: the field's)", 0},
    {"--drop", NULL, "drop the field's index instead", 0},
    {"--list", NULL, "list the parameters that each type knows, and do nothing", 0}, JSON, END};
static const struct option_spec search_options[] = {
    {"--vector", "'[0.1, ...]'", "the query", 'v'},
    {"--queries", "FILE", "queries from a .npy, .fvecs, .bvecs file", 'q'},
    {"--first", "N", "only the first N queries of the file", 0},
    {"--field", "NAME", "vector field (default: the only one)", 'f'},
    {"--limit", "N", "hits per query (default 10)", 'k'},
    {"--offset", "N", "hits to skip", 0},
    {"--metric", "METRIC", "when the field has no index", 'm'},
    {"--filter", "EXPRESSION", "search only rows that match", 'w'},
    {"--filter-params", "JSON", "values for {names} in the filter", 0},
    {"--params", "TEXT", "\"ef=64\" or a JSON object", 'p'},
    {"--radius", "R", "only hits nearer than R", 0},
    {"--group-by", "FIELD", "the nearest groups of rows with one value", 0},
    {"--output", "FIELD,...", "fields to print; * for all", 'o'},
    {"--exact", NULL, "look at every row", 0},
    {"--explain", NULL, "print how the search ran instead", 0}, JSON, END};
static const struct option_spec query_options[] = {
    {"--filter", "EXPRESSION", "rows that match (default: all)", 'w'},
    {"--filter-params", "JSON", "values for {names} in the filter", 0},
    {"--keys", "K,...", "rows with these keys", 0},
    {"--output", "FIELD,...", "fields to print (default: all but vectors); * for all", 'o'},
    {"--limit", "N", "no more than N rows (default 20; 0 for all)", 'k'},
    {"--offset", "N", "rows to skip", 0},
    {"--order-by", "'FIELD [desc], ...'", "(default: by key)", 0}, JSON, END};
static const struct option_spec count_options[] = {
    {"--filter", "EXPRESSION", "rows that match (default: all)", 'w'},
    {"--filter-params", "JSON", "values for {names} in the filter", 0},
    {"--explain", NULL, "print how the filter ran instead", 0}, JSON, END};
static const struct option_spec delete_options[] = {
    {"--filter", "EXPRESSION", "rows that match", 'w'},
    {"--filter-params", "JSON", "values for {names} in the filter", 0},
    {"--keys", "K,...", "rows with these keys", 0},
    {"--collection", NULL, "the whole collection", 0}, JSON, END};
static const struct option_spec info_options[] = {
    {"--field", "NAME", "what is in a field: nulls, distinct values, least and greatest", 'f'},
    {"--params", "TEXT", "of a JSON field: 'json_path=meta[\"key\"]'", 'p'},
    {"--unique", "N", "list the distinct values if they are no more (default 20)", 0}, JSON, END};
static const struct option_spec bench_options[] = {
    {"--queries", "FILE", "queries from a .npy, .fvecs, .bvecs file (default: rows of the collection)", 'q'},
    {"--first", "N", "only the first N queries (default 1000)", 0},
    {"--field", "NAME", "vector field (default: the only one)", 'f'},
    {"--limit", "N", "hits per query (default 10)", 'k'},
    {"--filter", "EXPRESSION", "search only rows that match", 'w'},
    {"--filter-params", "JSON", "values for {names} in the filter", 0},
    {"--params", "TEXT", "\"ef=64\" or a JSON object", 'p'}, JSON, END};
static const struct option_spec upkeep_options[] = {JSON, END};

static const struct command commands[] = {
    {"create", "DB COLLECTION", "make a collection (and the database)", 2, 2, create_options, run_create},
    {"ttl", "DB COLLECTION SECONDS", "let rows expire so long after they were written; 0: never", 3, 3, upkeep_options, run_ttl},
    {"import", "DB COLLECTION FILE", "rows from .npy, .fvecs, .bvecs, .csv or .jsonl", 3, 3, import_options, run_import},
    {"index", "DB COLLECTION [FIELD]", "define an index and build it", 0, 3, index_options, run_index},
    {"search", "DB COLLECTION", "nearest rows", 2, 2, search_options, run_search},
    {"query", "DB COLLECTION", "rows by filter or key", 2, 2, query_options, run_query},
    {"count", "DB COLLECTION", "how many rows", 2, 2, count_options, run_count},
    {"delete", "DB COLLECTION", "delete rows, or all", 2, 2, delete_options, run_delete},
    {"info", "DB [COLLECTION]", "what is there", 1, 2, info_options, run_info},
    {"bench", "DB COLLECTION", "speed and recall of searches", 2, 2, bench_options, run_bench},
    {"verify", "DB", "check every file", 1, 1, upkeep_options, run_verify},
    {"repair", "DB", "save what can be saved of a damaged database", 1, 1, upkeep_options, run_repair},
    {"backup", "DB DIRECTORY", "a consistent copy", 2, 2, upkeep_options, run_backup},
    {"compact", "DB [COLLECTION]", "merge segments, drop deleted rows, build indexes", 1, 2, upkeep_options, run_compact},
};
static const size_t command_count = sizeof commands / sizeof commands[0];

static const struct command *current;
static const char *arguments[4];
static int argument_count;
static struct {
    const char *name, *value;
} given[128];
static int given_count;

const char *argument(int i) { return i < argument_count ? arguments[i] : NULL; }

const char *option_at(const char *name, int i)
{
    for (int j = 0; j < given_count; j++)
        if (strcmp(given[j].name, name) == 0 && i-- == 0)
            return given[j].value;
    return NULL;
}

const char *option(const char *name) { return option_at(name, 0); }
bool json_wanted(void) { return option("--json") != NULL; }

bool option_number(const char *name, double low, double high, double default_value, double *out)
{
    const char *text = option(name);
    char *end;

    *out = default_value;
    if (!text)
        return true;
    *out = strtod(text, &end);
    if (end != text && !*end && *out >= low && *out <= high)
        return true;
    complain("%s %s: a number from %g to %g is wanted", name, text, low, high);
    return false;
}

int complain(const char *format, ...)
{
    va_list values;

    end_progress();
    fputs("vecdb: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

int usage_error(const char *format, ...)
{
    va_list values;

    fputs("vecdb: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fprintf(stderr, "\nTry: vecdb %s%s--help\n", current ? current->name : "", current ? " " : "");
    return EXIT_USAGE;
}

int failure(vecdb_status status)
{
    complain("%s", vecdb_last_error());
    return status == VECDB_ERR_NO_SUCH ? EXIT_NOT_FOUND : EXIT_FAILED;
}

static void print_command_help(const struct command *command)
{
    printf("vecdb %s %s\n  %s\n\n", command->name, command->arguments, command->meaning);
    for (const struct option_spec *spec = command->options; spec->name; spec++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", spec->name, spec->value ? " " : "", spec->value ? spec->value : "");
        if (spec->short_name)
            snprintf(left + strlen(left), sizeof left - strlen(left), ", -%c", spec->short_name);
        printf("  %-34s %s\n", left, spec->meaning);
    }
}

static void print_help(void)
{
    puts("vecdb: an embedded vector database\n");
    for (size_t i = 0; i < command_count; i++)
        printf("  vecdb %-8s %-24s %s\n", commands[i].name, commands[i].arguments, commands[i].meaning);
    puts("\n  vecdb COMMAND --help      options of a command");
    puts("  vecdb --version\n");
    puts("DB is a directory. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such database, collection or row.");
}

static const struct option_spec *find_option(const char *word)
{
    for (const struct option_spec *spec = current->options; spec->name; spec++)
        if (strcmp(spec->name, word) == 0 || (word[0] == '-' && spec->short_name && word[1] == spec->short_name && !word[2]))
            return spec;
    return NULL;
}

/* Take the words after the command apart; 0, or an exit code plus one. */
static int take_words(int count, char **words)
{
    bool only_arguments = false;

    for (int i = 0; i < count; i++) {
        const struct option_spec *spec;
        char *equals = strchr(words[i], '=');
        bool number = words[i][0] == '-' && (isdigit((unsigned char)words[i][1]) || words[i][1] == '.');
        if (only_arguments || words[i][0] != '-' || number || !words[i][1]) {
            if (argument_count == current->most)
                return usage_error("%s: one argument too many: %s", current->name, words[i]) + 1;
            arguments[argument_count++] = words[i];
            continue;
        }
        if (strcmp(words[i], "--") == 0) {
            only_arguments = true;
            continue;
        }
        if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0) {
            print_command_help(current);
            return EXIT_DONE + 1;
        }
        if (equals && words[i][1] == '-')
            *equals = '\0';
        else
            equals = NULL;
        spec = find_option(words[i]);
        if (!spec)
            return usage_error("%s: no option %s", current->name, words[i]) + 1;
        if (given_count == (int)(sizeof given / sizeof given[0]))
            return usage_error("too many options") + 1;
        given[given_count].name = spec->name;
        given[given_count].value = "";
        if (spec->value) {
            if (!equals && i + 1 == count)
                return usage_error("%s %s: %s is missing", current->name, spec->name, spec->value) + 1;
            given[given_count].value = equals ? equals + 1 : words[++i];
        } else if (equals) {
            return usage_error("%s %s takes no value", current->name, spec->name) + 1;
        }
        given_count++;
    }
    return 0;
}

int main(int count, char **words)
{
    int code;

    if (count < 2 || strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0 || strcmp(words[1], "help") == 0) {
        print_help();
        return count < 2 ? EXIT_USAGE : EXIT_DONE;
    }
    if (strcmp(words[1], "--version") == 0) {
        printf("vecdb %s (%s)\n", vecdb_version(), vecdb_simd_name());
        return EXIT_DONE;
    }
    for (size_t i = 0; i < command_count; i++)
        if (strcmp(commands[i].name, words[1]) == 0)
            current = &commands[i];
    if (!current)
        return usage_error("no command %s", words[1]);
    if ((code = take_words(count - 2, words + 2)) != 0)
        return code - 1;
    if (argument_count < current->least)
        return usage_error("%s wants %s", current->name, current->arguments);
    code = current->run();
    if (fflush(stdout) != 0 && code == EXIT_DONE)
        code = complain("cannot write to standard output");
    return code;
}
