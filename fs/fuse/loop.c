/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The threads that read a session's requests from the kernel.  See loop.h.
 *
 * One worker is best as long as it keeps up: of several waiting workers, the
 * kernel wakes the one that has slept longest, on another processor.  Another
 * worker is started only when all workers have been busy with one request for a
 * tick, or requests have been waiting for some ticks.  There are no more
 * workers than processors, unless all workers stand still (writers that are
 * slowed down, readers that wait for the disk) or have been busy for long.
 */
#include "loop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "busy_poll.h"
#include "cpu_latency.h"
#include "eventcount.h"
#include "util.h"

enum {
	STILL_MAX = 8, /* workers beyond the processors, if all stand still */
	TICK_MS = 1,
	WAITING_TICKS = 3, /* of waiting requests: start a worker */
	STUCK_TICKS = 20,  /* with all workers stuck: start a worker */
	CALM_TICKS = 50,   /* with a worker too many: end one */
	LOOK_TICKS = 10,   /* between looks at the whole machine */
	IDLE_TICKS = 20,   /* without a request: no more ticks */
	INSPECT_MS = 1000,
	REQUEST_BYTES = LOOP_REQUEST_MAX + LOOP_GROWTH,
	KICK = SIGUSR1, /* makes a thread return from reading */
};

struct worker {
	struct loop *loop;
	pthread_t thread;
	atomic_int id; /* the kernel's number of the thread */
	uint8_t *request;
	/* Counts the beginnings and ends of requests: odd while busy. */
	atomic_ulong steps;
	atomic_bool ended; /* the thread can be joined */
	/* Numbers of the current request and of the last interrupted one. */
	_Atomic uint64_t number, interrupted;
	/* Used by the watcher alone. */
	bool live;
	unsigned long seen;      /* steps at the last tick */
	int64_t ran;             /* ns on a processor then; 0: not stuck */
	unsigned long inspected; /* steps at the last inspection */
	int64_t since;           /* mono_ns() of the first to see these */
};

struct loop {
	const struct loop_ops *ops;
	void *arg;
	int fd;
	struct busy_poll busy_poll;
	struct cpu_latency cpu_latency;
	struct eventcount event; /* the watcher's sleep */
	atomic_bool stopping;
	atomic_uint tokens;  /* number of workers that are to end */
	atomic_uint stalled; /* number of workers in loop_stall() */
	/* Used by the watcher alone. */
	unsigned limit;    /* processors */
	unsigned live;     /* workers that have not been joined */
	unsigned retiring; /* tokens handed out, less the workers ended */
	unsigned ticks, waiting, stuck, calm, excess, idle; /* in ticks */
	int64_t next_tick; /* mono_ns() of the tick at the earliest */
	int64_t inspected; /* mono_ns() of the last inspection */
	bool inspect_more; /* inspect() has requested another call */
	bool start_failed; /* the failure to start a worker was logged */
	struct worker workers[LOOP_WORKERS_MAX];
};

static __thread struct worker *current;

const void *loop_request(void)
{
	return current ? current->request : NULL;
}

void loop_set_number(uint64_t number)
{
	if (current)
		atomic_store_explicit(&current->number, number,
		                      memory_order_relaxed);
}

void loop_interrupt(struct loop *loop, uint64_t number)
{
	for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++) {
		struct worker *worker = &loop->workers[i];

		/* The worker's next request has another number. */
		if (atomic_load(&worker->number) == number)
			atomic_store(&worker->interrupted, number);
	}
}

bool loop_interrupted(void)
{
	return current && atomic_load(&current->interrupted) ==
	                          atomic_load(&current->number);
}

void loop_stall(bool begins)
{
	struct loop *loop = current ? current->loop : NULL;

	if (!loop)
		return;
	if (begins) {
		atomic_fetch_add(&loop->stalled, 1);
		eventcount_wake(&loop->event);
	} else {
		atomic_fetch_sub(&loop->stalled, 1);
	}
}

static void kicked(int signal)
{
}

