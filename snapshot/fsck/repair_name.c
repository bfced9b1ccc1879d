/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repair: make entries and back references agree, and make the directory
 * lost+found for inodes without a name.
 */
#include "repair_name.h"
#include "repair_tree.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

static const char lost_found[] = "lost+found";

/* ---- Names -------------------------------------------------------------- */

static int entry_add(struct repair *repair, uint64_t dir, const char *name,
                     size_t len, uint64_t ino, uint32_t mode)
{
	struct dirent_item d = {ino, (uint8_t)IFTODT(mode), (uint8_t)len, name};
	struct key key = {.ino = dir, .kind = ITEM_DIRENT};
	uint8_t value[TREE_VALUE_MAX];
	int r = slot_free(fix_tree(repair), dir, ITEM_DIRENT, 0, name, len,
	                  &key.off);

	if (!r)
		r = repair_put(repair, &key, value, dirent_encode(&d, value));
	return r ? r : fix_suspect(repair, dir);
}

static int backref_add(struct repair *repair, uint64_t ino, uint64_t dir,
                       const char *name, size_t len)
{
	struct backref_item b = {dir, (uint8_t)len, name};
	struct key key = {.ino = ino, .kind = ITEM_BACKREF};
	uint8_t value[TREE_VALUE_MAX];
	int r = slot_free(fix_tree(repair), ino, ITEM_BACKREF, dir, name, len,
	                  &key.off);

	if (!r)
		r = repair_put(repair, &key, value, backref_encode(&b, value));
	return r ? r : fix_suspect(repair, ino);
}

bool fix_is_right_place(struct repair *repair, const struct item *item,
                        uint64_t parent, const char *name, size_t len)
{
	uint64_t first = slot_first(repair->store, parent, name, len);

	return item->key.off >= first && item->key.off < first + SLOT_PROBES;
}

int fix_backref(struct repair *repair, const struct copy *copy,
                const struct inode *inode, struct tally *tally)
{
	uint64_t ino = copy->item.key.ino;
	struct inode parent;
	struct backref_item b;
	struct key entry;
	bool surplus;
	int r, found;

	if (backref_decode(copy->value, copy->item.len, &b))
		return repair_del(repair, &copy->item.key);
	found = fix_entry_find(repair, b.parent, b.name, b.name_len, ino,
	                       &entry);
	surplus = S_ISDIR(inode->mode) && tally->names;
	if (!found && !surplus &&
	    fix_is_right_place(repair, &copy->item, b.parent, b.name,
	                       b.name_len)) {
		tally->names++;
		return 0;
	}
	r = repair_del(repair, &copy->item.key);
	if (r < 0 || found == -EEXIST)
		return r;
	if (!found) {
		/* The check of the entry will restore or remove the name. */
		return fix_suspect(repair, b.parent);
	}
	if (surplus || ino == INO_ROOT ||
	    fix_inode_rebuild(repair, b.parent, DT_DIR, &parent) ||
	    !S_ISDIR(parent.mode))
		return 0;
	r = entry_add(repair, b.parent, b.name, b.name_len, ino, inode->mode);
	if (!r)
		r = backref_add(repair, ino, b.parent, b.name, b.name_len);
	if (!r)
		r = repair_lose(repair, "restored", b.parent, b.name,
		                b.name_len, "the entry was missing");
	return r == -EEXIST || r == -ENOSPC ? 0 : r;
}

static bool named_has(struct repair *repair, uint64_t ino)
{
	struct key key = {.ino = ino, .kind = ITEM_BACKREF}, entry;
	struct backref_item b;
	struct copy copy;

	while (!fix_item_next(repair, &key, &copy) &&
	       copy.item.key.kind == ITEM_BACKREF)
		if (!backref_decode(copy.value, copy.item.len, &b) &&
		    !fix_entry_find(repair, b.parent, b.name, b.name_len, ino,
		                    &entry))
			return true;
	return false;
}

static int entry_remove(struct repair *repair, const struct copy *copy,
                        const struct dirent_item *d, const char *text)
{
	int r = repair_del(repair, &copy->item.key);

	if (!r && text)
		r = repair_lose(repair, "removed", copy->item.key.ino, d->name,
		                d->name_len, text);
	return r ? r : fix_suspect(repair, d->ino);
}

