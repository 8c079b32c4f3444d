/* What a collection holds: a checked, deep copy of a vecdb_schema, immutable once made. Field numbers are positions in
 * `fields` and never change; a hidden JSON field "$meta" comes last when the schema is dynamic. Where rows expire a time after
 * they were written, or ever did, another hidden field has that time: "$inserted", INT64, milliseconds since 1970. */
#ifndef VECDB_SCHEMA_SCHEMA_H
#define VECDB_SCHEMA_SCHEMA_H

#include "base/buf.h"
#include "schema/column.h"
#include "schema/type.h"

#define SCHEMA_DYNAMIC_FIELD "$meta"
#define SCHEMA_INSERTED_FIELD "$inserted"
#define SCHEMA_MAX_TTL 10000000000 /* seconds: 300 years */
#define SCHEMA_NONE ((size_t)-1)
#define SCHEMA_PARTITIONS 16 /* of a partition key, when nothing else is asked for */
#define SCHEMA_MAX_PARTITIONS 1024

struct field {
    char *name, *description;
    vecdb_type type, element_type;
    uint32_t flags, dim, max_length, max_capacity;
    size_t width;          /* bytes of a value as kept; 0 for variable ones */
    char *default_text;    /* JSON, as the user gave it; NULL for none */
    uint8_t *default_value; /* as kept in a column; NULL for none */
    size_t default_size;
};

struct schema {
    char *name, *description;
    struct field *fields;
    size_t field_count;   /* with hidden ones */
    size_t primary;       /* field number */
    size_t dynamic;       /* of $meta, or SCHEMA_NONE */
    size_t partition_key; /* or SCHEMA_NONE */
    uint32_t num_partitions; /* with a partition key */
    size_t ttl_field;     /* or SCHEMA_NONE */
    size_t inserted;      /* of $inserted, or SCHEMA_NONE */
    uint64_t ttl_seconds; /* that rows are seen after that; 0: for ever */
    bool auto_id;
};

/** Check and copy. VECDB_ERR_INVALID, _LIMIT, _TYPE, _DIM with the name of the field at fault. */
vecdb_status schema_create(const vecdb_schema *from, struct schema **out);
void schema_free(struct schema *schema);
/** Whether a field is one of our own. */
static inline bool schema_hides(const struct schema *schema, size_t f) { return f == schema->dynamic || f == schema->inserted; }
/** Milliseconds since 1970. */
int64_t schema_now(void);
/** A copy whose rows expire after so many seconds (0: never). Rows there are count as written now, if it was never asked before. */
vecdb_status schema_with_ttl(const struct schema *schema, uint64_t seconds, struct schema **out);
/** A copy with one field more (before $meta). It must be nullable or have a default. */
vecdb_status schema_with_field(const struct schema *schema, const vecdb_field *field, struct schema **out);
vecdb_status schema_copy(const struct schema *schema, const char *new_name, struct schema **out);
/** Field number by name (length given), or SCHEMA_NONE. */
size_t schema_find(const struct schema *schema, const char *name, size_t length);
/** The field whose name is nearest to a misspelt one, for error messages; NULL when none is near. */
const char *schema_nearest(const struct schema *schema, const char *name, size_t length);
/** VECDB_ERR_NO_SUCH, with a message that names the nearest field. */
vecdb_status schema_no_field(const struct schema *schema, const char *name);
/** The public form; its strings point into `schema`. `fields` has room for schema->field_count. */
void schema_publish(const struct schema *schema, vecdb_field *fields, vecdb_schema *out);
/** Names of collections, fields, indexes, partitions, aliases: 1..255 bytes, UTF-8, no control characters. */
vecdb_status schema_check_name(const char *what, const char *name);

/** For the manifest: bytes that schema_decode() reads back; every number in them is checked there. */
vecdb_status schema_encode(const struct schema *schema, struct buf *out);
vecdb_status schema_decode(const uint8_t *data, size_t size, struct schema **out);

#endif
