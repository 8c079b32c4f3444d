#include "schema/schema.h"

#include "base/mem.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "schema/json.h"
#include "schema/value.h"

#include <stdio.h>
#include <time.h>

vecdb_status schema_check_name(const char *what, const char *name)
{
    size_t length, bad;

    if (!name)
        return error_set(VECDB_ERR_INVALID, "%s: the name is NULL", what);
    length = strnlen(name, VECDB_MAX_NAME + 1);
    if (length == 0)
        return error_set(VECDB_ERR_INVALID, "%s: the name is empty", what);
    if (length > VECDB_MAX_NAME)
        return error_set(VECDB_ERR_LIMIT, "%s: the name is longer than %d bytes", what, VECDB_MAX_NAME);
    if (!utf8_valid(name, length, &bad))
        return error_set(VECDB_ERR_INVALID, "%s: the name is not UTF-8 (byte %zu)", what, bad);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7F)
            return error_set(VECDB_ERR_INVALID, "%s: the name has a control character (byte %zu, 0x%02x)", what, i,
                             (unsigned char)name[i]);
    return VECDB_OK;
}

static void field_deinit(struct field *field)
{
    mem_free(field->name);
    mem_free(field->description);
    mem_free(field->default_text);
    mem_free(field->default_value);
}

void schema_free(struct schema *schema)
{
    if (!schema)
        return;
    for (size_t i = 0; i < schema->field_count; i++)
        field_deinit(&schema->fields[i]);
    mem_free(schema->fields);
    mem_free(schema->name);
    mem_free(schema->description);
    mem_free(schema);
}

static vecdb_status copy_text(char **to, const char *from)
{
    size_t bad;

    if (!from)
        return VECDB_OK;
    if (!utf8_valid(from, strlen(from), &bad))
        return error_set(VECDB_ERR_INVALID, "text is not UTF-8 (byte %zu)", bad);
    *to = mem_strdup(from);
    return *to ? VECDB_OK : error_nomem("schema");
}

static vecdb_status check_vector_dim(const struct field *field)
{
    bool binary = field->type == VECDB_TYPE_BINARY_VECTOR;
    uint32_t most = binary ? VECDB_MAX_DIM * 8 : VECDB_MAX_DIM;

    if (field->dim == 0)
        return error_set(VECDB_ERR_DIM, "field %s: %s needs a dim of 1 to %u", field->name, type_name(field->type), most);
    if (field->dim > most)
        return error_set(VECDB_ERR_LIMIT, "field %s: dim %u is more than %u", field->name, field->dim, most);
    if (binary && field->dim % 8)
        return error_set(VECDB_ERR_DIM, "field %s: dim %u is not a multiple of 8", field->name, field->dim);
    return VECDB_OK;
}

static vecdb_status check_flags(const struct field *field)
{
    static const uint32_t known = VECDB_PRIMARY_KEY | VECDB_AUTO_ID | VECDB_NULLABLE | VECDB_PARTITION_KEY;
    bool key_type = field->type == VECDB_TYPE_INT64 || field->type == VECDB_TYPE_VARCHAR;

    if (field->flags & ~known)
        return error_set(VECDB_ERR_INVALID, "field %s: flags 0x%x are unknown", field->name, field->flags & ~known);
    if ((field->flags & (VECDB_PRIMARY_KEY | VECDB_PARTITION_KEY)) && !key_type)
        return error_set(VECDB_ERR_TYPE, "field %s: a %s key must be INT64 or VARCHAR, not %s", field->name,
                         field->flags & VECDB_PRIMARY_KEY ? "primary" : "partition", type_name(field->type));
    if ((field->flags & (VECDB_PRIMARY_KEY | VECDB_PARTITION_KEY)) && (field->flags & VECDB_NULLABLE))
        return error_set(VECDB_ERR_INVALID, "field %s: a key cannot be nullable", field->name);
    if ((field->flags & VECDB_AUTO_ID) && !(field->flags & VECDB_PRIMARY_KEY))
        return error_set(VECDB_ERR_INVALID, "field %s: AUTO_ID is for the primary key", field->name);
    return VECDB_OK;
}

