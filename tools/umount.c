/* SPDX-License-Identifier: GPL-2.0-or-later */
/* coppice umount. */
#include <errno.h>
#include <string.h>

#include "command.h"
#include "server.h"
#include "util.h"

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
	        HELP_OPTION,
	        {0},
	};
	int c, code = EXIT_DONE;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
		return command_option(self, c);
	if (optind == argc)
		return command_usage(self, NULL);
	for (int i = optind; i < argc; i++) {
		_cleanup_free_ char *error = NULL;
		int r = server_umount(argv[i], &error);

		if (!r)
			continue;
		complain("%s", error ? error : strerror(-r));
		code = EXIT_FAILED;
	}
	return code;
}

const struct command command_umount = {
        .name = "umount",
        .args = "MNT...",
        .summary = "Unmount; returns when everything is durable",
        .help = "",
        .run = run,
};
