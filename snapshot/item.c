/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Encode and decode items, and find items by name.
 *
 * An inode:
 *
 *   u8      flags, see below
 *   u8      time flags
 *   varint  mode, uid
 *   varint  gid, nlink, rdev, xattrs: each only with its flag
 *   varint  size
 *   varint  blocks: only with its flag
 *   time    btime: svarint seconds, u32 nanoseconds
 *   time    mtime, ctime, atime: each only with its flag, with the seconds
 *           counted from btime's
 *
 * The usual values take no space: one link, a gid equal to the uid, blocks that
 * the size implies, equal times.
 */
#include "item.h"

#include <errno.h>
#include <sys/stat.h>

enum {
	HAS_GID = 1,     /* else the uid */
	HAS_NLINK = 2,   /* else 1 */
	HAS_RDEV = 4,    /* else 0 */
	HAS_XATTRS = 8,  /* else 0 */
	HAS_BLOCKS = 16, /* else blocks_implied() */
	HAS_ALL = 31,
};

enum {
	HAS_MTIME = 1,      /* else btime */
	HAS_CTIME = 2,      /* else mtime */
	HAS_ATIME = 4,      /* else btime or mtime, by the next flag */
	ATIME_IS_MTIME = 8, /* never with HAS_ATIME */
	HAS_TIME_ALL = 15,
};

enum { NSEC_END = 1000000000, CHUNK_LEN_MAX = 1 << 17 };

/* Block numbers leave six bits of a 64-bit key for the fragment. */
static const uint64_t block_end = UINT64_C(1) << 58;

static uint64_t blocks_implied(const struct inode *inode)
{
	if (!S_ISREG(inode->mode))
		return 0;
	return inode->size / 512 + !!(inode->size % 512);
}

static bool time_equal(const struct timestamp *a, const struct timestamp *b)
{
	return a->sec == b->sec && a->nsec == b->nsec;
}

/* Seconds wrap: any two 64-bit times have a difference that adds back. */
static void put_time(struct writer *w, const struct timestamp *t, int64_t from)
{
	put_svarint(w, (int64_t)((uint64_t)t->sec - (uint64_t)from));
	put_u32(w, t->nsec);
}

static struct timestamp get_time(struct reader *r, int64_t from)
{
	struct timestamp t;

	t.sec = (int64_t)((uint64_t)get_svarint(r) + (uint64_t)from);
	t.nsec = get_u32(r);
	if (t.nsec >= NSEC_END)
		r->bad = true;
	return t;
}

static uint32_t get_varint32(struct reader *r)
{
	uint64_t v = get_varint(r);

	if (v > UINT32_MAX)
		r->bad = true;
	return (uint32_t)v;
}

static size_t writer_result(const struct writer *w)
{
	return w->bad ? 0 : writer_len(w);
}

_Static_assert(2 + 5 * 5 + 3 * 10 + 4 * (10 + 4) <= INODE_LEN_MAX,
               "the longest inode fits");

static uint8_t time_flags(const struct inode *inode)
{
	uint8_t flags = 0;

	if (!time_equal(&inode->mtime, &inode->btime))
		flags |= HAS_MTIME;
	if (!time_equal(&inode->ctime, &inode->mtime))
		flags |= HAS_CTIME;
	if (time_equal(&inode->atime, &inode->btime))
		return flags;
	if (time_equal(&inode->atime, &inode->mtime))
		return flags | ATIME_IS_MTIME;
	return flags | HAS_ATIME;
}