static vecdb_status set_default(struct field *field, const char *text)
{
    struct buf parsed = {0}, value = {0};
    vecdb_status status;

    if (field->type == VECDB_TYPE_JSON || field->type == VECDB_TYPE_ARRAY || type_is_vector(field->type))
        return error_set(VECDB_ERR_UNSUPPORTED, "field %s: %s takes no default value", field->name,
                         type_name(field->type));
    if (field->flags & VECDB_PRIMARY_KEY)
        return error_set(VECDB_ERR_UNSUPPORTED, "field %s: a primary key takes no default value", field->name);
    if ((status = copy_text(&field->default_text, text)) == VECDB_OK &&
        (status = json_parse(text, strlen(text), &parsed)) == VECDB_OK &&
        (status = value_from_json(field, (struct json){parsed.data, parsed.size}, &value)) == VECDB_OK) {
        field->default_size = value.size;
        field->default_value = mem_dup(value.data, value.size);
        if (!field->default_value)
            status = error_nomem("schema");
    }
    if (status != VECDB_OK)
        error_prefix("field %s: default value: ", field->name);
    buf_deinit(&parsed);
    buf_deinit(&value);
    return status;
}

static vecdb_status field_init(struct field *field, const vecdb_field *from)
{
    TRY(schema_check_name("field", from->name));
    if (!type_name(from->type))
        return error_set(VECDB_ERR_TYPE, "field %s: type %d is unknown", from->name, (int)from->type);
    if (!(field->name = mem_strdup(from->name)))
        return error_nomem("schema");
    TRY(copy_text(&field->description, from->description));
    field->type = from->type;
    field->flags = from->flags;
    TRY(check_flags(field));
    if (type_is_dense(field->type)) {
        field->dim = from->dim;
        TRY(check_vector_dim(field));
    } else if (from->dim) {
        return error_set(VECDB_ERR_INVALID, "field %s: %s has no dim, got %u", field->name, type_name(field->type),
                         from->dim);
    }
    field->element_type = field->type == VECDB_TYPE_ARRAY ? from->element_type : VECDB_TYPE_NONE;
    if (field->type == VECDB_TYPE_ARRAY) {
        if (!type_name(field->element_type) || type_is_vector(field->element_type) ||
            field->element_type == VECDB_TYPE_JSON || field->element_type == VECDB_TYPE_ARRAY)
            return error_set(VECDB_ERR_TYPE, "field %s: an ARRAY's elements are scalars other than JSON, not %s",
                             field->name, type_name(field->element_type) ? type_name(field->element_type) : "(none)");
        field->max_capacity = from->max_capacity ? from->max_capacity : 4096;
        if (field->max_capacity > VECDB_MAX_CAPACITY)
            return error_set(VECDB_ERR_LIMIT, "field %s: max_capacity %u is more than %d", field->name,
                             field->max_capacity, VECDB_MAX_CAPACITY);
    }
    if (field->type == VECDB_TYPE_VARCHAR || field->element_type == VECDB_TYPE_VARCHAR) {
        field->max_length = from->max_length ? from->max_length : 65535;
        if (field->max_length > VECDB_MAX_VARCHAR)
            return error_set(VECDB_ERR_LIMIT, "field %s: max_length %u is more than %d", field->name, field->max_length,
                             VECDB_MAX_VARCHAR);
        if ((field->flags & VECDB_PRIMARY_KEY) && field->max_length > VECDB_MAX_KEY)
            field->max_length = VECDB_MAX_KEY;
    }
    field->width = type_width(field->type, field->dim);
    return from->default_value ? set_default(field, from->default_value) : VECDB_OK;
}

/* The i-th field of an array whose elements may be smaller or larger than ours. */
static vecdb_status read_field(const vecdb_schema *from, size_t i, vecdb_field *out)
{
    const char *bytes = (const char *)from->fields + i * from->field_size;

    memset(out, 0, sizeof *out);
    memcpy(out, bytes, from->field_size < sizeof *out ? from->field_size : sizeof *out);
    for (size_t b = sizeof *out; b < from->field_size; b++)
        if (bytes[b])
            return error_set(VECDB_ERR_UNSUPPORTED, "field %zu: the program asks for what this vecdb does not know", i);
    return VECDB_OK;
}

