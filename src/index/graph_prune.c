#include "index/graph_prune.h"

#include "index/graph_search.h"
#include "simd/kernels.h"

#include <stdlib.h>

#define AHEAD 4 /* candidates on their way from memory */
#define CHUNK 8 /* kept ones compared at a time; most candidates fall to one of the first */

size_t graph_prune(const struct graph_codec *codec, const uint8_t *codes, const uint64_t *candidates, size_t count,
                   float alpha2, size_t limit, uint32_t *out)
{
    uint32_t scores[CHUNK];
    size_t kept = 0, stride = codec->stride;

    for (size_t c = 0; c < count && c < AHEAD; c++)
        simd_prefetch(codes + (size_t)graph_key_node(candidates[c]) * stride, stride);
    for (size_t c = 0; c < count && kept < limit; c++) {
        uint32_t node = graph_key_node(candidates[c]);
        float distance = graph_codec_distance(codec, graph_key_score(candidates[c]));
        struct graph_query self;
        bool keep = true;

        if (c + AHEAD < count)
            simd_prefetch(codes + (size_t)graph_key_node(candidates[c + AHEAD]) * stride, stride);
        graph_codec_self(codec, codes + (size_t)node * stride, &self);
        for (size_t at = 0; at < kept && keep; at += CHUNK) {
            size_t n = kept - at < CHUNK ? kept - at : CHUNK;
            graph_scores(&self, codes, out + at, n, scores);
            for (size_t i = 0; i < n; i++)
                keep &= !(alpha2 * graph_codec_distance(codec, scores[i]) < distance);
        }
        if (keep)
            out[kept++] = node;
    }
    return kept;
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

size_t graph_sort_keys(uint64_t *keys, size_t count)
{
    size_t kept = 0;

    if (count <= 64)
        for (size_t i = 1; i < count; i++) {
            uint64_t key = keys[i];
            size_t at = i;
            for (; at > 0 && keys[at - 1] > key; at--)
                keys[at] = keys[at - 1];
            keys[at] = key;
        }
    else
        qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < count; i++)
        if (!kept || keys[kept - 1] != keys[i])
            keys[kept++] = keys[i];
    return kept;
}
