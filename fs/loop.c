/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The threads that take a session's requests from the kernel and handle them:
 * one at first, another whenever a request comes and none is waiting for the
 * next, and never more than there are processors.
 */
#define FUSE_USE_VERSION 312
#include "session.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>

#include "util.h"

enum { WORKERS_MAX = 64 };

struct loop;

struct worker {
	struct loop *loop;
	pthread_t thread;
	struct fuse_buf buf;
	bool live; /* guarded by the loop's lock; may be cancelled */
};

struct loop {
	struct session *session;
	atomic_uint idle; /* workers waiting for a request */
	unsigned limit;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t ended;
	unsigned live;
	unsigned started;
	bool stopping;
	struct worker workers[WORKERS_MAX];
};

int loop_create(struct session *session, struct loop **ret_loop)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->session = session;
	loop->limit = processors < 1 ? 1 : (unsigned)processors;
	loop->limit = MIN(loop->limit, (unsigned)WORKERS_MAX);
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->ended, NULL);
	*ret_loop = loop;
	return 0;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	pthread_cond_destroy(&loop->ended);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

static int loop_grow(struct loop *loop);

static bool is_forget(const struct fuse_in_header *in)
{
	return in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET;
}

static void handle(struct loop *loop, struct fuse_buf *buf, size_t room)
{
	struct session *session = loop->session;
	unsigned idle = atomic_fetch_sub(&loop->idle, 1) - 1;

	/* Forgetting comes in bursts and is done in no time. */
	if (idle == 0 && !is_forget(buf->mem))
		loop_grow(loop);
	pthread_rwlock_rdlock(&session->mounts->policy);
	wire_adapt(&session->wire, buf->mem, &buf->size, room);
	fuse_session_process_buf(session->fuse, buf);
	pthread_rwlock_unlock(&session->mounts->policy);
	atomic_fetch_add(&loop->idle, 1);
}

/* Of a worker that ends, whether by itself or cancelled. */
static void worker_end(void *arg)
{
	struct worker *worker = arg;
	struct loop *loop = worker->loop;

	free(worker->buf.mem);
	pthread_mutex_lock(&loop->lock);
	worker->live = false;
	loop->live--;
	pthread_cond_signal(&loop->ended);
	pthread_mutex_unlock(&loop->lock);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	struct loop *loop = worker->loop;
	struct fuse_session *fuse = loop->session->fuse;
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	pthread_cleanup_push(worker_end, worker);
	while (!fuse_session_exited(fuse)) {
		int n = fuse_session_receive_buf(fuse, &worker->buf);

		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n <= 0)
			break;
		/*
		 * A rewritten request may grow by eight bytes; only a write is
		 * as long as the buffer, and that is not rewritten.
		 */
		handle(loop, &worker->buf, (size_t)n + 8);
	}
	fuse_session_exit(fuse);
	pthread_cleanup_pop(1);
	return NULL;
}

static int loop_grow(struct loop *loop)
{
	struct worker *worker;
	int err = 0;

	pthread_mutex_lock(&loop->lock);
	if (loop->stopping || loop->started == loop->limit)
		goto out;
	worker = &loop->workers[loop->started];
	worker->loop = loop;
	atomic_fetch_add(&loop->idle, 1);
	err = -pthread_create(&worker->thread, NULL, worker_main, worker);
	if (err == 0) {
		worker->live = true;
		loop->live++;
		loop->started++;
	} else {
		atomic_fetch_sub(&loop->idle, 1);
	}
out:
	pthread_mutex_unlock(&loop->lock);
	return err;
}

void loop_run(struct loop *loop)
{
	int err = loop_grow(loop);

	if (err < 0)
		log_error("cannot start a thread for requests: %s",
			  strerror(-err));
	pthread_mutex_lock(&loop->lock);
	while (loop->live)
		pthread_cond_wait(&loop->ended, &loop->lock);
	loop->stopping = true;
	pthread_mutex_unlock(&loop->lock);
	for (unsigned i = 0; i < loop->started; i++)
		pthread_join(loop->workers[i].thread, NULL);
}

void loop_stop(struct loop *loop)
{
	fuse_session_exit(loop->session->fuse);
	pthread_mutex_lock(&loop->lock);
	loop->stopping = true;
	for (unsigned i = 0; i < loop->started; i++) {
		if (loop->workers[i].live)
			pthread_cancel(loop->workers[i].thread);
	}
	pthread_mutex_unlock(&loop->lock);
}
