/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Comparing the items of a tree with those of its parent's tree.  Leaves that
 * both trees have are the same, so only the items of the tree's private leaves
 * are compared with those of the parent's leaves that are on the deadlist.
 */
#include "view.h"

/* The items of one side, in key order. */
struct stream {
	struct view *view;
	bool old;
	int depth; /* 0: at the end */
	struct {
		const uint8_t *data;
		uint32_t slot;
		uint8_t buffer[NODE_SIZE_MAX];
	} path[TREE_DEPTH_MAX];
	struct item item;
};

/* Return a node to enter; NULL: both trees have it, or it cannot be read. */
static const uint8_t *stream_enter(struct stream *s, uint64_t number, int level)
{
	struct view *view = s->view;
	const uint8_t *data;
	size_t i;

	if (s->old) {
		i = view_index(view, number);
		if (i == NO_INDEX || !(view->marks[i] & MARK_DEAD) ||
		    view->marks[i] & MARK_SHARED)
			return NULL;
	} else if (number <= view->tree->base) {
		return NULL;
	}
	data = view_node(view, number, s->path[s->depth].buffer);
	if (data && level >= 0 && (int)node_level(data) != level)
		return NULL;
	return data;
}

static void stream_push(struct stream *s, const uint8_t *data)
{
	s->path[s->depth].data = data;
	s->path[s->depth++].slot = 0;
}

static void stream_next(struct stream *s)
{
	while (s->depth) {
		const uint8_t *data = s->path[s->depth - 1].data;
		uint32_t slot = s->path[s->depth - 1].slot++;
		const uint8_t *child;

		if (slot >= node_count(data)) {
			s->depth--;
		} else if (!node_level(data)) {
			node_get(data, slot, &s->item);
			return;
		} else {
			child = stream_enter(s, node_child(data, slot),
			                     (int)node_level(data) - 1);
			if (child)
				stream_push(s, child);
		}
	}
}

static void stream_begin(struct stream *s, struct view *view, bool old,
                         uint64_t root)
{
	const uint8_t *data;

	*s = (struct stream){.view = view, .old = old};
	data = root ? stream_enter(s, root, -1) : NULL;
	if (data)
		stream_push(s, data);
	stream_next(s);
}

static bool item_equal(const struct item *a, const struct item *b)
{
	return a->len == b->len && !memcmp(a->value, b->value, a->len);
}

int view_diff(struct view *view,
              int (*fn)(void *arg, const struct item *old,
                        const struct item *new),
              void *arg)
{
	struct stream old, new;
	int r = 0;

	stream_begin(&old, view, true, view->tree->parent_root);
	stream_begin(&new, view, false, view->tree->root);
	while (!r && !view->stopped && (old.depth || new.depth)) {
		int order = !old.depth ? 1
		            : !new.depth
		                    ? -1
		                    : key_compare(&old.item.key, &new.item.key);

		if (order || !item_equal(&old.item, &new.item))
			r = fn(arg, order <= 0 ? &old.item : NULL,
			       order >= 0 ? &new.item : NULL);
		if (order <= 0)
			stream_next(&old);
		if (order >= 0)
			stream_next(&new);
	}
	return r;
}
