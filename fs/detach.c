/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon as a process of its own, apart from who started it. */
#define FUSE_USE_VERSION 312
#include "detach.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <sched.h>
#include <sys/wait.h>

#include "daemon.h"
#include "sentence.h"
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

/* The parent of a process; 0: unknown. */
static pid_t parent_of(pid_t pid)
{
	char path[64], line[512];
	_cleanup_fclose_ FILE *f = NULL;
	const char *end;
	int parent;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		return 0;
	end = strrchr(line, ')'); /* of the name, which may be anything */
	if (!end || sscanf(end + 1, " %*c %d", &parent) != 1)
		return 0;
	return parent;
}

static int open_namespace(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The farthest ancestor's mount namespace that is not ours; -1: none. */
static int find_namespace(const struct stat *own)
{
	int found = -1;

	for (pid_t pid = getppid(); pid > 0; pid = parent_of(pid)) {
		int fd = open_namespace(pid);
		struct stat st;

		if (fd >= 0 && fstat(fd, &st) == 0 && !same_file(&st, own)) {
			close_fd(&found);
			found = fd;
		} else {
			close_fd(&fd);
		}
	}
	return found;
}

/*
 * A daemon that lived in a mount namespace made for something that ends would
 * keep that alive, and with it the mounts there, for ever.  So root's daemon
 * moves out of it, to where the same store has the same name.
 */
static void leave_namespace(const char *store)
{
	_cleanup_close_ int own = open_namespace(getpid());
	_cleanup_close_ int other = -1;
	struct stat st, before, after;

	if (own < 0 || fstat(own, &st) < 0 || stat(store, &before) < 0)
		return;
	other = find_namespace(&st);
	if (other < 0 || setns(other, CLONE_NEWNS) < 0)
		return;
	if (stat(store, &after) == 0 && same_file(&before, &after))
		return;
	if (setns(own, CLONE_NEWNS) < 0)
		log_error("cannot go back to the mount namespace: %s",
		          strerror(errno));
}

static void fuse_log_line(enum fuse_log_level level, const char *format,
                          va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof(text), format, ap);
	text[strcspn(text, "\n")] = 0;
	log_line(level <= FUSE_LOG_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_DEBUG,
	         "%s", text);
}

void daemon_log_fuse(void)
{
	fuse_set_log_func(fuse_log_line);
}

/* The child: tells the parent "" when it listens, else a sentence. */
static void daemon_main(const struct mount_options *options, int pipe)
        __attribute__((noreturn));
static void daemon_main(const struct mount_options *options, int pipe)
{
	_cleanup_free_ char *error = NULL;
	struct daemon *daemon;
	int err;

	leave_namespace(options->store);
	detach(pipe);
	pipe = 3;
	fcntl(pipe, F_SETFD, FD_CLOEXEC);
	log_to_syslog("coppice");
	daemon_log_fuse();
	daemon_block_signals();
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
	daemon_destroy(daemon);
	_exit(err < 0);
}

int daemon_spawn(const struct mount_options *options, char **ret_error)
{
	_cleanup_close_ int from = -1;
	_cleanup_close_ int to = -1;
	char text[2048] = "";
	size_t len = 0;
	ssize_t n;
	int fds[2], result;
	pid_t pid;

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
		daemon_main(options, to);
	close(steal_fd(&to));
	do {
		n = read(from, &result, sizeof(result));
	} while (n < 0 && errno == EINTR);
	if (n != sizeof(result)) {
		waitpid(pid, NULL, 0);
		return fail(ret_error, -EIO,
		            "the daemon ended before it was ready (see the "
		            "system's log)");
	}
	while (len < sizeof(text) - 1) {
		n = read(from, text + len, sizeof(text) - 1 - len);
		if (n == 0 || (n < 0 && errno != EINTR))
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	if (result == 0)
		return 0;
	waitpid(pid, NULL, 0);
	return fail(ret_error, result, "%.*s", (int)len, text);
}
