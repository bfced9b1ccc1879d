/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The threads that take a session's requests from the kernel and handle them.
 *
 * One is best as long as it keeps up: of several that wait, the kernel wakes
 * the one that has slept longest, on another processor.  So a second and third
 * are started only when all there are have been busy with one request for a
 * tick, or requests have been waiting for some; never more than there are
 * processors, unless all of those stand still, as writers do that are slowed
 * down, or readers that wait for the disk.  They go again when there has been
 * no need for a while.
 *
 * The thread that calls loop_run() watches over this, in ticks, as long as
 * there are requests, and sleeps when there are none.
 */
#define FUSE_USE_VERSION 312
#include "session.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <signal.h>

#include "util.h"

enum {
	REQUEST_MAX = (1 << 20) + 4096, /* MAX_WRITE and what comes before */
	WORKERS_MAX = 64,
	STILL_MAX = 8, /* more than processors, while those stand still */
	TICK_NS = 1000000,
	WAITING_TICKS = 3, /* requests have waited so long: start a thread */
	CALM_TICKS = 50,   /* one was idle so long: end a thread */
	LOOK_TICKS = 10,   /* between looks at the whole machine */
	IDLE_TICKS = 20,   /* no request for so long: no more ticks */
	KICK = SIGUSR1,    /* makes a thread return from reading */
};

struct worker {
	struct loop *loop;
	pthread_t thread;
	struct fuse_buf buf;
	/* Counts the beginnings and ends of requests: odd while busy. */
	atomic_ulong steps;
	unsigned long seen; /* steps at the last tick */
	int64_t ran;        /* its processor time then, if it was stuck */
	bool live;          /* guarded by the loop's lock, as the next */
	bool ended;         /* to be joined */
};

struct loop {
	struct session *session;
	unsigned limit; /* processors */
	atomic_bool ticking;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;  /* for the watcher */
	unsigned live;
	unsigned surplus; /* of them, how many are to end */
	bool stopping;
	/* the watcher's own, in ticks */
	unsigned ticks, waiting, calm, excess, idle;
	struct worker workers[WORKERS_MAX];
};

static void kicked(int signal)
{
}

