/* Convoys: everybody is served once, one round at a time, with what is his; nobody waits for those who are gone. */
#include "base/convoy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 8, RIDES = 300 };

struct passenger {
    struct rider rider; /* first */
    unsigned thread, number;
    unsigned served;
};

struct line {
    struct convoy convoy;
    _Atomic unsigned driving, rounds;
    unsigned served, wrong, most; /* of the driver */
    unsigned pause_us;
};

struct traveller {
    struct line *line;
    unsigned thread, rides, failed, wrong;
};

/* Every third ride fails, with words of its own. */
static bool fails(unsigned thread, unsigned number) { return (thread + number) % 3 == 0; }

static void drive(void *context, struct rider *riders)
{
    struct line *line = context;
    unsigned count = 0;

    if (atomic_fetch_add(&line->driving, 1) != 0)
        line->wrong++;
    atomic_fetch_add(&line->rounds, 1);
    for (struct rider *rider = riders; rider; rider = rider->next, count++) {
        struct passenger *passenger = (struct passenger *)rider;
        passenger->served++;
        line->served++;
        rider_done(rider, fails(passenger->thread, passenger->number)
                              ? error_set(VECDB_ERR_EXISTS, "ride %u of %u", passenger->number, passenger->thread)
                              : VECDB_OK);
    }
    line->most = count > line->most ? count : line->most;
    if (line->pause_us)
        usleep(line->pause_us);
    error_clear();
    atomic_fetch_sub(&line->driving, 1);
}

static void *travel(void *argument)
{
    struct traveller *traveller = argument;

    for (unsigned i = 0; i < traveller->rides; i++) {
        struct passenger passenger = {.thread = traveller->thread, .number = i};
        vecdb_status status = convoy_ride(&traveller->line->convoy, &passenger.rider, drive, traveller->line);
        char words[40];
        if (passenger.served != 1 || status != (fails(traveller->thread, i) ? VECDB_ERR_EXISTS : VECDB_OK))
            traveller->wrong++;
        if (status == VECDB_OK)
            continue;
        snprintf(words, sizeof words, "ride %u of %u", i, traveller->thread);
        if (strcmp(error_last()->message, words) != 0)
            traveller->wrong++;
        traveller->failed++;
    }
    return NULL;
}

static void run(struct line *line, unsigned threads, const unsigned *rides)
{
    struct traveller travellers[THREADS];
    pthread_t ids[THREADS];
    unsigned sum = 0;

    convoy_init(&line->convoy);
    for (unsigned i = 0; i < threads; i++) {
        travellers[i] = (struct traveller){.line = line, .thread = i, .rides = rides[i]};
        assert_int_equal(pthread_create(&ids[i], NULL, travel, &travellers[i]), 0);
        sum += rides[i];
    }
    for (unsigned i = 0; i < threads; i++) {
        unsigned failures = 0;
        pthread_join(ids[i], NULL);
        for (unsigned n = 0; n < rides[i]; n++)
            failures += fails(i, n);
        assert_int_equal(travellers[i].wrong, 0);
        assert_int_equal(travellers[i].failed, failures);
    }
    assert_int_equal(line->wrong, 0);
    assert_int_equal(line->served, sum);
    assert_int_equal(line->convoy.waiting, 0);
    assert_null(line->convoy.first);
    convoy_deinit(&line->convoy);
}

static void all_are_served_once(void **state)
{
    static const unsigned rides[THREADS] = {RIDES, RIDES, RIDES, RIDES, RIDES, RIDES, RIDES, RIDES};
    struct line line = {.pause_us = 200};

    (void)state;
    run(&line, THREADS, rides);
    assert_true(line.most > 1);
    assert_true(line.rounds < THREADS * RIDES / 3); /* eight at a time, when nothing else keeps the machine busy */
}

/* Rounds that take no time; riders that leave, so that those who stay wait for company in vain, and go on without. */
static void nobody_waits_for_those_who_are_gone(void **state)
{
    static const unsigned rides[THREADS] = {2000, 1, 7, 50, 1999, 3, 300, 40};

    (void)state;
    for (unsigned pause = 0; pause < 60; pause += 20) {
        struct line line = {.pause_us = pause};
        run(&line, THREADS, rides);
    }
}

static void one_alone_drives_each_time(void **state)
{
    static const unsigned rides[1] = {RIDES};
    struct line line = {.pause_us = 0};
    struct timespec start, end;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &start);
    run(&line, 1, rides);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_int_equal(line.rounds, RIDES);
    assert_int_equal(line.most, 1);
    assert_true(end.tv_sec - start.tv_sec < 2); /* it waits for nobody */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_served_once),
        cmocka_unit_test(nobody_waits_for_those_who_are_gone),
        cmocka_unit_test(one_alone_drives_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
