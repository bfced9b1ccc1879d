/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the verbs of requests share.  See control.h. */
#ifndef COPPICE_CONTROL_VERB_H
#define COPPICE_CONTROL_VERB_H

#include "control.h"

/* A request being served. */
struct control {
	struct fs *fs;
	struct forest *forest;
	struct store *store;
	struct mounts *mounts; /* NULL: none */
	struct fs_cred cred;   /* who asks; umask 0 */
	json_t *request;
	control_row_fn *fn;
	void *arg;
	int ended;      /* what fn ended it with */
	json_t *error;  /* the answer, if it failed */
	json_t *answer; /* or what is told beside ok */
};

/* What went wrong, in a few words; err is negative. */
const char *control_reason(int err);

/* Make the object the answer, and return err. */
int control_set_error(struct control *c, int err, json_t *error);

#define fail(c, err, ...)                                                      \
	control_set_error(c, err, control_error(err, __VA_ARGS__))

/* A sentence for what went wrong with a state called `name`. */
int control_fail_state(struct control *c, const char *verb, const char *name,
                       int err);

/*
 * An argument that names a state.  -ENOENT: it is not there, which is an error
 * (and told) only if it is needed.
 */
int control_argument(struct control *c, const char *key, bool needed,
                     char name[STATE_NAME_MAX]);
bool control_flag(struct control *c, const char *key);

/* The verbs of control_list.c. */
int control_list(struct control *c);
int control_show(struct control *c);
int control_stat(struct control *c);

#endif
