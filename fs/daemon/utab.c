/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mount(8) and umount(8) themselves write the table. */
#include "utab.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "program.h"
#include "util.h"

static const char helper_option[] = "helper=fuse.coppice";

void utab_add(const char *source, const char *mountpoint)
{
	/* -f: without mounting, -i: without helper, -c: paths are resolved. */
	const char *const argv[] = {
	        "mount",       "-fic", "-t",   "fuse.coppice", "-o",
	        helper_option, "--",   source, mountpoint,     NULL};
	char message[256];
	int status;

	if (geteuid() != 0 || access("/sbin/umount.fuse.coppice", X_OK) < 0)
		return;
	status = program_run(argv, message, sizeof(message));
	if (status)
		log_info("umount(8) will not wait for '%s': %s", mountpoint,
		         message);
}

/* Return true if the table has an entry with our helper. */
static bool is_used(void)
{
	_cleanup_fclose_ FILE *f = fopen("/run/mount/utab", "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	while (f && getline(&line, &size, f) >= 0) {
		if (strstr(line, helper_option))
			return true;
	}
	return false;
}

void utab_remove(const char *mountpoint)
{
	const char *const argv[] = {"umount", "--fake",   "-ic",
	                            "--",     mountpoint, NULL};
	char message[256];

	if (geteuid() == 0 && is_used())
		program_run(argv, message, sizeof(message));
}
