/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cut.h"

enum { CUT_MAX = 4096 }; /* most chunks remembered for one file */

static struct cut *cut_slot(const struct vnode *v)
{
	uint64_t node = vnode_node(v);

	return &v->fs->cuts[(node ^ node >> NODE_INO_BITS) % CUTS];
}

/* Make sure of room for `len` chunks. */
static bool cut_grow(struct cut *cut, size_t len)
{
	size_t capacity = MAX(cut->capacity, (size_t)4);
	uint64_t *chunks;

	while (capacity < len)
		capacity *= 2;
	if (capacity == cut->capacity)
		return true;
	chunks = realloc(cut->chunks, capacity * sizeof(*chunks));
	if (!chunks)
		return false;
	cut->chunks = chunks;
	cut->capacity = capacity;
	return true;
}

void cut_note(struct vnode *v, uint64_t index, uint64_t chunk)
{
	struct cut *cut = cut_slot(v);
	size_t at;

	if (cut->node != vnode_node(v) || !cut->len || index < cut->first) {
		cut->node = vnode_node(v);
		cut->first = index;
		cut->len = 0;
	}
	if (index - cut->first >= CUT_MAX)
		return;
	at = (size_t)(index - cut->first);
	if (!cut_grow(cut, at + 1))
		return;
	while (cut->len <= at)
		cut->chunks[cut->len++] = 0;
	cut->chunks[at] = chunk;
}

uint64_t cut_take(struct vnode *v, uint64_t index)
{
	struct cut *cut = cut_slot(v);
	uint64_t chunk;

	if (cut->node != vnode_node(v) || index - cut->first >= cut->len)
		return 0;
	chunk = cut->chunks[index - cut->first];
	cut->chunks[index - cut->first] = 0;
	return chunk;
}

void cuts_release(struct fs *fs)
{
	for (unsigned i = 0; i < CUTS; i++)
		free(fs->cuts[i].chunks);
	free(fs->cuts);
}
