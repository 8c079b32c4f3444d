/* Indexes, and looking after a database. */
#include "cli.h"

#include <string.h>
#include <strings.h>

static int list_params(void)
{
    vecdb_param_info info = VECDB_PARAM_INFO_INIT;
    const char *kind = "", *type = option("--type");
    bool any = false;

    if (json_wanted())
        fputs("[", stdout);
    for (size_t i = 0; vecdb_param_at(i, &info) == VECDB_OK; i++) {
        if (type && strcasecmp(type, info.index) != 0)
            continue;
        if (json_wanted()) {
            printf("%s\n  {\"index\": \"%s\", \"name\": \"%s\", \"for\": \"%s\", \"low\": %g, \"high\": %g, \"default\": %g, \"meaning\": ",
                   any ? "," : "", info.index, info.name, info.for_search ? "search" : "build", info.low, info.high, info.default_value);
            print_json_string(stdout, info.meaning, strlen(info.meaning));
            fputs("}", stdout);
        } else {
            if (strcmp(kind, info.index) != 0)
                printf("%s\n", info.index);
            kind = info.index;
            printf("  %-18s %-6s", info.name, info.for_search ? "search" : "build");
            if (info.choices)
                printf(" %-28s", info.choices);
            else
                printf(" %g .. %g, default %-10g", info.low, info.high, info.default_value);
            printf("  %s\n", info.meaning);
        }
        any = true;
    }
    if (json_wanted())
        puts("\n]");
    return any ? EXIT_DONE : complain("no index type %s", type ? type : "");
}

int run_index(void)
{
    static const char *const metrics[] = {"", "L2", "IP", "COSINE", "HAMMING", "JACCARD"};
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;
    const vecdb_schema *schema;
    struct session session;
    const char *field = argument(2);
    char *text;
    vecdb_status status;
    int code;

    if (option("--list"))
        return list_params();
    if (!argument(1))
        return usage_error("index wants DB COLLECTION [FIELD]");
    for (int i = 1; option("--metric") && i < 6; i++)
        if (strcasecmp(metrics[i], option("--metric")) == 0)
            options.metric = (vecdb_metric)i;
    if (option("--metric") && options.metric == VECDB_METRIC_DEFAULT)
        return usage_error("--metric %s: L2, IP, COSINE, HAMMING or JACCARD is wanted", option("--metric"));
    if ((code = session_open(&session, TO_WRITE, true)) != EXIT_DONE)
        return code;
    if (!field) {
        const vecdb_field *only;
        if (vecdb_collection_schema(session.collection, &schema) < 0 || !(only = vector_field(schema)))
            return session_close(&session, EXIT_FAILED);
        field = only->name;
    }
    if (option("--drop")) {
        status = vecdb_index_drop(session.collection, field);
        if (status >= 0)
            printf(json_wanted() ? "{\"dropped\": \"%s\"}\n" : "dropped the index on %s\n", field);
        return session_close(&session, status < 0 ? failure(status) : EXIT_DONE);
    }
    options.field = field;
    options.type = option("--type");
    options.name = option("--name");
    options.params = option("--params");
    options.progress = show_progress;
    status = vecdb_flush(session.collection); /* few rows too: their index then is in a file when this process has ended */
    if (status >= 0)
        status = vecdb_index_create(session.collection, &options);
    end_progress();
    if (status >= 0)
        status = vecdb_index_describe(session.collection, options.name ? options.name : field, &text);
    if (status < 0)
        return session_close(&session, failure(status));
    puts(text);
    vecdb_free(text);
    return session_close(&session, EXIT_DONE);
}

static int print_report(vecdb_status status, char *report, bool damage_is_failure)
{
    end_progress();
    if (status < 0 && !report)
        return failure(status);
    if (report)
        puts(report);
    vecdb_free(report);
    return status < 0 && damage_is_failure ? EXIT_FAILED : EXIT_DONE;
}

int run_verify(void)
{
    char *report = NULL;
    vecdb_status status = vecdb_verify(argument(0), show_progress, NULL, &report);

    return print_report(status, report, true);
}

int run_repair(void)
{
    char *report = NULL;
    vecdb_status status = vecdb_repair(argument(0), show_progress, NULL, &report);

    return print_report(status, report, true);
}

int run_backup(void)
{
    struct session session;
    vecdb_status status;
    int code = session_open(&session, TO_WRITE, false);

    if (code != EXIT_DONE)
        return code;
    status = vecdb_backup(session.db, argument(1), show_progress, NULL);
    end_progress();
    if (status >= 0)
        printf(json_wanted() ? "{\"backup\": \"%s\"}\n" : "copied to %s\n", argument(1));
    return session_close(&session, status < 0 ? failure(status) : EXIT_DONE);
}

static vecdb_status compact_one(vecdb_db *db, const char *name)
{
    vecdb_collection *collection;
    vecdb_status status = vecdb_collection_open(db, name, &collection);

    if (status >= 0) {
        status = vecdb_optimize(collection, show_progress, NULL);
        end_progress();
        vecdb_collection_close(&collection);
    }
    if (status >= 0 && !json_wanted())
        printf("compacted %s\n", name);
    return status;
}

int run_compact(void)
{
    struct session session;
    char **names = NULL;
    size_t count = 0;
    vecdb_status status = VECDB_OK;
    int code = session_open(&session, TO_WRITE, false);

    if (code != EXIT_DONE)
        return code;
    if (argument(1)) {
        status = compact_one(session.db, argument(1));
    } else {
        status = vecdb_collection_list(session.db, &names, &count);
        for (size_t i = 0; i < count && status >= 0; i++)
            status = compact_one(session.db, names[i]);
        vecdb_free(names);
    }
    if (status >= 0 && json_wanted())
        puts("{\"compacted\": true}");
    return session_close(&session, status < 0 ? failure(status) : EXIT_DONE);
}
