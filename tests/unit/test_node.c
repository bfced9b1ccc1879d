/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nodes that are damaged: verification, and what a tree does whose nodes are
 * well-formed and not what their places say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "fake_block.h"
#include "node.h"
#include "model.h"
#include "util.h"

static const uint32_t sizes[] = {512, 1024, 2016, 4080};
static uint64_t seed;

static void put_number(struct tree *tree, struct key key, uint32_t number)
{
	assert_int_equal(tree_put(tree, &key, &number, sizeof(number)), 0);
}

static void no_chunks(void *arg, const struct item *item)
{
}

static void seal(struct node *node, uint32_t len)
{
	be64_put(node->data + NODE_SUM,
	         node_sum(node->block.number, node->data, len));
}

/* Every node function on bytes that were found intact. */
static void exercise(const uint8_t *intact, uint32_t len, uint32_t size,
                     uint64_t *rng)
{
	static struct entries entries;
	_cleanup_free_ uint8_t *data = malloc(size);
	uint8_t value[TREE_VALUE_MAX] = {0};
	bool exact;

	assert_non_null(data);
	memcpy(data, intact, len);
	entries_init(&entries, node_level(data));
	entries_add_node(&entries, data);
	for (unsigned i = 0; i < 100 && node_count(data); i++) {
		uint32_t slot = (uint32_t)rng_below(rng, node_count(data));
		packed key = node_key(data, slot);
		uint32_t room, n;

		if (rng_below(rng, 2))
			key += (packed)rng_below(rng, 5000) << 24;
		slot = node_find(data, key, &exact);
		assert_true(slot <= node_count(data));
		if (node_level(data))
			node_route(data, key);
		n = node_level(data) ? NODE_CHILD_LEN
		                     : (uint32_t)rng_below(rng, 448);
		if (!exact && node_insert_size(data, key, n, &room) &&
		    node_used(data) + room <= size &&
		    (slot || !node_level(data)))
			node_insert(data, slot, key, value, n);
		else if (rng_below(rng, 2) && exact &&
		         node_used(data) + n <= size)
			node_replace(data, slot, value, n);
		else if (slot < node_count(data))
			node_remove(data, slot);
	}
}

static struct node *make_node(struct store *store, uint64_t *rng,
                              unsigned items)
{
	struct tree tree = fake_tree(store);
	struct node *node;

	for (unsigned i = 0; i < items; i++) {
		struct key key = {1000 + rng_below(rng, 10),
		                  (uint8_t)rng_below(rng, 7),
		                  rng_below(rng, 3) * rng_next(rng)};
		uint8_t value[20] = {0};

		assert_int_equal(
		        tree_put(&tree, &key, value, rng_below(rng, 20)), 0);
	}
	assert_int_equal(node_read(store, tree.root, &node), 0);
	return node;
}

static void test_verify(void **arg)
{
	uint64_t rng = seed, passed = 0;
	uint64_t rounds = env_number("COPPICE_OPS", 1000000) / 25;

	for (uint64_t i = 0; i < rounds; i++) {
		uint32_t size = sizes[rng_below(&rng, ARRAY_SIZE(sizes))];
		struct store *store;
		struct node *node;
		_cleanup_free_ uint8_t *exactly = NULL;
		uint32_t len, flips = (uint32_t)rng_below(&rng, 4);

		/* A leaf, or the inner node above some. */
		store = fake_create(size);
		node = make_node(store, &rng,
		                 1 + (unsigned)rng_below(&rng, 40));
		len = node_seal(store, node->block.number, node->data);
		assert_int_equal(
		        node_verify(store, node->block.number, node->data, len),
		        0);
		assert_int_equal(node_verify(store, node->block.number + 1,
		                             node->data, len),
		                 -EUCLEAN);
		assert_int_equal(node_verify(store, node->block.number,
		                             node->data, len - 1),
		                 -EUCLEAN);
		for (uint32_t n = 0; n <= flips; n++)
			node->data[rng_below(&rng, len)] ^=
			        (uint8_t)(1 << rng_below(&rng, 8));
		if (!rng_below(&rng, 4))
			be16_put(node->data + 9 + rng_below(&rng, len - 11),
			         (uint16_t)rng_below(&rng, 300));
		/* In a buffer of its length, for what reads past it. */
		seal(node, len);
		exactly = malloc(len);
		assert_non_null(exactly);
		memcpy(exactly, node->data, len);
		if (!node_verify(store, node->block.number, exactly, len)) {
			exercise(exactly, len, size, &rng);
			passed++;
		}
		exactly[NODE_SUM] ^= 1;
		assert_int_equal(
		        node_verify(store, node->block.number, exactly, len),
		        -EUCLEAN);
		fake_destroy(store);
	}
	print_message("# %llu of %llu damaged nodes are well-formed\n",
	              (unsigned long long)passed, (unsigned long long)rounds);
}

static void test_verify_garbage(void **arg)
{
	struct store *store = fake_create(4080);
	uint64_t rng = seed;
	struct node *node = make_node(store, &rng, 1);

	for (unsigned i = 0; i < 100000; i++) {
		uint32_t len = (uint32_t)rng_below(&rng, 600);
		_cleanup_free_ uint8_t *data = malloc(len ? len : 1);

		assert_non_null(data);
		for (uint32_t n = 0; n < len; n++)
			data[n] = (uint8_t)rng_next(&rng);
		if (len >= NODE_HEADER && i % 2) {
			data[NODE_TAG] = BLOCK_TAG_NODE;
			data[NODE_ZERO] = 0;
			data[NODE_LEVEL] &= 1;
			data[NODE_PREFIX] &= 7;
			be16_put(data + NODE_COUNT,
			         (uint16_t)rng_below(&rng, 9));
			be16_put(data + NODE_HEAP,
			         (uint16_t)(len - NODE_HEADER -
			                    data[NODE_PREFIX] -
			                    4 * be16_get(data + NODE_COUNT)));
			be64_put(data + NODE_SUM,
			         node_sum(node->block.number, data, len));
		}
		node_verify(store, node->block.number, data, len);
	}
	fake_destroy(store);
}

