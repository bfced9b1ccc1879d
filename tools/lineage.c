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
	return s->name && s->created ? 0 : -ENOMEM;
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

/* Add a node for each version that states name. */
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
 * Remove the repetitions of versions: a state may have been made or deleted
 * between the two requests.
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

/* Find the parents, and count the children. */
static void nodes_link(struct lineage *lineage)
{
	struct lineage_node *nodes = lineage->nodes;

	for (size_t i = 0; i < lineage->nodes_len; i++) {
		const struct lineage_node *parent =
		        array_find(nodes, i, nodes[i].parent);

		nodes[i].up = parent ? parent - nodes : NO_NODE;
		nodes[i].kids = nodes[i].next_kid = NO_NODE;
	}
	/* Children come behind their parents. */
	for (size_t i = lineage->nodes_len; i-- > 0;) {
		struct lineage_node *node = &nodes[i];

		node->left_out = !node->states && !node->kids_count;
		if (!node->left_out && node->up != NO_NODE)
			nodes[node->up].kids_count++;
	}
	for (size_t i = 0; i < lineage->nodes_len; i++) {
		struct lineage_node *node = &nodes[i];
		int64_t up = node->up;

		node->left_out |= !node->states && node->kids_count < 2;
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
		json_object_set_new(list, "all", json_true());
	r = store_access_open(&access, store, true);
	if (r) {
		json_decref(list);
		return r;
	}
	/* It commits first, so that the figures of the list are exact. */
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
	nodes_link(&lineage);
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
	free(lineage->states);
	free(lineage->nodes);
}