int loop_create(const struct loop_ops *ops, void *arg, struct loop **ret_loop)
{
	struct sigaction action = {.sa_handler = kicked}; /* no SA_RESTART */
	struct loop *loop = calloc(1, sizeof(*loop));
	int err;

	if (!loop)
		return -ENOMEM;
	err = eventcount_init(&loop->event);
	if (err < 0) {
		free(loop);
		return err;
	}
	loop->ops = ops;
	loop->arg = arg;
	loop->limit = 1; /* until the first look around */
	cpu_latency_init(&loop->cpu_latency);
	sigaction(KICK, &action, NULL);
	*ret_loop = loop;
	return 0;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	cpu_latency_close(&loop->cpu_latency);
	eventcount_release(&loop->event);
	free(loop);
}

void loop_limit_cpu_latency(struct loop *loop)
{
	cpu_latency_open(&loop->cpu_latency, "/dev", "/sys");
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stopping, true);
	eventcount_wake(&loop->event);
}

/* ---- Workers ------------------------------------------------------------ */

/* Take a token, if there is one.  Return true if this worker must end. */
static bool token_take(struct loop *loop)
{
	unsigned tokens = atomic_load(&loop->tokens);

	while (tokens) {
		if (atomic_compare_exchange_weak(&loop->tokens, &tokens,
		                                 tokens - 1))
			return true;
	}
	return false;
}

/*
 * Read a request and return its size; 0: there are no more; -EINTR: try again.
 */
static ssize_t receive(struct worker *worker)
{
	struct loop *loop = worker->loop;
	ssize_t n;

	busy_poll_wait(&loop->busy_poll, loop->fd);
	n = read(loop->fd, worker->request, LOOP_REQUEST_MAX);
	if (n >= 0)
		return n;
	/* ENOENT: the request was interrupted before it was read. */
	if (errno == EINTR || errno == EAGAIN || errno == ENOENT)
		return -EINTR;
	/* ENODEV: unmounted; ECONNABORTED: the connection was aborted. */
	if (errno != ENODEV && errno != ECONNABORTED)
		log_error("cannot read requests: %s", strerror(errno));
	return 0;
}

/*
 * Request a short slice from the scheduler: other processes wait for this
 * thread, so it should run sooner rather than longer.  EEVDF (Linux 6.12)
 * supports such requests; other schedulers ignore them.
 */
static void slice_shorten(void)
{
	enum { SLICE_NS = 100000 };
	/* From linux/sched/types.h, which conflicts with some C libraries. */
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
	bool more = true;

	pthread_setname_np(pthread_self(), "worker");
	slice_shorten();
	atomic_store(&worker->id, (int)syscall(SYS_gettid));
	current = worker;
	while (!atomic_load(&loop->stopping)) {
		ssize_t n = receive(worker);

		if (n < 0)
			continue;
		if (n > 0) {
			atomic_fetch_add(&worker->steps, 1);
			eventcount_notify(&loop->event);
			more = loop->ops->handle(loop->arg, worker->request,
			                         (size_t)n);
			atomic_fetch_add(&worker->steps, 1);
		}
		if (n == 0 || !more)
			atomic_store(&loop->stopping, true);
		else if (token_take(loop))
			break;
	}
	atomic_store(&worker->ended, true);
	eventcount_wake(&loop->event);
	return NULL;
}

/* ---- Starting and ending workers ---------------------------------------- */

/*
 * Allocate a worker's buffer.  Once malloc() has freed a first block of this
 * size, it would allocate others among the chunks, and keep their memory.
 */
