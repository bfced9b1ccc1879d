/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The geometry: the record that identifies a store.  Its size limit, uuid and
 * features can change; the rest (format, sizes, seed) is fixed when the store
 * is made.  Inside store/ only.
 */
#ifndef COPPICE_GEOMETRY_H
#define COPPICE_GEOMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct geometry {
	uint32_t node_size;  /* bytes */
	uint32_t chunk_bits; /* log2 of a chunk's bytes */
	uint64_t max_size;   /* bytes that data.mdb may grow to; 0: no limit */
	uint64_t created;    /* ns since the epoch */
	uint64_t seed;       /* of the hash of names */
	uint64_t incompat;   /* features that a program must know */
	uint8_t uuid[16];
};

enum { GEOMETRY_LEN_MAX = 128, MAX_SIZE_LEAST = 1 << 20 };

/* Encode the record; return its length. */
size_t geometry_encode(const struct geometry *g, uint8_t *out, size_t size);
/*
 * Decode the record.  -EMEDIUMTYPE: it is not a store's; -EPROTONOSUPPORT: it
 * has a newer format or unknown features (readonly: that matter to readers);
 * -EUCLEAN.
 */
int geometry_decode(const void *data, size_t len, bool readonly,
                    struct geometry *ret_geometry);
/* Return true if the sizes are in their bounds. */
bool geometry_valid(const struct geometry *g);
/* Make a random uuid (RFC 4122); return false if that fails. */
bool uuid_make(uint8_t ret_uuid[16]);

#endif
