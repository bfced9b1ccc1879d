/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The values of a tree's items: the first byte says which kind.  What can be
 * read is written again as the same bytes, so that nothing has two forms (but
 * for inodes).
 */
#include "fuzz.h"
#include "item.h"

static void same(const uint8_t *data, size_t len, const uint8_t *again,
                 size_t again_len)
{
	fuzz_assert(again_len == len && !memcmp(data, again, len));
}

/* An inode may have fields at their defaults; they are not written. */
static void inode_again(const struct inode *inode)
{
	uint8_t out[INODE_LEN_MAX], again[INODE_LEN_MAX];
	size_t len = inode_encode(inode, out);
	struct inode copy;

	fuzz_assert(!inode_decode(out, len, &copy));
	same(out, len, again, inode_encode(&copy, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t out[TREE_VALUE_MAX];
	struct inode inode;
	struct dirent_item dirent;
	struct backref_item backref;
	struct xattr_item xattr;
	struct extent extent;
	struct item item = {0};
	uint8_t kind;

	if (!len || len > TREE_VALUE_MAX)
		return 0;
	kind = *data++;
	len--;
	item = (struct item){.key = {.ino = 1, .kind = kind & 15},
	                     .value = data,
	                     .len = (uint32_t)len};
	item_chunk(&item);
	switch (kind) {
	case ITEM_INODE:
		if (!inode_decode(data, len, &inode))
			inode_again(&inode);
		break;
	case ITEM_DIRENT:
		if (!dirent_decode(data, len, &dirent))
			same(data, len, out, dirent_encode(&dirent, out));
		break;
	case ITEM_BACKREF:
		if (!backref_decode(data, len, &backref))
			same(data, len, out, backref_encode(&backref, out));
		break;
	case ITEM_XATTR:
		if (!xattr_decode(data, len, &xattr))
			same(data, len, out, xattr_encode(&xattr, out));
		break;
	case ITEM_EXTENT:
		if (!extent_decode(data, len, &extent))
			same(data, len, out, extent_encode(&extent, out));
		break;
	}
	return 0;
}
