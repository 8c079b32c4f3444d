#include "support/fault.h"

#include "base/mem.h"

#include <string.h>

static struct {
    uint64_t fail_at, count;
    int64_t live;
    bool forever, hit;
    int paused;
} state;

static void *failing_alloc(size_t alignment, size_t size)
{
    void *memory;

    if (!state.paused) {
        state.count++;
        if (state.fail_at && (state.count == state.fail_at || (state.forever && state.count > state.fail_at))) {
            state.hit = true;
            return NULL;
        }
    }
    memory = mem_system.alloc(alignment, size);
    state.live += memory != NULL;
    return memory;
}

static void failing_free(void *memory, size_t size)
{
    state.live--;
    memset(memory, 0xDD, size); /* whoever still looks at it is found out */
    mem_system.free(memory, size);
}

static const struct mem_table failing = {failing_alloc, failing_free};

void fault_memory(uint64_t fail_at, bool forever)
{
    state.fail_at = fail_at;
    state.forever = forever;
    state.count = 0;
    state.live = 0;
    state.hit = false;
    state.paused = 0;
    mem_set_table(&failing);
}

void fault_memory_next(uint64_t fail_at, bool forever)
{
    state.fail_at = fail_at;
    state.forever = forever;
    state.count = 0;
    state.hit = false;
}

void fault_memory_end(void) { mem_set_table(NULL); }
uint64_t fault_memory_count(void) { return state.count; }
bool fault_memory_hit(void) { return state.hit; }
int64_t fault_memory_live(void) { return state.live; }
void fault_memory_pause(void) { state.paused++; }
void fault_memory_resume(void) { state.paused--; }
