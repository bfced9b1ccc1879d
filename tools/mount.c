/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice mount, and mount.fuse.coppice for mount(8) and fstab. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "command.h"
#include "mount_options.h"
#include "client_mount.h"
#include "client_remount.h"
#include "target.h"
#include "util.h"

static int mount_store(struct mount_options *options, const char *store,
                       const char *mountpoint)
{
	_cleanup_free_ char *store_path = NULL, *mount_path = NULL;
	_cleanup_free_ char *error = NULL;
	int r;

	/* Use the canonical path: it becomes the source of the mount. */
	r = target_canonical(store, &store_path);
	if (r)
		return r;
	mount_path = realpath(mountpoint, NULL);
	if (!mount_path) {
		complain("cannot mount on '%s': %s", mountpoint,
		         errno == ENOTCONN
		                 ? "a dead mount is there; umount it first"
		                 : strerror(errno));
		return EXIT_FAILED;
	}
	options->store = store_path;
	options->mountpoint = mount_path;
	r = client_mount(options, &error);
	if (!r)
		return EXIT_DONE;
	complain("%s", error ? error : strerror(-r));
	return r == -EUCLEAN || r == -EBADMSG ? EXIT_DAMAGE : EXIT_FAILED;
}

/* Change only the flags of the mount. */
static int remount(const struct parsed_options *parsed, const char *mountpoint)
{
	_cleanup_free_ char *error = NULL;
	unsigned long flags = 0;
	int r;

	flags |= parsed->readonly ? MS_RDONLY : 0;
	flags |= parsed->dev ? 0 : MS_NODEV;
	flags |= parsed->suid ? 0 : MS_NOSUID;
	flags |= parsed->noexec ? MS_NOEXEC : 0;
	flags |= parsed->nosymfollow ? MS_NOSYMFOLLOW : 0;
	flags |= parsed->sync ? MS_SYNCHRONOUS : 0;
	r = client_remount(mountpoint, flags, &error);
	if (!r)
		return EXIT_DONE;
	complain("%s", error ? error : strerror(-r));
	return EXIT_FAILED;
}

/*
 * Mount or remount with the options.  Drop those that only root may use, with a
 * warning; fusermount3 would drop them silently.
 */
static int mount_or_remount(struct parsed_options *parsed,
                            struct mount_options *options, char **paths)
{
	if (geteuid() && (parsed->dev || parsed->suid)) {
		complain("warning: only root can mount with %s: ignored",
		         parsed->dev && parsed->suid ? "dev and suid"
		         : parsed->dev               ? "dev"
		                                     : "suid");
		parsed->dev = parsed->suid = false;
	}
	if (parsed->remount)
		return remount(parsed, paths[1]);
	if (parsed->keep && !parsed->autosnap) {
		complain("keep= applies to the snapshots of autosnap=, which "
		         "is missing");
		return EXIT_USAGE;
	}
	parsed_options_apply(parsed, options);
	return mount_store(options, paths[0], paths[1]);
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option long_options[] = {
	        {"foreground", no_argument, NULL, 'f'},
	        {"options", required_argument, NULL, 'o'},
	        {"help", no_argument, NULL, 'h'},
	        {0},
	};
	_cleanup_(parsed_options_release) struct parsed_options parsed = {0};
	struct mount_options options = {0};
	_cleanup_free_ char *error = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "fo:h", long_options, NULL)) !=
	       -1) {
		switch (c) {
		case 'f':
			options.foreground = true;
			break;
		case 'o':
			if (parsed_options_add(&parsed, optarg, &error))
				return command_usage(self, "%s", error);
			break;
		case 'h':
			return command_help(self);
		default:
			return command_usage(self, NULL);
		}
	}
	if (argc - optind != 2)
		return command_usage(self, NULL);
	return mount_or_remount(&parsed, &options, argv + optind);
}

int mount_helper(int argc, char **argv)
{
	_cleanup_(parsed_options_release) struct parsed_options parsed = {0};
	struct mount_options options = {0};
	_cleanup_free_ char *error = NULL;
	bool fake = false;
	int c;

	/*
	 * dev and suid are defaults of mount(8), which only passes nodev and
	 * nosuid to the helper.
	 */
	parsed.dev = parsed.suid = geteuid() == 0;
	while ((c = getopt(argc, argv, "sfnvo:t:")) != -1) {
		switch (c) {
		case 'f':
			fake = true;
			break;
		case 's':
			parsed.sloppy = true;
			break;
		case 'n': /* do not write an mtab: there is none */
		case 'v':
		case 't':
			break;
		case 'o':
			if (!parsed_options_add(&parsed, optarg, &error))
				break;
			complain("%s", error);
			return MOUNT_USAGE;
		default:
			return MOUNT_USAGE;
		}
	}
	if (argc - optind != 2) {
		complain("usage: mount.fuse.coppice STORE MNT [-sfnv] "
		         "[-o OPTION,...]");
		return MOUNT_USAGE;
	}
	if (fake)
		return 0;
	return mount_or_remount(&parsed, &options, argv + optind) ? MOUNT_FAILED
	                                                          : 0;
}

const struct command command_mount = {
        .name = "mount",
        .args = "[-f] [-o OPTION,...] STORE MNT",
        .summary = "Mount a store, or one state of it",
        .help = "A daemon serves all mounts of a store, and ends with the last "
                "of them.\n"
                "\n"
                "  -f, --foreground   run the daemon in the foreground, log to "
                "standard error\n"
                "  -o, --options=...  options, separated by commas:\n"
                "\n"
                "      state=NAME     mount this state alone\n"
                "      snapdir=HOW    .snap is hidden from readdir (hidden), "
                "listed\n"
                "                     (visible), only in a fork's root (root), "
                "or not there\n"
                "                     (disabled, the default with state=)\n"
                "      snapopen=late  writing to a file in a snapshot fails in "
                "write(2), not in\n"
                "                     open(2)\n"
                "      rmdir=always   rmdir of a fork deletes it with "
                "everything in it\n"
                "      nfs_export=off no file handles\n"
                "      locks=store    flock and fcntl locks hold in all mounts "
                "of the store\n"
                "                     that have this option\n"
                "      autosnap=TIME  make snapshots of changed forks every "
                "6s, 15m or 1h, say\n"
                "      keep=RULES     keep these of autosnap's snapshots: "
                "last:100+daily:30, say\n"
                "      trash=TIME     keep deleted states for this time, such "
                "as 7d; 0: not\n"
                "      memory=SIZE    memory for caches and unwritten changes "
                "(1/32\n"
                "                     of the machine's, 256M to 1G)\n"
                "      log=off        no intent log: each fsync is a whole "
                "commit\n"
                "      cpu_latency=off  idle processors may sleep, which makes "
                "calls slower\n"
                "      allow_other    other users may enter (always, if root "
                "mounts)\n"
                "      xattr=off      no extended attributes and no access "
                "control lists\n"
                "      access=root    only root may enter; permissions are not "
                "checked\n"
                "      ro             read-only\n"
                "      remount        change ro, sync, dev, suid, noexec, "
                "nosymfollow of\n"
                "                     a mount\n"
                "      sync           changes are durable when the call "
                "returns\n"
                "      dev, suid      allow device files, set-user-ID bits\n"
                "      noexec         run no programs\n"
                "      nosymfollow    follow no symbolic links\n"
                "      nonempty       mount on a directory that is not empty\n",
        .run = run,
};
