/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repair: make the inodes of a new tree consistent.
 *
 * A suspect inode is checked with all its items and made to agree with the
 * inodes it refers to; an inode that this changes becomes a suspect.  A name
 * with both an entry and a back reference is kept; if one of the two is
 * missing, it is restored; a name without an inode is removed.  A lost inode is
 * recreated if contents of it are left.  When there are no more suspects,
 * inodes without a name get one in lost+found.
 */
#include "repair_inode.h"
#include "repair_name.h"
#include "repair_tree.h"
#include "repair_verify.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

enum { ROUNDS_MAX = 32, PASSES_MAX = 32 };

struct tree *fix_tree(struct repair *repair)
{
	return &repair->v->tree;
}

int fix_suspect(struct repair *repair, uint64_t ino)
{
	return inos_add(&repair->suspects, ino);
}

static void copy_keep(struct copy *copy, const struct item *item)
{
	copy->item = *item;
	memcpy(copy->value, item->value, item->len);
	copy->item.value = copy->value;
}

int fix_item_next(struct repair *repair, struct key *key, struct copy *ret)
{
	uint64_t ino = key->ino;
	struct item item;
	int r = tree_seek(fix_tree(repair), key, &item);

	if (r < 0)
		return r;
	if (item.key.ino != ino)
		return -ENOENT;
	copy_keep(ret, &item);
	*key = item.key;
	key->kind += !++key->off;
	return 0;
}

int fix_inode_get(struct repair *repair, uint64_t ino, struct inode *ret_inode)
{
	struct key key = {.ino = ino, .kind = ITEM_INODE};
	struct item item;
	int r = tree_get(fix_tree(repair), &key, &item);

	return r ? r : inode_decode(item.value, item.len, ret_inode);
}

int fix_inode_put(struct repair *repair, uint64_t ino,
                  const struct inode *inode)
{
	struct key key = {.ino = ino, .kind = ITEM_INODE};
	uint8_t value[INODE_LEN_MAX];

	return repair_put(repair, &key, value, inode_encode(inode, value));
}

static bool kind_has(struct repair *repair, uint64_t ino, enum item_kind kind)
{
	struct key key = {.ino = ino, .kind = (uint8_t)kind};
	struct item item;

	return !tree_seek(fix_tree(repair), &key, &item) &&
	       item.key.ino == ino && item.key.kind == kind;
}

static bool orphan_has(struct repair *repair, uint64_t ino)
{
	struct key key = {.ino = 0, .kind = ITEM_ORPHAN, .off = ino};
	struct item item;

	return !tree_get(fix_tree(repair), &key, &item);
}

static int orphan_del(struct repair *repair, uint64_t ino)
{
	struct key key = {.ino = 0, .kind = ITEM_ORPHAN, .off = ino};

	return orphan_has(repair, ino) ? repair_del(repair, &key) : 0;
}

/* ---- Inodes that are lost ----------------------------------------------- */

struct inode fix_inode_new(struct repair *repair, uint32_t mode)
{
	int64_t at = repair->v->created;
	struct timestamp t = {at / 1000000000, 0};
	struct inode inode = repair->forks;

	if (at < 0)
		t.sec = 0;
	fix_inode_get(repair, INO_ROOT, &inode);
	return (struct inode){
	        .mode = mode,
	        .nlink = S_ISDIR(mode) ? 2 : 0,
	        .uid = inode.uid,
	        .gid = inode.gid,
	        .atime = t,
	        .mtime = t,
	        .ctime = t,
	        .btime = t,
	};
}

/*
 * Return the mode of a lost inode by its contents; the hint (DT_*) only
 * distinguishes symlinks from files.  0: it has no contents.
 */
static uint32_t inode_guess(struct repair *repair, uint64_t ino, uint8_t hint)
{
	if (ino == INO_ROOT)
		return S_IFDIR | 0755;
	if (kind_has(repair, ino, ITEM_DIRENT))
		return S_IFDIR | 0700;
	if (kind_has(repair, ino, ITEM_EXTENT))
		return hint == DT_LNK ? S_IFLNK | 0777 : S_IFREG | 0600;
	return 0;
}

int fix_inode_rebuild(struct repair *repair, uint64_t ino, uint8_t hint,
                      struct inode *ret_inode)
{
	int r = fix_inode_get(repair, ino, ret_inode);
	uint32_t mode;

	if (r != -ENOENT)
		return r;
	mode = inode_guess(repair, ino, hint);
	if (!mode)
		return -ENOENT;
	*ret_inode = fix_inode_new(repair, mode);
	r = fix_inode_put(repair, ino, ret_inode);
	if (!r)
		r = repair_lose(repair, "restored", ino, NULL, 0,
		                "its owner, mode and times are lost");
	return r ? r : fix_suspect(repair, ino);
}