static uint8_t *request_alloc(void)
{
	void *request = mmap(NULL, REQUEST_BYTES, PROT_READ | PROT_WRITE,
	                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return request == MAP_FAILED ? NULL : request;
}

static void request_free(uint8_t *request)
{
	munmap(request, REQUEST_BYTES);
}

static int worker_start(struct loop *loop)
{
	struct worker *worker = loop->workers;
	int err;

	while (worker->live)
		worker++;
	worker->loop = loop;
	worker->seen = atomic_load(&worker->steps);
	worker->ran = 0;
	atomic_store(&worker->id, 0);
	atomic_store(&worker->ended, false);
	worker->request = request_alloc();
	if (!worker->request)
		return -ENOMEM;
	err = -pthread_create(&worker->thread, NULL, worker_main, worker);
	if (err < 0) {
		request_free(steal(&worker->request));
		return err;
	}
	worker->live = true;
	loop->live++;
	return 0;
}

/* Start a worker, and withdraw the tokens. */
static void grow(struct loop *loop)
{
	int err;

	loop->waiting = loop->stuck = loop->calm = 0;
	loop->retiring -= atomic_exchange(&loop->tokens, 0);
	err = worker_start(loop);
	if (err < 0 && !loop->start_failed)
		log_warning("cannot start another thread for requests: %s",
		            strerror(-err));
	loop->start_failed = err < 0;
}

/* Return the number of workers that neither stall nor have to end. */
static unsigned workers_free(const struct loop *loop)
{
	unsigned busy = loop->retiring + atomic_load(&loop->stalled);

	return loop->live - MIN(loop->live, busy);
}

/*
 * End `count` workers, each after its next request, but leave one of those that
 * are free.
 */
static void shrink(struct loop *loop, unsigned count)
{
	unsigned most = workers_free(loop);

	count = MIN(count, most ? most - 1 : 0);
	loop->retiring += count;
	atomic_fetch_add(&loop->tokens, count);
	loop->calm = loop->excess = 0;
}

/* Join the workers that have ended. */
static void reap(struct loop *loop)
{
	for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++) {
		struct worker *worker = &loop->workers[i];

		if (!worker->live || !atomic_load(&worker->ended))
			continue;
		pthread_join(worker->thread, NULL);
		request_free(steal(&worker->request));
		worker->live = false;
		loop->live--;
		if (loop->retiring)
			loop->retiring--;
	}
}

/*
 * Interrupt the workers that read.  The next kick interrupts a worker that is
 * only about to read.
 */
static void kick(struct loop *loop)
{
	for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++) {
		struct worker *worker = &loop->workers[i];

		if (worker->live && !(atomic_load(&worker->steps) & 1))
			pthread_kill(worker->thread, KICK);
	}
}

/* ---- The watcher -------------------------------------------------------- */

