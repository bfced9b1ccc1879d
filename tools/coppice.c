/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The `coppice` command: find and run the verb, and print help.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "util.h"

/* The verbs by subject, in the order of the help and of coppice(1). */
static const struct group {
	const char *title;
	const struct command *commands[16]; /* ends with NULL */
} groups[] = {
        {"Stores",
         {&command_init, &command_mount, &command_umount, &command_sync,
          &command_check, &command_copy, &command_resize, &command_compact,
          &command_gc}},
        {"Forks and snapshots",
         {&command_fork, &command_snap, &command_list, &command_show,
          &command_tree, &command_du, &command_rename, &command_swap,
          &command_default, &command_batch}},
        {"Deletion",
         {&command_rm, &command_undelete, &command_prune, &command_hold,
          &command_holds, &command_release}},
        {"Properties", {&command_set, &command_get, &command_unset}},
        {"Files of any state",
         {&command_ls, &command_cat, &command_diff, &command_log, &command_find,
          &command_manifest}},
        {"Restoring, merging and copying",
         {&command_restore, &command_join, &command_refresh, &command_run,
          &command_clone, &command_import, &command_export}},
};

const char *command_store;

static const struct command *command_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		for (const struct command *const *at = groups[i].commands; *at;
		     at++)
			if (!strcmp((*at)->name, name))
				return *at;
	return NULL;
}

static int overview(FILE *to, int code)
{
	fprintf(to, "Usage: coppice [-s STORE] VERB [ARGUMENT]...\n\n"
	            "A file system whose forks and snapshots are "
	            "directories.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		fprintf(to, "%s:\n", groups[i].title);
		for (const struct command *const *at = groups[i].commands; *at;
		     at++)
			fprintf(to, "  %-8s  %s\n", (*at)->name,
			        (*at)->summary);
		putc('\n', to);
	}
	fprintf(to,
	        "Options:\n"
	        "  -s, --store=STORE  the store's directory; without it, the "
	        "variable\n"
	        "                     COPPICE_STORE, or else the mount that "
	        "contains an\n"
	        "                     argument or the current directory\n"
	        "  -h, --help         print help\n"
	        "      --version      print the version\n"
	        "\n"
	        "'coppice help VERB' describes a verb; coppice(1) has examples "
	        "of all tasks.\n");
	return to == stdout ? finish_output(code) : code;
}

static int help(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2)
		return overview(stdout, EXIT_DONE);
	command = command_named(argv[1]);
	if (!command) {
		complain("no verb '%s'; 'coppice help' lists them", argv[1]);
		return EXIT_USAGE;
	}
	return command_help(command);
}

/*
 * Open /dev/null as each of the standard descriptors that is closed.  Otherwise
 * a file of the store, or a socket, could get the number of one, and output
 * would be written to it.  It is opened so that reading the standard input and
 * writing to the others still fail with EBADF.
 */
static bool open_standard(void)
{
	for (int fd = 0; fd < 3; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest free number is this one. */
		if (open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	        {"store", required_argument, NULL, 's'},
	        {"version", no_argument, NULL, 'V'},
	        {"help", no_argument, NULL, 'h'},
	        {0},
	};
	const char *base = strrchr(argv[0], '/');
	const struct command *command;
	int c;

	if (!open_standard())
		return EXIT_FAILED;
	base = base ? base + 1 : argv[0];
	if (!strcmp(base, "mount.fuse.coppice") ||
	    !strcmp(base, "mount.coppice"))
		return mount_helper(argc, argv);
	if (!strcmp(base, "umount.fuse.coppice"))
		return umount_helper(argc, argv);

	while ((c = getopt_long(argc, argv, "+s:h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			command_store = optarg;
			break;
		case 'V':
			puts("coppice " COPPICE_VERSION);
			return finish_output(EXIT_DONE);
		case 'h':
			return overview(stdout, EXIT_DONE);
		default:
			return overview(stderr, EXIT_USAGE);
		}
	}
	argc -= optind;
	argv += optind;
	if (!argc)
		return overview(stderr, EXIT_USAGE);
	if (!strcmp(argv[0], "help"))
		return help(argc, argv);
	command = command_named(argv[0]);
	if (!command) {
		complain("no verb '%s'; 'coppice help' lists them", argv[0]);
		return EXIT_USAGE;
	}
	/* Reset getopt for the verb's own options. */
	optind = 0;
	return command->run(command, argc, argv);
}
