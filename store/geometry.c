/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The record of a store itself. */
#include "geometry.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "codec.h"
#include "disk.h"
#include "store.h"

/* A node has space for four of the longest items. */
enum { NODE_SIZE_MIN = 4 * (TREE_VALUE_MAX + 56) };
static const char magic[8] = "coppice";

/* The known features.  Do not reuse the bit of a former one. */
enum {
	FEATURES_INCOMPAT = STORE_FEATURE_TRASH | STORE_FEATURE_HOLLOW |
	                    STORE_FEATURE_SPLICES | STORE_FEATURE_LOG |
	                    STORE_FEATURE_PATCHES | STORE_FEATURE_LARGE_LOG,
	FEATURES_READONLY = 0,
};

size_t geometry_encode(const struct geometry *g, uint8_t *out, size_t size)
{
	struct writer w = writer_init(out, size);

	put_bytes(&w, magic, sizeof(magic));
	put_u32(&w, STORE_FORMAT_VERSION);
	put_u64(&w, 0); /* compatible features */
	put_u64(&w, 0); /* features needed for writing */
	put_u64(&w, g->incompat);
	put_bytes(&w, g->uuid, sizeof(g->uuid));
	put_u64(&w, g->seed);
	put_u32(&w, g->node_size);
	put_u32(&w, g->chunk_bits);
	put_u64(&w, g->max_size);
	put_u64(&w, g->created);
	return writer_len(&w);
}

bool geometry_valid(const struct geometry *g)
{
	return g->node_size >= NODE_SIZE_MIN &&
	       g->node_size <= DISK_VALUE_MAX && g->chunk_bits >= 12 &&
	       g->chunk_bits <= 17;
}

int geometry_decode(const void *data, size_t len, bool readonly,
                    struct geometry *ret_geometry)
{
	struct reader r = reader_init(data, len);
	const uint8_t *bytes = reader_take(&r, sizeof(magic));
	struct geometry g = {0};
	uint64_t read_features;
	uint32_t version;

	if (!bytes || memcmp(bytes, magic, sizeof(magic)))
		return -EMEDIUMTYPE;
	version = get_u32(&r);
	get_u64(&r);
	read_features = get_u64(&r);
	g.incompat = get_u64(&r);
	if (r.bad)
		return -EUCLEAN;
	if (version > STORE_FORMAT_VERSION ||
	    g.incompat & ~(uint64_t)FEATURES_INCOMPAT)
		return -EPROTONOSUPPORT;
	if (!readonly && read_features & ~(uint64_t)FEATURES_READONLY)
		return -EPROTONOSUPPORT;
	bytes = reader_take(&r, sizeof(g.uuid));
	if (bytes)
		memcpy(g.uuid, bytes, sizeof(g.uuid));
	g.seed = get_u64(&r);
	g.node_size = get_u32(&r);
	g.chunk_bits = get_u32(&r);
	g.max_size = get_u64(&r);
	g.created = get_u64(&r);
	if (r.bad || !geometry_valid(&g))
		return -EUCLEAN;
	*ret_geometry = g;
	return 0;
}

bool uuid_make(uint8_t ret_uuid[16])
{
	if (getrandom(ret_uuid, 16, 0) != 16)
		return false;
	ret_uuid[6] = (uint8_t)((ret_uuid[6] & 0x0f) | 0x40); /* RFC 4122 */
	ret_uuid[8] = (uint8_t)((ret_uuid[8] & 0x3f) | 0x80);
	return true;
}
