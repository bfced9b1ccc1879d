/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "open_table.h"

#include <errno.h>

static size_t open_bucket(const struct fs *fs, node_t node)
{
	return (node * UINT64_C(0x9e3779b97f4a7c15)) >> 32 &
	       (fs->open_buckets - 1);
}

struct open_node *open_find(struct fs *fs, node_t node)
{
	struct open_node *o;

	if (!fs->open_buckets)
		return NULL;
	for (o = fs->opens[open_bucket(fs, node)]; o; o = o->next)
		if (o->node == node)
			return o;
	return NULL;
}

bool open_any(struct fs *fs, uint64_t state)
{
	for (size_t i = 0; i < fs->open_buckets; i++)
		for (struct open_node *o = fs->opens[i]; o; o = o->next)
			if (NODE_STATE(o->node) == state)
				return true;
	return false;
}

static int open_grow(struct fs *fs)
{
	size_t old_count = fs->open_buckets;
	struct open_node **old = fs->opens;
	size_t count = old_count ? 2 * old_count : 64;
	struct open_node **buckets = calloc(count, sizeof(struct open_node *));

	if (!buckets)
		return -ENOMEM;
	fs->opens = buckets;
	fs->open_buckets = count;
	for (size_t i = 0; i < old_count; i++) {
		while (old[i]) {
			struct open_node *o = old[i];
			size_t b = open_bucket(fs, o->node);

			old[i] = o->next;
			o->next = buckets[b];
			buckets[b] = o;
		}
	}
	free(old);
	return 0;
}

int open_add(struct fs *fs, node_t node, bool orphan)
{
	struct open_node *o = open_find(fs, node);
	size_t b;

	if (o) {
		o->count++;
		return 0;
	}
	if (fs->open_count >= fs->open_buckets && open_grow(fs))
		return -ENOMEM;
	o = malloc(sizeof(*o));
	if (!o)
		return -ENOMEM;
	b = open_bucket(fs, node);
	*o = (struct open_node){fs->opens[b], node, 1, orphan};
	fs->opens[b] = o;
	fs->open_count++;
	return 0;
}

bool open_drop(struct fs *fs, node_t node)
{
	struct open_node **at, *o;
	bool orphan;

	if (!fs->open_buckets)
		return false;
	for (at = &fs->opens[open_bucket(fs, node)]; *at; at = &(*at)->next)
		if ((*at)->node == node)
			break;
	o = *at;
	if (!o || --o->count)
		return false;
	*at = o->next;
	orphan = o->orphan;
	free(o);
	fs->open_count--;
	return orphan;
}

void opens_release(struct fs *fs)
{
	for (size_t i = 0; i < fs->open_buckets; i++) {
		while (fs->opens[i]) {
			struct open_node *o = fs->opens[i];

			fs->opens[i] = o->next;
			free(o);
		}
	}
	free(fs->opens);
}

struct open_node *open_keep(struct fs *fs, node_t node, bool regular)
{
	/*
	 * Add the entry first, so that no memory is needed after keep() has
	 * counted.  If there is no memory, the inode is treated as unused.
	 */
	if (fs->keep && open_add(fs, node, false) == 0) {
		open_find(fs, node)->count +=
		        fs->keep(fs->keep_arg, node, regular);
		open_drop(fs, node);
	}
	return open_find(fs, node);
}

void fs_set_in_use(struct fs *fs, bool (*in_use)(void *arg, uint64_t state),
                   void *arg)
{
	store_lock(fs->store);
	fs->in_use = in_use;
	fs->in_use_arg = arg;
	store_unlock(fs->store);
}

void fs_set_keeper(struct fs *fs,
                   unsigned (*keep)(void *arg, node_t node, bool regular),
                   void *arg)
{
	store_lock(fs->store);
	fs->keep = keep;
	fs->keep_arg = arg;
	store_unlock(fs->store);
}
