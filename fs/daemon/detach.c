/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "detach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon.h"
#include "fuse_mount.h"
#include "mount_request.h"
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
	/* Close everything inherited from the parent. */
	if (keep != 3)
		dup2(keep, 3);
	close_range(4, ~0u, 0);
}

/*
 * Move root's daemon to the outermost mount namespace in which the store has
 * the same path.  Otherwise it would keep a temporary namespace, and the mounts
 * in it, alive.
 */
static int leave_namespace(const char *store, int dir, char **ret_error)
{
	int err = namespace_leave(store, dir);

	if (err == -ESTALE)
		return error_message_set(
		        ret_error, err,
		        "the store '%s' was replaced while it was opened",
		        store);
	return err < 0 ? error_message_set(
	                         ret_error, err,
	                         "cannot return to the mount namespace of the "
	                         "store '%s': %s",
	                         store, strerror(-err))
	               : 0;
}

/*
 * Serve the store, whose open directory is `dir`.  Send the parent 0 when the
 * daemon listens, or else the error and its message.
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
		log_error("cannot report: %s", error);
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

/* Read the result that daemon_main() sends; 0: the daemon listens. */
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
		return error_message_set(
		        ret_error, -EIO,
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
	return error_message_set(ret_error, result, "%.*s", (int)len, text);
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
		return error_message_set(ret_error, -errno,
		                         "cannot open the store '%s': %s",
		                         options->store, strerror(errno));
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_message_set(ret_error, -errno,
		                         "cannot start the daemon: %s",
		                         strerror(errno));
	from = fds[0];
	to = fds[1];
	pid = fork();
	if (pid < 0)
		return error_message_set(ret_error, -errno,
		                         "cannot start the daemon: %s",
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
	/* Linux 5.3; not all C libraries have a function for it. */
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {fd, POLLIN, 0};

	if (fd >= 0 && poll(&p, 1, ms) > 0)
		waitpid(pid, NULL, 0);
}
