/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Space of states; snapshot.h declares the rest.  Lock held. */
#ifndef COPPICE_SNAPSHOT_SPACE_H
#define COPPICE_SNAPSHOT_SPACE_H

#include <stdint.h>

struct forest;
struct state;

/*
 * Return the stored bytes that deleting the state alone would free.  The lock
 * is not released.
 */
int state_frees(struct forest *forest, const struct state *state,
                uint64_t *ret_bytes);

#endif
