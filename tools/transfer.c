/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "transfer.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "command.h"
#include "util.h"

static void *transfer_main(void *arg)
{
	struct transfer *t = arg;

	t->error = t->fn(t->arg, t->here);
	/* Wake the other end, which may be waiting for data. */
	shutdown(t->here, SHUT_RDWR);
	return NULL;
}

static void files_allow(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int transfer_begin(struct transfer *t, transfer_fn *fn, void *arg)
{
	int sockets[2], err;

	files_allow();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0) {
		complain("cannot make a socket: %s", strerror(errno));
		return EXIT_FAILED;
	}
	*t = (struct transfer){
	        .fn = fn, .arg = arg, .here = sockets[0], .there = sockets[1]};
	err = pthread_create(&t->thread, NULL, transfer_main, t);
	if (!err)
		return EXIT_DONE;
	complain("cannot start a thread: %s", strerror(err));
	close(t->here);
	close(t->there);
	return EXIT_FAILED;
}

void transfer_end(struct transfer *t, bool cut)
{
	if (cut)
		shutdown(t->here, SHUT_RDWR);
	close_fd(&t->there);
	pthread_join(t->thread, NULL);
	close(t->here);
}