static vecdb_status index_fields(struct schema *schema)
{
    size_t vectors = 0;

    schema->primary = schema->dynamic = schema->partition_key = schema->inserted = SCHEMA_NONE;
    for (size_t i = 0; i < schema->field_count; i++) {
        struct field *field = &schema->fields[i];
        for (size_t j = 0; j < i; j++)
            if (strcmp(schema->fields[j].name, field->name) == 0)
                return error_set(VECDB_ERR_EXISTS, "collection %s: field %s is there twice", schema->name, field->name);
        if (field->flags & VECDB_PRIMARY_KEY) {
            if (schema->primary != SCHEMA_NONE)
                return error_set(VECDB_ERR_INVALID, "collection %s: fields %s and %s are both primary keys",
                                 schema->name, schema->fields[schema->primary].name, field->name);
            schema->primary = i;
            schema->auto_id = field->flags & VECDB_AUTO_ID;
        }
        if (field->flags & VECDB_PARTITION_KEY) {
            if (schema->partition_key != SCHEMA_NONE)
                return error_set(VECDB_ERR_INVALID, "collection %s: fields %s and %s are both partition keys",
                                 schema->name, schema->fields[schema->partition_key].name, field->name);
            schema->partition_key = i;
        }
        if (strcmp(field->name, SCHEMA_DYNAMIC_FIELD) == 0)
            schema->dynamic = i;
        if (strcmp(field->name, SCHEMA_INSERTED_FIELD) == 0)
            schema->inserted = i;
        vectors += type_is_vector(field->type);
    }
    if (schema->primary == SCHEMA_NONE)
        return error_set(VECDB_ERR_INVALID, "collection %s: no field is the primary key", schema->name);
    if (vectors == 0)
        return error_set(VECDB_ERR_INVALID, "collection %s: no field is a vector", schema->name);
    return VECDB_OK;
}

static vecdb_status make_dynamic_field(struct field *field)
{
    field->name = mem_strdup(SCHEMA_DYNAMIC_FIELD);
    field->type = VECDB_TYPE_JSON;
    field->flags = VECDB_NULLABLE;
    return field->name ? VECDB_OK : error_nomem("schema");
}

static vecdb_status take_settings(struct schema *schema, const vecdb_schema *from)
{
    schema->num_partitions = from->num_partitions ? from->num_partitions : SCHEMA_PARTITIONS;
    if (from->num_partitions && schema->partition_key == SCHEMA_NONE)
        return error_set(VECDB_ERR_INVALID, "collection %s: num_partitions is %u, but no field is a partition key",
                         schema->name, from->num_partitions);
    if (schema->num_partitions > SCHEMA_MAX_PARTITIONS)
        return error_set(VECDB_ERR_LIMIT, "collection %s: num_partitions is %u, it must be in 1..%d", schema->name,
                         schema->num_partitions, SCHEMA_MAX_PARTITIONS);
    schema->ttl_seconds = from->ttl_seconds;
    if (from->ttl_seconds > SCHEMA_MAX_TTL)
        return error_set(VECDB_ERR_LIMIT, "collection %s: ttl_seconds is %llu, it must be at most %lld", schema->name,
                         (unsigned long long)from->ttl_seconds, (long long)SCHEMA_MAX_TTL);
    if (schema->inserted != SCHEMA_NONE && schema->fields[schema->inserted].type != VECDB_TYPE_INT64)
        return error_set(VECDB_ERR_TYPE, "collection %s: %s is not an INT64 field", schema->name, SCHEMA_INSERTED_FIELD);
    schema->ttl_field = SCHEMA_NONE;
    if (!from->ttl_field)
        return VECDB_OK;
    schema->ttl_field = schema_find(schema, from->ttl_field, strlen(from->ttl_field));
    if (schema->ttl_field == SCHEMA_NONE)
        return error_set(VECDB_ERR_NO_SUCH, "collection %s: ttl_field %s is no field", schema->name, from->ttl_field);
    if (schema->fields[schema->ttl_field].type != VECDB_TYPE_INT64 || schema->ttl_field == schema->primary)
        return error_set(VECDB_ERR_TYPE, "collection %s: ttl_field %s must be an INT64 field, and not the primary key",
                         schema->name, from->ttl_field);
    return VECDB_OK;
}

int64_t schema_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The field with the time a row was written. Rows older than the field have the time it was made. */
static vecdb_status make_inserted_field(struct field *field)
{
    vecdb_field described = {.name = SCHEMA_INSERTED_FIELD, .type = VECDB_TYPE_INT64};
    char text[32];

    snprintf(text, sizeof text, "%lld", (long long)schema_now());
    described.default_value = text;
    return field_init(field, &described);
}

