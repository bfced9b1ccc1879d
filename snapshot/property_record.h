/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The records of TABLE_PROPERTY.  A key begins with the number of the state
 * in 8 bytes and the kind:
 *
 *   PROPERTY_VALUE  key, 0, piece   a piece of the value
 *   PROPERTY_TAG    tag             svarint time
 *   PROPERTY_HELD   be64 snapshot   nothing; the snapshot of this fork is held
 *
 * A value is stored as its checksum in 4 bytes and its bytes, which are cut
 * into pieces, numbered from 0: all but the last have PROPERTY_PIECE_MAX bytes.
 */
#ifndef COPPICE_SNAPSHOT_PROPERTY_RECORD_H
#define COPPICE_SNAPSHOT_PROPERTY_RECORD_H

#include "snapshot.h"

enum property_kind {
	PROPERTY_VALUE = 1,
	PROPERTY_TAG = 2,
	PROPERTY_HELD = 3,
};

enum {
	PROPERTY_PIECE_MAX = 1400,
	PROPERTY_STORED_MAX = 4 + PROPERTY_VALUE_MAX,
	PROPERTY_PIECES = (PROPERTY_STORED_MAX + PROPERTY_PIECE_MAX - 1) /
	                  PROPERTY_PIECE_MAX,
	PROPERTY_PREFIX_LEN = 9, /* the number and the kind */
};

/* A decoded record. */
struct property_record {
	uint64_t state;
	enum property_kind kind;
	char name[PROPERTY_KEY_MAX + 1]; /* a key or a tag */
	unsigned piece;
	int64_t time;  /* when a tag was added, ns since the epoch */
	uint64_t held; /* number of a snapshot */
};

/* Decode a record.  -EUCLEAN. */
int property_record_decode(const struct record *record,
                           struct property_record *ret);
/* Write the bytes that store a value, and return their number. */
size_t property_value_encode(const char *value,
                             uint8_t out[PROPERTY_STORED_MAX]);
/*
 * Read all pieces of a value with a function that returns 0, -ENOENT or
 * another error.  -ENODATA: there is no first piece; -EUCLEAN: damage.
 */
typedef int property_read_fn(void *arg, const uint8_t *key, size_t key_len,
                             struct record *ret_record);
int property_value_read(uint64_t state, const char *name,
                        property_read_fn *read, void *arg,
                        char ret_value[PROPERTY_VALUE_MAX + 1]);
/* Write the first bytes of a key. */
void property_prefix(uint8_t key[TABLE_KEY_MAX], uint64_t state,
                     enum property_kind kind);
/* Write the key of a piece of a value, and return its length. */
size_t property_key(uint8_t key[TABLE_KEY_MAX], uint64_t state,
                    const char *name, unsigned piece);
/* Write the key of a tag, and return its length. */
size_t tag_key(uint8_t key[TABLE_KEY_MAX], uint64_t state, const char *tag);
/* Write the key that marks a snapshot as held, and return its length. */
size_t held_key(uint8_t key[TABLE_KEY_MAX], uint64_t fork, uint64_t snapshot);

/*
 * Remove all records of a state that is being deleted; their number is bounded.
 */
int properties_clear(struct store *store, uint64_t state);
/* Return true if there are (or may be) records of the state. */
bool properties_exist(struct store *store, uint64_t state);

#endif
