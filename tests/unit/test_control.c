/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests for a store: the verbs, requests that make no sense, and the lines
 * they travel in when the other end is slow, cut short or hostile.
 */
#include "fs_fixture.h"

#include <sys/socket.h>

#include "control.h"
#include "escaped_name.h"
#include "json_line.h"

static int setup(void **state)
{
	struct fixture *w = calloc(1, sizeof(*w));

	fixture_init(w, 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	fixture_check(*state);
	fixture_release(*state);
	free(*state);
	return 0;
}

/* ---- Asking ------------------------------------------------------------- */

static int keep_row(void *arg, json_t *row)
{
	return arg ? json_array_append(arg, row) : 0;
}

static json_t *ask_json(struct fixture *w, json_t *request, json_t *rows)
{
	json_t *answer = NULL;

	assert_int_equal(control_run(w->fs, request, keep_row, rows, &answer),
	                 0);
	json_decref(request);
	assert_true(json_is_object(answer));
	return answer;
}

static json_t *ask(struct fixture *w, const char *request, json_t *rows)
{
	json_t *json = json_loads(request, 0, NULL);

	assert_non_null(json);
	return ask_json(w, json, rows);
}

static void expect_ok(struct fixture *w, const char *request)
{
	json_t *answer = ask(w, request, NULL);

	if (!json_is_true(json_object_get(answer, "ok")))
		print_error(
		        "%s: %s\n", request,
		        json_string_value(json_object_get(answer, "error")));
	assert_true(json_is_true(json_object_get(answer, "ok")));
	assert_null(json_object_get(answer, "error"));
	json_decref(answer);
}

static void expect_error(struct fixture *w, const char *request, int err)
{
	json_t *answer = ask(w, request, NULL);
	const char *sentence =
	        json_string_value(json_object_get(answer, "error"));

	assert_null(json_object_get(answer, "ok"));
	assert_non_null(sentence);
	assert_int_not_equal(sentence[0], 0);
	if (err)
		assert_int_equal(
		        json_integer_value(json_object_get(answer, "errno")),
		        err);
	json_decref(answer);
}

/* The rows' names, each followed by a space. */
static void expect_names(struct fixture *w, const char *request,
                         const char *names)
{
	json_t *rows = json_array(), *answer = ask(w, request, rows), *row;
	char got[4096] = "";
	size_t i;

	assert_true(json_is_true(json_object_get(answer, "ok")));
	json_array_foreach(rows, i, row)
	{
		strcat(got, json_string_value(json_object_get(row, "name")));
		strcat(got, " ");
	}
	assert_string_equal(got, names);
	json_decref(rows);
	json_decref(answer);
}

/* ---- Verbs -------------------------------------------------------------- */

static void test_states(void **state)
{
	struct fixture *w = *state;

	expect_names(w, "{\"verb\":\"list\"}", "main ");
	expect_ok(w, "{\"verb\":\"fork\",\"name\":\"main@a\"}");
	expect_ok(w,
	          "{\"verb\":\"fork\",\"name\":\"b\",\"source\":\"main@a\"}");
	expect_ok(w, "{\"verb\":\"snap\",\"fork\":\"b\",\"name\":\"one\"}");
	expect_ok(w, "{\"verb\":\"snap\",\"fork\":\"b\",\"name\":\"two\"}");
	expect_ok(w, "{\"verb\":\"fork\",\"name\":\"c\",\"source\":\"b~one\"}");
	expect_names(w, "{\"verb\":\"list\"}", "b c main main@a ");
	expect_names(w, "{\"verb\":\"list\",\"fork\":\"b\"}", "b~one b~two ");
	expect_names(w, "{\"verb\":\"list\",\"all\":true}",
	             "b b~one b~two c main main@a ");
	expect_names(w, "{\"verb\":\"show\",\"name\":\"b~2\"}", "b~one ");
	expect_error(w, "{\"verb\":\"rm\",\"name\":\"b\"}", ENOTEMPTY);
	expect_ok(w, "{\"verb\":\"rename\",\"name\":\"b\",\"to\":\"bb\"}");
	expect_error(w, "{\"verb\":\"show\",\"name\":\"b\"}", ENOENT);
	expect_ok(w, "{\"verb\":\"rm\",\"name\":\"bb\",\"recursive\":true}");
	expect_names(w, "{\"verb\":\"list\",\"all\":true}", "c main main@a ");
	expect_ok(w, "{\"verb\":\"default\"}");
	expect_ok(w, "{\"verb\":\"default\",\"name\":\"main\"}");
	expect_error(w, "{\"verb\":\"rm\",\"name\":\"main\"}", EBUSY);
	expect_ok(w, "{\"verb\":\"default\",\"name\":\"c\"}");
	expect_ok(w, "{\"verb\":\"rm\",\"name\":\"main\"}");
	expect_ok(w, "{\"verb\":\"default\"}");
	expect_error(w, "{\"verb\":\"rm\",\"name\":\"c\"}", EBUSY);
	expect_ok(w, "{\"verb\":\"default\",\"none\":true}");
	expect_ok(w, "{\"verb\":\"rm\",\"name\":\"c\"}");
	expect_ok(w, "{\"verb\":\"rm\",\"name\":\"main@a\"}");
	/* A store may have no state at all. */
	expect_names(w, "{\"verb\":\"list\",\"all\":true}", "");
	expect_ok(w, "{\"verb\":\"default\"}");
	expect_ok(w, "{\"verb\":\"fork\",\"name\":\"main\",\"mode\":488}");
	expect_names(w, "{\"verb\":\"list\"}", "main ");
	expect_ok(w, "{\"verb\":\"sync\"}");
	expect_ok(w, "{\"verb\":\"stat\"}");
}

/* Positions such as main~1 do not name what is deleted or renamed. */
static void test_positions(void **state)
{
	struct fixture *w = *state;

	expect_ok(w, "{\"verb\":\"snap\",\"fork\":\"main\",\"name\":\"a\"}");
	expect_ok(w, "{\"verb\":\"snap\",\"fork\":\"main\",\"name\":\"1\"}");
	expect_ok(w, "{\"verb\":\"snap\",\"fork\":\"main\",\"name\":\"b\"}");
	expect_error(w, "{\"verb\":\"rm\",\"name\":\"main~2\"}", ENOENT);
	expect_error(w, "{\"verb\":\"rm\",\"name\":\"main~@now\"}", ENOENT);
	expect_error(w,
	             "{\"verb\":\"rename\",\"name\":\"main~2\",\"to\":\"c\"}",
	             ENOENT);
	expect_ok(w, "{\"verb\":\"find\",\"name\":\"main~2\"}");
	expect_ok(w, "{\"verb\":\"find\",\"name\":\"main~b\"}");
	expect_error(w, "{\"verb\":\"find\",\"name\":\"main~1\"}", ENOTUNIQ);
	expect_error(w, "{\"verb\":\"find\",\"name\":\"main~4\"}", ENOENT);
	expect_names(w, "{\"verb\":\"show\",\"name\":\"main~1\"}", "main~1 ");
	expect_ok(w, "{\"verb\":\"rm\",\"name\":\"main~1\"}");
	expect_error(w, "{\"verb\":\"rm\",\"name\":\"main~1\"}", ENOENT);
	expect_names(w, "{\"verb\":\"list\",\"fork\":\"main\"}",
	             "main~a main~b ");
}

static void test_snapshot_named_by_the_clock(void **state)
{
	struct fixture *w = *state;
	json_t *rows = json_array(), *answer;

	/* More than one in a second. */
	for (int i = 0; i < 3; i++)
		expect_ok(w, "{\"verb\":\"snap\",\"fork\":\"main\"}");
	answer = ask(w, "{\"verb\":\"list\",\"fork\":\"main\"}", rows);
	assert_int_equal(json_array_size(rows), 3);
	json_decref(answer);
	json_decref(rows);
}

/* Delete the fork x if it is still as it was made; return whether it was. */
static bool rm_if_unchanged(struct fixture *w, json_int_t version)
{
	json_t *answer =
	        ask_json(w,
	                 json_pack("{s:s, s:s, s:I}", "verb", "rm", "name", "x",
	                           "if_unchanged", version),
	                 NULL);
	bool deleted = json_is_true(json_object_get(answer, "deleted"));

	assert_true(json_is_true(json_object_get(answer, "ok")));
	json_decref(answer);
	return deleted;
}

static json_int_t fork_x(struct fixture *w, node_t *ret_root)
{
	json_t *answer = ask(w,
	                     "{\"verb\":\"fork\",\"source\":\"main\","
	                     "\"name\":\"x\"}",
	                     NULL);
	json_int_t version =
	        json_integer_value(json_object_get(answer, "version"));

	assert_int_not_equal(version, 0);
	*ret_root = NODE(json_integer_value(json_object_get(answer, "number")),
	                 INO_ROOT);
	json_decref(answer);
	return version;
}

/* A fork that has been frozen since is as unchanged as before, by itself. */
static void test_rm_if_unchanged(void **state)
{
	struct fixture *w = *state;
	json_int_t version;
	node_t root;

	make(w, w->main, "file", S_IFREG | 0644);
	version = fork_x(w, &root);
	make(w, w->main, "later", S_IFREG | 0644);
	assert_false(rm_if_unchanged(w, version + 1));
	assert_true(rm_if_unchanged(w, version));
	expect_names(w, "{\"verb\":\"list\"}", "main ");

	version = fork_x(w, &root);
	make(w, root, "new", S_IFREG | 0644);
	assert_false(rm_if_unchanged(w, version));
	expect_ok(w, "{\"verb\":\"fork\",\"source\":\"x\",\"name\":\"y\"}");
	assert_false(rm_if_unchanged(w, version));
	expect_ok(w, "{\"verb\":\"rm\",\"name\":\"y\"}");
	assert_false(rm_if_unchanged(w, version));
	expect_names(w, "{\"verb\":\"list\"}", "main x ");
}

/* More states than are listed in one hold of the lock. */
static void test_long_list(void **state)
{
	struct fixture *w = *state;
	json_t *rows = json_array(), *answer, *row;
	size_t i;

	for (i = 0; i < 700; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%04zu", i);
		answer = ask_json(
		        w,
		        json_pack("{s:s, s:s}", "verb", "fork", "name", name),
		        NULL);
		assert_true(json_is_true(json_object_get(answer, "ok")));
		json_decref(answer);
	}
	answer = ask(w, "{\"verb\":\"list\",\"all\":true}", rows);
	assert_int_equal(json_array_size(rows), 701);
	json_array_foreach(rows, i, row)
	{
		char name[32];

		snprintf(name, sizeof(name), i < 700 ? "f%04zu" : "main", i);
		assert_string_equal(
		        json_string_value(json_object_get(row, "name")), name);
	}
	json_decref(answer);
	json_decref(rows);
}

static int stop_at_three(void *arg, json_t *row)
{
	return ++*(int *)arg == 3 ? -EPIPE : 0;
}

static void test_list_that_is_stopped(void **state)
{
	struct fixture *w = *state;
	json_t *request = json_loads("{\"verb\":\"list\"}", 0, NULL);
	json_t *answer = NULL;
	int rows = 0;

	for (int i = 0; i < 9; i++) {
		char text[64];

		snprintf(text, sizeof(text),
		         "{\"verb\":\"fork\",\"name\":\"f%d\"}", i);
		expect_ok(w, text);
	}
	assert_int_equal(
	        control_run(w->fs, request, stop_at_three, &rows, &answer),
	        -EPIPE);
	assert_null(answer);
	assert_int_equal(rows, 3);
	json_decref(request);
}

/* ---- Requests that make no sense ---------------------------------------- */

static void test_nonsense(void **state)
{
	static const char *const requests[] = {
	        "{}",
	        "{\"verb\":null}",
	        "{\"verb\":7}",
	        "{\"verb\":[\"fork\"]}",
	        "{\"verb\":\"\"}",
	        "{\"verb\":\"forks\"}",
	        "{\"verb\":\"%s%n\"}",
	        "{\"verb\":\"mount\"}",
	        "{\"verb\":\"umount-wait\"}",
	        "{\"verb\":\"stay\"}",
	        "{\"verb\":\"fork\"}",
	        "{\"verb\":\"fork\",\"name\":null}",
	        "{\"verb\":\"fork\",\"name\":7}",
	        "{\"verb\":\"fork\",\"name\":{}}",
	        "{\"verb\":\"fork\",\"name\":\"\"}",
	        "{\"verb\":\"fork\",\"name\":\".\"}",
	        "{\"verb\":\"fork\",\"name\":\"..\"}",
	        "{\"verb\":\"fork\",\"name\":\".snap\"}",
	        "{\"verb\":\"fork\",\"name\":\"a/b\"}",
	        "{\"verb\":\"fork\",\"name\":\"a\\nb\"}",
	        "{\"verb\":\"fork\",\"name\":\"a~b\"}",
	        "{\"verb\":\"fork\",\"name\":\"%n@%s\"}",
	        "{\"verb\":\"fork\",\"name\":\"main\"}",
	        "{\"verb\":\"fork\",\"name\":\"x\",\"source\":\"nix\"}",
	        "{\"verb\":\"fork\",\"name\":\"x\",\"source\":7}",
	        "{\"verb\":\"fork\",\"name\":\"x\",\"source\":\"\"}",
	        "{\"verb\":\"fork\",\"name\":\"nix@x\"}",
	        "{\"verb\":\"snap\"}",
	        "{\"verb\":\"snap\",\"fork\":\"nix\"}",
	        "{\"verb\":\"snap\",\"fork\":\"main\",\"name\":\"..\"}",
	        "{\"verb\":\"snap\",\"fork\":\"main\",\"name\":\"a~b\"}",
	        "{\"verb\":\"snap\",\"fork\":\"main\",\"name\":[]}",
	        "{\"verb\":\"list\",\"fork\":\"nix\"}",
	        "{\"verb\":\"list\",\"fork\":false}",
	        "{\"verb\":\"show\"}",
	        "{\"verb\":\"show\",\"name\":\"main~99999999999999999999\"}",
	        "{\"verb\":\"show\",\"name\":\"main~@soon\"}",
	        "{\"verb\":\"show\",\"name\":\"~\"}",
	        "{\"verb\":\"show\",\"name\":\"/.snap/\"}",
	        "{\"verb\":\"rename\",\"name\":\"main\"}",
	        "{\"verb\":\"rename\",\"name\":\"nix\",\"to\":\"a\"}",
	        "{\"verb\":\"rename\",\"name\":\"main\",\"to\":\"..\"}",
	        "{\"verb\":\"rm\"}",
	        "{\"verb\":\"rm\",\"name\":\"nix\",\"recursive\":\"yes\"}",
	        "{\"verb\":\"rm\",\"name\":\"main\",\"if_unchanged\":\"no\"}",
	        "{\"verb\":\"default\",\"name\":\"nix\"}",
	        "{\"verb\":\"default\",\"name\":3}",
	};
	struct fixture *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		expect_error(w, requests[i], 0);
	expect_names(w, "{\"verb\":\"list\",\"all\":true}", "main ");
}

static void test_names_too_long(void **state)
{
	static const size_t lengths[] = {256, 1023, 1024, 5000, 60000};
	struct fixture *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		char *name = malloc(lengths[i] + 1);
		json_t *answer;

		memset(name, 'n', lengths[i]);
		name[lengths[i]] = 0;
		answer = ask_json(
		        w,
		        json_pack("{s:s, s:s}", "verb", "fork", "name", name),
		        NULL);
		assert_non_null(json_object_get(answer, "error"));
		json_decref(answer);
		free(name);
	}
	expect_names(w, "{\"verb\":\"list\"}", "main ");
}

