/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Items, the elements of a state's tree, and their encoding in the store.
 *
 *   ino kind       off                     value
 *   0   ORPHAN     the orphan's ino        nothing
 *   ino INODE      0                       struct inode
 *   ino BACKREF    slot of (parent, name)  parent, name
 *   ino XATTR      slot of name            name, then bytes or a chunk
 *   ino DIRENT     slot of name            child's ino and type, name
 *   ino EXTENT     chunk's index in file   struct extent
 *
 * A slot is a 63-bit seeded hash with the low four bits cleared, plus the
 * lowest of the numbers 0 to 15 that was free: so names whose hashes collide
 * have different slots.  A lookup reads these sixteen slots, nearly always one
 * item. A directory entry's slot is its readdir cookie; slots begin at 16.
 */
#ifndef COPPICE_ITEM_H
#define COPPICE_ITEM_H

#include "store.h"
#include "codec.h"

enum item_kind {
	ITEM_ORPHAN = 1,
	ITEM_INODE,
	ITEM_BACKREF,
	ITEM_XATTR,
	ITEM_DIRENT,
	ITEM_EXTENT,
};

enum {
	INO_ROOT = 1,    /* a state's root directory */
	INO_SNAPDIR = 2, /* its .snap: virtual, never in a tree */
	INO_FIRST = 16,  /* the first number of COUNTER_INO */
	NAME_LEN_MAX = 255,
	XATTR_INLINE_MAX = 180, /* value bytes kept in the item itself */
	XATTR_VALUE_MAX = 65536,
	EXTENT_INLINE_MAX = 256, /* file bytes kept in the item itself */
	SLOT_PROBES = 16,
};

/* Bound of inode numbers: the field of a tree's key has 36 bits. */
#define INO_END (UINT64_C(1) << 36)

/*
 * Return a new inode number below `end`, which is at most INO_END.  -ENOSPC:
 * all of them were used.  Lock held.
 */
static inline int ino_new(struct store *store, uint64_t end, uint64_t *ret_ino)
{
	return store_count(store, COUNTER_INO, INO_FIRST, end, ret_ino);
}

struct timestamp {
	int64_t sec;
	uint32_t nsec;
};

struct inode {
	uint32_t mode; /* as st_mode */
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint64_t size;   /* bytes; of a directory: number of entries */
	uint64_t blocks; /* 512-byte units of its data */
	uint64_t rdev;
	uint32_t xattrs; /* number of extended attributes */
	struct timestamp atime, mtime, ctime, btime;
};

/* The encoders return the length used; 0: the value cannot be encoded. */
enum { INODE_LEN_MAX = 120 };
size_t inode_encode(const struct inode *inode, uint8_t out[INODE_LEN_MAX]);
/* Decode one inode.  -EUCLEAN unless the bytes are exactly that. */
int inode_decode(const void *data, size_t len, struct inode *ret_inode);

struct dirent_item {
	uint64_t ino;
	uint8_t type; /* DT_* */
	uint8_t name_len;
	const char *name; /* points into the item; not terminated */
};
size_t dirent_encode(const struct dirent_item *d, uint8_t out[TREE_VALUE_MAX]);
int dirent_decode(const void *data, size_t len, struct dirent_item *ret);

struct backref_item {
	uint64_t parent;
	uint8_t name_len;
	const char *name;
};
size_t backref_encode(const struct backref_item *b,
                      uint8_t out[TREE_VALUE_MAX]);
int backref_decode(const void *data, size_t len, struct backref_item *ret);

struct xattr_item {
	uint8_t name_len;
	const char *name;
	uint32_t len;   /* of the value */
	uint64_t chunk; /* block with the value; 0: the value is in the item */
	const uint8_t *value;
};
size_t xattr_encode(const struct xattr_item *x, uint8_t out[TREE_VALUE_MAX]);
int xattr_decode(const void *data, size_t len, struct xattr_item *ret);

enum extent_kind {
	EXTENT_CHUNK = 1, /* the chunk's bytes, and zeroes beyond its end */
	EXTENT_INLINE,    /* index 0 only: the file's bytes are in the item */
	EXTENT_ZERO,      /* preallocated: reads as zero, counted as used */
};
struct extent {
	uint8_t kind;
	uint32_t len;   /* bytes of data from the start of the chunk's range */
	uint64_t chunk; /* EXTENT_CHUNK */
	const uint8_t *data; /* EXTENT_INLINE */
};
size_t extent_encode(const struct extent *e, uint8_t out[TREE_VALUE_MAX]);
int extent_decode(const void *data, size_t len, struct extent *ret);

/* Return the chunk number that an item of any kind names; 0: none. */
uint64_t item_chunk(const struct item *item);

/* Find the first item at or after the key; 0, or an error if there is none. */
typedef int item_seek_fn(void *arg, const struct key *key,
                         struct item *ret_item);

/* Return the first slot of a name; parent is 0 except for BACKREF. */
uint64_t slot_first(struct store *store, uint64_t parent, const char *name,
                    size_t name_len);

/*
 * slot_find(): find the item of a name (for BACKREF: of name and parent; parent
 * is 0 for other kinds).  -ENOENT.  slot_free(): return a free slot for a name;
 * -EEXIST: the name has an item; -ENOSPC: all sixteen slots are in use.  Lock
 * held.
 */
int slot_find(struct tree *tree, uint64_t ino, enum item_kind kind,
              uint64_t parent, const char *name, size_t name_len,
              struct item *ret_item);
int slot_free(struct tree *tree, uint64_t ino, enum item_kind kind,
              uint64_t parent, const char *name, size_t name_len,
              uint64_t *ret_off);

#endif
