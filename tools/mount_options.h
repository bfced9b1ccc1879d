/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text behind -o, as people, fstab and mount(8) write it.
 */
#ifndef COPPICE_MOUNT_OPTIONS_H
#define COPPICE_MOUNT_OPTIONS_H

#include "client_mount.h"

/* What was parsed; strings are its own. */
struct parsed_options {
	bool sloppy; /* unknown options are not an error */
	bool readonly, allow_other, rmdir_always, no_export;
	bool nonempty;
	bool remount; /* only the flags of what is mounted change */
	bool dev, suid, noexec, nosymfollow, sync;
	bool snapdir_set;
	enum fs_snapdir snapdir;
	uint64_t memory;
	char *state;
	char extra[32];
};

/*
 * Options between commas; a backslash keeps the next byte as it is.  Later
 * ones win.  -EINVAL, and the sentence in *ret_error, to be freed.
 */
int parsed_options_add(struct parsed_options *parsed, const char *options,
                       char **ret_error);
/* Into the struct, which borrows text's strings. */
void parsed_options_apply(struct parsed_options *parsed,
                          struct mount_options *options);
void parsed_options_release(struct parsed_options *parsed);

#endif
