/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rests of the threads that write a group.  Inside store/ only. */
#ifndef COPPICE_REST_H
#define COPPICE_REST_H

struct store;

/*
 * Sleep for a moment if requests are handled on this processor and the calling
 * thread has not rested for a while.  Lock NOT held.
 */
void store_rest(struct store *store);

#endif
