/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The states of a package manager on libcoppice: install, try, switch, go back,
 * search, expire.
 *
 *   packages STORE             run some transactions and check them
 *   packages STORE list        print the states that are kept
 *
 * Each state of the system is a snapshot of the fork `system`.  Its record lies
 * in the state itself, in `.state`: number, name, description, type, time, and
 * the packages with the reason why each is installed.  The fork `cache` has a
 * directory a package, with the package's files where the system has them: its
 * layout.  The store keeps equal contents once, those of the cache and of all
 * states.
 *
 *   cc packages.c $(pkg-config --cflags --libs libcoppice)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <coppice.h>

enum { PACKAGES = 16, STATES = 64, TEXT = 256, CONTENT = 65536 };

static const char record_path[] = ".state";

struct file {
	const char *path, *content;
};

struct package {
	char name[TEXT], reason[TEXT];
};

/* The properties of a state that the example prints. */
struct record {
	unsigned number;
	char name[TEXT], description[TEXT], type[TEXT];
	long long time; /* seconds since 1970 */
	struct package packages[PACKAGES];
	int count;
};

/* The files to be changed, and the reason. */
struct transaction {
	const char *name, *description;
	struct package install; /* without a name: none */
	const char *remove;     /* package; NULL: none */
};

static struct coppice *store;

static void check(ssize_t result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "packages: %s: %s\n", what, coppice_error());
	exit(1);
}

static void require(int condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "packages: wrong: %s\n", what);
	exit(1);
}

static struct coppice_state *state_open(const char *name)
{
	struct coppice_state *state;

	check(coppice_state_open(store, name, &state), name);
	return state;
}

static struct coppice_batch *batch_new(void)
{
	struct coppice_batch *batch;

	check(coppice_batch_new(store, &batch), "batch");
	return batch;
}

static void batch_commit(struct coppice_batch *batch, const char *snapshot)
{
	check(coppice_batch_commit(batch, COPPICE_DURABLE, snapshot), "commit");
	coppice_batch_discard(batch);
}

/* Return the content of a file, to be freed; NULL: there is none. */
static char *content_read(struct coppice_state *state, const char *path)
{
	char *content = malloc(CONTENT + 1);
	ssize_t n = coppice_get(state, path, 0, content, CONTENT);

	if (n == -ENOENT) {
		free(content);
		return NULL;
	}
	check(n, path);
	content[n] = 0;
	return content;
}

/* Check a file of a state; content NULL: it is not there. */
static void expect(const char *name, const char *path, const char *content)
{
	struct coppice_state *state = state_open(name);
	char *found = content_read(state, path);

	coppice_state_close(state);
	require(found ? content && !strcmp(found, content) : !content, path);
	free(found);
}

/* ---- Records ------------------------------------------------------------ */

/* Read a package and the reason why it is there. */
static void package_parse(const char *text, struct record *record)
{
	struct package *package = &record->packages[record->count];

	require(record->count < PACKAGES, "there are too many packages");
	require(sscanf(text, "%255s %255[^\n]", package->name,
	               package->reason) == 2,
	        "a record");
	record->count++;
}

/* Read a record: lines of a key, a space and a value. */
static void record_parse(char *text, struct record *record)
{
	*record = (struct record){0};
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char *value = strchr(line, ' ');

		require(value != NULL, "a record");
		*value++ = 0;
		if (!strcmp(line, "number"))
			record->number = (unsigned)atoi(value);
		else if (!strcmp(line, "time"))
			record->time = atoll(value);
		else if (!strcmp(line, "name"))
			snprintf(record->name, TEXT, "%s", value);
		else if (!strcmp(line, "description"))
			snprintf(record->description, TEXT, "%s", value);
		else if (!strcmp(line, "type"))
			snprintf(record->type, TEXT, "%s", value);
		else if (!strcmp(line, "package"))
			package_parse(value, record);
	}
}

static void record_print(const struct record *record, char *text, size_t size)
{
	int n = snprintf(text, size,
	                 "number %u\nname %s\ndescription %s\ntype %s\n"
	                 "time %lld\n",
	                 record->number, record->name, record->description,
	                 record->type, record->time);

	for (int i = 0; i < record->count; i++)
		n += snprintf(text + n, size - (size_t)n, "package %s %s\n",
		              record->packages[i].name,
		              record->packages[i].reason);
}

