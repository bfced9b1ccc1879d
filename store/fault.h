/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faults while the map is read.  LMDB trusts the pages it reads: where damage
 * sends it, or where the disk cannot read, there is a signal.  A guard makes an
 * error of it.  Inside store/ only.
 */
#ifndef COPPICE_FAULT_H
#define COPPICE_FAULT_H

#include <lmdb.h>
#include <stdbool.h>

enum { FAULT = -(1 << 20) }; /* no error of LMDB's, nor of the system's */

/* Before a guard is set, and whenever somebody may have caught the signals. */
void fault_init(void);
/*
 * What fn(arg) returns; FAULT: it touched what cannot be read, or LMDB found
 * itself led astray.  fn is left in the middle then: it holds no lock, takes no
 * memory, and changes nothing but what is given up after a fault.
 */
int fault_guard(int (*fn)(void *arg), void *arg);
/* Can the byte be read, and with it its page? */
bool fault_is_readable(const void *byte);
/* For mdb_env_set_assert(): a fault. */
void fault_assert(MDB_env *env, const char *message);

#endif
