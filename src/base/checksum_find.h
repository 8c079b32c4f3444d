/* Which byte is wrong, of bytes whose checksum is. */
#ifndef VECDB_BASE_CHECKSUM_FIND_H
#define VECDB_BASE_CHECKSUM_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECKSUM_FIND_MAX ((size_t)128 << 10) /* of more bytes it would take too long: the time grows with their square */

/**
 * Whether one byte, were it another, would give `data` the checksum `expected`: so it is when one byte was changed. That another
 * byte would do as well by chance has a probability of 2^-40 for 64 KiB. Takes up to half a second for 64 KiB, two for the most.
 * @param at     receives where it is.
 * @param right  receives what it was.
 * @return false also when there are more than CHECKSUM_FIND_MAX bytes.
 */
bool checksum_find_byte(const uint8_t *data, size_t size, uint64_t seed, uint64_t expected, size_t *at, uint8_t *right);

#endif