/* Read the record of a state.  0: the state is empty. */
static int record_read(struct coppice_state *state, struct record *record)
{
	char *text = content_read(state, record_path);

	*record = (struct record){0};
	if (!text)
		return 0;
	record_parse(text, record);
	free(text);
	return 1;
}

static struct package *record_package(struct record *record, const char *name)
{
	for (int i = 0; i < record->count; i++)
		if (!strcmp(record->packages[i].name, name))
			return &record->packages[i];
	return NULL;
}

/* The records of all states, the oldest first. */
struct states {
	struct record records[STATES];
	int count;
};

static int states_add(void *arg, const struct coppice_info *info)
{
	struct coppice_state *state = state_open(info->name);
	struct states *states = arg;

	require(states->count < STATES, "there are too many states");
	record_read(state, &states->records[states->count++]);
	coppice_state_close(state);
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const struct record *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/* Return the states, to be freed. */
static struct states *states_read(void)
{
	struct states *states = calloc(1, sizeof(*states));

	check(coppice_list(store, "system", states_add, states), "list");
	qsort(states->records, (size_t)states->count, sizeof(struct record),
	      by_number);
	return states;
}

static void states_print(void)
{
	struct states *states = states_read();

	for (int i = 0; i < states->count; i++) {
		const struct record *r = &states->records[i];

		printf("%u\t%s\t%s\t%s\n", r->number, r->type, r->name,
		       r->description);
	}
	free(states);
}

/* ---- The cache ---------------------------------------------------------- */

/* Bring a package to the cache, if it is not there. */
static void package_fetch(const char *package, const struct file *files)
{
	struct coppice_stat stat = {.size = sizeof(stat)};
	struct coppice_state *cache = state_open("cache");
	struct coppice_batch *batch = batch_new();
	char path[TEXT];

	if (coppice_stat(cache, package, &stat) == -ENOENT) {
		for (; files->path; files++) {
			snprintf(path, sizeof(path), "%s/%s", package,
			         files->path);
			check(coppice_batch_put(
			              batch, cache, path, files->content,
			              strlen(files->content), COPPICE_PARENTS),
			      path);
		}
	}
	batch_commit(batch, NULL);
	coppice_state_close(cache);
}

/*
 * Add the files of a package, from a directory of the cache on, to a batch of a
 * fork: put them, or delete them.
 */
static void layout_apply(struct coppice_batch *batch,
                         struct coppice_state *fork,
                         struct coppice_state *cache, const char *package,
                         const char *dir, int deletes)
{
	struct coppice_entry entry = {.size = sizeof(entry)};
	struct coppice_scan *scan;
	char path[2 * TEXT];
	int r;

	check(coppice_scan_open(cache, dir, NULL, 0, &scan), dir);
	while ((r = coppice_scan_next(scan, &entry)) > 0) {
		const char *target = path + strlen(package) + 1;
		char *content;

		snprintf(path, sizeof(path), "%s/%s", dir, entry.name);
		if (entry.type == COPPICE_DIRECTORY) {
			layout_apply(batch, fork, cache, package, path,
			             deletes);
		} else if (deletes) {
			check(coppice_batch_delete(batch, fork, target, 0),
			      target);
		} else {
			content = content_read(cache, path);
			require(content != NULL, path);
			check(coppice_batch_put(batch, fork, target, content,
			                        strlen(content),
			                        COPPICE_PARENTS),
			      target);
			free(content);
		}
	}
	check(r, dir);
	coppice_scan_close(scan);
}

/* Delete the packages of the cache that no state has; return how many. */
static int cache_clean(void)
{
	struct coppice_entry entry = {.size = sizeof(entry)};
	struct coppice_state *cache = state_open("cache");
	struct coppice_batch *batch = batch_new();
	struct states *states = states_read();
	struct coppice_scan *scan;
	int gone = 0;

	states_add(states, &(struct coppice_info){.name = "system"});
	check(coppice_scan_open(cache, "", NULL, 0, &scan), "scan");
	while (coppice_scan_next(scan, &entry) > 0) {
		int used = 0;

		for (int i = 0; i < states->count; i++)
			used |= record_package(&states->records[i],
			                       entry.name) != NULL;
		if (used)
			continue;
		check(coppice_batch_delete(batch, cache, entry.name,
		                           COPPICE_RECURSIVE),
		      entry.name);
		gone++;
	}
	coppice_scan_close(scan);
	batch_commit(batch, NULL);
	coppice_state_close(cache);
	free(states);
	return gone;
}

/* ---- Changes ------------------------------------------------------------ */

static unsigned next_number(void)
{
	struct states *states = states_read();
	unsigned number = 1;

	if (states->count)
		number += states->records[states->count - 1].number;
	free(states);
	return number;
}

static void package_remove(struct record *record, const char *name)
{
	struct package *package = record_package(record, name);

	require(package != NULL, name);
	*package = record->packages[--record->count];
}

/* Change a fork in one step; snapshot: the name of one of it, or NULL. */
static void fork_change(const char *name, unsigned number,
                        const struct transaction *t, const char *snapshot)
{
	struct coppice_state *fork = state_open(name);
	struct coppice_state *cache = state_open("cache");
	struct coppice_batch *batch = batch_new();
	char text[PACKAGES * TEXT];
	struct record record;
	int had = record_read(fork, &record);

	if (t->remove) {
		package_remove(&record, t->remove);
		layout_apply(batch, fork, cache, t->remove, t->remove, 1);
	}
	if (*t->install.name) {
		require(record.count < PACKAGES, "there are too many packages");
		record.packages[record.count++] = t->install;
		layout_apply(batch, fork, cache, t->install.name,
		             t->install.name, 0);
	}
	record.number = number;
	record.time = time(NULL);
	snprintf(record.name, TEXT, "%s", t->name);
	snprintf(record.description, TEXT, "%s", t->description);
	snprintf(record.type, TEXT, "%s", had ? "transaction" : "initial");
	record_print(&record, text, sizeof(text));
	check(coppice_batch_put(batch, fork, record_path, text, strlen(text),
	                        0),
	      record_path);
	batch_commit(batch, snapshot);
	coppice_state_close(cache);
	coppice_state_close(fork);
}

/* Change the system in one step, and keep the state. */
static void system_change(const struct transaction *t)
{
	unsigned number = next_number();
	char snapshot[16];

	snprintf(snapshot, sizeof(snapshot), "%u", number);
	fork_change("system", number, t, snapshot);
}

/* Make a change in a fork, whose name is returned. */
static void system_try(const struct transaction *t,
                       char fork[COPPICE_NAME_SIZE])
{
	check(coppice_fork(store, "system", "trial", COPPICE_UNIQUE, fork),
	      "fork");
	fork_change(fork, next_number(), t, NULL);
}

/* Switch to what was tried, in one step, and keep the state. */
static void system_switch(const char *fork)
{
	char snapshot[16];

	snprintf(snapshot, sizeof(snapshot), "%u", next_number());
	check(coppice_reset(store, "system", fork, NULL), "switch");
	check(coppice_snapshot(store, "system", snapshot), "snapshot");
	check(coppice_remove(store, fork, 0), fork);
	check(coppice_sync(store), "sync");
}

/* Give the system the content of an earlier state, in one step. */
static void system_go_back(const char *state)
{
	check(coppice_reset(store, "system", state, NULL), "go back");
	check(coppice_sync(store), "sync");
}

/* ---- States ------------------------------------------------------------- */

static int difference_count(void *arg, const struct coppice_difference *what)
{
	*(int *)arg += what->type == COPPICE_FILE &&
	               strcmp(what->path, record_path) != 0;
	return 0;
}

/* Return how many files differ between two states. */
static int states_compare(const char *from, const char *to)
{
	struct coppice_state *a = state_open(from), *b = state_open(to);
	int count = 0;

	check(coppice_diff(a, b, difference_count, &count), "compare");
	coppice_state_close(a);
	coppice_state_close(b);
	return count;
}

/* Return how many states have a text in their record. */
static int states_search(const char *text)
{
	struct states *states = states_read();
	char record[PACKAGES * TEXT];
	int found = 0;

	for (int i = 0; i < states->count; i++) {
		record_print(&states->records[i], record, sizeof(record));
		found += strstr(record, text) != NULL;
	}
	free(states);
	return found;
}

/*
 * Delete all but the newest transactions, and return how many; states that are
 * pinned stay.
 */
static int states_expire(int keep)
{
	struct states *states = states_read();
	int gone = 0;

	for (int i = states->count - 1; i >= 0; i--) {
		char name[32];
		int r;

		if (strcmp(states->records[i].type, "transaction") != 0 ||
		    keep-- > 0)
			continue;
		snprintf(name, sizeof(name), "system~%u",
		         states->records[i].number);
		r = coppice_remove(store, name, 0);
		if (r != -EBUSY)
			check(r, name);
		gone += r == 0;
	}
	free(states);
	return gone;
}

/* ---- What is done with it ----------------------------------------------- */

static void shell_fetch(int version)
{
	char content[32], package[32];
	struct file files[2] = {{"bin/sh", content}, {0}};

	snprintf(package, sizeof(package), "shell-%d", version);
	snprintf(content, sizeof(content), "shell %d", version);
	package_fetch(package, files);
}

/* Make the first states: two changes, one that is tried first, a removal. */
static void transactions(void)
{
	static const struct file editor[] = {
	        {"bin/vi", "editor"}, {"share/vi/help", "help"}, {0}};
	struct coppice_state *system;
	char trial[COPPICE_NAME_SIZE];
	struct record record;

	shell_fetch(1);
	shell_fetch(2);
	package_fetch("editor-1", editor);
	system_change(&(struct transaction){
	        "base", "a shell", {"shell-1", "required"}, NULL});
	system_change(&(struct transaction){"editor",
	                                    "on request of a user",
	                                    {"editor-1", "explicit"},
	                                    NULL});
	require(states_compare("system~1", "system~2") == 2, "two files");
	system = state_open("system");
	record_read(system, &record);
	coppice_state_close(system);
	require(!strcmp(record_package(&record, "editor-1")->reason,
	                "explicit"),
	        "the reason");

	/* Try an upgrade in a fork while the system stays as it is. */
	system_try(&(struct transaction){"upgrade",
	                                 "was tried first",
	                                 {"shell-2", "required"},
	                                 "shell-1"},
	           trial);
	expect("system", "bin/sh", "shell 1");
	expect(trial, "bin/sh", "shell 2");
	system_switch(trial);
	expect("system", "bin/sh", "shell 2");
	system_change(&(struct transaction){
	        "cleanup", "the editor is removed", {"", ""}, "editor-1"});
	expect("system", "bin/vi", NULL);
}

/* Go back, upgrade every week, and let old states expire. */
static void demonstrate(void)
{
	char installed[16] = "shell-1";

	check(coppice_fork(store, NULL, "system", 0, NULL), "system");
	check(coppice_fork(store, NULL, "cache", 0, NULL), "cache");
	transactions();
	check(coppice_hold(store, "system~2", "pinned"), "pin");
	system_go_back("system~2");
	expect("system", "bin/vi", "editor");
	expect("system", "bin/sh", "shell 1");
	for (int version = 3; version < 7; version++) {
		struct transaction t = {NULL, "weekly", {"", "required"}, NULL};
		char name[16];

		shell_fetch(version);
		snprintf(name, sizeof(name), "update %d", version);
		snprintf(t.install.name, TEXT, "shell-%d", version);
		t.name = name;
		t.remove = installed;
		system_change(&t);
		snprintf(installed, sizeof(installed), "shell-%d", version);
	}
	require(states_search("weekly") == 4, "four weekly states");
	require(states_expire(2) == 4, "four states expire");
	require(cache_clean() == 3, "three packages are not needed");
	check(coppice_reclaim(store), "reclaim");
	expect("system~2", "bin/sh", "shell 1");
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
	states_print();
	check(coppice_close(store), "close");
	return 0;
}
