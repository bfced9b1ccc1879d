/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A chain validator's state on libcoppice: a durable snapshot a slot, several
 * forks followed at once, reads of any old slot by other processes, expiry.
 *
 *   validator run STORE SLOTS PUTS     make the chains and check them
 *   validator read STORE STATE         print fork and slot of a state
 *   validator crash STORE FORK         end in the middle of a slot
 *
 *   cc validator.c $(pkg-config --cflags --libs libcoppice)
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <coppice.h>

enum { ACCOUNTS = 1000, KEEP = 4, CHAIN_MAX = 8 };

static struct coppice *store;
static int puts_a_slot;
static int last_slot;

static void check(ssize_t result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "validator: %s: %s\n", what, coppice_error());
	exit(1);
}

static void require(int condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "validator: wrong: %s\n", what);
	exit(1);
}

static struct coppice_state *state_open(const char *name)
{
	struct coppice_state *state;

	check(coppice_state_open(store, name, &state), name);
	return state;
}

static void get(struct coppice_state *state, const char *key, char value[64])
{
	ssize_t n = coppice_get(state, key, 0, value, 63);

	check(n, key);
	value[n] = 0;
}

/* ---- Slots -------------------------------------------------------------- */

static void slot_fill(struct coppice_batch *batch, struct coppice_state *fork,
                      const char *name, int slot)
{
	char key[64], value[64];

	for (int i = 0; i < puts_a_slot; i++) {
		unsigned account = (slot * 7919u + i * 31u) % ACCOUNTS;

		snprintf(key, sizeof(key), "accounts/%u/%u", account % 16,
		         account);
		snprintf(value, sizeof(value), "%s %d", name, slot);
		check(coppice_batch_put(batch, fork, key, value, strlen(value),
		                        COPPICE_PARENTS),
		      "put");
	}
	snprintf(value, sizeof(value), "%s %d", name, slot);
	check(coppice_batch_put(batch, fork, "head", value, strlen(value), 0),
	      "put");
}

/* Import the next slot of a fork: one batch, one durable step. */
static void slot_import(struct coppice_state *fork, const char *name, int slot)
{
	struct coppice_batch *batch;
	char snapshot[32];

	check(coppice_batch_new(store, &batch), "batch");
	slot_fill(batch, fork, name, slot);
	snprintf(snapshot, sizeof(snapshot), "slot-%d", slot);
	check(coppice_batch_commit(batch, COPPICE_DURABLE, snapshot), name);
	coppice_batch_discard(batch);
}

/* ---- Chains ------------------------------------------------------------- */

/*
 * Fork each name off a slot of the one before, and import slots into it.  Every
 * node gets further children while all of them are open.
 */
static void chain_follow(const char *const *names, int slots)
{
	struct coppice_state *open[CHAIN_MAX];
	char parent[600] = "main~genesis", child[COPPICE_NAME_SIZE];
	int count = 0;

	for (; names[count]; count++) {
		if (coppice_state_open(store, names[count], &open[count]) < 0) {
			check(coppice_fork(store, parent, names[count], 0,
			                   NULL),
			      names[count]);
			open[count] = state_open(names[count]);
		}
		for (int i = 0; i < slots; i++)
			slot_import(open[count], names[count], ++last_slot);
		snprintf(parent, sizeof(parent), "%s~1", names[count]);
	}
	for (int i = 0; i < count; i++) {
		for (int n = 2; n <= 3; n++) {
			snprintf(parent, sizeof(parent), "%s~1", names[i]);
			check(coppice_fork(store, parent, names[i],
			                   COPPICE_UNIQUE, child),
			      "a further child");
			struct coppice_state *fork = state_open(child);

			slot_import(fork, child, ++last_slot);
			coppice_state_close(fork);
		}
	}
	for (int i = 0; i < count; i++)
		coppice_state_close(open[i]);
}

/* ---- Checks ------------------------------------------------------------- */

/* Have another process read a state, which it opens by itself. */
static void read_elsewhere(char *self, const char *path, const char *name)
{
	char *argv[] = {self, "read", (char *)path, (char *)name, NULL};
	int status;
	pid_t pid;

	require(!posix_spawn(&pid, self, NULL, NULL, argv, environ), "spawn");
	require(waitpid(pid, &status, 0) == pid && !status, name);
}

