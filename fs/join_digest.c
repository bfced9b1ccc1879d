/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A digest of the changes of one side of a join. */
#include "fs.h"

#include <errno.h>

#include "util.h"

/* Encode an inode without its atime.  Return the length; 0: not present. */
static size_t inode_bytes(const struct join_face *face,
                          uint8_t ret[INODE_LEN_MAX])
{
	struct inode inode = face->inode;

	inode.atime = (struct timestamp){0};
	return face->present ? inode_encode(&inode, ret) : 0;
}

static bool faces_equal(const struct join_face *a, const struct join_face *b)
{
	uint8_t x[INODE_LEN_MAX], y[INODE_LEN_MAX];
	size_t len = inode_bytes(a, x);

	if (a->present != b->present || len != inode_bytes(b, y) ||
	    memcmp(x, y, len) != 0 || a->name_count != b->name_count)
		return false;
	for (size_t i = 0; i < a->name_count; i++) {
		if (!face_has_name(b, &a->names[i]))
			return false;
	}
	return true;
}

static bool has_changed(const struct fs_joined *joined,
                        const struct join_inode *inode, enum join_side side)
{
	for (unsigned i = 0; i < joined->base_count; i++) {
		if (!faces_equal(&inode->faces[side],
		                 &inode->faces[JOIN_BASE + i]))
			return true;
	}
	return false;
}

/* Add the inode's number, attributes (none if not present) and names. */
static void face_add(struct content_hash *hash, uint64_t ino,
                     const struct join_face *face)
{
	uint8_t bytes[INODE_LEN_MAX], number[8];
	size_t len = inode_bytes(face, bytes);

	be64_put(number, ino);
	content_hash_add(hash, number, sizeof(number));
	content_hash_add(hash, &(uint8_t){(uint8_t)len}, 1);
	content_hash_add(hash, bytes, len);
	for (size_t i = 0; i < face->name_count; i++) {
		be64_put(number, face->names[i].parent);
		content_hash_add(hash, number, sizeof(number));
		content_hash_add(hash, face->names[i].name,
		                 strlen(face->names[i].name) + 1);
	}
}

int fs_joined_digest(const struct fs_joined *joined, enum join_side side,
                     char ret_digest[JOIN_DIGEST_SIZE])
{
	struct content_hash *hash = content_hash_create();
	uint8_t bytes[CONTENT_HASH_LEN];
	struct join_inode *inode;

	if (!hash)
		return -ENOMEM;
	content_hash_reset(hash);
	for (size_t n = 0;
	     joined->plan && (inode = plan_inode(joined->plan, n)); n++) {
		if (!inode->copy && !inode->stands_for &&
		    has_changed(joined, inode, side))
			face_add(hash, inode->ino, &inode->faces[side]);
	}
	content_hash_get(hash, bytes);
	content_hash_destroy(hash);
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(ret_digest + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}
