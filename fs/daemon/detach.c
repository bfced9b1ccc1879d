/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon as a process of its own, apart from who started it. */
#include "detach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "client_mount.h"
#include "daemon.h"
#include "fuse_mount.h"
#include "namespace.h"
#include "error_message.h"
#include "util.h"

static void detach(int keep)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	if (chdir("/") < 0)
		log_warning("cannot leave the working directory");
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	/* Nothing of who started it is kept open. */
	if (keep != 3)
		dup2(keep, 3);
	close_range(4, ~0u, 0);
}

/*
 * A daemon that lived in a mount namespace made for something that ends would
 * keep that namespace, and the mounts in it, for ever.  So root's daemon moves
 * out of it, to where the store has the same name.
 */
static int leave_namespace(const char *store, int dir, char **ret_error)
{
	int err = namespace_leave(store, dir);

	if (err == -ESTALE)
		return fail(ret_error, err,
		            "the store '%s' was replaced while it was opened",
		            store);
	return err < 0 ? fail(ret_error, err,
	                      "cannot go back to the mount namespace of the "
	                      "store '%s': %s",
	                      store, strerror(-err))
	               : 0;
}

/*
 * Serve the store, whose open directory is `dir`.  The parent is sent an empty
 * sentence when the daemon listens, or the reason why it does not.
 */
static void daemon_main(const struct mount_options *options, int dir, int pipe)
        __attribute__((noreturn));
static void daemon_main(const struct mount_options *options, int dir, int pipe)
{
	_cleanup_free_ char *error = NULL;
	struct daemon *daemon;
	int err;

	err = leave_namespace(options->store, dir, &error);
	detach(pipe);
	pipe = 3;
	fcntl(pipe, F_SETFD, FD_CLOEXEC);
	log_to_syslog("coppice");
	fuse_mount_log();
	daemon_block_signals();
	if (err == 0)
		err = daemon_create(options, &daemon, &error);
	if (err == 0)
		error = strdup("");
	if (error && write(pipe, &err, sizeof(err)) == sizeof(err) &&
	    write(pipe, error, strlen(error)) < 0)
		log_error("cannot tell: %s", error);
	close(pipe);
	if (err < 0)
		_exit(1);
	err = daemon_run(daemon);
	if (err < 0) {
		free(error);
		error = daemon_loss_message(daemon, err);
		log_error("%s", error ? error : strerror(-err));
	}
	daemon_destroy(daemon);
	_exit(err < 0);
}

/* Read what daemon_main() says of its start: 0 if it listens. */
static int read_result(int from, pid_t pid, char **ret_error)
{
	char text[2048];
	size_t len = 0;
	ssize_t n;
	int result;

	do {
		n = read(from, &result, sizeof(result));
	} while (n < 0 && errno == EINTR);
	if (n != sizeof(result)) {
		waitpid(pid, NULL, 0);
		return fail(ret_error, -EIO,
		            "the daemon ended before it was ready (see the "
		            "system's log)");
	}
	while (len < sizeof(text)) {
		n = read(from, text + len, sizeof(text) - len);
		if (n == 0 || (n < 0 && errno != EINTR))
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	if (result == 0)
		return 0;
	waitpid(pid, NULL, 0);
	return fail(ret_error, result, "%.*s", (int)len, text);
}

int daemon_spawn(const struct mount_options *options, pid_t *ret_pid,
                 char **ret_error)
{
	_cleanup_close_ int from = -1;
	_cleanup_close_ int to = -1;
	_cleanup_close_ int dir = -1;
	int fds[2], err;
	pid_t pid;

	dir = open(options->store, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return fail(ret_error, -errno, "cannot open the store '%s': %s",
		            options->store, strerror(errno));
	if (pipe2(fds, O_CLOEXEC) < 0)
		return fail(ret_error, -errno, "cannot start the daemon: %s",
		            strerror(errno));
	from = fds[0];
	to = fds[1];
	pid = fork();
	if (pid < 0)
		return fail(ret_error, -errno, "cannot start the daemon: %s",
		            strerror(errno));
	if (pid == 0)
		daemon_main(options, dir, to);
	close(steal_fd(&to));
	err = read_result(from, pid, ret_error);
	if (err == 0)
		*ret_pid = pid;
	return err;
}

void daemon_wait(pid_t pid, int ms)
{
	/* Known to the kernel since Linux 5.3, to C libraries later. */
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {fd, POLLIN, 0};

	if (fd >= 0 && poll(&p, 1, ms) > 0)
		waitpid(pid, NULL, 0);
}