int loop_create(struct session *session, struct loop **ret_loop)
{
	struct sigaction action = {.sa_handler = kicked}; /* no SA_RESTART */
	struct loop *loop = calloc(1, sizeof(*loop));
	pthread_condattr_t attr;

	if (!loop)
		return -ENOMEM;
	loop->session = session;
	loop->limit = 1; /* until the first look around */
	sigaction(KICK, &action, NULL);
	pthread_mutex_init(&loop->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&loop->wake, &attr);
	pthread_condattr_destroy(&attr);
	*ret_loop = loop;
	return 0;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	pthread_cond_destroy(&loop->wake);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

/* ---- Workers ------------------------------------------------------------ */

static void start_ticking(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	atomic_store(&loop->ticking, true);
	pthread_cond_signal(&loop->wake);
	pthread_mutex_unlock(&loop->lock);
}

static void handle(struct worker *worker, size_t room)
{
	struct session *session = worker->loop->session;
	struct fuse_buf *buf = &worker->buf;

	atomic_fetch_add(&worker->steps, 1);
	if (!atomic_load(&worker->loop->ticking))
		start_ticking(worker->loop);
	pthread_rwlock_rdlock(&session->mounts->policy);
	wire_adapt(&session->wire, buf->mem, &buf->size, room);
	if (!reach_refuse(session, buf->mem, buf->size) &&
	    !statx_answer(session, buf->mem, buf->size))
		fuse_session_process_buf(session->fuse, buf);
	if (session->wire.init_unique)
		session_answer_init(session);
	pthread_rwlock_unlock(&session->mounts->policy);
	atomic_fetch_add(&worker->steps, 1);
}

/* Whether this worker is one too many. */
static bool is_surplus(struct loop *loop)
{
	bool surplus;

	pthread_mutex_lock(&loop->lock);
	surplus = loop->surplus > 0 && loop->live > 1;
	if (surplus)
		loop->surplus--;
	pthread_mutex_unlock(&loop->lock);
	return surplus;
}

/* Read a request; 0: no more will come. */
static int receive(struct worker *worker)
{
	struct session *session = worker->loop->session;
	ssize_t n;

	if (!worker->buf.mem)
		worker->buf.mem = malloc(REQUEST_MAX);
	if (!worker->buf.mem)
		return -ENOMEM;
	eager_wait(&session->eager, session->fd);
	n = read(session->fd, worker->buf.mem, REQUEST_MAX);
	if (n < 0 && errno == ENODEV)
		return 0;
	/* The asker of one that was about to be read has gone. */
	if (n < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	worker->buf.size = (size_t)n;
	return (int)n;
}

/*
 * This thread answers others, who wait: let it run soon, for a moment, rather
 * than later and for long.  A short slice does that with a scheduler that knows
 * them (EEVDF, Linux 6.12); elsewhere it does nothing.
 */
static void slice_shorten(void)
{
	enum { SLICE_NS = 100000 };
	/* As in linux/sched/types.h, which some C libraries have, too. */
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr = {0};

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) < 0 ||
	    attr.policy != SCHED_OTHER)
		return;
	attr.runtime = SLICE_NS;
	syscall(SYS_sched_setattr, 0, &attr, 0);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	struct loop *loop = worker->loop;
	struct fuse_session *fuse = loop->session->fuse;

	slice_shorten();
	while (!fuse_session_exited(fuse)) {
		int n = receive(worker);

		if (n == -EINTR && is_surplus(loop))
			break;
		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n <= 0) {
			fuse_session_exit(fuse);
			break;
		}
		/*
		 * A rewritten request may grow by eight bytes; only a write is
		 * as long as the buffer, and that is not rewritten.
		 */
		handle(worker, (size_t)n + 8);
	}
	free(worker->buf.mem);
	worker->buf = (struct fuse_buf){0};
	pthread_mutex_lock(&loop->lock);
	worker->live = false;
	worker->ended = true;
	loop->live--;
	pthread_cond_signal(&loop->wake);
	pthread_mutex_unlock(&loop->lock);
	return NULL;
}

/* ---- The watcher (lock held) -------------------------------------------- */

static int start_worker(struct loop *loop)
{
	struct worker *worker = loop->workers;
	int err;

	while (worker->live)
		worker++;
	if (worker->ended)
		pthread_join(worker->thread, NULL);
	worker->ended = false;
	worker->loop = loop;
	worker->seen = atomic_load(&worker->steps);
	err = -pthread_create(&worker->thread, NULL, worker_main, worker);
	if (err < 0)
		return err;
	worker->live = true;
	loop->live++;
	return 0;
}

static void kick_workers(struct loop *loop, bool idle_only)
{
	for (unsigned i = WORKERS_MAX; i-- > 0;) {
		struct worker *worker = &loop->workers[i];

		if (!worker->live ||
		    (idle_only && (atomic_load(&worker->steps) & 1)))
			continue;
		pthread_kill(worker->thread, KICK);
		if (idle_only)
			return;
	}
}

