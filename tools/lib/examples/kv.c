/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A key-value store with revisions on libcoppice: a snapshot a revision, work in
 * a fork, and its keys joined back.
 *
 *   kv STORE                   make revisions, a fork and a join, and check them
 *   kv STORE get STATE KEY     print a value: of main, or main~REVISION
 *   kv STORE put FORK KEY VALUE...
 *
 *   cc kv.c $(pkg-config --cflags --libs libcoppice)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <coppice.h>

static struct coppice *store;

static void check(ssize_t result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "kv: %s: %s\n", what, coppice_error());
	exit(1);
}

static void require(int condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "kv: wrong: %s\n", what);
	exit(1);
}

/* Write a value with a NUL; "" if there is no such key. */
static void get(const char *name, const char *key, char value[256])
{
	struct coppice_state *state;
	ssize_t n;

	check(coppice_state_open(store, name, &state), name);
	n = coppice_get(state, key, 0, value, 255);
	if (n != -ENOENT)
		check(n, key);
	value[n < 0 ? 0 : n] = 0;
	coppice_state_close(state);
}

static void expect(const char *name, const char *key, const char *value)
{
	char found[256];

	get(name, key, found);
	if (strcmp(found, value) == 0)
		return;
	fprintf(stderr, "kv: %s of %s is '%s', not '%s'\n", key, name, found,
	        value);
	exit(1);
}

/*
 * Put pairs of keys and values, which end with NULL, in one durable step, as a
 * revision of that name; NULL: none.
 */
static void put(const char *fork, const char *revision,
                const char *const *pairs)
{
	struct coppice_batch *batch;
	struct coppice_state *state;

	check(coppice_state_open(store, fork, &state), fork);
	check(coppice_batch_new(store, &batch), "batch");
	for (; pairs[0] && pairs[1]; pairs += 2)
		check(coppice_batch_put(batch, state, pairs[0], pairs[1],
		                        strlen(pairs[1]), COPPICE_PARENTS),
		      "put");
	check(coppice_batch_commit(batch, COPPICE_DURABLE, revision), "commit");
	coppice_batch_discard(batch);
	coppice_state_close(state);
}

static int difference_print(void *arg, const struct coppice_difference *what)
{
	int *count = arg;

	if (what->type == COPPICE_FILE) {
		printf("%c %s\n", what->change, what->path);
		(*count)++;
	}
	return 0;
}

/* Print the keys that differ between two revisions, and return how many. */
static int compare(const char *from, const char *to)
{
	struct coppice_state *a, *b;
	int count = 0;

	check(coppice_state_open(store, from, &a), from);
	check(coppice_state_open(store, to, &b), to);
	check(coppice_diff(a, b, difference_print, &count), "compare");
	coppice_state_close(a);
	coppice_state_close(b);
	return count;
}

static void revisions_make(void)
{
	uint64_t conflicts;

	put("main", "r1",
	    (const char *const[]){"user/ann", "1", "user/bob", "1", "limit",
	                          "5", NULL});
	put("main", "r2", (const char *const[]){"user/bob", "2", NULL});
	expect("main~r1", "user/bob", "1");
	expect("main~r2", "user/bob", "2");
	require(compare("main~r1", "main~r2") == 1, "one key differs");

	/* Both sides change keys; other ones, so that they join. */
	check(coppice_fork(store, "main~r1", "work", 0, NULL), "fork");
	put("work", NULL,
	    (const char *const[]){"limit", "7", "user/carl", "1", NULL});
	expect("main", "limit", "5");
	check(coppice_join(store, "work", "main", 0, NULL), "join");
	expect("main", "limit", "7");
	expect("main", "user/bob", "2");
	expect("main", "user/carl", "1");

	/* The same key on both sides is a conflict, and nothing changes. */
	put("work", NULL, (const char *const[]){"user/ann", "2", NULL});
	put("main", NULL, (const char *const[]){"user/ann", "3", NULL});
	require(coppice_join(store, "work", "main", 0, &conflicts) == -EEXIST &&
	                conflicts == 1,
	        "there is one conflict");
	expect("main", "user/ann", "3");
	check(coppice_join(store, "work", "main", COPPICE_THEIRS, NULL),
	      "join");
	expect("main", "user/ann", "2");
	check(coppice_snapshot(store, "main", "r3"), "snapshot");
	check(coppice_remove(store, "work", 0), "remove");
}

int main(int argc, char **argv)
{
	const char *verb = argc > 2 ? argv[2] : "";
	int reads = strcmp(verb, "get") == 0 && argc == 5;
	int puts = strcmp(verb, "put") == 0 && argc > 5 && argc % 2 == 0;
	char value[256];

	if (argc != 2 && !reads && !puts) {
		fprintf(stderr, "usage: kv STORE [get STATE KEY | "
		                "put FORK KEY VALUE...]\n");
		return 2;
	}
	check(coppice_open(argv[1], reads ? COPPICE_READ_ONLY : COPPICE_CREATE,
	                   NULL, &store),
	      argv[1]);
	if (reads) {
		get(argv[3], argv[4], value);
		printf("%s\n", value);
	} else if (puts) {
		put(argv[3], NULL, (const char *const *)argv + 4);
	} else {
		revisions_make();
	}
	check(coppice_close(store), "close");
	return 0;
}
