/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store in memory that the tree is tested with: see fake_block.h.
 */
#include "fake_block.h"

#include <errno.h>
#include <stdio.h>

#include "node.h"
#include "util.h"

enum { BUCKETS = 1 << 16 };

struct list {
	uint64_t *at;
	size_t count, room;
};

struct store {
	uint32_t node_size;
	uint64_t seq, stamp;
	size_t blocks, marked;
	uint64_t mark, reads;
	int fail;
	bool lenient;
	struct list *lists;
	size_t list_count, list_op_check;
	struct block *buckets[BUCKETS];
};

static void die(const char *what, uint64_t number)
{
	fprintf(stderr, "fake store: %s: %llu\n", what,
	        (unsigned long long)number);
	abort();
}

static void *need(void *p)
{
	if (!p)
		die("no memory", 0);
	return p;
}

static struct block **place(const struct store *store, uint64_t number)
{
	struct block **at = (struct block **)&store->buckets[number % BUCKETS];

	while (*at && (*at)->number != number)
		at = &(*at)->hash_next;
	return at;
}

uint64_t store_stamp(struct store *store)
{
	return ++store->stamp;
}

int store_damaged(struct store *store, uint64_t number, const char *what)
{
	return -EUCLEAN;
}

static struct node *as_node(struct block *block)
{
	return (struct node *)block;
}

static struct block *add(struct store *store, uint64_t number,
                         enum block_kind kind)
{
	struct block **at = place(store, number);
	struct node *node = need(calloc(1, sizeof(*node) + store->node_size));

	if (*at)
		die("number taken twice", number);
	node->block.number = number;
	node->block.kind = (uint8_t)kind;
	node->block.state = BLOCK_NEW;
	*at = &node->block;
	store->blocks++;
	return &node->block;
}

struct store *fake_create(uint32_t node_size)
{
	struct store *store = need(calloc(1, sizeof(*store)));

	store->node_size = node_size;
	store->fail = -1;
	return store;
}

void fake_destroy(struct store *store)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (store->buckets[i]) {
			struct block *block = store->buckets[i];

			store->buckets[i] = block->hash_next;
			free(block);
		}
	}
	for (size_t i = 0; i < store->list_count; i++)
		free(store->lists[i].at);
	free(store->lists);
	free(store);
}

static bool fails(struct store *store)
{
	return store->fail >= 0 && store->fail-- == 0;
}

void fake_fail(struct store *store, int n)
{
	store->fail = n;
}

void fake_set_lenient(struct store *store)
{
	store->lenient = true;
}

uint32_t store_node_size(const struct store *store)
{
	return store->node_size;
}

uint64_t store_next_seq(struct store *store)
{
	return ++store->seq;
}

int node_read(struct store *store, uint64_t number, struct node **ret_node)
{
	struct block *block = *place(store, number);

	store->reads++;
	if (!block || block->kind != BLOCK_NODE) {
		if (store->lenient)
			return -EUCLEAN;
		die("read of a node that is not there", number);
	}
	*ret_node = as_node(block);
	return 0;
}

int node_new(struct tree *tree, struct node **ret_node)
{
	if (fails(tree->store))
		return -ENOMEM;
	*ret_node = as_node(
	        add(tree->store, store_next_seq(tree->store), BLOCK_NODE));
	return 0;
}

void node_touch(struct store *store, struct node *node)
{
}

int node_edit(struct tree *tree, uint64_t number, struct node **ret_node)
{
	struct store *store = tree->store;
	struct block **at = place(store, number);
	struct node *old, *node;
	int err = node_read(store, number, &old);

	if (err)
		return err;
	if (number <= tree->base) {
		err = node_new(tree, &node);
		if (err)
			return err;
		memcpy(node->data, old->data, node_used(old->data));
		fake_list_add(store, tree->list, number);
		*ret_node = node;
		return 0;
	}
	if (old->block.state != BLOCK_NEW) {
		if (fails(store))
			return -ENOMEM;
		/* Elsewhere, so that a use of the old struct is seen. */
		node = need(malloc(sizeof(*node) + store->node_size));
		memset(node->data, 0xa5, store->node_size);
		memcpy(node, old, sizeof(*node) + node_used(old->data));
		node->block.state = BLOCK_NEW;
		*at = &node->block;
		free(old);
		old = node;
	}
	*ret_node = old;
	return 0;
}

void fake_free(struct store *store, uint64_t number)
{
	struct block **at = place(store, number);
	struct block *block = *at;

	if (!block) {
		if (store->lenient)
			return;
		die("freed twice", number);
	}
	*at = block->hash_next;
	free(block);
	store->blocks--;
}

