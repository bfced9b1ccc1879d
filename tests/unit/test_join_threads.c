/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ten threads that fork one state, change the fork, and join it: a thousand
 * joins by each policy of coppice run, with all of them in the store
 * afterwards.  Each join adds a file; those under "first" also count up in a
 * file that all have in common, as a transaction would.
 */
#include "fs_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "control.h"

enum { THREADS = 10, JOINS = 100 /* of a thread */, COUNT_LEN = 6 };

static struct fixture w;
static bool first; /* the policy */

static int no_row(void *arg, json_t *row)
{
	return 0;
}

/* Run a request.  Return 0 or the errno of its error. */
static int ask(json_t *request, uint64_t *ret_number)
{
	json_t *answer = NULL;
	int err;

	must(request && !control_run(w.fs, request, no_row, NULL, &answer));
	json_decref(request);
	err = (int)json_integer_value(json_object_get(answer, "errno"));
	if (ret_number)
		*ret_number = (uint64_t)json_integer_value(
		        json_object_get(answer, "number"));
	json_decref(answer);
	return err;
}

static node_t find(node_t parent, const char *name)
{
	struct fs_entry e;

	must(!fs_lookup(w.fs, parent, name, SNAPDIR_HIDDEN, &e));
	return e.node;
}

static int count_read(node_t root)
{
	char text[COUNT_LEN + 1] = "";
	struct fs_data data;
	size_t at = 0;

	must(!fs_read(w.fs, find(root, "count"), 0, COUNT_LEN, &data));
	for (int i = 0; i < data.iov_count; i++) {
		memcpy(text + at, data.iov[i].iov_base, data.iov[i].iov_len);
		at += data.iov[i].iov_len;
	}
	fs_data_release(&data);
	return atoi(text);
}

static void count_up(node_t root)
{
	char text[16];

	snprintf(text, sizeof(text), "%06d", count_read(root) + 1);
	must(!fs_write(w.fs, find(root, "count"), 0, text, COUNT_LEN, 0));
}

/* Do the work in a new fork, and join it.  Return 0 or the errno of the join.
 */
static int work(const char *fork, const char *file)
{
	struct fs_entry e;
	uint64_t number;
	node_t root;
	int err;

	must(!ask(json_pack("{s:s, s:s, s:s}", "verb", "fork", "source", "main",
	                    "name", fork),
	          &number));
	root = NODE(number, INO_ROOT);
	must(!fs_make(w.fs, root, file, S_IFREG | 0644, 0, NULL, &fixture_cred,
	              &e));
	if (first)
		count_up(root);
	do {
		err = ask(json_pack("{s:s, s:s, s:s, s:b}", "verb", "join",
		                    "source", fork, "into", "main", "ff_only",
		                    first),
		          NULL);
	} while (err == EBUSY);
	must(!ask(json_pack("{s:s, s:s}", "verb", "rm", "name", fork), NULL));
	return err;
}

static void *run_joins(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	char fork[32], file[32];
	int err;

	for (unsigned i = 0; i < JOINS; i++) {
		snprintf(fork, sizeof(fork), "main@%u", me);
		snprintf(file, sizeof(file), "%u-%u", me, i);
		do {
			err = work(fork, file);
			must(!err || (first && err == ENOTEMPTY));
		} while (err);
	}
	return NULL;
}

static void run_threads(void)
{
	pthread_t threads[THREADS];

	fixture_init(&w, 0);
	put_text(&w, make(&w, w.main, "count", S_IFREG | 0644), 0, "000000");
	for (unsigned i = 0; i < THREADS; i++)
		must(!pthread_create(&threads[i], NULL, run_joins,
		                     (void *)(uintptr_t)i));
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < THREADS * JOINS; i++) {
		char file[32];

		snprintf(file, sizeof(file), "%u-%u", i / JOINS, i % JOINS);
		assert_int_not_equal(look(&w, w.main, file), 0);
	}
	assert_int_equal(count_read(w.main), first ? THREADS * JOINS : 0);
	fixture_check(&w);
	fixture_release(&w);
}

static void test_queue(void **state)
{
	first = false;
	run_threads();
}

static void test_first(void **state)
{
	first = true;
	run_threads();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_queue),
	        cmocka_unit_test(test_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