size_t inode_encode(const struct inode *inode, uint8_t out[INODE_LEN_MAX])
{
	struct writer w = writer_init(out, INODE_LEN_MAX);
	uint8_t times = time_flags(inode);
	uint8_t flags = 0;

	flags |= inode->gid != inode->uid ? HAS_GID : 0;
	flags |= inode->nlink != 1 ? HAS_NLINK : 0;
	flags |= inode->rdev ? HAS_RDEV : 0;
	flags |= inode->xattrs ? HAS_XATTRS : 0;
	flags |= inode->blocks != blocks_implied(inode) ? HAS_BLOCKS : 0;
	put_u8(&w, flags);
	put_u8(&w, times);
	put_varint(&w, inode->mode);
	put_varint(&w, inode->uid);
	if (flags & HAS_GID)
		put_varint(&w, inode->gid);
	if (flags & HAS_NLINK)
		put_varint(&w, inode->nlink);
	if (flags & HAS_RDEV)
		put_varint(&w, inode->rdev);
	if (flags & HAS_XATTRS)
		put_varint(&w, inode->xattrs);
	put_varint(&w, inode->size);
	if (flags & HAS_BLOCKS)
		put_varint(&w, inode->blocks);
	put_time(&w, &inode->btime, 0);
	if (times & HAS_MTIME)
		put_time(&w, &inode->mtime, inode->btime.sec);
	if (times & HAS_CTIME)
		put_time(&w, &inode->ctime, inode->btime.sec);
	if (times & HAS_ATIME)
		put_time(&w, &inode->atime, inode->btime.sec);
	return writer_result(&w);
}

static void get_times(struct reader *r, uint8_t flags, struct inode *inode)
{
	int64_t from;

	inode->btime = get_time(r, 0);
	from = inode->btime.sec;
	inode->mtime = flags & HAS_MTIME ? get_time(r, from) : inode->btime;
	inode->ctime = flags & HAS_CTIME ? get_time(r, from) : inode->mtime;
	if (flags & HAS_ATIME)
		inode->atime = get_time(r, from);
	else
		inode->atime =
		        flags & ATIME_IS_MTIME ? inode->mtime : inode->btime;
}

int inode_decode(const void *data, size_t len, struct inode *ret_inode)
{
	struct reader r = reader_init(data, len);
	struct inode inode;
	uint8_t flags = get_u8(&r);
	uint8_t times = get_u8(&r);

	if (flags & ~HAS_ALL || times & ~HAS_TIME_ALL ||
	    (times & HAS_ATIME && times & ATIME_IS_MTIME))
		return -EUCLEAN;
	inode.mode = get_varint32(&r);
	inode.uid = get_varint32(&r);
	inode.gid = flags & HAS_GID ? get_varint32(&r) : inode.uid;
	inode.nlink = flags & HAS_NLINK ? get_varint32(&r) : 1;
	inode.rdev = flags & HAS_RDEV ? get_varint(&r) : 0;
	inode.xattrs = flags & HAS_XATTRS ? get_varint32(&r) : 0;
	inode.size = get_varint(&r);
	inode.blocks =
	        flags & HAS_BLOCKS ? get_varint(&r) : blocks_implied(&inode);
	get_times(&r, times, &inode);
	if (!reader_done(&r))
		return -EUCLEAN;
	*ret_inode = inode;
	return 0;
}

/*
 * Read the rest of the item as a name.  Names that no file can have count as
 * damage: it would be dangerous to pass them to the kernel.
 */
static const char *get_name(struct reader *r, bool file, uint8_t *ret_len)
{
	size_t len = reader_left(r);
	const char *name = (const char *)reader_take(r, len);

	if (!name || !len || len > NAME_LEN_MAX || memchr(name, 0, len))
		goto bad;
	if (file && (memchr(name, '/', len) || (len == 1 && name[0] == '.') ||
	             (len == 2 && name[0] == '.' && name[1] == '.')))
		goto bad;
	*ret_len = (uint8_t)len;
	return name;
bad:
	r->bad = true;
	return NULL;
}

/* varint ino << 4 | type; the name */
size_t dirent_encode(const struct dirent_item *d, uint8_t out[TREE_VALUE_MAX])
{
	struct writer w = writer_init(out, TREE_VALUE_MAX);

	if (!d->ino || d->ino >= INO_END || d->type > 15 || !d->name_len)
		return 0;
	put_varint(&w, d->ino << 4 | d->type);
	put_bytes(&w, d->name, d->name_len);
	return writer_result(&w);
}

int dirent_decode(const void *data, size_t len, struct dirent_item *ret)
{
	struct reader r = reader_init(data, len);
	uint64_t v = get_varint(&r);
	struct dirent_item d = {.ino = v >> 4, .type = v & 15};

	d.name = get_name(&r, true, &d.name_len);
	if (!reader_done(&r) || !d.ino || d.ino >= INO_END)
		return -EUCLEAN;
	*ret = d;
	return 0;
}

