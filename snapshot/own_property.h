/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of the properties whose keys have no colon.  A new property needs
 * an entry there, and in coppice-set(1).
 */
#ifndef COPPICE_SNAPSHOT_OWN_PROPERTY_H
#define COPPICE_SNAPSHOT_OWN_PROPERTY_H

#include "snapshot.h"

struct own_property {
	const char *key;
	bool readonly;   /* set by the engine, never by a user */
	bool forks_only; /* snapshots cannot have it */
	/*
	 * Check a value and return it as it is stored.  -EINVAL.  NULL: any
	 * text is stored as it is.
	 */
	int (*parse)(const char *value, char ret_value[PROPERTY_VALUE_MAX + 1]);
	const char *reason; /* what is wrong if parse() fails */
	/*
	 * Apply a value that is about to be stored (NULL: the property is about
	 * to be removed).  Lock held.  An error refuses the change.  May be
	 * NULL.
	 */
	int (*apply)(struct state *state, const char *value);
};

/* Return the property of this key, or NULL. */
const struct own_property *own_property_find(const char *key);
/* Return the i-th property, or NULL after the last. */
const struct own_property *own_property_at(size_t i);

#endif
