/* Bugs on purpose. The crash harness proves that it sees by planting known bugs one by one and being right each time.
 * PLANTED(n) is false, and costs nothing, in every build but the harness' own. */
#ifndef VECDB_BASE_PLANT_H
#define VECDB_BASE_PLANT_H

#ifdef VECDB_PLANT
extern int planted_bug;
#define PLANTED(n) (planted_bug == (n))
#else
#define PLANTED(n) 0
#endif

#endif