/* varint parent; the name */
size_t backref_encode(const struct backref_item *b, uint8_t out[TREE_VALUE_MAX])
{
	struct writer w = writer_init(out, TREE_VALUE_MAX);

	if (!b->parent || b->parent >= INO_END || !b->name_len)
		return 0;
	put_varint(&w, b->parent);
	put_bytes(&w, b->name, b->name_len);
	return writer_result(&w);
}

int backref_decode(const void *data, size_t len, struct backref_item *ret)
{
	struct reader r = reader_init(data, len);
	struct backref_item b = {.parent = get_varint(&r)};

	b.name = get_name(&r, true, &b.name_len);
	if (!reader_done(&r) || !b.parent || b.parent >= INO_END)
		return -EUCLEAN;
	*ret = b;
	return 0;
}

_Static_assert(1 + NAME_LEN_MAX + 1 + XATTR_INLINE_MAX <= TREE_VALUE_MAX,
               "the longest xattr kept in the item fits");

/* u8 length of the name; the name; varint chunk; varint length or the value */
size_t xattr_encode(const struct xattr_item *x, uint8_t out[TREE_VALUE_MAX])
{
	struct writer w = writer_init(out, TREE_VALUE_MAX);

	if (!x->name_len || x->chunk >= block_end ||
	    x->len > (x->chunk ? XATTR_VALUE_MAX : XATTR_INLINE_MAX))
		return 0;
	put_u8(&w, x->name_len);
	put_bytes(&w, x->name, x->name_len);
	put_varint(&w, x->chunk);
	if (x->chunk)
		put_varint(&w, x->len);
	else
		put_bytes(&w, x->value, x->len);
	return writer_result(&w);
}

int xattr_decode(const void *data, size_t len, struct xattr_item *ret)
{
	struct reader r = reader_init(data, len);
	struct xattr_item x = {.name_len = get_u8(&r)};
	struct reader name = reader_init(r.at, x.name_len);

	if (!reader_take(&r, x.name_len))
		return -EUCLEAN;
	x.name = get_name(&name, false, &x.name_len);
	x.chunk = get_varint(&r);
	if (x.chunk) {
		x.len = get_varint32(&r);
	} else {
		x.len = (uint32_t)reader_left(&r);
		x.value = reader_take(&r, x.len);
	}
	if (!reader_done(&r) || name.bad || x.chunk >= block_end ||
	    x.len > (x.chunk ? XATTR_VALUE_MAX : XATTR_INLINE_MAX))
		return -EUCLEAN;
	*ret = x;
	return 0;
}

/* varint len << 2 | kind; varint chunk, or the bytes, or nothing */
size_t extent_encode(const struct extent *e, uint8_t out[TREE_VALUE_MAX])
{
	struct writer w = writer_init(out, TREE_VALUE_MAX);

	if (e->len > CHUNK_LEN_MAX)
		return 0;
	put_varint(&w, (uint64_t)e->len << 2 | e->kind);
	switch (e->kind) {
	case EXTENT_CHUNK:
		if (!e->chunk || e->chunk >= block_end)
			return 0;
		put_varint(&w, e->chunk);
		break;
	case EXTENT_INLINE:
		if (e->len > EXTENT_INLINE_MAX)
			return 0;
		put_bytes(&w, e->data, e->len);
		break;
	case EXTENT_ZERO:
		break;
	default:
		return 0;
	}
	return writer_result(&w);
}

int extent_decode(const void *data, size_t len, struct extent *ret)
{
	struct reader r = reader_init(data, len);
	uint64_t v = get_varint(&r);
	struct extent e = {.kind = v & 3, .len = (uint32_t)(v >> 2)};

	if (v >> 2 > CHUNK_LEN_MAX)
		return -EUCLEAN;
	switch (e.kind) {
	case EXTENT_CHUNK:
		e.chunk = get_varint(&r);
		if (!e.chunk || e.chunk >= block_end)
			return -EUCLEAN;
		break;
	case EXTENT_INLINE:
		if (e.len > EXTENT_INLINE_MAX)
			return -EUCLEAN;
		e.data = reader_take(&r, e.len);
		break;
	case EXTENT_ZERO:
		break;
	default:
		return -EUCLEAN;
	}
	if (!reader_done(&r))
		return -EUCLEAN;
	*ret = e;
	return 0;
}

