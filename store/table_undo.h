/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How records were before they were changed in one hold of the lock: see
 * table_undo_begin().  Inside store/ only.
 */
#ifndef COPPICE_TABLE_UNDO_H
#define COPPICE_TABLE_UNDO_H

#include "engine.h"

/*
 * Note the record with this key, the table's number in front, as the open group
 * has it.  store->undo is not NULL.  -ENOMEM: the record must not be changed.
 */
int table_undo_note(struct store *store, const void *key, size_t key_len);

#endif
