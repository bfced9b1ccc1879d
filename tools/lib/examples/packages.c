/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The states of a package manager on libcoppice: each transaction is prepared in
 * a fork of the system and switched to in one step; the system before it is
 * kept, to go back to, and expires unless it is pinned.
 *
 *   packages STORE             run some transactions and check them
 *   packages STORE list        print the states that are kept
 *
 *   cc packages.c $(pkg-config --cflags --libs libcoppice)
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <coppice.h>

struct file {
	const char *path, *content; /* NULL: to be removed */
};

static struct coppice *store;

static void check(ssize_t result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "packages: %s: %s\n", what, coppice_error());
	exit(1);
}

/* Check a file of a state; content NULL: it is not there. */
static void expect(const char *name, const char *path, const char *content)
{
	struct coppice_state *state;
	char found[256];
	ssize_t n;

	check(coppice_state_open(store, name, &state), name);
	n = coppice_get(state, path, 0, found, sizeof(found) - 1);
	coppice_state_close(state);
	if (n == -ENOENT && !content)
		return;
	check(n, path);
	found[n] = 0;
	if (content && strcmp(found, content) == 0)
		return;
	fprintf(stderr, "packages: %s in %s is '%s'\n", path, name, found);
	exit(1);
}

static void files_change(const char *fork, const struct file *files)
{
	struct coppice_batch *batch;
	struct coppice_state *state;

	check(coppice_state_open(store, fork, &state), fork);
	check(coppice_batch_new(store, &batch), "batch");
	for (; files->path; files++)
		check(files->content
		              ? coppice_batch_put(batch, state, files->path,
		                                  files->content,
		                                  strlen(files->content),
		                                  COPPICE_PARENTS)
		              : coppice_batch_delete(batch, state, files->path,
		                                     COPPICE_LENIENT),
		      files->path);
	check(coppice_batch_commit(batch, COPPICE_DURABLE, NULL), "commit");
	coppice_batch_discard(batch);
	coppice_state_close(state);
}

/*
 * Prepare a transaction in a fork, where it could be tested, and give the system
 * its content in one step.  The system as it was is kept as `system~NAME`.
 */
static void transaction(const char *name, const char *reason,
                        const struct file *files)
{
	char before[COPPICE_NAME_SIZE], fork[COPPICE_NAME_SIZE];

	check(coppice_fork(store, "system", "next", COPPICE_UNIQUE, fork),
	      "fork");
	files_change(fork, files);
	check(coppice_reset(store, "system", fork, name), "switch");
	check(coppice_remove(store, fork, 0), fork);
	snprintf(before, sizeof(before), "system~%s", name);
	check(coppice_set(store, before, "pkg:before", reason), "describe");
}

static int state_print(void *arg, const struct coppice_info *info)
{
	char reason[256];

	if (coppice_property(store, info->name, "pkg:before", reason,
	                     sizeof(reason)) < 0)
		reason[0] = 0;
	printf("%s\tbefore: %s\n", info->name, reason);
	(void)arg;
	return 0;
}

static void demonstrate(void)
{
	uint64_t gone;

	check(coppice_fork(store, NULL, "system", 0, NULL), "system");
	transaction("1", "install the shell",
	            (const struct file[]){{"bin/sh", "shell 1"}, {0}});
	transaction("2", "install the editor, on request",
	            (const struct file[]){{"bin/vi", "editor"}, {0}});
	transaction("3", "upgrade the shell",
	            (const struct file[]){{"bin/sh", "shell 2"}, {0}});
	transaction("4", "remove the editor",
	            (const struct file[]){{"bin/vi", NULL}, {0}});
	expect("system", "bin/sh", "shell 2");
	expect("system", "bin/vi", NULL);
	expect("system~3", "bin/sh", "shell 1");

	/* Go back; the state that is left can be gone back to itself. */
	check(coppice_reset(store, "system", "system~4", "5"), "go back");
	expect("system", "bin/vi", "editor");
	expect("system~5", "bin/vi", NULL);

	/* Old states expire, unless they are pinned. */
	check(coppice_hold(store, "system~2", "pinned"), "pin");
	check(coppice_expire(store, "system", INT64_MAX, 2, &gone), "expire");
	if (gone != 2) {
		fprintf(stderr, "packages: %" PRIu64 " expired\n", gone);
		exit(1);
	}
	expect("system~2", "bin/sh", "shell 1");
	expect("system~4", "bin/vi", "editor");
}

int main(int argc, char **argv)
{
	int lists = argc == 3 && strcmp(argv[2], "list") == 0;

	if (argc != 2 && !lists) {
		fprintf(stderr, "usage: packages STORE [list]\n");
		return 2;
	}
	check(coppice_open(argv[1], lists ? COPPICE_READ_ONLY : COPPICE_CREATE,
	                   NULL, &store),
	      argv[1]);
	if (!lists)
		demonstrate();
	check(coppice_list(store, "system", state_print, NULL), "list");
	check(coppice_close(store), "close");
	return 0;
}
