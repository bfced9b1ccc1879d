/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Faults while the map is read.  LMDB trusts the pages it reads, so a damaged
 * page can lead it to an address that raises a signal.  A page that the disk
 * cannot read raises one, too.  A guard turns the signal into an error.  Inside
 * store/ only.
 */
#ifndef COPPICE_FAULT_H
#define COPPICE_FAULT_H

#include <lmdb.h>
#include <stdbool.h>

enum { FAULT = -(1 << 20) }; /* neither an error of LMDB nor an errno */

/*
 * Install the signal handlers.  Call this before a guard is set, and again when
 * other code may have replaced them.
 */
void fault_init(void);
/*
 * Return the result of fn(arg), or FAULT if it read an unreadable address or
 * LMDB failed an assertion.  A fault leaves fn in the middle: it must hold no
 * lock, allocate no memory, and change no data that is used after a fault.
 */
int fault_guard(int (*fn)(void *arg), void *arg);
/* Return true if the byte, and with it its page, can be read. */
bool fault_is_readable(const void *byte);
/* For mdb_env_set_assert(): raise a fault. */
void fault_assert(MDB_env *env, const char *message);

#endif