void tree_drop(struct tree *tree, uint64_t number)
{
	if (number > tree->base)
		fake_free(tree->store, number);
	else
		fake_list_add(tree->store, tree->list, number);
}

struct tree fake_tree(struct store *store)
{
	return (struct tree){.store = store, .list = fake_list_new(store)};
}

struct tree fake_fork(struct tree *tree)
{
	struct tree fork = *tree;

	fork.base = tree->base = store_next_seq(tree->store);
	fork.list = fake_list_new(tree->store);
	return fork;
}

uint64_t fake_chunk(struct tree *tree)
{
	return add(tree->store, store_next_seq(tree->store), BLOCK_CHUNK)
	        ->number;
}

size_t fake_blocks(const struct store *store)
{
	return store->blocks;
}

uint64_t fake_reads(const struct store *store)
{
	return store->reads;
}

bool fake_has(const struct store *store, uint64_t number)
{
	return *place(store, number) != NULL;
}

/* ---- Marks: kept in the field that only the real store needs ------------ */

void fake_mark_begin(struct store *store)
{
	store->mark++;
	store->marked = 0;
}

bool fake_mark(struct store *store, uint64_t number)
{
	struct block *block = *place(store, number);

	if (!block)
		die("reachable and not there", number);
	if (block->owner == store->mark)
		return false;
	block->owner = store->mark;
	store->marked++;
	return true;
}

size_t fake_marked(const struct store *store)
{
	return store->marked;
}

/* ---- Commits ------------------------------------------------------------ */

void fake_freeze(struct store *store)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct block *b = store->buckets[i]; b; b = b->hash_next) {
			struct node *node = as_node(b);

			if (b->kind != BLOCK_NODE)
				continue;
			if (b->state == BLOCK_NEW) {
				node_seal(store, b->number, node->data);
				b->state = BLOCK_SYNCING;
				continue;
			}
			if (node_verify(store, b->number, node->data,
			                node_used(node->data)))
				die("frozen node was changed", b->number);
			b->state = BLOCK_CLEAN;
		}
	}
}

void fake_reopen(struct store *store)
{
	fake_freeze(store);
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct block **at = &store->buckets[i]; *at;
		     at = &(*at)->hash_next) {
			struct node *old = as_node(*at), *node;
			uint32_t len;

			if ((*at)->kind != BLOCK_NODE)
				continue;
			len = node_seal(store, (*at)->number, old->data);
			node = need(malloc(sizeof(*node) + store->node_size));
			memset(node->data, 0xa5, store->node_size);
			memcpy(node, old, sizeof(*node) + len);
			if (node_verify(store, node->block.number, node->data,
			                len))
				die("sealed node does not verify",
				    node->block.number);
			node->block.state = BLOCK_CLEAN;
			*at = &node->block;
			free(old);
		}
	}
}

/* ---- Deadlists --------------------------------------------------------- */

uint64_t fake_list_new(struct store *store)
{
	if (store->list_count == store->list_op_check) {
		store->list_op_check = store->list_op_check * 2 + 16;
		store->lists = need(
		        realloc(store->lists,
		                store->list_op_check * sizeof(*store->lists)));
	}
	store->lists[store->list_count++] = (struct list){0};
	return store->list_count;
}

size_t fake_list_count(const struct store *store, uint64_t list)
{
	return store->lists[list - 1].count;
}

uint64_t fake_list_at(const struct store *store, uint64_t list, size_t i)
{
	return store->lists[list - 1].at[i];
}

void fake_list_add(struct store *store, uint64_t list, uint64_t number)
{
	struct list *l;

	if (store->lenient)
		return;
	if (!list || list > store->list_count)
		die("killed without a list", number);
	if (!fake_has(store, number))
		die("killed and not there", number);
	l = &store->lists[list - 1];
	if (l->count == l->room) {
		l->room = l->room * 2 + 16;
		l->at = need(realloc(l->at, l->room * sizeof(*l->at)));
	}
	l->at[l->count++] = number;
}

void fake_list_drop(struct store *store, uint64_t list)
{
	struct list *l = &store->lists[list - 1];

	free(l->at);
	*l = (struct list){0};
}

uint64_t *fake_nodes(const struct store *store, size_t *ret_count)
{
	uint64_t *numbers = need(malloc((store->blocks + 1) * 8));
	size_t count = 0;

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct block *b = store->buckets[i]; b; b = b->hash_next)
			if (b->kind == BLOCK_NODE)
				numbers[count++] = b->number;
	*ret_count = count;
	return numbers;
}
