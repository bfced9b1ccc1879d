/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each message on the socket is the number of a session, 8 bytes.  The guard
 * keeps a descriptor that comes with a message.  If none comes, the guard
 * closes the session's descriptor and sends the number back.
 */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "codec.h"
#include "device.h"
#include "loop.h"
#include "util.h"

enum {
	MESSAGE = 8,  /* bytes */
	ANSWER_S = 2, /* for the guard to answer */
	OWN_SOCKET =
	        3, /* the guard's descriptors, after the standard streams */
	OWN_DAEMON,
	OWN_END,
	TITLE_MAX = 4096, /* bytes; the kernel prints no more */
};

#define GUARD_NAME "coppice-guard"

struct guard {
	pthread_mutex_t lock; /* guards socket, and a request with its answer */
	int socket;           /* -1: the guard has ended */
	pid_t pid;
	unsigned mounts; /* added and not removed */
};

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/* ---- The guard's process ------------------------------------------------ */

struct watched_mount {
	uint64_t session;
	int fd;
};

struct watch {
	struct watched_mount *mounts;
	size_t count, room;
	void *buf; /* LOOP_REQUEST_MAX bytes, not touched before they are used
	            */
};

/* Return the size of the arguments and of the environment that follows them. */
static size_t title_room(char *args, size_t size)
{
	char *end = args + size;

	for (char **e = environ; *e; e++)
		if (*e == end)
			end += strlen(end) + 1;
	return (size_t)(end - args);
}

/*
 * Overwrite the arguments of the process, which ps(1) prints.  If their last
 * byte is not 0, the kernel prints up to the first 0, which may be in the
 * environment.
 */
static void set_title(const char *store)
{
	char title[TITLE_MAX], *args = program_invocation_name;
	_cleanup_close_ int fd = open("/proc/self/cmdline", O_RDONLY);
	char now[TITLE_MAX];
	ssize_t size = fd < 0 ? -1 : read(fd, now, sizeof(now));
	size_t room;

	prctl(PR_SET_NAME, GUARD_NAME);
	/* Change the title only if the kernel prints no further bytes. */
	if (size <= 0 || size == TITLE_MAX || !args ||
	    strnlen(now, (size_t)size) != strlen(args) ||
	    memcmp(now, args, strlen(args)) != 0)
		return;
	room = title_room(args, (size_t)size);
	snprintf(title, MIN(room, sizeof(title)), GUARD_NAME " %s", store);
	memset(args, 0, room);
	args[size - 1] = '.';
	memcpy(args, title, strlen(title) + 1);
}

/* Close all descriptors of the daemon but these two, and leave its session. */
static void leave_daemon(int socket, int daemon)
{
	int null = open("/dev/null", O_RDWR);
	sigset_t all;

	/* The guard must not end before the daemon: only SIGKILL ends it. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	if (chdir("/") < 0)
		_exit(1);
	socket = fcntl(socket, F_DUPFD, OWN_END);
	daemon = fcntl(daemon, F_DUPFD, OWN_END);
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	if (dup2(socket, OWN_SOCKET) < 0 || dup2(daemon, OWN_DAEMON) < 0 ||
	    close_range(OWN_END, ~0U, 0) < 0)
		_exit(1);
}

static void watch_add(struct watch *w, uint64_t session, int fd)
{
	struct watched_mount *mounts = w->mounts;

	if (w->count == w->room) {
		mounts = realloc(mounts, (w->room + 16) * sizeof(*mounts));
		if (!mounts) {
			close(fd);
			return;
		}
		w->mounts = mounts;
		w->room += 16;
	}
	/* device_refuse() must not wait when it reads. */
	fcntl(fd, F_SETFL, O_NONBLOCK);
	w->mounts[w->count++] = (struct watched_mount){session, fd};
}

static void watch_remove(struct watch *w, uint64_t session)
{
	for (size_t i = 0; i < w->count; i++) {
		if (w->mounts[i].session != session)
			continue;
		close(w->mounts[i].fd);
		w->mounts[i] = w->mounts[--w->count];
		return;
	}
}

/* Receive a message.  Return false when the daemon has closed the socket. */
static bool watch_receive(struct watch *w)
{
	uint8_t bytes[MESSAGE];
	struct iovec iov = {bytes, sizeof(bytes)};
	union control control;
	struct msghdr message = {
	        .msg_iov = &iov,
	        .msg_iovlen = 1,
	        .msg_control = &control,
	        .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(OWN_SOCKET, &message, 0);
	const struct cmsghdr *c;
	int fd;

	if (n < 0 && errno == EINTR)
		return true;
	if (n != MESSAGE)
		return false;
	c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_type == SCM_RIGHTS) {
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		watch_add(w, be64_get(bytes), fd);
		return true;
	}
	/* The descriptor was lost: this process has reached its limit. */
	if (message.msg_flags & MSG_CTRUNC)
		return true;
	watch_remove(w, be64_get(bytes));
	return send(OWN_SOCKET, bytes, sizeof(bytes), MSG_NOSIGNAL) == MESSAGE;
}

