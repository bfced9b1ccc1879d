/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Properties of states, and the tags that hold them.  A part of snapshot.h:
 * include that.  Lock held throughout.
 *
 * A property is a key and a value.  Users' keys have a colon; own_property.h
 * has the others.  A snapshot inherits the users' properties of its fork that
 * it does not have itself; a fork inherits nothing from its origin.
 */
#ifndef COPPICE_SNAPSHOT_PROPERTY_H
#define COPPICE_SNAPSHOT_PROPERTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct forest;
struct state;

enum {
	PROPERTY_KEY_MAX = 256,    /* bytes, without the NUL */
	PROPERTY_VALUE_MAX = 4000, /* bytes, without the NUL */
	PROPERTIES_MAX = 128,      /* of one state */
	TAG_MAX = 255,             /* bytes, without the NUL */
	TAGS_MAX = 64,             /* of one state */
};

/* A property that a state has. */
struct property {
	char key[PROPERTY_KEY_MAX + 1];
	char value[PROPERTY_VALUE_MAX + 1];
	bool inherited; /* from the snapshot's fork */
};

/*
 * Check that a user can set a property of a snapshot, or of a fork, to a value,
 * and return the value as it is stored (a size in bytes, for example). -EINVAL:
 * *ret_reason is a part of a sentence, as in "cannot set 'x': REASON".
 */
int property_check(bool snapshot, const char *key, const char *value,
                   char ret_value[PROPERTY_VALUE_MAX + 1],
                   const char **ret_reason);
/* Return true if a key could be that of a property. */
bool property_key_good(const char *key);

/* Read a property, an inherited one included.  -ENODATA: it is not set. */
int property_get(struct state *state, const char *key,
                 struct property *ret_property);
/*
 * Read the state's own property whose key is the first above `after` ("": the
 * first of all).  -ENOENT: there is none.
 */
int property_next(struct state *state, const char *after,
                  struct property *ret_property);
/*
 * Set a property to a value that property_check() returned.  -ENOSPC: the
 * state has PROPERTIES_MAX others; -EROFS: the store is read-only; -ESTALE.
 */
int property_set(struct state *state, const char *key, const char *value);
/* Remove the state's own property.  -ENODATA: it has none. */
int property_unset(struct state *state, const char *key);
/* Record the user who made a state, in the hold of the lock that made it. */
int property_set_creator(struct state *state, uint32_t uid);

/* Return true if a text could be a tag. */
bool tag_good(const char *tag);
/*
 * Add a tag to a state, which cannot be deleted while it has one.  -EEXIST: it
 * has the tag; -EINVAL: not a tag; -ENOSPC: it has TAGS_MAX others.
 */
int tag_add(struct state *state, const char *tag);
/* Remove a tag.  -ENODATA: the state does not have it. */
int tag_del(struct state *state, const char *tag);
/*
 * Return the state's first tag above `after` ("": the first of all), and when
 * it was added, in ns since the epoch (NULL: not needed).  -ENOENT: none.
 */
int tag_next(struct state *state, const char *after, char ret_tag[TAG_MAX + 1],
             int64_t *ret_time);
/*
 * Find a tag that prevents the deletion of the state, with its snapshots if
 * `recursive`: *ret_held is the state itself or a snapshot.  -ENOENT: none.
 */
int state_find_tag(struct state *state, bool recursive, struct state **ret_held,
                   char ret_tag[TAG_MAX + 1]);

#endif
