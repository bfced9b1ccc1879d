/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The format of the pages of data.mdb.  Pages are checked before LMDB reads
 * them, because LMDB trusts a page and follows a damaged one to any address.
 * Inside store/ only.
 *
 * The format is that of LMDB 0.9 on 64-bit little-endian machines, with pages
 * of DISK_PAGE bytes:
 *
 *   page      8 number; 2 pad; 2 flags; 2 lower, 2 upper (of an overflow page:
 *             4 number of pages); from byte 16 on 2-byte offsets of nodes, up
 *             to lower; nodes from upper to the end
 *   node      4 length of the data; 2 flags; 2 length of the key; key; data.
 *             In a branch, the first 6 bytes are the number of the child
 *   database  4 pad; 2 flags; 2 depth; 8 each: branch, leaf and overflow
 *             pages, entries, root
 *   meta      after the header: 4 magic; 4 version; 8 address; 8 map size; the
 *             databases of free pages and of names; 8 last page; 8 transaction
 */
#ifndef COPPICE_PAGE_H
#define COPPICE_PAGE_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "disk.h"

enum {
	PAGE_HEADER = 16,
	PAGE_BRANCH = 1,
	PAGE_LEAF = 2,
	PAGE_OVERFLOW = 4,
	NODE_HEAD = 8,
	NODE_BIG = 1, /* the data is the number of an overflow page */
	NODE_SUB = 2, /* the data is a database */
	DB_LEN = 48,
	DB_FLAGS = 0x7e, /* those that LMDB stores */
	DEPTH_MAX = 32,
	META_DBS = 24,
	META_LAST = META_DBS + 2 * DB_LEN,
	META_TXN = META_LAST + 8,
	META_LEN = META_TXN + 8,
};
#define NO_PAGE UINT64_MAX

static inline uint16_t le16_get(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static inline uint32_t le32_get(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t le64_get(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

/* A database: the tree that starts from a root. */
struct page_tree {
	uint16_t flags, depth;
	uint64_t branches, leaves, overflows, entries, root;
};

struct page_tree page_tree_get(const uint8_t *at);
/* Return NULL, or the fault in its flags, its depth and its root. */
const char *page_tree_fault(const struct page_tree *tree);

/* Bytes within a page; at: NULL if there are none. */
struct page_part {
	const uint8_t *at;
	size_t len;
};

/* Return NULL, or the fault in the head of the page of this number and type. */
const char *page_head_fault(const uint8_t *page, uint64_t number,
                            unsigned type);
/*
 * Return NULL, or the fault in the body of a branch or leaf with an intact
 * head.  The entries must lie within the page, take exactly the space that the
 * head gives, and be in the order of the keys of the tree.
 */
const char *page_body_fault(const uint8_t *page, const struct page_tree *tree);
/*
 * Return NULL, or a fault if a key of an intact page is below `low`, or not
 * below `high`.  NULL: no bound.
 */
const char *page_range_fault(const uint8_t *page, const struct page_tree *tree,
                             const struct page_part *low,
                             const struct page_part *high);

/* Return the number of entries of an intact page. */
static inline unsigned page_len(const uint8_t *page)
{
	return (le16_get(page + 12) - PAGE_HEADER) / 2u;
}

static inline bool page_is_leaf(const uint8_t *page)
{
	return le16_get(page + 10) & PAGE_LEAF;
}

static inline const uint8_t *page_node(const uint8_t *page, unsigned i)
{
	return page + le16_get(page + PAGE_HEADER + 2 * i);
}

static inline struct page_part page_key(const uint8_t *page, unsigned i)
{
	const uint8_t *node = page_node(page, i);

	return (struct page_part){node + NODE_HEAD, le16_get(node + 6)};
}

static inline unsigned page_node_flags(const uint8_t *node)
{
	return le16_get(node + 4);
}

/* Leaves: return the data, or, if it is BIG, the 8-byte page number. */
static inline struct page_part page_node_data(const uint8_t *node)
{
	return (struct page_part){node + NODE_HEAD + le16_get(node + 6),
	                          le32_get(node)};
}

/* Branches: return the number of the child page. */
static inline uint64_t page_node_child(const uint8_t *node)
{
	return le32_get(node) | (uint64_t)le16_get(node + 4) << 32;
}

/*
 * Return true if the pages are enough for BIG data of `len` bytes.  They may be
 * more, because data that gets shorter keeps its pages.
 */
static inline bool page_big_fits(uint64_t pages, size_t len)
{
	return pages >= (PAGE_HEADER + len + DISK_PAGE - 1) / DISK_PAGE;
}

int page_key_compare(const struct page_tree *tree, const struct page_part *a,
                     const struct page_part *b);
/*
 * Leaves: return the index of the first entry at or after the key; page_len()
 * if there is none.  Branches: return the index of the entry that leads to the
 * key.  The page must be intact.
 */
unsigned page_search(const uint8_t *page, const struct page_tree *tree,
                     const struct page_part *key);

#endif
