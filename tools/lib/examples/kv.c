/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A key-value store with revisions on libcoppice: a snapshot a revision, work
 * in a fork, and its keys joined back.
 *
 *   kv STORE                   make revisions, forks and joins, and check them
 *   kv STORE get STATE KEY     print a value: of main, or main~REVISION
 *   kv STORE put FORK KEY VALUE [KEY VALUE]...
 *   kv STORE list STATE        print all keys
 *   kv STORE revisions FORK KEY
 *   kv STORE ancestors STATE
 *
 *   cc kv.c $(pkg-config --cflags --libs libcoppice)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <coppice.h>

enum { VALUE = 256 };

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

/* Write a value with a NUL.  0: there is no such key. */
static int get(const char *name, const char *key, char value[VALUE])
{
	struct coppice_state *state;
	ssize_t n;

	check(coppice_state_open(store, name, &state), name);
	n = coppice_get(state, key, 0, value, VALUE - 1);
	if (n != -ENOENT)
		check(n, key);
	value[n < 0 ? 0 : n] = 0;
	coppice_state_close(state);
	return n >= 0;
}

/* Check a value; NULL: there is no such key. */
static void expect(const char *name, const char *key, const char *value)
{
	char found[VALUE];
	int is_there = get(name, key, found);

	if (value ? is_there && !strcmp(found, value) : !is_there)
		return;
	fprintf(stderr, "kv: %s of %s is '%s', not '%s'\n", key, name, found,
	        value ? value : "");
	exit(1);
}

/*
 * Put pairs of keys and values, which end with NULL, in one durable step, as a
 * revision of that name; NULL: none.  A value "" removes the key.
 */
static void put(const char *fork, const char *revision,
                const char *const *pairs)
{
	struct coppice_batch *batch;
	struct coppice_state *state;

	check(coppice_state_open(store, fork, &state), fork);
	check(coppice_batch_new(store, &batch), "batch");
	for (; pairs[0] && pairs[1]; pairs += 2)
		check(*pairs[1] ? coppice_batch_put(batch, state, pairs[0],
		                                    pairs[1], strlen(pairs[1]),
		                                    COPPICE_PARENTS)
		                : coppice_batch_delete(batch, state, pairs[0],
		                                       COPPICE_LENIENT),
		      pairs[0]);
	check(coppice_batch_commit(batch, COPPICE_DURABLE, revision), "commit");
	coppice_batch_discard(batch);
	coppice_state_close(state);
}

/* Print the keys in a directory and below, and return how many. */
static int list(struct coppice_state *state, const char *dir)
{
	struct coppice_entry entry = {.size = sizeof(entry)};
	struct coppice_scan *scan;
	char key[4096];
	int count = 0, r;

	check(coppice_scan_open(state, dir, NULL, COPPICE_SORTED, &scan), dir);
	while ((r = coppice_scan_next(scan, &entry)) > 0) {
		snprintf(key, sizeof(key), "%s%s%s", dir, *dir ? "/" : "",
		         entry.name);
		if (entry.type == COPPICE_DIRECTORY) {
			count += list(state, key);
			continue;
		}
		printf("%s\n", key);
		count++;
	}
	check(r, dir);
	coppice_scan_close(scan);
	return count;
}

/* ---- Revisions ---------------------------------------------------------- */

struct revision {
	uint64_t number; /* of the snapshot: they ascend */
	char name[COPPICE_NAME_SIZE];
};

struct revisions {
	struct revision *at;
	size_t count;
};

