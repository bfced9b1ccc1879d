/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Serving a store: the daemon with its mounts and its control socket, and the
 * client's side of that socket.
 *
 * Requests and answers are JSON objects, one a line (at most 64 KiB each).  A
 * request has a "verb" and that verb's arguments; the answer is any number of
 * lines {"row": {…}} and a last line {"ok": true, …} or {"error": "sentence",
 * "errno": N}.  Only the store's owner and root are answered.
 */
#ifndef COPPICE_DAEMON_CLIENT_H
#define COPPICE_DAEMON_CLIENT_H

#include <jansson.h>

#include "fs.h"

/*
 * Names (of states, of paths) are any bytes, JSON is Unicode: bytes that are
 * not UTF-8 are the private characters U+EF80 to U+EFFF there.
 * NULL: no memory.  -EINVAL, -ENAMETOOLONG.
 */
json_t *name_escape(const char *name);
int name_unescape(const json_t *text, char *ret_name, size_t size);

/*
 * Return true if the answer is the error that a daemon gives that has begun to
 * end: nothing was done, and may be asked of its successor.
 */
bool control_is_ending(const json_t *answer);

/* Called with each row of an answer; a nonzero result ends the request. */
typedef int control_row_fn(void *arg, json_t *row);

/*
 * Do what the request asks on an open store, in this process.  Rows go to fn.
 * 0 and *ret_answer the last line's object (to be json_decref'ed), which may
 * be an error as told above; negative errno when fn ended it.
 */
int control_run(struct fs *fs, json_t *request, control_row_fn *fn, void *arg,
                json_t **ret_answer);

/*
 * What the verb "check" does, for a store that is too damaged for more than
 * that: rows of findings, and "found", how many there were, in the answer.
 * A negative errno: it could not be checked, or fn ended it.
 */
int control_check(struct store *store, json_t *request, control_row_fn *fn,
                  void *arg, json_t *answer);

/*
 * What the verb "copy" does: make everything durable, and write a copy of the
 * store's file to an empty one, which comes with the request.  Rows of progress
 * go to fn; "bytes" and "identity", the store's uuid, are in the answer.
 * As control_run().  The caller syncs the file.
 */
int control_copy(struct store *store, int fd, control_row_fn *fn, void *arg,
                 json_t **ret_answer);

/* A connection to the daemon that has the store open; -ENOENT: none has. */
int control_connect(const char *store_path, int *ret_fd);
/*
 * Send the request (with a descriptor, if fd >= 0) and read the answer.
 * -EAGAIN: the daemon ended before it had the request; -EPIPE: it ended, and it
 * is not known whether the request was done.
 */
int control_call(int socket, json_t *request, int fd, control_row_fn *fn,
                 void *arg, json_t **ret_answer);

/* What a mount is asked to be. Strings are the caller's. */
struct mount_options {
	const char *store;
	const char *mountpoint;
	const char *state; /* -o state=; NULL: the whole store */
	enum fs_snapdir snapdir;
	bool snapdir_set;
	bool rmdir_always;
	bool sync; /* in `extra`, too: the kernel and the daemon have a part */
	bool no_export; /* refuse file handles */
	bool readonly;
	bool nonempty; /* hide what the mount point has in it */
	bool foreground;
	bool allow_other;
	bool nosymfollow;
	uint64_t memory;   /* bytes; 0: default */
	const char *extra; /* options for the kernel's mount: dev, suid, … */
};

/*
 * `coppice mount`: mounts, with the daemon that serves the store already or a
 * new one.  Returns when the mount answers (foreground: when it has ended).
 * On failure *ret_error is one clear sentence, to be freed.
 */
int client_mount(const struct mount_options *options, char **ret_error);

/*
 * `coppice mount -o remount`: give the mount these flags (MS_RDONLY, MS_NODEV
 * …) and no others, and return when everything written so far is durable.
 */
int client_remount(const char *mountpoint, unsigned long flags,
                   char **ret_error);
/* The same, with the flags that it has, and MS_RDONLY. */
int client_remount_readonly(const char *mountpoint, char **ret_error);

/*
 * `coppice umount`: returns when all is durable and the mount is gone.  `path`
 * is the mount point, or the store if that is mounted at one place.  With
 * MNT_DETACH in flags the mount may live on for those who use it; with
 * MNT_FORCE requests under way fail, and nothing is waited for.
 */
int client_umount(const char *path, int flags, char **ret_error);

#endif