/* A name may be any bytes: the answer names it so that it can be asked for. */
static void test_names_that_are_not_utf8(void **state)
{
	struct fixture *w = *state;
	json_t *answer, *rows = json_array(), *name = name_escape("a\xff\xfe!");

	assert_non_null(name);
	answer = ask_json(
	        w, json_pack("{s:s, s:O}", "verb", "fork", "name", name), NULL);
	assert_true(json_equal(json_object_get(answer, "name"), name));
	json_decref(answer);
	assert_int_not_equal(look(w, NODE_ROOT, "a\xff\xfe!"), 0);
	answer = ask_json(
	        w, json_pack("{s:s, s:O}", "verb", "show", "name", name), rows);
	assert_true(json_equal(json_object_get(json_array_get(rows, 0), "name"),
	                       name));
	json_decref(answer);
	json_decref(name);
	json_decref(rows);
}

/* ---- Lines -------------------------------------------------------------- */

struct protocol_pair {
	int ends[2];
	struct json_line_reader reader; /* of the second end */
};

static void pair_init(struct protocol_pair *pair)
{
	assert_int_equal(
	        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair->ends),
	        0);
	assert_int_equal(json_line_reader_init(&pair->reader, pair->ends[1]),
	                 0);
}

static void pair_release(struct protocol_pair *pair)
{
	json_line_reader_release(&pair->reader);
	close_fd(&pair->ends[0]);
	close_fd(&pair->ends[1]);
}

