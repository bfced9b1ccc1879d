/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lineage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "command.h"
#include "store_access.h"
#include "util.h"

static char *text_of(json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return strdup(text ? text : "");
}

static uint64_t number_of(json_t *row, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(row, key));
}

/* Add the joins into a fork, first at the fork's own version. */
static int add_joins(struct lineage *lineage, json_t *row)
{
	json_t *joined = json_object_get(row, "joined"), *join;
	size_t i;

	json_array_foreach(joined, i, join)
	{
		struct lineage_join *j =
		        array_add(&lineage->joins, &lineage->joins_len,
		                  &lineage->joins_capacity);

		if (!j)
			return -ENOMEM;
		j->node = number_of(row, "version");
		j->version = number_of(join, "version");
		j->sequence = number_of(join, "sequence");
		j->name = text_of(join, "name");
		j->time = text_of(join, "time");
		if (!j->name || !j->time)
			return -ENOMEM;
	}
	return 0;
}

static int add_state(void *arg, json_t *row)
{
	struct lineage *lineage = arg;
	struct lineage_state *s =
	        array_add(&lineage->states, &lineage->states_len,
	                  &lineage->states_capacity);

	if (!s)
		return -ENOMEM;
	s->version = number_of(row, "version");
	s->parent = number_of(row, "parent");
	s->name = text_of(row, "name");
	s->created = text_of(row, "created");
	s->bytes = number_of(row, "bytes");
	s->frees = number_of(row, "exclusive");
	s->is_snapshot = json_is_true(json_object_get(row, "snapshot"));
	if (!s->name || !s->created)
		return -ENOMEM;
	return s->is_snapshot ? 0 : add_joins(lineage, row);
}

static int add_unnamed(void *arg, json_t *row)
{
	struct lineage *lineage = arg;
	struct lineage_node *node = array_add(
	        &lineage->nodes, &lineage->nodes_len, &lineage->nodes_capacity);

	if (!node)
		return -ENOMEM;
	node->version = number_of(row, "version");
	node->parent = number_of(row, "parent");
	node->created = text_of(row, "created");
	return node->created ? 0 : -ENOMEM;
}

/* Add a node for each version that states point at. */
static int name_nodes(struct lineage *lineage)
{
	struct lineage_node *node = NULL;

	array_sort(lineage->states, lineage->states_len, number_compare);
	for (size_t i = 0; i < lineage->states_len; i++) {
		const struct lineage_state *s = &lineage->states[i];

		if (!node || node->version != s->version) {
			node = array_add(&lineage->nodes, &lineage->nodes_len,
			                 &lineage->nodes_capacity);
			if (!node)
				return -ENOMEM;
			node->version = s->version;
			node->parent = s->parent;
			node->first = i;
		}
		node->states++;
	}
	return 0;
}

/*
 * Remove duplicate versions: a state may have been made or deleted between the
 * two requests.
 */
static void nodes_unite(struct lineage *lineage)
{
	struct lineage_node *nodes = lineage->nodes;
	size_t len = 0;

	array_sort(nodes, lineage->nodes_len, number_compare);
	for (size_t i = 0; i < lineage->nodes_len; i++) {
		if (!len || nodes[len - 1].version != nodes[i].version) {
			nodes[len++] = nodes[i];
		} else if (nodes[i].states) {
			free(nodes[len - 1].created);
			nodes[len - 1] = nodes[i];
		} else {
			free(nodes[i].created);
		}
	}
	lineage->nodes_len = len;
}

/* Mark the versions that were joined. */
static void nodes_mark(struct lineage *lineage)
{
	for (size_t i = 0; i < lineage->joins_len; i++) {
		struct lineage_node *node =
		        array_find(lineage->nodes, lineage->nodes_len,
		                   lineage->joins[i].version);

		if (node)
			node->joined = true;
	}
}

/*
 * Move each join to the oldest node that contains it.  A version contains the
 * joins made before it froze, which was when its child was made.
 */
static void joins_place(struct lineage *lineage)
{
	const struct lineage_node *nodes = lineage->nodes;

	for (size_t i = 0; i < lineage->joins_len; i++) {
		struct lineage_join *join = &lineage->joins[i];
		const struct lineage_node *node =
		        array_find(nodes, lineage->nodes_len, join->node);

		while (node && node->version > join->sequence &&
		       node->up != NO_NODE)
			node = &nodes[node->up];
		if (node)
			join->node = node->version;
	}
	array_sort(lineage->joins, lineage->joins_len, number_compare);
}

