/* Rows that are seen no more: a field of theirs says until when they are, or they were written too long ago. */
#ifndef VECDB_QUERY_EXPIRY_H
#define VECDB_QUERY_EXPIRY_H

#include "query/snapshot.h"

/** Whether rows may expire. */
bool schema_expires(const struct schema *schema);
/** Whether a row has expired. */
vecdb_status row_expired(const struct snapshot *snapshot, size_t view, size_t row, bool *expired);
/** Whether some of a view's rows may have: false where what is known of its blocks says that none has. */
bool view_may_have_expired(const struct snapshot *snapshot, const struct segment_view *view);
/** Take the rows that have expired out of a bitmap. */
vecdb_status subtract_expired(const struct snapshot *snapshot, const struct segment_view *view, uint64_t *rows);

#endif
