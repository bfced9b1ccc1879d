/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request that a verb works on, and the helpers that verbs share. */
#ifndef COPPICE_CONTROL_VERB_H
#define COPPICE_CONTROL_VERB_H

#include "control.h"

/* A request being served. */
struct control {
	struct fs *fs;
	struct forest *forest;
	struct store *store;
	struct mounts *mounts; /* NULL: none */
	struct fs_cred cred;   /* of the request's sender; umask 0 */
	json_t *request;
	int fd; /* that came with the request; -1: none */
	control_row_fn *fn;
	void *arg;
	int ended;      /* nonzero: fn's result, which ended the request */
	json_t *error;  /* the last object of a failed request */
	json_t *answer; /* the last object, without "ok", of any other */
};

/* Return the reason for the error in a few words; err is negative. */
const char *control_reason(int err);

/* Make the object, which is released, the request's error.  Return err. */
int control_set_error(struct control *c, int err, json_t *error);

#define fail(c, err, ...)                                                      \
	control_set_error(c, err, control_error(err, __VA_ARGS__))

/*
 * Fail with the message "cannot VERB 'NAME': REASON" unless the request has
 * failed with another message already.
 */
int control_fail_state(struct control *c, const char *verb, const char *name,
                       int err);

/*
 * Return an argument that names a state.  If it is missing, return -ENOENT, or
 * fail if it is needed.
 */
int control_argument(struct control *c, const char *key, bool needed,
                     char name[STATE_NAME_MAX]);
/* Read the name at index `i` of an array, or fail. */
int control_name_at(struct control *c, const json_t *names, size_t i,
                    char name[STATE_NAME_MAX]);
/* Return the full name of a state.  Lock held. */
json_t *control_full_name(struct control *c, struct state *state);
/* Add a value, which is released, to the answer. */
int control_answer_add(struct control *c, const char *key, json_t *value);
/* Answer with the name, which is released, and the number of a state. */
int control_answer_state(struct control *c, json_t *name, uint64_t number);
/* Return true if the argument is given and true. */
bool control_flag(struct control *c, const char *key);
/*
 * Find a state by name alone, to delete, rename or swap it.  Lock held; it may
 * be released.  On failure the error message may have been set.
 */
int control_find_named(struct control *c, const char *verb, const char *name,
                       struct state **ret_state);
/*
 * Invalidate what the mounts have cached of a name that was added (fresh) or
 * removed among the forks (fork 0) or a fork's snapshots.  Lock NOT held.
 */
void control_announce(struct control *c, uint64_t fork, const char *name,
                      bool fresh);

#endif
