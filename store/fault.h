/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Faults while the map is read.  LMDB trusts the pages it reads, so a damaged
 * page can lead it to an address that raises a signal.  So does a page that the
 * disk cannot read.  A guard turns the signal into an error.  Inside store/
 * only.
 */
#ifndef COPPICE_FAULT_H
#define COPPICE_FAULT_H

#include <lmdb.h>
#include <stdbool.h>

enum { FAULT = -(1 << 20) }; /* no error of LMDB's, nor of the system's */

/*
 * Catch the signals.  To be called before a guard is set, and whenever others
 * may have caught them.
 */
void fault_init(void);
/*
 * Return the result of fn(arg), or FAULT if it read an unreadable address or
 * LMDB failed an assertion.  In that case fn is left in the middle: it must
 * hold no lock, allocate no memory, and change nothing that is used after a
 * fault.
 */
int fault_guard(int (*fn)(void *arg), void *arg);
/* Return true if the byte, and with it its page, can be read. */
bool fault_is_readable(const void *byte);
/* For mdb_env_set_assert(): raise a fault. */
void fault_assert(MDB_env *env, const char *message);

#endif
