/* Opening and closing, and a progress bar. */
#include "cli.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

int session_open(struct session *session, uint32_t flags, bool with_collection)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_status status;

    memset(session, 0, sizeof *session);
    options.flags = flags;
    options.lock_timeout_ms = 2000;
    status = vecdb_open(argument(0), &options, &session->db);
    if (status < 0)
        return failure(status);
    if (!with_collection)
        return EXIT_DONE;
    status = vecdb_collection_open(session->db, argument(1), &session->collection);
    if (status < 0) {
        int code = failure(status);
        return session_close(session, code);
    }
    return EXIT_DONE;
}

int session_close(struct session *session, int code)
{
    vecdb_status status = vecdb_collection_close(&session->collection);

    if (status >= 0)
        status = vecdb_close(&session->db);
    return status < 0 && code == EXIT_DONE ? failure(status) : code;
}

static bool bar_shown;

bool show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    static struct timespec last;
    struct timespec now;
    int width = 30, filled;

    if (!isatty(STDERR_FILENO))
        return true;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (done != total && (now.tv_sec - last.tv_sec) * 1000000000L + (now.tv_nsec - last.tv_nsec) < 100000000L)
        return true;
    last = now;
    bar_shown = true;
    if (total == 0) {
        fprintf(stderr, "\r\033[K%s: %llu", stage, (unsigned long long)done);
        return true;
    }
    filled = (int)((double)done / (double)total * width);
    fprintf(stderr, "\r\033[K%-12s [", stage);
    for (int i = 0; i < width; i++)
        fputc(i < filled ? '#' : '.', stderr);
    fprintf(stderr, "] %3d %%", (int)((double)done / (double)total * 100));
    return true;
}

void end_progress(void)
{
    if (bar_shown)
        fputs("\r\033[K", stderr);
    bar_shown = false;
}