int fix_entry_find(struct repair *repair, uint64_t dir, const char *name,
                   size_t len, uint64_t ino, struct key *ret_key)
{
	struct dirent_item d;
	struct item item;
	int r = slot_find(fix_tree(repair), dir, ITEM_DIRENT, 0, name, len,
	                  &item);

	if (!r)
		r = dirent_decode(item.value, item.len, &d);
	if (!r && d.ino != ino)
		return -EEXIST;
	if (!r)
		*ret_key = item.key;
	return r;
}

/* Remove all items of an inode and the entries that name it. */
static int inode_purge(struct repair *repair, uint64_t ino, const char *text)
{
	struct key key = {.ino = ino}, entry;
	struct backref_item b;
	struct copy copy;
	int r;

	while (!(r = fix_item_next(repair, &key, &copy))) {
		if (copy.item.key.kind == ITEM_BACKREF &&
		    !backref_decode(copy.value, copy.item.len, &b) &&
		    !fix_entry_find(repair, b.parent, b.name, b.name_len, ino,
		                    &entry)) {
			r = repair_lose(repair, "removed", b.parent, b.name,
			                b.name_len, text);
			if (!r)
				r = repair_del(repair, &entry);
			if (!r)
				r = fix_suspect(repair, b.parent);
		}
		if (!r)
			r = repair_del(repair, &copy.item.key);
		if (!r)
			r = repair_yield(repair);
		if (r < 0)
			return r;
	}
	return r == -ENOENT ? orphan_del(repair, ino) : r;
}

/* ---- An inode ----------------------------------------------------------- */

static int item_fix(struct repair *repair, const struct copy *copy,
                    const struct inode *inode, struct tally *tally)
{
	const struct item *item = &copy->item;
	bool dir = S_ISDIR(inode->mode);
	struct xattr_item x;
	struct extent e;

	switch (item->key.kind) {
	case ITEM_INODE:
		return 0;
	case ITEM_BACKREF:
		return fix_backref(repair, copy, inode, tally);
	case ITEM_XATTR:
		if (xattr_decode(item->value, item->len, &x) ||
		    !fix_is_right_place(repair, item, 0, x.name, x.name_len))
			break;
		tally->xattrs++;
		return 0;
	case ITEM_DIRENT:
		if (!dir)
			break;
		return fix_dirent(repair, copy, tally);
	case ITEM_EXTENT:
		if (dir || extent_decode(item->value, item->len, &e))
			break;
		tally->blocks += (e.len + 511) / 512;
		if (e.kind != EXTENT_ZERO)
			tally->end = item->key.off *
			                     store_chunk_size(repair->store) +
			             e.len;
		return 0;
	}
	return repair_del(repair, &item->key);
}