/* `stored`: fields of our own may be among the others. */
static vecdb_status create(const vecdb_schema *from, bool stored, struct schema **out)
{
    struct schema *schema;
    bool inserted = false;
    vecdb_status status;

    *out = NULL;
    TRY(schema_check_name("collection", from->name));
    if (from->field_count == 0 || !from->fields)
        return error_set(VECDB_ERR_INVALID, "collection %s: no fields", from->name);
    if (from->field_count > VECDB_MAX_FIELDS + (size_t)stored)
        return error_set(VECDB_ERR_LIMIT, "collection %s: %zu fields are more than %d", from->name, from->field_count,
                         VECDB_MAX_FIELDS);
    if (from->field_size < offsetof(vecdb_field, reserved))
        return error_set(VECDB_ERR_MISUSE, "collection %s: field_size is %u; set it with VECDB_SCHEMA_INIT", from->name,
                         from->field_size);
    schema = mem_zalloc(sizeof *schema);
    if (!schema || !(schema->fields = mem_array_zalloc(from->field_count + 2, sizeof *schema->fields)) ||
        !(schema->name = mem_strdup(from->name))) {
        schema_free(schema);
        return error_nomem("schema");
    }
    if ((status = copy_text(&schema->description, from->description)) != VECDB_OK)
        goto fail;
    for (size_t i = 0; i < from->field_count; i++) {
        vecdb_field field;
        schema->field_count = i + 1;
        if ((status = read_field(from, i, &field)) != VECDB_OK ||
            (status = field_init(&schema->fields[i], &field)) != VECDB_OK) {
            error_prefix("collection %s: ", from->name);
            goto fail;
        }
        if (stored && strcmp(field.name, SCHEMA_INSERTED_FIELD) == 0) {
            inserted = true;
        } else if (field.name[0] == '$') {
            status = error_set(VECDB_ERR_INVALID, "collection %s: field %s: names that begin with $ are reserved",
                               from->name, field.name);
            goto fail;
        }
    }
    if (from->ttl_seconds && !inserted) {
        schema->field_count++;
        if ((status = make_inserted_field(&schema->fields[schema->field_count - 1])) != VECDB_OK)
            goto fail;
    }
    if (from->dynamic) {
        schema->field_count++;
        if ((status = make_dynamic_field(&schema->fields[schema->field_count - 1])) != VECDB_OK)
            goto fail;
    }
    if ((status = index_fields(schema)) != VECDB_OK || (status = take_settings(schema, from)) != VECDB_OK)
        goto fail;
    *out = schema;
    return VECDB_OK;
fail:
    schema_free(schema);
    return status;
}

vecdb_status schema_create(const vecdb_schema *from, struct schema **out) { return create(from, false, out); }

static void publish(const struct schema *schema, bool hidden, vecdb_field *fields, vecdb_schema *out)
{
    size_t n = 0;

    for (size_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];
        if (i == schema->dynamic || (i == schema->inserted && !hidden))
            continue;
        fields[n++] = (vecdb_field){.name = field->name,
                                    .type = field->type,
                                    .flags = field->flags,
                                    .dim = field->dim,
                                    .max_length = field->max_length,
                                    .max_capacity = field->max_capacity,
                                    .element_type = field->element_type,
                                    .default_value = field->default_text,
                                    .description = field->description};
    }
    *out = (vecdb_schema){.size = sizeof *out,
                          .field_size = sizeof *fields,
                          .name = schema->name,
                          .description = schema->description,
                          .fields = fields,
                          .field_count = n,
                          .dynamic = schema->dynamic != SCHEMA_NONE,
                          .ttl_field = schema->ttl_field == SCHEMA_NONE ? NULL : schema->fields[schema->ttl_field].name,
                          .num_partitions = schema->partition_key == SCHEMA_NONE ? 0 : schema->num_partitions,
                          .ttl_seconds = schema->ttl_seconds};
}

void schema_publish(const struct schema *schema, vecdb_field *fields, vecdb_schema *out)
{
    publish(schema, false, fields, out);
}

/* The public form with one field more, under another name or with another time to live (NULL: as before), made into a schema again. */
static vecdb_status rebuild(const struct schema *schema, const char *name, const vecdb_field *extra, const uint64_t *ttl,
                            struct schema **out)
{
    vecdb_field *fields = mem_array_alloc(schema->field_count + 1, sizeof *fields);
    vecdb_schema public_form;
    vecdb_status status;

