/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"

/* Start the program with `to` as its standard error. */
static int start(const char *const argv[], int to, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	int err;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, to, 2);
	err = posix_spawnp(ret_pid, argv[0], &actions, NULL,
	                   (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

/* Read to the end, and keep the first line. */
static void read_message(int from, char *message, size_t size)
{
	char bytes[512];
	size_t len = 0;
	ssize_t n;

	while ((n = read(from, bytes, sizeof(bytes))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		n = MIN(n, (ssize_t)(size - 1 - len));
		memcpy(message + len, bytes, (size_t)n);
		len += (size_t)n;
	}
	message[len] = 0;
	message[strcspn(message, "\n")] = 0;
}

int program_run(const char *const argv[], char *message, size_t size)
{
	_cleanup_close_ int from = -1;
	_cleanup_close_ int to = -1;
	int fds[2], status, err;
	pid_t pid;

	message[0] = 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	from = fds[0];
	to = fds[1];
	err = start(argv, to, &pid);
	if (err < 0)
		return err;
	close(steal_fd(&to));
	read_message(from, message, size);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
