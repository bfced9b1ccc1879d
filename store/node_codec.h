/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The codec of nodes: a node is stored as it is, compressed, or compressed with
 * a similar node as prefix (delta-compressed).  Inside store/ only.
 */
#ifndef COPPICE_NODE_CODEC_H
#define COPPICE_NODE_CODEC_H

#include <lmdb.h>

#include "block.h"

static inline bool block_tag_is_node(const MDB_val *value)
{
	uint8_t tag = value->mv_size ? *(const uint8_t *)value->mv_data : 0;

	return tag == BLOCK_TAG_NODE || tag == BLOCK_TAG_NODE_DELTA;
}

/* Return the number of the node that a stored one needs as prefix; 0: none. */
uint64_t node_stored_base(const MDB_val *value);
/*
 * Decode and verify the node whose stored form is `value`.  *ret_data points
 * into the map or to `buffer`, which has space for a node.  -EUCLEAN.
 */
int node_decode(struct store *store, MDB_txn *txn, uint64_t number,
                const MDB_val *value, uint8_t *buffer, const uint8_t **ret_data,
                uint32_t *ret_len);

struct node_encoder;
int node_encoder_create(struct node_encoder **ret_node_encoder);
void node_encoder_destroy(struct node_encoder *node_encoder);
/*
 * Encode a sealed node.  `copied` is the number of a stored node that is much
 * like it; 0: none.  *ret_data is valid until the next call.  Return the number
 * of the node that the stored form needs as prefix, which may differ from
 * `copied`; 0: none.  *ret_copied_len is the stored size of `copied`; 0: it is
 * not known.
 */
uint64_t node_encoder_run(struct node_encoder *node_encoder,
                          struct store *store, MDB_txn *txn, uint64_t copied,
                          const uint8_t *data, size_t len,
                          const uint8_t **ret_data, size_t *ret_len,
                          uint64_t *ret_copied_len);

#endif
