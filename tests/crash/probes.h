/* Single hostile or awkward things, one after the other: what is in a call, in a file, or held on to while much changes.
 * Each has one right answer. */
#ifndef VECDB_TESTS_PROBES_H
#define VECDB_TESTS_PROBES_H

#include "crash/harness.h"

/** A full disk: reading and deleting go on, and writing when there is space again, without opening anew. */
void probe_full_disk(struct counters *counters);
/** NaN and infinity at every place of vectors of many lengths. */
void probe_input(struct counters *counters);
/** Counts whose product with a width is right only in 32 bits. */
void probe_counts(struct counters *counters);
/** A graph in which some number is the number of rows: no row there may be found. */
void probe_neighbours(struct counters *counters);
/** Segments whose index files were swapped, checksums and manifest and all. */
void probe_swapped_indexes(struct counters *counters);
/** The longest and the deepest filters there may be, on a small stack. */
void probe_filters(struct counters *counters);
/** Cursors over states that have long been replaced; memory that was given back is overwritten. */
void probe_old_states(struct counters *counters);
/** All of these. */
void probe_all(struct counters *counters);

#endif
