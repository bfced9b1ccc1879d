/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The nodes that a session reaches. */
#ifndef COPPICE_REACH_H
#define COPPICE_REACH_H

#include "session.h"

/*
 * Return true if the node can be reached in the session's mount.  A mount of a
 * state contains no other state except, if it shows a fork's .snap, the
 * snapshots in it.  Takes the store's lock.
 */
bool session_reaches(const struct session *session, node_t node);

/*
 * If a request is about a node that the session does not reach, reply ESTALE
 * and return true.
 */
bool reach_refuse(const struct session *session, const void *request,
                  size_t len);

#endif