/* Refuse a request of each mount that has one. */
static void watch_refuse(struct watch *w, const struct pollfd *fds)
{
	for (size_t i = 0; i < w->count; i++) {
		int err;

		if (!fds[i].revents)
			continue;
		err = device_refuse(fds[i].fd, -ENOTCONN, w->buf,
		                    LOOP_REQUEST_MAX);
		if (err == 0 || err == -EAGAIN || err == -EINTR ||
		    err == -ENOENT)
			continue;
		/* ENODEV, ECONNABORTED: the connection has ended. */
		close(w->mounts[i].fd);
		w->mounts[i].fd = -1;
	}
}

/* Refuse requests until the daemon's last thread has ended. */
static void watch_end(struct watch *w)
{
	struct pollfd *fds = calloc(w->count + 1, sizeof(*fds));

	if (!fds)
		return;
	do {
		for (size_t i = 0; i < w->count; i++)
			fds[i] = (struct pollfd){w->mounts[i].fd, POLLIN, 0};
		fds[w->count] = (struct pollfd){OWN_DAEMON, POLLIN, 0};
		if (poll(fds, w->count + 1, -1) > 0)
			watch_refuse(w, fds);
	} while (!fds[w->count].revents);
}

static void guard_main(const char *store, int socket, int daemon)
        __attribute__((noreturn));
static void guard_main(const char *store, int socket, int daemon)
{
	struct watch watch = {.buf = malloc(LOOP_REQUEST_MAX)};

	set_title(store);
	leave_daemon(socket, daemon);
	if (!watch.buf)
		_exit(1);
	while (watch_receive(&watch))
		;
	if (watch.count)
		watch_end(&watch);
	_exit(0);
}

/* ---- The daemon's side -------------------------------------------------- */

int guard_create(const char *store, struct guard **ret_guard)
{
	_cleanup_free_ struct guard *guard = calloc(1, sizeof(*guard));
	_cleanup_close_ int own = -1;
	_cleanup_close_ int its = -1;
	_cleanup_close_ int daemon = -1;
	struct timeval patience = {.tv_sec = ANSWER_S};
	int pair[2];

	if (!guard)
		return -ENOMEM;
	/* Linux 5.3; not all C libraries have a function for it. */
	daemon = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (daemon < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	own = pair[0];
	its = pair[1];
	setsockopt(own, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(own, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	guard->pid = fork();
	if (guard->pid < 0)
		return -errno;
	if (guard->pid == 0)
		guard_main(store, its, daemon);
	guard->socket = steal_fd(&own);
	pthread_mutex_init(&guard->lock, NULL);
	*ret_guard = steal(&guard);
	return 0;
}

/* Send a session's number, with a descriptor unless it is -1.  Lock held. */
static int guard_send(struct guard *guard, uint64_t session, int fd)
{
	uint8_t bytes[MESSAGE];
	struct iovec iov = {bytes, sizeof(bytes)};
	union control control = {0};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	be64_put(bytes, session);
	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(guard->socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Go on without the guard.  Lock held. */
static void guard_drop(struct guard *guard, const char *why)
{
	/* A guard that is only stopped must not keep connections open. */
	kill(guard->pid, SIGKILL);
	waitpid(guard->pid, NULL, 0);
	close(steal_fd(&guard->socket));
	log_warning("the guard process %jd %s: if the daemon is killed, mounts "
	            "may hang until umount -f",
	            (intmax_t)guard->pid, why);
}

bool guard_add(struct guard *guard, uint64_t session, int fd)
{
	_cleanup_close_ int clone = -1;
	bool added;

	if (!guard)
		return false;
	clone = device_clone(fd);
	if (clone < 0) {
		log_debug("cannot open a device again: %s", strerror(-clone));
		return false;
	}
	pthread_mutex_lock(&guard->lock);
	added = guard->socket >= 0;
	if (added && guard_send(guard, session, clone) < 0) {
		guard_drop(guard, "does not answer");
		added = false;
	}
	guard->mounts += added;
	pthread_mutex_unlock(&guard->lock);
	return added;
}

void guard_remove(struct guard *guard, uint64_t session)
{
	uint8_t answer[MESSAGE];

	pthread_mutex_lock(&guard->lock);
	guard->mounts--;
	if (guard->socket >= 0 &&
	    (guard_send(guard, session, -1) < 0 ||
	     recv(guard->socket, answer, sizeof(answer), 0) != MESSAGE))
		guard_drop(guard, "does not answer");
	pthread_mutex_unlock(&guard->lock);
}

int guard_poll_fd(struct guard *guard)
{
	int fd;

	if (!guard)
		return -1;
	pthread_mutex_lock(&guard->lock);
	fd = guard->socket;
	pthread_mutex_unlock(&guard->lock);
	return fd;
}

void guard_lost(struct guard *guard)
{
	pthread_mutex_lock(&guard->lock);
	if (guard->socket >= 0)
		guard_drop(guard, "has ended");
	pthread_mutex_unlock(&guard->lock);
}

void guard_destroy(struct guard *guard)
{
	if (!guard)
		return;
	if (guard->socket >= 0) {
		close(guard->socket);
		if (!guard->mounts) {
			kill(guard->pid, SIGKILL);
			waitpid(guard->pid, NULL, 0);
		}
	}
	pthread_mutex_destroy(&guard->lock);
	free(guard);
}
