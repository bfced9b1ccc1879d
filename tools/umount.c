/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice umount, and umount.fuse.coppice for umount(8). */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "command.h"
#include "client_remount.h"
#include "client_umount.h"
#include "util.h"

static int run(const struct command *self, int argc, char **argv)
{
	static const struct command_option options[] = {{0}};
	int code;

	if (!command_parse(self, options, 1, INT_MAX, &argc, &argv, &code))
		return code;
	code = EXIT_DONE;
	for (int i = 0; i < argc; i++) {
		_cleanup_free_ char *error = NULL;
		int r = client_umount(argv[i], 0, &error);

		if (!r)
			continue;
		complain("%s", error ? error : strerror(-r));
		code = EXIT_FAILED;
	}
	return code;
}

/* Enter the mount namespace that umount(8) passes with -N. */
static int enter(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 || setns(fd, CLONE_NEWNS) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	if (r)
		complain("cannot enter the namespace '%s': %s", path,
		         strerror(-r));
	return r;
}

int umount_helper(int argc, char **argv)
{
	_cleanup_free_ char *error = NULL, *again = NULL;
	bool readonly = false;
	int c, r, flags = 0;

	while ((c = getopt(argc, argv, "flnrvt:N:")) != -1) {
		switch (c) {
		case 'f':
			flags |= MNT_FORCE;
			break;
		case 'l':
			flags |= MNT_DETACH;
			break;
		case 'r':
			readonly = true;
			break;
		case 'N':
			if (enter(optarg))
				return MOUNT_FAILED;
			break;
		case 'n': /* do not write an mtab: there is none */
		case 'v':
		case 't':
			break;
		default:
			return MOUNT_USAGE;
		}
	}
	if (argc - optind != 1) {
		complain("usage: umount.fuse.coppice MNT [-flnrv]");
		return MOUNT_USAGE;
	}
	r = client_umount(argv[optind], flags, &error);
	if (r == -EBUSY && readonly &&
	    client_remount_readonly(argv[optind], &again) == 0)
		r = 0;
	if (!r)
		return 0;
	complain("%s", error ? error : strerror(-r));
	return MOUNT_FAILED;
}

const struct command command_umount = {
        .name = "umount",
        .args = "MNT...",
        .summary = "Unmount a store, and wait until everything is durable",
        .help = "MNT is a mount of a store, or the directory of a store with "
                "one mount.\n",
        .run = run,
};