static int revision_add(void *arg, const struct coppice_info *info)
{
	struct revisions *all = arg;

	all->at = realloc(all->at, (all->count + 1) * sizeof(*all->at));
	require(all->at != NULL, "memory");
	all->at[all->count].number = info->number;
	strcpy(all->at[all->count++].name, info->name);
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const struct revision *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/* Print the revisions that changed a key, the oldest first; return how many. */
static int revisions(const char *fork, const char *key)
{
	struct revisions all = {0};
	char value[VALUE], last[VALUE] = "";
	int is_there, was_there = 0, count = 0;

	check(coppice_list(store, fork, revision_add, &all), "list");
	qsort(all.at, all.count, sizeof(*all.at), by_number);
	for (size_t i = 0; i < all.count; i++) {
		is_there = get(all.at[i].name, key, value);
		if (is_there == was_there && !strcmp(value, last))
			continue;
		was_there = is_there;
		strcpy(last, value);
		printf("%s\t%s\n", strrchr(all.at[i].name, '~') + 1,
		       is_there ? value : "-");
		count++;
	}
	free(all.at);
	return count;
}

/* Print the states that a state grew from, its parent first; return how many.
 */
static int ancestors(const char *name)
{
	struct coppice_info info = {.size = sizeof(info)};
	struct coppice_state *state;
	int count = 0;

	check(coppice_state_open(store, name, &state), name);
	while (1) {
		check(coppice_info(state, &info), "info");
		coppice_state_close(state);
		if (!*info.origin)
			return count;
		printf("%s\n", info.origin);
		count++;
		if (coppice_state_open(store, info.origin, &state) < 0)
			return count; /* it was deleted */
	}
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

/* ---- What is done with it ----------------------------------------------- */

#define PAIRS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void revisions_make(void)
{
	put("main", "r1",
	    PAIRS("user/ann", "1", "user/bob", "1", "limit", "5"));
	put("main", "r2", PAIRS("user/bob", "2"));
	put("main", "r3", PAIRS("limit", "6"));
	expect("main~r1", "user/bob", "1");
	expect("main~r2", "user/bob", "2");
	expect("main", "user/eve", NULL);
	require(compare("main~r1", "main~r2") == 1, "one key differs");
	require(revisions("main", "user/bob") == 2, "two revisions");
}

static void forks_join(void)
{
	struct coppice_state *main;
	uint64_t conflicts;

	/* Two branches change different keys; both changes are joined. */
	check(coppice_fork(store, "main", "trial", 0, NULL), "fork");
	check(coppice_fork(store, "trial", "again", 0, NULL), "fork");
	require(ancestors("again") == 2, "trial and main");
	put("trial", NULL, PAIRS("user/carl", "1", "user/ann", ""));
	put("main", NULL, PAIRS("limit", "7"));
	check(coppice_join(store, "trial", "main", 0, NULL), "join");
	expect("main", "limit", "7");
	expect("main", "user/bob", "2");
	expect("main", "user/carl", "1");
	check(coppice_state_open(store, "main", &main), "main");
	require(list(main, "") == 3, "three keys");
	coppice_state_close(main);

	/* The same key on both sides is a conflict, which changes nothing. */
	put("again", NULL, PAIRS("limit", "8"));
	put("main", NULL, PAIRS("limit", "9"));
	require(coppice_join(store, "again", "main", 0, &conflicts) ==
	                        -EEXIST &&
	                conflicts == 1,
	        "there is one conflict");
	expect("main", "limit", "9");
	check(coppice_join(store, "again", "main", COPPICE_THEIRS, NULL),
	      "join");
	expect("main", "limit", "8");
	check(coppice_snapshot(store, "main", "r4"), "snapshot");
	check(coppice_remove(store, "again", 0), "remove");
	check(coppice_remove(store, "trial", 0), "remove");
}

/* Print what is asked for.  0: the arguments are wrong. */
static int answer(const char *verb, char **args, int count)
{
	struct coppice_state *state;
	char value[VALUE];

	if (!strcmp(verb, "get") && count == 2) {
		if (!get(args[0], args[1], value)) {
			fprintf(stderr, "kv: no key '%s'\n", args[1]);
			exit(1);
		}
		printf("%s\n", value);
	} else if (!strcmp(verb, "list") && count == 1) {
		check(coppice_state_open(store, args[0], &state), args[0]);
		list(state, "");
		coppice_state_close(state);
	} else if (!strcmp(verb, "revisions") && count == 2) {
		revisions(args[0], args[1]);
	} else if (!strcmp(verb, "ancestors") && count == 1) {
		ancestors(args[0]);
	} else {
		return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 2 ? argv[2] : "";
	int puts = strcmp(verb, "put") == 0 && argc > 5 && argc % 2 == 0;
	int writes = argc == 2 || puts, right = argc >= 2;

	if (right)
		check(coppice_open(argv[1],
		                   writes ? COPPICE_CREATE : COPPICE_READ_ONLY,
		                   NULL, &store),
		      argv[1]);
	if (puts) {
		put(argv[3], NULL, (const char *const *)argv + 4);
	} else if (writes) {
		revisions_make();
		forks_join();
	} else {
		right = right && answer(verb, argv + 3, argc - 3);
	}
	check(coppice_close(store), "close");
	if (!right)
		fprintf(stderr, "usage: kv STORE [VERB STATE [KEY "
		                "[VALUE]...]]\n");
	return right ? 0 : 2;
}
