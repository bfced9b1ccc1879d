/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The frames of an export whose receiver has some of the files already. */
#include "fs_fixture.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "export.h"
#include "import_stream.h"
#include "path_filter.h"

enum { FILES = 150 }; /* more than are asked for at once */

static struct fixture w;

/* An export in a thread of its own. */
struct sender {
	int sockets[2]; /* the second is the sender's */
	bool ask;
	int result;
	struct fs_export_counts counts;
	pthread_t thread;
};

static int setup(void **state)
{
	fixture_init(&w, 12);
	return 0;
}

static int teardown(void **state)
{
	fixture_release(&w);
	return 0;
}

static void *export_main(void *arg)
{
	static const struct path_filter filter;
	struct sender *s = arg;
	const struct fs_export what = {.ino = INO_ROOT,
	                               .filter = &filter,
	                               .ask = s->ask,
	                               .socket = s->sockets[1]};
	struct state_hold hold;
	struct state *state;

	store_lock(w.store);
	assert_int_equal(state_resolve(w.forest, "main", &state), 0);
	assert_int_equal(state_hold(state, &hold), 0);
	store_unlock(w.store);
	s->result = fs_export(w.fs, &hold, &what, &s->counts);
	store_lock(w.store);
	hold_release(w.forest, &hold);
	store_unlock(w.store);
	shutdown(s->sockets[1], SHUT_RDWR);
	return NULL;
}

static void sender_begin(struct sender *s, bool ask)
{
	*s = (struct sender){.ask = ask};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s->sockets), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, export_main, s), 0);
}

static void sender_end(struct sender *s)
{
	shutdown(s->sockets[0], SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->sockets[0]);
	close(s->sockets[1]);
}

/* Counts of the frames received. */
struct received {
	unsigned asked, contents, bare, links, ends, dirs;
	unsigned pending; /* asked for and not answered */
	bool commit;
};

/* Files with an odd number in their name are there. */
static enum import_verdict verdict(const char *name)
{
	return (name[strlen(name) - 1] - '0') % 2 ? IMPORT_SAME : IMPORT_WANT;
}

static void file_take(struct received *got, struct reader *r, uint8_t *verdicts)
{
	char name[NAME_LEN_MAX + 1];
	unsigned flags;

	get_varint(r);
	import_name_get(r, name);
	flags = get_u8(r);
	assert_false(r->bad);
	if (flags & IMPORT_META) {
		assert_true(got->pending < IMPORT_ENTRIES_MAX);
		verdicts[got->pending++] = (uint8_t)verdict(name);
		got->asked++;
	} else if (flags & IMPORT_MORE) {
		/* Nothing is sent before the answer. */
		assert_int_equal(got->pending, 0);
		assert_int_equal(verdict(name), IMPORT_WANT);
		got->contents++;
	} else {
		assert_int_equal(got->pending, 0);
		got->bare++;
	}
}

static struct received receive(struct sender *s)
{
	uint8_t verdicts[IMPORT_ENTRIES_MAX];
	struct received got = {0};
	struct import_frames frames;
	enum import_kind kind;
	struct reader r;

	assert_int_equal(frames_init(&frames, s->sockets[0]), 0);
	while (!got.commit) {
		assert_int_equal(frames_next(&frames, &kind, &r), 0);
		if (kind == IMPORT_FILE)
			file_take(&got, &r, verdicts);
		if (kind == IMPORT_ENTRIES) {
			assert_int_equal(
			        write(s->sockets[0], verdicts, got.pending),
			        got.pending);
			got.pending = 0;
		}
		got.links += kind == IMPORT_LINK;
		got.ends += kind == IMPORT_END;
		got.dirs += kind == IMPORT_DIR;
		got.commit = kind == IMPORT_COMMIT;
	}
	frames_free(&frames);
	return got;
}

/* Files 0 to 9 many times, a link, a fifo and a directory with a file. */
static void files_make(void)
{
	node_t node = 0, dir;
	struct fs_entry entry;
	char name[16];

	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "file%u", i);
		node = make(&w, w.main, name, S_IFREG | 0644);
		put_text(&w, node, 0, name);
	}
	assert_int_equal(fs_link(w.fs, node, w.main, "link", &entry), 0);
	make(&w, w.main, "fifo", S_IFIFO | 0600);
	dir = make(&w, w.main, "dir", S_IFDIR | 0755);
	make(&w, dir, "file0", S_IFREG | 0644);
}

static void test_asked(void **state)
{
	struct sender s;
	struct received got;

	files_make();
	sender_begin(&s, true);
	got = receive(&s);
	sender_end(&s);
	assert_int_equal(s.result, 0);
	assert_int_equal(got.asked, FILES + 1);
	assert_int_equal(got.contents, FILES / 2 + 1);
	assert_int_equal(got.ends, got.contents);
	assert_int_equal(got.bare, 1);
	assert_int_equal(got.links, 1);
	assert_int_equal(got.dirs, 2);
	/* The counts are those of the state. */
	assert_int_equal(s.counts.files, FILES + 3);
	assert_int_equal(s.counts.dirs, 2);
	assert_int_equal(s.counts.bytes, 10 * 5 + 90 * 6 + 50 * 7);
}

/* The receiver ends in the middle of a question. */
static void test_not_answered(void **state)
{
	struct import_frames frames;
	enum import_kind kind = 0;
	struct reader r;
	struct sender s;

	files_make();
	sender_begin(&s, true);
	assert_int_equal(frames_init(&frames, s.sockets[0]), 0);
	while (kind != IMPORT_ENTRIES)
		assert_int_equal(frames_next(&frames, &kind, &r), 0);
	frames_free(&frames);
	sender_end(&s);
	assert_int_equal(s.result, -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_asked, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_not_answered, setup,
	                                        teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