static int items_fix(struct repair *repair, uint64_t ino,
                     const struct inode *inode, struct tally *tally)
{
	struct key key = {.ino = ino};
	struct copy copy;
	int r;

	*tally = (struct tally){0};
	while (!(r = fix_item_next(repair, &key, &copy))) {
		r = item_fix(repair, &copy, inode, tally);
		if (!r)
			r = repair_yield(repair);
		if (r < 0)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

static bool tail_has(struct repair *repair, uint64_t ino,
                     const struct inode *inode, const struct tally *tally)
{
	uint32_t chunk = store_chunk_size(repair->store);
	uint64_t chunks = inode->size / chunk + !!(inode->size % chunk);

	return tally->end > chunks * chunk && !orphan_has(repair, ino);
}

/* Return true if one of the last losses is about the inode. */
static bool reported_has(const struct repair *repair, uint64_t ino)
{
	size_t len = repair->losses_len;

	for (size_t i = len > 64 ? len - 64 : 0; i < len; i++)
		if (repair->losses[i].ino == ino)
			return true;
	return false;
}

/* Correct the inode's own numbers. */
static int sums_fix(struct repair *repair, uint64_t ino,
                    const struct inode *inode, const struct tally *tally)
{
	struct inode now = *inode;
	bool dir = S_ISDIR(inode->mode);

	now.xattrs = (uint32_t)tally->xattrs;
	now.blocks = tally->blocks;
	if (dir) {
		now.size = tally->entries;
		now.nlink = tally->names || ino == INO_ROOT
		                    ? (uint32_t)tally->subdirs + 2
		                    : 0;
	} else {
		now.nlink = (uint32_t)tally->names;
		if (tail_has(repair, ino, inode, tally))
			now.size = tally->end;
	}
	if (!memcmp(&now, inode, sizeof(now)))
		return 0;
	if (!dir && !reported_has(repair, ino)) {
		int r = repair_lose(repair, "corrected", ino, NULL, 0,
		                    "it counted other links, blocks or "
		                    "attributes than it has");

		if (r < 0)
			return r;
	}
	return fix_inode_put(repair, ino, &now);
}

/* Make one inode consistent.  `last`: add a name if it has none. */
static int inode_fix(struct repair *repair, uint64_t ino, bool last)
{
	struct inode inode = {0};
	struct tally tally;
	bool orphan;
	int r = fix_inode_rebuild(repair, ino, DT_UNKNOWN, &inode);

	if (r == -ENOENT)
		return inode_purge(repair, ino, "its inode is lost");
	if (r < 0)
		return r;
	if (!IFTODT(inode.mode) || (ino == INO_ROOT && !S_ISDIR(inode.mode))) {
		inode.mode = inode_guess(repair, ino, DT_UNKNOWN);
		if (!inode.mode)
			return inode_purge(repair, ino, "it has no type");
		r = fix_inode_put(repair, ino, &inode);
		if (r < 0)
			return r;
	}
	r = items_fix(repair, ino, &inode, &tally);
	if (r < 0)
		return r;
	if (S_ISLNK(inode.mode) && inode.size && !tally.end)
		return inode_purge(repair, ino, "its target is lost");
	orphan = orphan_has(repair, ino);
	/* A directory without links is being deleted with its entries. */
	if (orphan && S_ISDIR(inode.mode) && tally.entries && inode.nlink) {
		r = orphan_del(repair, ino);
		orphan = false;
	}
	if (!r && !tally.names && !orphan && ino != INO_ROOT) {
		r = last ? fix_adopt(repair, ino, &inode)
		         : inos_add(&repair->nameless, ino);
		tally.names = last;
	}
	/* Count the links of a directory whose name may yet be restored. */
	if (!last && !orphan && S_ISDIR(inode.mode))
		tally.names = 1;
	return r ? r : sums_fix(repair, ino, &inode, &tally);
}

/* ---- A version ---------------------------------------------------------- */

static int types_fix(struct repair *repair)
{
	int r = 0;

	for (size_t i = 0; !r && i + 1 < repair->retype.len; i += 2) {
		uint64_t ino = repair->retype.at[i];
		struct inode inode;

		r = fix_inode_get(repair, ino, &inode);
		if (r < 0)
			return r;
		inode.mode = (inode.mode & 07777) |
		             (uint32_t)repair->retype.at[i + 1];
		r = fix_inode_put(repair, ino, &inode);
		if (!r)
			r = repair_lose(repair, "corrected", ino, NULL, 0,
			                "it had become of another type");
	}
	return r;
}

static int inos_fix(struct repair *repair, struct inos *inos, bool last)
{
	struct inos now = *inos;
	int r = 0;

	*inos = (struct inos){0};
	inos_sort(&now);
	for (size_t i = 0; !r && i < now.len; i++) {
		r = now.at[i] ? inode_fix(repair, now.at[i], last) : 0;
		if (!r)
			r = repair_yield(repair);
	}
	free(now.at);
	return r;
}

/* Fix inodes until there are no suspects, then those without a name. */
static int round_fix(struct repair *repair)
{
	int r = types_fix(repair);

	repair->nameless.len = 0;
	for (int i = 0; !r && repair->suspects.len && i < PASSES_MAX; i++)
		r = inos_fix(repair, &repair->suspects, false);
	if (!r)
		r = inos_fix(repair, &repair->nameless, true);
	for (int i = 0; !r && repair->suspects.len && i < PASSES_MAX; i++)
		r = inos_fix(repair, &repair->suspects, false);
	return r;
}

/*
 * Return true if all nodes of the tree could be read, but the version's record
 * counts other numbers.  The record may be wrong, or name the root of another
 * tree.
 */
static bool is_strange(struct repair *repair)
{
	const struct repair_version *v = repair->v;
	const struct check_version *old = check_version(&repair->check, v->old);

	for (size_t i = 0; i < repair->losses_len; i++)
		if (!strcmp(repair->losses[i].kind, "lost"))
			return false;
	if (v->parent != NO_VERSION && repair->versions[v->parent].fixed.len)
		return false;
	return old && (old->inodes != v->inodes || old->blocks != v->blocks);
}

int repair_fix(struct repair *repair)
{
	for (int i = 0; i < ROUNDS_MAX; i++) {
		int r = repair_verify(repair);

		if (!r && !i)
			repair->v->strange = is_strange(repair);
		if (r < 0 || (!repair->suspects.len && !repair->retype.len))
			return r;
		repair->fixing = true;
		r = round_fix(repair);
		repair->fixing = false;
		if (r < 0)
			return r;
	}
	return -EUCLEAN;
}