/* Nodes that are well-formed and not what their places say. */
static void damage_node(struct store *store, const uint64_t *numbers,
                        size_t count, uint64_t *rng)
{
	uint64_t number = numbers[rng_below(rng, count)];
	struct node *node, *other;
	uint32_t slot;

	if (node_read(store, number, &node))
		return;
	slot = (uint32_t)rng_below(rng, node_count(node->data));
	switch (rng_below(rng, 5)) {
	case 0: /* takes the place of another */
		if (!node_read(store, numbers[rng_below(rng, count)], &other))
			memcpy(node->data, other->data, store_node_size(store));
		break;
	case 1:
		fake_free(store, number);
		break;
	case 2:
		if (node_level(node->data))
			node_set_child(node->data, slot,
			               numbers[rng_below(rng, count)]);
		break;
	case 3:
		if (node_level(node->data))
			node_set_child(node->data, slot,
			               node_child(node->data, 0));
		break;
	default: /* other keys, in order still */
		if (node_prefix_len(node->data))
			node->data[NODE_HEADER +
			           rng_below(rng,
			                     node_prefix_len(node->data))] ^=
			        (uint8_t)(1 << rng_below(rng, 8));
	}
}

static void count_damage(void *arg, uint64_t number, int level,
                         const char *what)
{
	++*(unsigned *)arg;
}

static void expect_error(int err)
{
	if (err && err != -ENOENT && err != -EUCLEAN && err != -EAGAIN)
		fail_msg("unexpected error %d", err);
}

static int count_diff(void *arg, const struct item *a, const struct item *b)
{
	++*(unsigned *)arg;
	return 0;
}

/* All that can be done with a tree, in the hope that it ends. */
static void use_damaged(struct tree *tree, struct tree *fork, uint64_t *rng,
                        unsigned *damages)
{
	struct tree_checker checker = {.damage = count_damage, .arg = damages};
	struct key from = {0};
	struct cursor cursor;
	struct item item;
	unsigned steps = 0;
	int err;

	expect_error(tree_check(tree, &from, 0, &checker));
	err = cursor_seek(&cursor, tree, &from, &item);
	while (!err) {
		err = cursor_next(&cursor, &item);
		assert_true(++steps < 100000);
	}
	expect_error(err);
	for (unsigned i = 0; i < 300; i++) {
		struct key key = {rng_below(rng, 100),
		                  (uint8_t)rng_below(rng, 4),
		                  rng_below(rng, 40)};
		uint8_t value[100] = {0};

		expect_error(tree_get(tree, &key, &item));
		expect_error(tree_seek(tree, &key, &item));
		expect_error(tree_seek_back(tree, &key, &item));
		if (rng_below(rng, 2))
			expect_error(tree_put(tree, &key, value,
			                      rng_below(rng, 100)));
		else
			expect_error(tree_del(tree, &key));
	}
	steps = 0;
	do {
		err = tree_diff(tree, fork, &from, 5, count_diff, &steps);
		assert_true(steps < 100000);
	} while (err == -EAGAIN);
	expect_error(err);
	from = (struct key){0};
	steps = 0;
	do {
		err = tree_reap(tree, &from, 3, no_chunks, NULL);
		assert_true(++steps < 100000);
	} while (err == -EAGAIN);
	expect_error(err);
}

static void test_damaged_tree(void **arg)
{
	uint64_t rng = seed;
	uint64_t rounds = env_number("COPPICE_OPS", 1000000) / 2000;
	unsigned damages = 0;
	int silent = open("/dev/null", O_WRONLY);
	int talk = dup(STDERR_FILENO);

	assert_true(silent >= 0 && talk >= 0);
	/* Each damage is logged: not here. */
	dup2(silent, STDERR_FILENO);
	for (uint64_t i = 0; i < rounds; i++) {
		struct store *store = fake_create(512);
		struct tree tree = fake_tree(store), fork;
		_cleanup_free_ uint64_t *numbers = NULL;
		size_t count;

		for (unsigned n = 0; n < 1000; n++)
			put_number(&tree,
			           (struct key){rng_below(&rng, 100),
			                        (uint8_t)rng_below(&rng, 4),
			                        rng_below(&rng, 40)},
			           n);
		fork = fake_fork(&tree);
		for (unsigned n = 0; n < 20; n++)
			put_number(&tree,
			           (struct key){rng_below(&rng, 100), 1, n}, n);
		fake_set_lenient(store);
		numbers = fake_nodes(store, &count);
		for (uint64_t n = rng_below(&rng, 4) + 1; n; n--)
			damage_node(store, numbers, count, &rng);
		use_damaged(&tree, &fork, &rng, &damages);
		fake_destroy(store);
	}
	dup2(talk, STDERR_FILENO);
	close(talk);
	close(silent);
	print_message("# %u damages found in %llu trees\n", damages,
	              (unsigned long long)rounds);
	assert_true(damages > rounds / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_verify),
	        cmocka_unit_test(test_verify_garbage),
	        cmocka_unit_test(test_damaged_tree),
	};

	seed = env_number("COPPICE_SEED", (uint64_t)now_ns());
	print_message("# COPPICE_SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