static bool requests_wait(const struct loop *loop)
{
	struct pollfd p = {loop->session->fd, POLLIN, 0};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

/* What the workers did since the last tick. */
struct activity {
	bool any;   /* something */
	bool stuck; /* all are busy with the same request as then */
	bool still; /* and have been for two ticks, and hardly ran */
	bool all_busy;
};

/* Processor time that the thread has had, in nanoseconds. */
static int64_t worker_ran(const struct worker *worker)
{
	struct timespec ts;
	clockid_t clock;

	if (pthread_getcpuclockid(worker->thread, &clock) ||
	    clock_gettime(clock, &ts))
		return 0;
	return ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Does a worker that is stuck stand still, too? */
static bool look_still(struct worker *worker)
{
	int64_t ran = worker_ran(worker);
	bool still = worker->ran && ran - worker->ran < TICK_NS / 4;

	worker->ran = ran;
	return still;
}

static struct activity look(struct loop *loop)
{
	struct activity a = {.stuck = true, .still = true, .all_busy = true};

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct worker *worker = &loop->workers[i];
		unsigned long steps;

		if (!worker->live)
			continue;
		steps = atomic_load(&worker->steps);
		a.any |= steps != worker->seen || (steps & 1);
		if (steps == worker->seen && (steps & 1)) {
			a.still &= look_still(worker);
		} else {
			worker->ran = 0;
			a.stuck = a.still = false;
		}
		a.all_busy &= steps & 1;
		worker->seen = steps;
	}
	return a;
}

/* The processors that it may run on can become more or fewer. */
static unsigned processors(void)
{
	cpu_set_t set;
	long online;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned)CPU_COUNT(&set);
	online = sysconf(_SC_NPROCESSORS_ONLN);
	return online < 1 ? 1 : (unsigned)online;
}

static void look_around(struct loop *loop)
{
	unsigned count = processors();

	loop->limit = MIN(count, (unsigned)(WORKERS_MAX - STILL_MAX));
	eager_look_around(&loop->session->eager, count);
}

static void tick(struct loop *loop)
{
	struct activity a = look(loop);
	bool wait = a.all_busy && requests_wait(loop);

	if (loop->ticks++ % LOOK_TICKS == 0)
		look_around(loop);
	loop->idle = a.any ? 0 : loop->idle + 1;
	loop->waiting = wait ? loop->waiting + 1 : 0;
	loop->calm = wait ? 0 : loop->calm + 1;
	if ((a.still && wait && loop->live < loop->limit + STILL_MAX) ||
	    (a.stuck && wait && loop->live < loop->limit) ||
	    (loop->waiting >= WAITING_TICKS && loop->live < loop->limit)) {
		loop->surplus = loop->waiting = loop->calm = 0;
		if (start_worker(loop) < 0)
			log_warning("cannot start another thread for requests");
	}
	loop->excess =
	        loop->live > loop->limit && !a.still ? loop->excess + 1 : 0;
	if ((loop->calm >= CALM_TICKS && loop->live > 1) ||
	    loop->excess >= CALM_TICKS) {
		loop->surplus = 1;
		loop->calm = loop->excess = 0;
	}
	/* One that was about to read has not noticed: again. */
	if (loop->surplus)
		kick_workers(loop, true);
}

static void wait_for_tick(struct loop *loop)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_nsec += TICK_NS;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	pthread_cond_timedwait(&loop->wake, &loop->lock, &ts);
}

/* Sleep until a request comes, if none came since the last look. */
static void wait_for_request(struct loop *loop)
{
	atomic_store(&loop->ticking, false);
	if (look(loop).any) {
		atomic_store(&loop->ticking, true);
		return;
	}
	while (!atomic_load(&loop->ticking) && !loop->stopping && loop->live)
		pthread_cond_wait(&loop->wake, &loop->lock);
	loop->idle = 0;
}

void loop_run(struct loop *loop)
{
	int err;

	pthread_mutex_lock(&loop->lock);
	err = start_worker(loop);
	if (err < 0)
		log_error("cannot start a thread for requests: %s",
		          strerror(-err));
	while (loop->live) {
		if (loop->stopping) {
			kick_workers(loop, false);
			wait_for_tick(loop);
		} else if (loop->idle >= IDLE_TICKS && loop->live == 1) {
			wait_for_request(loop);
		} else {
			wait_for_tick(loop);
			if (!fuse_session_exited(loop->session->fuse))
				tick(loop);
		}
	}
	pthread_mutex_unlock(&loop->lock);
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		if (loop->workers[i].ended)
			pthread_join(loop->workers[i].thread, NULL);
	}
}

void loop_stop(struct loop *loop)
{
	fuse_session_exit(loop->session->fuse);
	pthread_mutex_lock(&loop->lock);
	loop->stopping = true;
	pthread_cond_signal(&loop->wake);
	pthread_mutex_unlock(&loop->lock);
}