static bool requests_wait(const struct loop *loop)
{
	struct pollfd p = {loop->fd, POLLIN, 0};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

/* The activity of the workers since the last tick. */
struct activity {
	unsigned requests; /* handled, wholly or in part */
	bool any;          /* a request began or ended */
	bool stuck;        /* all are busy with the request of the last tick */
	bool still;        /* and have been for two ticks, hardly running */
	bool all_busy;
};

/* Return the processor time of the thread, in nanoseconds. */
static int64_t worker_ran(const struct worker *worker)
{
	struct timespec ts;
	clockid_t clock;

	if (pthread_getcpuclockid(worker->thread, &clock) ||
	    clock_gettime(clock, &ts))
		return 0;
	return ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Return true if a stuck worker hardly ran since the last tick. */
static bool look_still(struct worker *worker)
{
	int64_t ran = worker_ran(worker);
	bool still = worker->ran && ran - worker->ran < TICK_MS * 250000;

	worker->ran = ran;
	return still;
}

static struct activity look(struct loop *loop)
{
	struct activity a = {.stuck = true, .still = true, .all_busy = true};

	for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++) {
		struct worker *worker = &loop->workers[i];
		unsigned long steps;

		if (!worker->live)
			continue;
		steps = atomic_load(&worker->steps);
		a.any |= steps != worker->seen || (steps & 1);
		a.requests += (unsigned)((steps - worker->seen + 1) / 2);
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

/* Return the number of usable processors, which can change. */
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

	loop->limit = MIN(count, (unsigned)(LOOP_WORKERS_MAX - STILL_MAX));
	busy_poll_look_around(&loop->busy_poll, count);
}

/*
 * Fill *busy and return true if the worker still handles the request of the
 * last inspection.  The request's bytes do not change before it is finished.
 */
static bool inspect_worker(struct worker *worker, int64_t now,
                           struct loop_busy *busy)
{
	unsigned long steps = atomic_load(&worker->steps);

	if (steps != worker->inspected || !(steps & 1)) {
		worker->inspected = steps;
		worker->since = now;
		return false;
	}
	busy->thread = atomic_load(&worker->id);
	busy->since = worker->since;
	memcpy(busy->head, worker->request, LOOP_HEAD);
	return atomic_load(&worker->steps) == steps;
}

/* Report the requests that take long to the loop's owner. */
static void inspect(struct loop *loop)
{
	struct loop_busy busy[LOOP_WORKERS_MAX];
	int64_t now = mono_ns();
	size_t count = 0;

	loop->inspected = now;
	for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++) {
		if (loop->workers[i].live)
			count += inspect_worker(&loop->workers[i], now,
			                        &busy[count]);
	}
	loop->inspect_more = loop->ops->inspect(loop->arg, busy, count);
}

static bool should_grow(const struct loop *loop, const struct activity *a,
                        bool wait)
{
	if (!wait || loop->live == LOOP_WORKERS_MAX)
		return false;
	if (loop->live < loop->limit)
		return a->stuck || loop->waiting >= WAITING_TICKS;
	return (a->still && loop->live < loop->limit + STILL_MAX) ||
	       loop->stuck >= STUCK_TICKS;
}

/* Start a worker if all others stall. */
static void stalled_replace(struct loop *loop)
{
	if (!workers_free(loop) && loop->live < loop->limit + STILL_MAX)
		grow(loop);
}

static void tick(struct loop *loop)
{
	struct activity a = look(loop);
	bool wait = a.all_busy && requests_wait(loop);

	if (loop->ticks++ % LOOK_TICKS == 0)
		look_around(loop);
	cpu_latency_tick(&loop->cpu_latency, a.requests);
	loop->idle = a.any ? 0 : loop->idle + 1;
	loop->waiting = wait ? loop->waiting + 1 : 0;
	loop->stuck = wait && a.stuck ? loop->stuck + 1 : 0;
	loop->calm = wait ? 0 : loop->calm + 1;
	loop->excess = loop->live - loop->retiring > loop->limit && !a.stuck
	                       ? loop->excess + 1
	                       : 0;
	if (should_grow(loop, &a, wait))
		grow(loop);
	else if (loop->calm >= CALM_TICKS || loop->excess >= CALM_TICKS)
		shrink(loop, 1);
	if (mono_ns() - loop->inspected >= INSPECT_MS * INT64_C(1000000))
		inspect(loop);
	/* The watcher may be woken early, by a worker that stalls. */
	loop->next_tick = mono_ns() + TICK_MS * INT64_C(500000);
}

/*
 * Wait for the next tick, or, after a while without requests, for the next
 * request.
 */
static void wait_for_tick(struct loop *loop)
{
	int timeout_ms = TICK_MS;

	if (loop->idle >= IDLE_TICKS) {
		eventcount_prepare(&loop->event);
		if (look(loop).any || atomic_load(&loop->stopping)) {
			eventcount_cancel(&loop->event);
			loop->idle = 0;
		} else {
			shrink(loop, LOOP_WORKERS_MAX);
			cpu_latency_drop(&loop->cpu_latency);
			inspect(loop);
			timeout_ms = loop->inspect_more ? INSPECT_MS : -1;
		}
	}
	eventcount_wait(&loop->event, timeout_ms);
}

void loop_run(struct loop *loop, int fd)
{
	int err;

	pthread_setname_np(pthread_self(), "watcher");
	loop->fd = fd;
	err = worker_start(loop);
	if (err < 0)
		log_error("cannot start a thread for requests: %s",
		          strerror(-err));
	while (loop->live) {
		wait_for_tick(loop);
		reap(loop);
		if (atomic_load(&loop->stopping)) {
			cpu_latency_drop(&loop->cpu_latency);
			kick(loop);
			continue;
		}
		stalled_replace(loop);
		if (mono_ns() >= loop->next_tick)
			tick(loop);
	}
	cpu_latency_close(&loop->cpu_latency);
}