    *out = NULL;
    if (!fields)
        return error_nomem("schema");
    publish(schema, true, fields, &public_form);
    if (extra)
        fields[public_form.field_count++] = *extra;
    if (name)
        public_form.name = name;
    if (ttl)
        public_form.ttl_seconds = *ttl;
    status = extra && extra->name && extra->name[0] == '$'
                 ? error_set(VECDB_ERR_INVALID, "collection %s: field %s: names that begin with $ are reserved", schema->name, extra->name)
                 : create(&public_form, true, out);
    if (status == VECDB_OK && schema->partition_key == SCHEMA_NONE)
        (*out)->partition_key = SCHEMA_NONE; /* of a collection older than partition keys */
    mem_free(fields);
    return status;
}

vecdb_status schema_copy(const struct schema *schema, const char *new_name, struct schema **out)
{
    return rebuild(schema, new_name, NULL, NULL, out);
}

vecdb_status schema_with_ttl(const struct schema *schema, uint64_t seconds, struct schema **out)
{
    return rebuild(schema, NULL, NULL, &seconds, out);
}

vecdb_status schema_with_field(const struct schema *schema, const vecdb_field *field, struct schema **out)
{
    if (!(field->flags & VECDB_NULLABLE) && !field->default_value)
        return error_set(VECDB_ERR_INVALID,
                         "collection %s: field %s must be nullable or have a default, for the rows there are",
                         schema->name, field->name ? field->name : "(NULL)");
    if (field->flags & VECDB_PARTITION_KEY)
        return error_set(VECDB_ERR_UNSUPPORTED, "collection %s: field %s: a partition key is chosen when a collection is created",
                         schema->name, field->name ? field->name : "(NULL)");
    return rebuild(schema, NULL, field, NULL, out);
}

size_t schema_find(const struct schema *schema, const char *name, size_t length)
{
    for (size_t i = 0; i < schema->field_count; i++)
        if (strlen(schema->fields[i].name) == length && memcmp(schema->fields[i].name, name, length) == 0)
            return i;
    return SCHEMA_NONE;
}

const char *schema_nearest(const struct schema *schema, const char *name, size_t length)
{
    struct nearest nearest = nearest_to(name, length);

    for (size_t i = 0; i < schema->field_count; i++)
        if (!schema_hides(schema, i))
            nearest_offer(&nearest, schema->fields[i].name);
    return nearest.best;
}

vecdb_status schema_no_field(const struct schema *schema, const char *name)
{
    const char *nearest = schema_nearest(schema, name, strlen(name));

    return error_set(VECDB_ERR_NO_SUCH, "field %s is not in the schema%s%s%s", name, DID_YOU_MEAN(nearest));
}

/* Encoded: u32 version 1 to 4, u8 dynamic, text name, text description, u32 count, then for each field: text name, text
 * description, text default, u32 type flags dim max_length max_capacity element_type. A text is u32 length plus one
 * (0: NULL) and its bytes. Versions 2 and 3 go on with u32 partitions of the key (0: there is no key) and text ttl field; 2 is
 * written only where there is one of them, 3 where a field is of a type that came with it: SPARSE_FLOAT_VECTOR. Version 4 goes on
 * with u64 seconds that rows live (0: for ever), and has "$inserted" among the fields. */
static vecdb_status put_u32(struct buf *out, uint32_t value) { return buf_append(out, &value, sizeof value); }

static vecdb_status put_text(struct buf *out, const char *text)
{
    size_t length = text ? strlen(text) : 0;

    TRY(put_u32(out, text ? (uint32_t)length + 1 : 0));
    return buf_append(out, text, length);
}

static bool has_sparse(const struct schema *schema)
{
    for (size_t f = 0; f < schema->field_count; f++)
        if (type_is_sparse(schema->fields[f].type))
            return true;
    return false;
}

vecdb_status schema_encode(const struct schema *schema, struct buf *out)
{
    uint8_t dynamic = schema->dynamic != SCHEMA_NONE;
    bool sparse = has_sparse(schema), expires = schema->inserted != SCHEMA_NONE;
    bool settings = sparse || expires || schema->partition_key != SCHEMA_NONE || schema->ttl_field != SCHEMA_NONE;

    TRY(put_u32(out, expires ? 4 : sparse ? 3 : settings ? 2 : 1));
    TRY(buf_append(out, &dynamic, 1));
    TRY(put_text(out, schema->name));
    TRY(put_text(out, schema->description));
    TRY(put_u32(out, (uint32_t)(schema->field_count - dynamic)));
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];
        if (i == schema->dynamic)
            continue;
        TRY(put_text(out, field->name));
        TRY(put_text(out, field->description));
        TRY(put_text(out, field->default_text));
        TRY(put_u32(out, field->type));
        TRY(put_u32(out, field->flags));
        TRY(put_u32(out, field->dim));
        TRY(put_u32(out, field->max_length));
        TRY(put_u32(out, field->max_capacity));
        TRY(put_u32(out, field->element_type));
    }
    if (!settings)
        return VECDB_OK;
    TRY(put_u32(out, schema->partition_key == SCHEMA_NONE ? 0 : schema->num_partitions));
    TRY(put_text(out, schema->ttl_field == SCHEMA_NONE ? NULL : schema->fields[schema->ttl_field].name));
    return expires ? buf_append(out, &schema->ttl_seconds, sizeof schema->ttl_seconds) : VECDB_OK;
}