int fix_dirent(struct repair *repair, const struct copy *copy,
               struct tally *tally)
{
	uint64_t dir = copy->item.key.ino;
	uint8_t value[TREE_VALUE_MAX];
	struct inode inode;
	struct dirent_item d;
	struct item item;
	int r;

	if (dirent_decode(copy->value, copy->item.len, &d))
		return repair_del(repair, &copy->item.key);
	if (!fix_is_right_place(repair, &copy->item, 0, d.name, d.name_len))
		return entry_remove(repair, copy, &d, NULL);
	r = fix_inode_rebuild(repair, d.ino, d.type, &inode);
	if (r == -ENOENT)
		return entry_remove(repair, copy, &d, "its inode is lost");
	if (r < 0)
		return r;
	r = slot_find(fix_tree(repair), d.ino, ITEM_BACKREF, dir, d.name,
	              d.name_len, &item);
	if (r == -ENOENT) {
		if (d.ino == INO_ROOT ||
		    (S_ISDIR(inode.mode) && named_has(repair, d.ino)))
			return entry_remove(repair, copy, &d,
			                    "a second entry of a directory");
		r = backref_add(repair, d.ino, dir, d.name, d.name_len);
		if (r == -ENOSPC)
			return entry_remove(repair, copy, &d,
			                    "its inode has no room for it");
	}
	if (!r && d.type != IFTODT(inode.mode)) {
		d.type = (uint8_t)IFTODT(inode.mode);
		r = repair_put(repair, &copy->item.key, value,
		               dirent_encode(&d, value));
	}
	tally->entries++;
	tally->subdirs += S_ISDIR(inode.mode);
	return r;
}

/* ---- lost+found --------------------------------------------------------- */

static int found_make(struct repair *repair, const char *name, size_t len)
{
	uint64_t ino;
	struct inode inode;
	int r = 0;

	if (!repair->found_ino)
		r = store_count(repair->store, COUNTER_INO, repair->ino_max + 1,
		                INO_END, &repair->found_ino);
	/* All numbers were used: take one that no tree has any more. */
	if (r == -ENOSPC && repair->ino_max + 1 < INO_END)
		repair->found_ino = repair->ino_max + 1;
	else if (r < 0)
		return r;
	ino = repair->found_ino;
	if (fix_inode_get(repair, ino, &inode)) {
		inode = fix_inode_new(repair, S_IFDIR | 0700);
		r = fix_inode_put(repair, ino, &inode);
		if (r < 0)
			return r;
	}
	r = entry_add(repair, INO_ROOT, name, len, ino, S_IFDIR);
	return r ? r : backref_add(repair, ino, INO_ROOT, name, len);
}

static int found_get(struct repair *repair, uint64_t *ret_ino)
{
	for (int i = 0; i < 100; i++) {
		struct dirent_item d;
		struct inode inode;
		struct item item;
		char name[32];
		int len =
		        i ? snprintf(name, sizeof(name), "%s-%d", lost_found, i)
		          : snprintf(name, sizeof(name), "%s", lost_found);
		int r = slot_find(fix_tree(repair), INO_ROOT, ITEM_DIRENT, 0,
		                  name, (size_t)len, &item);

		if (r == -ENOENT) {
			r = found_make(repair, name, (size_t)len);
			if (!r)
				*ret_ino = repair->found_ino;
			return r;
		}
		if (r < 0)
			return r;
		r = dirent_decode(item.value, item.len, &d);
		if (r < 0)
			return r;
		if (!fix_inode_get(repair, d.ino, &inode) &&
		    S_ISDIR(inode.mode)) {
			*ret_ino = d.ino;
			return 0;
		}
	}
	return -EEXIST;
}

int fix_adopt(struct repair *repair, uint64_t ino, const struct inode *inode)
{
	uint64_t dir = 0;
	int r = found_get(repair, &dir);

	if (r < 0)
		return r;
	r = -EEXIST;
	for (int i = 0; r == -EEXIST && i < 100; i++) {
		char name[48];
		int len = snprintf(name, sizeof(name), i ? "#%llu-%d" : "#%llu",
		                   (unsigned long long)ino, i);

		r = entry_add(repair, dir, name, (size_t)len, ino, inode->mode);
		if (!r)
			r = backref_add(repair, ino, dir, name, (size_t)len);
	}
	if (!r)
		r = repair_lose(repair, "moved", ino, NULL, 0,
		                "it had lost its name");
	return r;
}