const struct lineage_join *lineage_joins(const struct lineage *lineage,
                                         const struct lineage_node *node,
                                         size_t *ret_count)
{
	size_t from = array_lower_bound(lineage->joins, lineage->joins_len,
	                                node->version);
	size_t to = array_lower_bound(lineage->joins, lineage->joins_len,
	                              node->version + 1);

	*ret_count = to - from;
	return lineage->joins + from;
}

/* Find the parents, count the children, and mark nodes to leave out. */
static void nodes_link(struct lineage *lineage)
{
	struct lineage_node *nodes = lineage->nodes;

	for (size_t i = 0; i < lineage->nodes_len; i++) {
		const struct lineage_node *parent =
		        array_find(nodes, i, nodes[i].parent);

		nodes[i].up = parent ? parent - nodes : NO_NODE;
		nodes[i].kids = nodes[i].next_kid = NO_NODE;
	}
	/* Children come after their parents. */
	for (size_t i = lineage->nodes_len; i-- > 0;) {
		struct lineage_node *node = &nodes[i];

		node->left_out =
		        !node->states && !node->kids_count && !node->joined;
		if (!node->left_out && node->up != NO_NODE)
			nodes[node->up].kids_count++;
	}
	for (size_t i = 0; i < lineage->nodes_len; i++) {
		struct lineage_node *node = &nodes[i];
		int64_t up = node->up;

		node->left_out |=
		        !node->states && node->kids_count < 2 && !node->joined;
		if (up != NO_NODE && nodes[up].left_out)
			up = nodes[up].up;
		node->up = up;
		node->parent = up == NO_NODE ? 0 : nodes[up].version;
	}
}

/* Order the children: the one with the most nodes first, then the newest. */
static void kids_order(struct lineage *lineage)
{
	struct lineage_node *nodes = lineage->nodes;

	for (size_t i = lineage->nodes_len; i-- > 0;) {
		if (nodes[i].left_out)
			continue;
		nodes[i].weight++;
		if (nodes[i].up != NO_NODE)
			nodes[nodes[i].up].weight += nodes[i].weight;
	}
	for (size_t i = 0; i < lineage->nodes_len; i++) {
		struct lineage_node *node = &nodes[i], *up, *first;

		if (node->left_out || node->up == NO_NODE)
			continue;
		up = &nodes[node->up];
		first = up->kids == NO_NODE ? NULL : &nodes[up->kids];
		if (first && first->weight >= node->weight) {
			node->next_kid = first->next_kid;
			first->next_kid = (int64_t)i;
		} else {
			node->next_kid = up->kids;
			up->kids = (int64_t)i;
		}
	}
}

int lineage_read(const char *store, struct lineage *ret_lineage)
{
	struct lineage lineage = {0};
	struct store_access access;
	json_t *list = request_new("list", NULL);
	int closed, r;

	if (list)
		json_object_update_new(
		        list, json_pack("{s:b, s:[]}", "all", 1, "properties"));
	r = store_access_open(&access, store, true);
	if (r) {
		json_decref(list);
		return r;
	}
	/* "lineage" first: its commit makes the figures of "list" exact. */
	r = store_access_call(&access, request_new("lineage", NULL),
	                      add_unnamed, &lineage, NULL);
	if (!r)
		r = store_access_call(&access, steal(&list), add_state,
		                      &lineage, NULL);
	json_decref(list);
	closed = store_access_close(&access);
	r = r ? r : closed;
	if (!r && name_nodes(&lineage)) {
		complain("out of memory");
		r = EXIT_FAILED;
	}
	if (r) {
		lineage_release(&lineage);
		return r;
	}
	nodes_unite(&lineage);
	nodes_mark(&lineage);
	nodes_link(&lineage);
	joins_place(&lineage);
	kids_order(&lineage);
	*ret_lineage = lineage;
	return EXIT_DONE;
}

void lineage_release(struct lineage *lineage)
{
	for (size_t i = 0; i < lineage->states_len; i++) {
		free(lineage->states[i].name);
		free(lineage->states[i].created);
	}
	for (size_t i = 0; i < lineage->nodes_len; i++)
		free(lineage->nodes[i].created);
	for (size_t i = 0; i < lineage->joins_len; i++) {
		free(lineage->joins[i].name);
		free(lineage->joins[i].time);
	}
	free(lineage->states);
	free(lineage->nodes);
	free(lineage->joins);
}
