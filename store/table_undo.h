/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Saving records before they are changed, to undo the changes: see
 * table_undo_begin().  Inside store/ only.
 */
#ifndef COPPICE_TABLE_UNDO_H
#define COPPICE_TABLE_UNDO_H

#include "engine.h"

/*
 * Save the open group's entry of the key, which begins with the table's number.
 * store->undo is not NULL.  -ENOMEM: the record must not be changed.
 */
int table_undo_note(struct store *store, const void *key, size_t key_len);

#endif
