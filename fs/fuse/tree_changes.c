/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree_changes.h"

#include <errno.h>

#include "coherence.h"
#include "util.h"

enum { PIECE_NODES = 64, STOP = 1 };

/* The changes of one announcement. */
struct batch {
	struct changes changes;
	uint64_t state;
	char names[CHANGES_NAMES][NAME_LEN_MAX + 1];
	struct key next; /* the difference to continue with */
};

/* Add the name of a directory's entry.  Return false if there is no room. */
static bool add_entry(struct batch *b, const struct item *item)
{
	struct changes *changes = &b->changes;
	char *name = b->names[changes->name_count];
	struct dirent_item d;

	if (changes->name_count == CHANGES_NAMES)
		return false;
	if (dirent_decode(item->value, item->len, &d))
		return true;
	memcpy(name, d.name, d.name_len);
	name[d.name_len] = 0;
	changes_name(changes, NODE(b->state, item->key.ino), name,
	             NODE(b->state, d.ino));
	return true;
}

/* Add a change of an inode.  Return false if there is no room. */
static bool add_inode(struct batch *b, const struct key *key)
{
	struct changes *changes = &b->changes;
	node_t node = NODE(b->state, key->ino);

	for (unsigned i = 0; i < changes->node_count; i++)
		if (changes->nodes[i].node == node)
			return true;
	if (changes->node_count == CHANGES_NODES)
		return false;
	/* If a file's inode differs, its content may differ, too. */
	changes_data(changes, node, 0, 0);
	return true;
}

static int add_difference(void *arg, const struct item *before,
                          const struct item *after)
{
	struct batch *b = arg;
	const struct item *item = before ? before : after;
	bool added = true;

	if (!item->key.ino)
		return 0;
	if (item->key.kind != ITEM_DIRENT) {
		added = add_inode(b, &item->key);
	} else {
		/* A name is cached with the node that it had before. */
		added = add_entry(b, item);
		if (added && before && after)
			added = add_entry(b, after);
	}
	b->next = item->key;
	return added ? 0 : STOP;
}

int mounts_tree_changed(struct mounts *mounts, uint64_t state,
                        struct tree *before, struct tree *after)
{
	struct store *store = forest_store(fs_forest(mounts->fs));
	struct key from = {0};
	int err;

	do {
		struct batch b = {.changes = {.mounts = mounts},
		                  .state = state};

		store_lock(store);
		err = tree_diff(before, after, &from, PIECE_NODES,
		                add_difference, &b);
		store_unlock(store);
		if (err == STOP)
			from = b.next;
		if (b.changes.node_count || b.changes.name_count)
			coherence_announce_wait(&b.changes);
		if (err == STOP || err == -EAGAIN)
			store_yield(store);
	} while (err == STOP || err == -EAGAIN);
	/* Directories may have moved. */
	coherence_announce_wait(
	        &(struct changes){.mounts = mounts, .links = true});
	return err;
}
