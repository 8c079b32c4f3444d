/* Bytes of a manifest's body, under a right header and right checksums. What is taken must encode to what is taken again. */
#include "fuzz/fuzz.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/manifest.h"

#define BODY 72

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t uuid[FORMAT_UUID_SIZE] = {7};
    struct buf bytes = {0}, again = {0};
    struct manifest manifest, back;
    bool read_only;

    if (buf_append(&bytes, NULL, BODY) != VECDB_OK || buf_append(&bytes, data, size) != VECDB_OK ||
        buf_append(&bytes, NULL, 8) != VECDB_OK)
        return 0;
    format_header_write(bytes.data, FILE_MANIFEST, uuid, 5);
    if (size % 2) /* as if from a newer minor version */
        store_u16(bytes.data + 14, FORMAT_MINOR + 1);
    store_u64(bytes.data + 56, checksum(bytes.data, 56, 0));
    store_u64(bytes.data + 64, bytes.size);
    store_u64(bytes.data + bytes.size - 8, checksum(bytes.data, bytes.size - 8, 0));
    if (manifest_decode("fuzz", bytes.data, bytes.size, 5, uuid, &read_only, &manifest) == VECDB_OK) {
        FUZZ_CHECK(manifest_encode(&manifest, &again) == VECDB_OK);
        FUZZ_CHECK(manifest_decode("fuzz", again.data, again.size, 5, uuid, &read_only, &back) == VECDB_OK);
        manifest_deinit(&back);
        manifest_deinit(&manifest);
    }
    buf_deinit(&bytes);
    buf_deinit(&again);
    return 0;
}
