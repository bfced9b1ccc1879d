/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records of tables, and whole databases, that this version of the program does
 * not know: a later version may have added them, as a compatible feature.
 */
#ifndef COPPICE_UNKNOWN_TABLE_H
#define COPPICE_UNKNOWN_TABLE_H

#include "snapshot.h"

/* Log each table and each database in the view that is not known. */
int unknown_tables_log(struct view *view, const char *path);

/*
 * Copy the records of unknown tables from the view to the store, whose
 * lock is held.  view_copy_unknown() copies the databases.
 */
int unknown_tables_copy(struct view *view, struct store *store);

#endif
