/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The records of symlinks: see symlink.c for the keys. */
#ifndef COPPICE_SNAPSHOT_SYMLINK_H
#define COPPICE_SNAPSHOT_SYMLINK_H

#include "snapshot.h"

enum {
	SYMLINK_LEN_MAX = 1440,
	SYMLINK_BY_INO = 1, /* first byte of a key */
	SYMLINK_BY_NAME = 2,
	SYMLINK_KEY_LEN = 9,
};

size_t symlink_encode(const struct symlink *link, uint8_t out[SYMLINK_LEN_MAX]);
/* Decode all fields but ino.  -EUCLEAN. */
int symlink_decode(const void *data, size_t len, struct symlink *link);
/* Write the key of the record. */
void symlink_key(uint8_t key[SYMLINK_KEY_LEN], uint64_t ino);
/* Write the key of the name, and return its length. */
size_t symlink_name_key(uint8_t key[TABLE_KEY_MAX], const char *name);

#endif