struct reader {
    const uint8_t *data;
    size_t size;
    bool failed, out_of_memory;
};

static uint32_t get_u32(struct reader *reader)
{
    uint32_t value;

    if (reader->size < 4) {
        reader->failed = true;
        return 0;
    }
    value = load_u32(reader->data);
    reader->data += 4;
    reader->size -= 4;
    return value;
}

/* A zero-terminated copy for mem_free(), or NULL. */
static char *get_text(struct reader *reader)
{
    uint32_t length = get_u32(reader);
    char *text;

    if (length == 0)
        return NULL;
    length--;
    if (length > reader->size || memchr(reader->data, 0, length)) {
        reader->failed = true;
        return NULL;
    }
    if (!(text = mem_alloc((size_t)length + 1))) {
        reader->failed = reader->out_of_memory = true;
        return NULL;
    }
    memcpy(text, reader->data, length);
    text[length] = '\0';
    reader->data += length;
    reader->size -= length;
    return text;
}

vecdb_status schema_decode(const uint8_t *data, size_t size, struct schema **out)
{
    struct reader reader = {data, size, false, false};
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_field *fields = NULL;
    vecdb_status status;
    uint32_t version = get_u32(&reader), count;

    *out = NULL;
    if (!reader.failed && (version < 1 || version > 4))
        return error_set(VECDB_ERR_VERSION, "schema: format %u is newer than this vecdb's 4", version);
    if (reader.size < 1)
        return error_set(VECDB_ERR_CORRUPT, "schema: %zu bytes are too few", size);
    schema.dynamic = *reader.data != 0;
    reader.data++;
    reader.size--;
    schema.name = get_text(&reader);
    schema.description = get_text(&reader);
    count = get_u32(&reader);
    if (!reader.failed && count <= VECDB_MAX_FIELDS + 1)
        reader.out_of_memory = !(fields = mem_array_zalloc(count ? count : 1, sizeof *fields));
    if (!fields) {
        reader.failed = true;
        count = 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        fields[i].name = get_text(&reader);
        fields[i].description = get_text(&reader);
        fields[i].default_value = get_text(&reader);
        fields[i].type = get_u32(&reader);
        fields[i].flags = get_u32(&reader);
        fields[i].dim = get_u32(&reader);
        fields[i].max_length = get_u32(&reader);
        fields[i].max_capacity = get_u32(&reader);
        fields[i].element_type = get_u32(&reader);
    }
    schema.fields = fields;
    schema.field_count = count;
    if (version >= 2) {
        schema.num_partitions = get_u32(&reader);
        schema.ttl_field = get_text(&reader);
    }
    if (version >= 4) {
        schema.ttl_seconds = get_u32(&reader);
        schema.ttl_seconds |= (uint64_t)get_u32(&reader) << 32;
    }
    if (reader.out_of_memory)
        status = error_nomem("schema");
    else if (reader.failed || reader.size)
        status = error_set(VECDB_ERR_CORRUPT, "schema: %zu bytes do not hold the fields they announce", size);
    else if ((status = create(&schema, version >= 4, out)) != VECDB_OK && status != VECDB_ERR_NOMEM) {
        error_prefix("stored schema: ");
        status = VECDB_ERR_CORRUPT;
    }
    if (status == VECDB_OK && !schema.num_partitions)
        (*out)->partition_key = SCHEMA_NONE; /* of a collection older than partition keys */
    for (uint32_t i = 0; i < count; i++) {
        mem_free((char *)fields[i].name);
        mem_free((char *)fields[i].description);
        mem_free((char *)fields[i].default_value);
    }
    mem_free(fields);
    mem_free((char *)schema.name);
    mem_free((char *)schema.description);
    mem_free((char *)schema.ttl_field);
    return status;
}