static int difference_count(void *arg, const struct coppice_difference *what)
{
	++*(int *)arg;
	return 0;
}

static int snapshot_check(void *arg, const struct coppice_info *info)
{
	struct coppice_state *state = state_open(info->name);
	const char *slot = strrchr(info->name, '-') + 1;
	char head[64];

	get(state, "head", head);
	require(!strcmp(strchr(head, ' ') + 1, slot), info->name);
	coppice_state_close(state);
	++*(int *)arg;
	return 0;
}

static int fork_check(void *arg, const struct coppice_info *info)
{
	int count = 0;
	uint64_t gone;

	if (!strcmp(info->name, "main"))
		return 0;
	check(coppice_list(store, info->name, snapshot_check, &count), "list");
	require(count > 0, info->name);
	check(coppice_expire(store, info->name, INT64_MAX, KEEP, &gone),
	      "expire");
	require((int)gone == (count > KEEP ? count - KEEP : 0), "expiry");
	++*(int *)arg;
	return 0;
}

static void genesis(void)
{
	struct coppice_state *main = state_open("main");
	struct coppice_batch *batch;
	char key[64];

	check(coppice_batch_new(store, &batch), "batch");
	for (int i = 0; i < ACCOUNTS; i++) {
		snprintf(key, sizeof(key), "accounts/%d/%d", i % 16, i);
		check(coppice_batch_put(batch, main, key, "genesis 0", 9,
		                        COPPICE_PARENTS),
		      "put");
	}
	check(coppice_batch_commit(batch, COPPICE_DURABLE, "genesis"),
	      "genesis");
	coppice_batch_discard(batch);
	coppice_state_close(main);
}

static int run(char *self, const char *path, int slots)
{
	static const char *const first[] = {"alfred", "benny", "chase",
	                                    "dian",   "elly",  NULL};
	static const char *const second[] = {
	        "alfred", "boris", "claire", "chris", "diaz", "cory", NULL};
	struct coppice_state *a, *b;
	int forks = 0, differences = 0;
	char name[600];

	check(coppice_open(path, COPPICE_CREATE, NULL, &store), "open");
	genesis();
	chain_follow(first, slots);
	chain_follow(second, slots);
	read_elsewhere(self, path, "elly~1");
	snprintf(name, sizeof(name), "alfred~%d", 2 * slots);
	read_elsewhere(self, path, name);
	a = state_open("benny~1");
	b = state_open("boris~1");
	check(coppice_diff(a, b, difference_count, &differences), "diff");
	require(differences > 0, "two slots differ");
	check(coppice_list(store, NULL, fork_check, &forks), "list");
	/* A handle keeps an expired snapshot readable. */
	get(a, "head", name);
	coppice_state_close(a);
	coppice_state_close(b);
	check(coppice_reclaim(store), "reclaim");
	check(coppice_close(store), "close");
	printf("%d forks, %d differences\n", forks, differences);
	return 0;
}

static int read_state(const char *path, const char *name)
{
	struct coppice_state *state;
	char head[64];

	check(coppice_open(path, COPPICE_READ_ONLY, NULL, &store), "open");
	state = state_open(name);
	get(state, "head", head);
	printf("%s\n", head);
	coppice_state_close(state);
	check(coppice_close(store), "close");
	return 0;
}

static int crash(const char *path, const char *name)
{
	struct coppice_batch *batch;

	check(coppice_open(path, 0, NULL, &store), "open");
	check(coppice_batch_new(store, &batch), "batch");
	slot_fill(batch, state_open(name), name, 999999);
	_exit(0);
}

int main(int argc, char **argv)
{
	puts_a_slot = argc == 5 ? atoi(argv[4]) : 100;
	if (argc == 5 && !strcmp(argv[1], "run"))
		return run(argv[0], argv[2], atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "read"))
		return read_state(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "crash"))
		return crash(argv[2], argv[3]);
	fprintf(stderr, "usage: validator run STORE SLOTS PUTS\n"
	                "       validator read STORE STATE\n"
	                "       validator crash STORE FORK\n");
	return 2;
}