static void test_lines(void **state)
{
	struct protocol_pair pair;
	size_t len;
	char *line;

	pair_init(&pair);
	assert_int_equal(write(pair.ends[0], "one\n\ntwo\nthr", 12), 12);
	assert_int_equal(json_line_read(&pair.reader, 1000, &line, &len), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(line, "one", 3);
	assert_int_equal(json_line_read(&pair.reader, 1000, &line, &len), 0);
	assert_int_equal(len, 0);
	assert_int_equal(json_line_read(&pair.reader, 1000, &line, &len), 0);
	assert_memory_equal(line, "two", 3);
	/* The rest does not come in time. */
	assert_int_equal(json_line_read(&pair.reader, 1, &line, &len),
	                 -ETIMEDOUT);
	assert_int_equal(write(pair.ends[0], "ee\n", 3), 3);
	assert_int_equal(json_line_read(&pair.reader, 1000, &line, &len), 0);
	assert_memory_equal(line, "three", 5);
	assert_int_equal(write(pair.ends[0], "cut", 3), 3);
	close(pair.ends[0]);
	pair.ends[0] = -1;
	assert_int_equal(json_line_read(&pair.reader, 1000, &line, &len),
	                 -EPIPE);
	pair_release(&pair);
}

static void test_line_too_long(void **state)
{
	struct protocol_pair pair;
	json_t *object;
	size_t len, sent = 0;
	char *line, *text = malloc(LINE_MAX_LEN + 1);

	pair_init(&pair);
	memset(text, 'x', LINE_MAX_LEN);
	text[LINE_MAX_LEN] = 0;
	while (sent < LINE_MAX_LEN) {
		ssize_t n =
		        write(pair.ends[0], text + sent, LINE_MAX_LEN - sent);

		assert_true(n > 0);
		sent += (size_t)n;
	}
	assert_int_equal(json_line_read(&pair.reader, 1000, &line, &len),
	                 -EMSGSIZE);
	object = json_pack("{s:s}", "name", text);
	assert_int_equal(json_line_write(pair.ends[0], object, -1, 1000),
	                 -EMSGSIZE);
	json_decref(object);
	free(text);
	pair_release(&pair);
}

/* A peer that never reads does not block the others. */
static void test_reader_that_sleeps(void **state)
{
	struct protocol_pair pair;
	json_t *object = json_pack("{s:s}", "name", "a row of an answer");
	int err;

	pair_init(&pair);
	do {
		err = json_line_write(pair.ends[1], object, -1, 1);
	} while (err == 0);
	assert_int_equal(err, -ETIMEDOUT);
	json_decref(object);
	pair_release(&pair);
}

static void test_descriptor_with_a_line(void **state)
{
	struct protocol_pair pair;
	json_t *object = json_pack("{s:s}", "verb", "mount");
	int fds[2];
	size_t len;
	char *line, byte = 0;

	pair_init(&pair);
	assert_int_equal(pipe(fds), 0);
	/* Two come: one is kept and the other closed. */
	assert_int_equal(json_line_write(pair.ends[0], object, fds[1], 1000),
	                 0);
	assert_int_equal(json_line_write(pair.ends[0], object, fds[1], 1000),
	                 0);
	close(fds[1]);
	assert_int_equal(json_line_read(&pair.reader, 1000, &line, &len), 0);
	assert_int_equal(json_line_read(&pair.reader, 1000, &line, &len), 0);
	assert_true(pair.reader.fd >= 0);
	assert_int_equal(write(pair.reader.fd, "!", 1), 1);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(byte, '!');
	json_decref(object);
	pair_release(&pair);
	/* No writer is left. */
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
}

/* ---- Garbage ------------------------------------------------------------ */

/* A valid request with some of its bytes changed. */
static void test_garbled(void **state)
{
	static const char *const good[] = {
	        "{\"verb\":\"fork\",\"name\":\"main@x\",\"source\":\"main\"}",
	        "{\"verb\":\"snap\",\"fork\":\"main\",\"name\":\"monday\"}",
	        "{\"verb\":\"list\",\"all\":true,\"fork\":\"main\"}",
	        "{\"verb\":\"rename\",\"name\":\"main@x\",\"to\":\"y\"}",
	        "{\"verb\":\"rm\",\"name\":\"main@x\",\"recursive\":true}",
	};
	struct fixture *w = *state;
	uint64_t x = scratch_seed(), parsed = 0;

	for (uint64_t i = scratch_ops(20000); i; i--) {
		char text[128];
		json_t *request, *answer = NULL;
		size_t len;

		strcpy(text, good[i % ARRAY_SIZE(good)]);
		len = strlen(text);
		for (int n = 0; n < 3; n++) {
			x = x * UINT64_C(6364136223846793005) +
			    1442695040888963407u;
			text[(x >> 33) % len] = (char)(x >> 56);
		}
		request = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
		if (!json_is_object(request)) {
			json_decref(request);
			continue;
		}
		parsed++;
		assert_int_equal(
		        control_run(w->fs, request, keep_row, NULL, &answer),
		        0);
		assert_true(json_is_object(answer));
		json_decref(answer);
		json_decref(request);
	}
	assert_true(parsed > 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	static const struct CMUnitTest tests[] = {
	        TEST(test_states),
	        TEST(test_positions),
	        TEST(test_snapshot_named_by_the_clock),
	        TEST(test_rm_if_unchanged),
	        TEST(test_long_list),
	        TEST(test_list_that_is_stopped),
	        TEST(test_nonsense),
	        TEST(test_names_too_long),
	        TEST(test_names_that_are_not_utf8),
	        TEST(test_garbled),
	        cmocka_unit_test(test_lines),
	        cmocka_unit_test(test_line_too_long),
	        cmocka_unit_test(test_reader_that_sleeps),
	        cmocka_unit_test(test_descriptor_with_a_line),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
