/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests that are not answered, as the log gets them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/fuse.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "scratch.h"
#include "util.h"
#include "watchdog.h"
#include "whereabouts.h"

#define S INT64_C(1000000000)

static _Atomic int64_t threads_logged;
static char log_text[64 << 10];

/* Run fn(arg) and put its log into log_text. */
static char *logged(void (*fn)(void *arg), void *arg)
{
	FILE *file = tmpfile();
	int kept = dup(2);
	size_t n;

	assert_non_null(file);
	fflush(stderr);
	dup2(fileno(file), 2);
	fn(arg);
	fflush(stderr);
	dup2(kept, 2);
	close(kept);
	rewind(file);
	n = fread(log_text, 1, sizeof(log_text) - 1, file);
	log_text[n] = 0;
	fclose(file);
	return log_text;
}

static unsigned lines(const char *text)
{
	unsigned count = 0;

	while ((text = strchr(text, '\n'))) {
		count++;
		text++;
	}
	return count;
}

struct look {
	struct watchdog *dog;
	const struct loop_busy *busy;
	size_t count;
	int64_t now;
	bool deferred;
};

static void run_look(void *arg)
{
	struct look *l = arg;

	l->deferred = watchdog_look(l->dog, l->busy, l->count, l->now);
}

static const char *look(struct watchdog *dog, const struct loop_busy *busy,
                        size_t count, int64_t now, bool deferred)
{
	struct look l = {dog, busy, count, now, false};
	const char *text = logged(run_look, &l);

	assert_int_equal(l.deferred, deferred);
	return text;
}

static struct loop_busy busy_with(uint32_t opcode, uint64_t node, pid_t thread,
                                  int64_t since)
{
	struct fuse_in_header in = {
	        .opcode = opcode, .nodeid = node, .pid = 4711};
	struct loop_busy busy = {.thread = thread, .since = since};

	memcpy(busy.head, &in, sizeof(in));
	return busy;
}

static void test_busy(void **state)
{
	struct watchdog dog;
	struct loop_busy busy[2];
	const char *text;

	atomic_store(&threads_logged, 0);
	watchdog_init(&dog, "/the/mount", &threads_logged);
	busy[0] = busy_with(FUSE_WRITE, 123456, 77, 5 * S);
	assert_string_equal(look(&dog, busy, 1, 34 * S, false), "");
	text = look(&dog, busy, 1, 36 * S, false);
	assert_non_null(strstr(text, "'/the/mount': not answered for 31 s: "
	                             "WRITE (16) of node 123456 by process "
	                             "4711, in thread 77\n"));
	/* Log where this thread and the others are. */
	assert_true(lines(text) >= 2);
	assert_non_null(strstr(text, "thread "));
	/* Once for each request, however long it takes. */
	assert_string_equal(look(&dog, busy, 1, 37 * S, false), "");
	busy[1] = busy_with(9999, 1, 78, 6 * S);
	text = look(&dog, busy, 2, 1000 * S, false);
	assert_non_null(strstr(text, "request (9999) of node 1 by"));
	assert_null(strstr(text, "WRITE"));
	assert_string_equal(look(&dog, busy + 1, 1, 1001 * S, false), "");
	text = look(&dog, NULL, 0, 1002 * S, false);
	assert_non_null(strstr(text, "all overdue requests"));
	assert_int_equal(lines(text), 1);
	assert_string_equal(look(&dog, NULL, 0, 1003 * S, false), "");
	watchdog_release(&dog);
}

static void test_many_mounts(void **state)
{
	struct watchdog dogs[3];
	struct loop_busy busy = busy_with(FUSE_READ, 1, 77, 1);
	unsigned count[3];

	atomic_store(&threads_logged, 0);
	for (int i = 0; i < 3; i++) {
		watchdog_init(&dogs[i], "/mount", &threads_logged);
		count[i] = lines(
		        look(&dogs[i], &busy, 1, 40 * S + 40 * i * S, false));
		watchdog_release(&dogs[i]);
	}
	/* The positions of all threads are logged once a minute for all mounts.
	 */
	assert_true(count[0] > 1);
	assert_int_equal(count[1], 1);
	assert_true(count[2] > 1);
}