uint64_t item_chunk(const struct item *item)
{
	struct extent e;
	struct xattr_item x;

	if (item->key.kind == ITEM_EXTENT &&
	    !extent_decode(item->value, item->len, &e))
		return e.chunk;
	if (item->key.kind == ITEM_XATTR &&
	    !xattr_decode(item->value, item->len, &x))
		return x.chunk;
	return 0;
}

uint64_t slot_first(struct store *store, uint64_t parent, const char *name,
                    size_t name_len)
{
	uint8_t both[8 + NAME_LEN_MAX];
	uint64_t slot;

	if (parent) {
		be64_put(both, parent);
		memcpy(both + 8, name, name_len);
		slot = store_hash(store, both, 8 + name_len);
	} else {
		slot = store_hash(store, name, name_len);
	}
	slot &= (UINT64_MAX >> 1) - (SLOT_PROBES - 1);
	return slot ? slot : SLOT_PROBES;
}

/* Return 1 if the item is that of the name, 0 if it is of another name. */
static int slot_match(const struct item *item, uint64_t parent,
                      const char *name, size_t name_len)
{
	struct dirent_item d;
	struct backref_item b;
	struct xattr_item x;
	const char *found;
	size_t len;
	int r;

	switch (item->key.kind) {
	case ITEM_DIRENT:
		r = dirent_decode(item->value, item->len, &d);
		found = d.name;
		len = d.name_len;
		break;
	case ITEM_BACKREF:
		r = backref_decode(item->value, item->len, &b);
		if (!r && b.parent != parent)
			return 0;
		found = b.name;
		len = b.name_len;
		break;
	case ITEM_XATTR:
		r = xattr_decode(item->value, item->len, &x);
		found = x.name;
		len = x.name_len;
		break;
	default:
		return -EINVAL;
	}
	if (r)
		return r;
	return len == name_len && !memcmp(found, name, len);
}

/*
 * Search the slots of a name.  0: *ret_item is set; -ENOENT: *ret_taken is a
 * mask of the slots that other names use.
 */
static int slot_probe(struct tree *tree, const struct key *first,
                      uint64_t parent, const char *name, size_t name_len,
                      struct item *ret_item, unsigned *ret_taken)
{
	struct cursor cursor;
	struct item item;
	unsigned taken = 0;
	int r;

	for (r = cursor_seek(&cursor, tree, first, &item); !r;
	     r = cursor_next(&cursor, &item)) {
		if (item.key.ino != first->ino ||
		    item.key.kind != first->kind ||
		    item.key.off >= first->off + SLOT_PROBES)
			break;
		r = slot_match(&item, parent, name, name_len);
		if (r < 0)
			return r;
		if (r) {
			*ret_item = item;
			return 0;
		}
		taken |= 1U << (item.key.off - first->off);
	}
	if (r < 0 && r != -ENOENT)
		return r;
	*ret_taken = taken;
	return -ENOENT;
}

int slot_find(struct tree *tree, uint64_t ino, enum item_kind kind,
              uint64_t parent, const char *name, size_t name_len,
              struct item *ret_item)
{
	struct key first = {ino, (uint8_t)kind, 0};
	unsigned taken;

	if (!name_len || name_len > NAME_LEN_MAX)
		return -ENOENT;
	first.off = slot_first(tree->store, parent, name, name_len);
	return slot_probe(tree, &first, parent, name, name_len, ret_item,
	                  &taken);
}

int slot_free(struct tree *tree, uint64_t ino, enum item_kind kind,
              uint64_t parent, const char *name, size_t name_len,
              uint64_t *ret_off)
{
	struct key first = {ino, (uint8_t)kind, 0};
	struct item item;
	unsigned taken;
	int r;

	if (!name_len || name_len > NAME_LEN_MAX)
		return -EINVAL;
	first.off = slot_first(tree->store, parent, name, name_len);
	r = slot_probe(tree, &first, parent, name, name_len, &item, &taken);
	if (r != -ENOENT)
		return r ? r : -EEXIST;
	for (unsigned i = 0; i < SLOT_PROBES; i++) {
		if (taken & 1U << i)
			continue;
		*ret_off = first.off + i;
		return 0;
	}
	return -ENOSPC;
}
