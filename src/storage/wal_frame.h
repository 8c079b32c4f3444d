/* What writing and reading the log share. */
#ifndef VECDB_STORAGE_WAL_FRAME_H
#define VECDB_STORAGE_WAL_FRAME_H

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/plant.h"
#include "storage/wal.h"

/** Of a frame's header, as its last eight bytes have it. */
static inline uint64_t wal_header_checksum(const uint8_t *header, uint64_t salt)
{
    return PLANTED(6) ? checksum(header + 4, 28, salt) : checksum(header, 32, salt);
}

#endif