static void defer(struct watchdog *dog, struct deferral *deferral,
                  uint32_t opcode)
{
	watchdog_defer(dog, deferral);
	deferral->request.opcode = opcode;
}

static void test_deferred(void **state)
{
	struct deferral syncs[5], other;
	struct watchdog dog;
	const char *text;

	atomic_store(&threads_logged, 0);
	watchdog_init(&dog, "/mount", &threads_logged);
	for (int i = 0; i < 5; i++)
		defer(&dog, &syncs[i], FUSE_FSYNC);
	assert_string_equal(look(&dog, NULL, 0, 1 * S, true), "");
	assert_string_equal(look(&dog, NULL, 0, 30 * S, true), "");
	/* A slow disk: one line, however many wait. */
	text = look(&dog, NULL, 0, 32 * S, true);
	assert_int_equal(lines(text), 1);
	assert_non_null(strstr(text, "FSYNC (20)"));
	assert_non_null(strstr(text, "waiting for the disk"));
	assert_string_equal(look(&dog, NULL, 0, 33 * S, true), "");
	/* In any order. */
	watchdog_settle(&dog, &syncs[2]);
	watchdog_settle(&dog, &syncs[0]);
	watchdog_settle(&dog, &syncs[4]);
	defer(&dog, &other, FUSE_WRITE);
	assert_string_equal(look(&dog, NULL, 0, 34 * S, true), "");
	watchdog_settle(&dog, &syncs[1]);
	watchdog_settle(&dog, &syncs[3]);
	text = look(&dog, NULL, 0, 35 * S, true);
	assert_non_null(strstr(text, "all overdue requests"));
	/* An answer that waits for another mount is more than that. */
	text = look(&dog, NULL, 0, 65 * S, true);
	assert_non_null(strstr(text, "WRITE (16)"));
	assert_non_null(strstr(text, "waiting for other mounts"));
	assert_true(lines(text) > 1);
	watchdog_settle(&dog, &other);
	assert_non_null(strstr(look(&dog, NULL, 0, 66 * S, false), "answered"));
	assert_null(dog.first);
	assert_null(dog.last);
	watchdog_release(&dog);
}

/* ---- Where threads stand ------------------------------------------------ */

struct sleeper {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool asleep, wake;
	pid_t id;
};

static void *sleeper_main(void *arg)
{
	struct sleeper *s = arg;

	pthread_setname_np(pthread_self(), "a sleeper");
	pthread_mutex_lock(&s->lock);
	s->id = (pid_t)syscall(SYS_gettid);
	s->asleep = true;
	pthread_cond_broadcast(&s->changed);
	while (!s->wake)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void run_whereabouts(void *arg)
{
	whereabouts_log();
}

static void test_whereabouts(void **state)
{
	struct sleeper s = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER,
	                    false, false, 0};
	char *line, *end, start[64];
	pthread_t thread;
	char *text;

	pthread_create(&thread, NULL, sleeper_main, &s);
	pthread_mutex_lock(&s.lock);
	while (!s.asleep)
		pthread_cond_wait(&s.changed, &s.lock);
	pthread_mutex_unlock(&s.lock);
	snprintf(start, sizeof(start), "thread %d 'a sleeper': ", (int)s.id);
	/* The thread may not have entered the kernel yet. */
	do {
		text = logged(run_whereabouts, NULL);
		line = strstr(text, start);
		assert_non_null(line);
		end = strchr(line, '\n');
		assert_non_null(end);
		*end = 0;
	} while (strstr(line, ": running"));
	if (strstr(line, "state unknown"))
		print_message("# this kernel does not show system calls\n");
	else
		assert_non_null(strstr(line, "; stack: +0x"));
	pthread_mutex_lock(&s.lock);
	s.wake = true;
	pthread_cond_broadcast(&s.changed);
	pthread_mutex_unlock(&s.lock);
	pthread_join(thread, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_busy),
	        cmocka_unit_test(test_many_mounts),
	        cmocka_unit_test(test_deferred),
	        cmocka_unit_test(test_whereabouts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
