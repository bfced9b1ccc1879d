/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Parsing the options after -o, as users, fstab and mount(8) write them.
 */
#ifndef COPPICE_MOUNT_OPTIONS_H
#define COPPICE_MOUNT_OPTIONS_H

#include "client_mount.h"

/* Parsed options.  Owns the strings. */
struct parsed_options {
	bool sloppy; /* unknown options are not an error */
	bool readonly, allow_other, rmdir_always, no_export, store_locks;
	bool root_only, no_xattr, no_cpu_latency;
	bool nonempty;
	bool remount; /* change the flags of an existing mount */
	bool dev, suid, noexec, nosymfollow, sync;
	bool snapdir_set;
	enum fs_snapdir
	        snapdir; /* unless set: DISABLED with state=, else HIDDEN */
	bool snapopen_late;
	uint64_t memory;
	bool no_log;
	int64_t autosnap; /* seconds; 0: none */
	int64_t trash;    /* seconds, if trash_set */
	bool trash_set;
	char *keep; /* a retention policy, or NULL */
	char *state;
	char extra[32];
};

/*
 * Add the options of a string.  They are separated by commas; a backslash
 * escapes the next byte.  Later ones override earlier ones; each keep= adds to
 * those before.  -EINVAL, -ENOMEM: the caller frees the message *ret_error.
 */
int parsed_options_add(struct parsed_options *parsed, const char *options,
                       char **ret_error);
/* Copy the options to `options`, which borrows the strings of `parsed`. */
void parsed_options_apply(struct parsed_options *parsed,
                          struct mount_options *options);
void parsed_options_release(struct parsed_options *parsed);

#endif
