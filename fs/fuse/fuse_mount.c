/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mounting by libfuse.  libfuse reports the reason of a failure only in log
 * messages, in pieces: they are collected while it mounts.
 */
#define FUSE_USE_VERSION 312
#include "fuse_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

static __thread char kept[512];

static void message_keep(enum fuse_log_level level, const char *format,
                         va_list ap)
{
	size_t len = strlen(kept);

	vsnprintf(kept + len, sizeof(kept) - len, format, ap);
	if (strncmp(kept, "fuse: ", 6) == 0)
		memmove(kept, kept + 6, strlen(kept + 6) + 1);
	len = strlen(kept);
	while (len && kept[len - 1] == '\n')
		kept[--len] = 0;
}

static void message_log(enum fuse_log_level level, const char *format,
                        va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof(text), format, ap);
	text[strcspn(text, "\n")] = 0;
	log_line(level <= FUSE_LOG_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_DEBUG,
	         "%s", text);
}

void fuse_mount_log(void)
{
	fuse_set_log_func(message_log);
}

int fuse_mount_open(const char *mountpoint, const char *options, int *ret_fd,
                    char *ret_reason, size_t size)
{
	static const struct fuse_lowlevel_ops none = {0};
	char name[] = "coppice", o[] = "-o";
	_cleanup_free_ char *copy = strdup(options);
	char *argv[] = {name, o, copy, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse_session *fuse;
	int fd = -1;

	if (!copy)
		return -ENOMEM;
	kept[0] = 0;
	fuse_set_log_func(message_keep);
	fuse = fuse_session_new(&args, &none, sizeof(none), NULL);
	if (fuse && fuse_session_mount(fuse, mountpoint) == 0)
		fd = fcntl(fuse_session_fd(fuse), F_DUPFD_CLOEXEC, 3);
	if (fuse)
		fuse_session_destroy(fuse); /* does not unmount */
	fuse_opt_free_args(&args);
	fuse_mount_log();
	if (fd < 0) {
		snprintf(ret_reason, size, "%s", kept);
		return -EIO;
	}
	*ret_fd = fd;
	return 0;
}
